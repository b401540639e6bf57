package server

import (
	"context"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/state"
)

// quotaOf is the quota of a tenant, nil if it has none.
func (s *Server) quotaOf(ctx context.Context, tenant string) (*api.Quota, error) {
	if tenant == "" {
		return nil, nil
	}
	q, err := state.Get[api.Quota](ctx, s.cfg.Store, tenant)
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	return q, err
}

func usage(of *api.Service) api.Usage { return scheduler.Usage(&of.Spec.Set.Set, of.Spec.Replicas) }

// asked is what services of a tenant ask for, but for one of them.
func (s *Server) asked(ctx context.Context, tenant, but string) (api.Usage, error) {
	all, err := state.All[api.Service](ctx, s.cfg.Store, state.Page{})
	var sum api.Usage
	for _, of := range all.Items {
		if api.TenantOf(of.Name) == tenant && of.Name != but {
			sum = scheduler.Sum(sum, usage(of))
		}
	}
	return sum, err
}

// affordable refuses a service that asks for more than the quota of its tenant has left, and
// whose priority is above that. What asks for no more than before passes. Was is the service
// before, nil for a new one. The error is of class PermissionDenied.
func (s *Server) affordable(ctx context.Context, r api.Resource, was *api.Service) error {
	of, is := r.(*api.Service)
	if !is {
		return nil
	}
	tenant := api.TenantOf(of.Name)
	q, err := s.quotaOf(ctx, tenant)
	if err != nil {
		return err
	}
	c := callOf(ctx)
	most := 0
	if q != nil {
		most = q.Spec.Priority
	}
	if p := of.Spec.Placement.Priority; p > most && c.Role == api.Tenant && (was == nil || p > was.Spec.Placement.Priority) {
		return fault.Of(errdefs.ErrPermissionDenied, "spec.placement.priority: %s (tenant) may have %d at most, not %d: others would have to yield", c.Name, most, p)
	}
	if q == nil {
		return nil
	}
	if why := scheduler.Unbounded(q, &of.Spec.Set.Set); why != "" &&
		(was == nil || of.Spec.Replicas > was.Spec.Replicas || scheduler.Unbounded(q, &was.Spec.Set.Set) == "") {
		return fault.Of(errdefs.ErrPermissionDenied, "service %s: %s", of.Name, why)
	}
	used, err := s.asked(ctx, tenant, of.Name)
	if err != nil {
		return err
	}
	more := usage(of)
	if was != nil {
		had := usage(was)
		used = scheduler.Sum(used, had)
		more = api.Usage{Sets: more.Sets - had.Sets, Amounts: api.Amounts{CPU: more.CPU - had.CPU, Memory: more.Memory - had.Memory, Disk: more.Disk - had.Disk}}
	}
	if why := scheduler.Exceeded(q, used, more); why != "" {
		return fault.Of(errdefs.ErrPermissionDenied, "service %s: %s", of.Name, why)
	}
	return nil
}

// affordablePlan asks it of a service that may be stored already.
func (s *Server) affordablePlan(ctx context.Context, of *api.Service) error {
	was, err := state.Get[api.Service](ctx, s.cfg.Store, of.Name)
	if err != nil && !errdefs.IsNotFound(err) {
		return err
	}
	return s.affordable(ctx, of, was)
}

// serviceOf is a copy of what a resource says as a service, nil for other kinds.
func serviceOf(r api.Resource) *api.Service {
	of, is := r.(*api.Service)
	if !is {
		return nil
	}
	own := *of
	return &own
}

// told fills in what is not stored: what services of a quota's tenant ask for.
func (s *Server) told(ctx context.Context, r api.Resource) error {
	q, is := r.(*api.Quota)
	if !is {
		return nil
	}
	var err error
	q.Status.Asked, err = s.asked(ctx, q.Name, "")
	return err
}

// mayQuota lets tenants see their own quota.
func (c *call) mayQuota(v verb, name string) bool {
	return v == look && (name == "" || name == c.Tenant)
}
