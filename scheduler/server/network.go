package server

import (
	"context"
	"slices"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/state"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// mayDeclare refuses a network in which sets have addresses already that their hosts gave:
// the cluster would not know of these.
func (s *Server) mayDeclare(ctx context.Context, r api.Resource) error {
	n, is := r.(*api.Network)
	if !is {
		return nil
	}
	if _, err := state.Get[api.Network](ctx, s.cfg.Store, n.Name); err == nil {
		return nil // it is there already, and what its sets have is the cluster's
	}
	all, err := state.All[api.SetInstance](ctx, s.cfg.Store, state.Page{})
	if err != nil {
		return err
	}
	for _, i := range all.Items {
		if in := func(of spec.Network) bool { return of.Name == n.Name }; i.Spec.Host != "" &&
			slices.ContainsFunc(append([]spec.Network{i.Spec.Set.Network}, i.Spec.Set.Networks...), in) {
			return fault.Conflict("set %s on host %s is in network %s with an address that its host gave: scale service %s to 0 first", i.Name, i.Spec.Host, n.Name, i.Spec.Service)
		}
	}
	return nil
}

// subnets are those of a network, nothing for other resources. They are not changed.
func subnets(r api.Resource) (all []string) {
	if n, is := r.(*api.Network); is {
		for _, p := range n.Spec.Pools {
			all = append(all, p.Subnet)
		}
	}
	return all
}
