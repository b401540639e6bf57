package server

import (
	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/authz/judge"
	"github.com/mosdocker/mosdocker/authz/policy"
	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/api"
)

// Tenants is the policy for what tenants' sets may be where the configuration names none:
// profile tenant of mos-authz.
func Tenants() *policy.Policy {
	p, err := policy.Parse("tenants", []byte("version = 1\n[[who]]\nname = \"tenant\"\ncn = [\"*\"]\nprofile = \"tenant\"\n"))
	if err != nil {
		panic(err) // it is ours
	}
	return p
}

// judged refuses a tenant's service whose sets are more than the policy allows: hosts make
// them with all rights. The error is of class PermissionDenied.
func (s *Server) judged(c *call, r api.Resource) error {
	service, ok := r.(*api.Service)
	if !ok || c.Role != api.Tenant {
		return nil
	}
	who := policy.Who{CN: c.Tenant}
	things := cluster{tenant: c.Tenant}
	if subject := s.cfg.Tenants.Find(who); subject != nil {
		things.owner = subject.Owner
	}
	v := judge.Set(s.cfg.Tenants, who, service.Named(1), things)
	if v.Allow {
		return nil
	}
	return fault.Of(errdefs.ErrPermissionDenied, "a set of %s (tenant) may not be this: %s (%s)", c.Name, v.Reason, v.Rule)
}

// cluster is what sets of a tenant may find on hosts, as far as names tell.
type cluster struct {
	judge.Things // none

	tenant, owner string
}

// Volume is the tenant's own by its name.
func (c cluster) Volume(name string) (judge.Found, error) {
	f := judge.Found{Object: policy.Object{Kind: "volume", Name: name}}
	if api.TenantOf(name) == c.tenant {
		f.Owner = c.owner
	}
	return f, nil
}

// Network is nobody's: the policy names those that tenants may use.
func (c cluster) Network(name string) (judge.Found, error) {
	return judge.Found{Object: policy.Object{Kind: "network", Name: name}}, nil
}
