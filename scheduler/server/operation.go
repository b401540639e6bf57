package server

import (
	"context"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/client"
	"github.com/mosdocker/mosdocker/scheduler/state"
)

// wishOperation takes over all of a new operation, and of one that is stored only whether it
// is to end.
func wishOperation(to, from *api.Operation) {
	if to.Created.IsZero() {
		to.Spec = from.Spec
		return
	}
	to.Spec.Cancel = from.Spec.Cancel
}

// mayCancel refuses to change the drain of a host that is removed: it ends with the host only.
func (s *Server) mayCancel(ctx context.Context, r api.Resource) error {
	o, is := r.(*api.Operation)
	if !is || o.Spec.Verb != api.Drain || o.Status.Outcome != "" {
		return nil
	}
	h, err := state.Get[api.Host](ctx, s.cfg.Store, o.Spec.On.Name)
	switch {
	case errdefs.IsNotFound(err):
		return nil
	case err != nil:
		return err
	case h.Deleted.IsZero():
		return nil
	}
	return fault.Conflict("operation %s cannot be canceled: host %s is being removed, which is not taken back, and is emptied for that", o.Name, h.Name)
}

// planned gives a new operation its moves, and the name of who asks. Only a rebalance is made
// by users; the others are made of what they change.
func (s *Server) planned(ctx context.Context, r api.Resource) error {
	o, is := r.(*api.Operation)
	if !is {
		return nil
	}
	switch o.Spec.Verb {
	case api.Rebalance:
	case api.Drain:
		return fault.Invalid("spec.verb: a drain is made by setting a host's spec.availability to %s", api.Draining)
	case api.Rollout:
		return fault.Invalid("spec.verb: a rollout is made by changing a service's spec.set")
	default:
		return fault.Invalid("spec.verb: %.60q is none: take %s", o.Spec.Verb, api.Rebalance)
	}
	if o.Spec.On.Kind != api.Services {
		return fault.Invalid("spec.on.kind: %.60q cannot be rebalanced: take %s, and the name of one, or * for all", o.Spec.On.Kind, api.Services)
	}
	if o.Spec.Cancel {
		return fault.Invalid("spec.cancel: it has not begun")
	}
	o.Spec.By = callOf(ctx).Name
	if err := o.Check(); err != nil {
		return err
	}
	plan, err := atLeaderElseHere(ctx, s, func(at *client.Client) (*api.Operation, error) {
		return client.Create(ctx, at, o, client.Change{DryRun: true})
	}, func() (*api.Operation, error) {
		return o, s.cfg.Control.Plan(ctx, o)
	})
	if err == nil {
		o.Status = plan.Status
	}
	return err
}
