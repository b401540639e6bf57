package server_test

import (
	"context"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/client"
	"github.com/mosdocker/mosdocker/scheduler/server"
	"github.com/mosdocker/mosdocker/scheduler/state"
)

// oneMove plans the same for all.
type oneMove struct{ server.Control }

func (oneMove) Plan(_ context.Context, o *api.Operation) error {
	o.Status.Moves, o.Status.Of = []api.Move{{Set: "web-1", From: "h1", To: "h2"}}, 1
	return nil
}

// TestOperationsOfUsers: who asks is kept, a dry run stores nothing, only cancel is changed, and
// what leaders make is not made by users.
func TestOperationsOfUsers(t *testing.T) {
	t.Parallel()
	r := newRig(t, server.Config{Control: oneMove{}})
	o := &api.Operation{Meta: api.Meta{Name: "rebalance.1"}, Spec: api.OperationSpec{Verb: api.Rebalance, By: "mallory", On: api.Reference{Kind: api.Services, Name: "*"}}}
	got, err := client.Create(t.Context(), r.Client, o, client.Change{DryRun: true})
	must(t, err)
	if len(got.Status.Moves) != 1 || got.Revision != 0 {
		t.Errorf("a dry run gives %+v", got)
	}
	if _, err := state.Get[api.Operation](t.Context(), r.store, o.Name); !errdefs.IsNotFound(err) {
		t.Errorf("a dry run stored it: %v", err)
	}
	got, err = client.Create(t.Context(), r.Client, o, client.Change{})
	must(t, err)
	if got.Spec.By != "root" || len(got.Status.Moves) != 1 {
		t.Errorf("it is stored as %+v", got)
	}
	got, err = client.Patch[api.Operation](t.Context(), r.Client, o.Name, map[string]any{"spec": map[string]any{"cancel": true, "most": 7}}, client.Change{})
	must(t, err)
	if !got.Spec.Cancel || got.Spec.Most != 0 || len(got.Status.Moves) != 1 {
		t.Errorf("it is changed to %+v", got)
	}
	h := &api.Host{Meta: api.Meta{Name: "h1"}}
	must(t, r.store.Create(t.Context(), h))
	must(t, r.store.Create(t.Context(), &api.Operation{Meta: api.Meta{Name: "drain.h1.2"}, Spec: api.OperationSpec{Verb: api.Drain, On: api.Reference{Kind: api.Hosts, Name: "h1"}}}))
	_, err = client.Delete[api.Host](t.Context(), r.Client, h.Name)
	must(t, err)
	_, err = client.Patch[api.Operation](t.Context(), r.Client, "drain.h1.2", map[string]any{"spec": map[string]any{"cancel": true}}, client.Change{})
	if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "cannot be canceled: host h1 is being removed") {
		t.Errorf("the drain of a host that is removed is canceled: %v", err)
	}
	_, err = client.Patch[api.Host](t.Context(), r.Client, h.Name, map[string]any{"spec": map[string]any{"availability": nil}}, client.Change{})
	if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "its removal is not taken back; when it is out, mosd there joins it anew") {
		t.Errorf("a host that is removed is activated: %v", err)
	}
	if _, err := client.Delete[api.Operation](t.Context(), r.Client, o.Name); err == nil {
		t.Error("an operation was deleted by a user")
	}
	for verb, want := range map[string]string{
		api.Drain: "setting a host's spec.availability", api.Rollout: "changing a service's spec.set", "dance": `"dance" is none`,
	} {
		o := &api.Operation{Meta: api.Meta{Name: "x"}, Spec: api.OperationSpec{Verb: verb, On: api.Reference{Kind: api.Services, Name: "web"}}}
		if _, err := client.Create(t.Context(), r.Client, o, client.Change{}); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", verb, err)
		}
	}
	made, err := r.CreateToken(t.Context(), api.TokenRequest{Name: "shop", Role: api.Tenant, Tenant: "shop"})
	must(t, err)
	if _, err := client.List[api.Operation](t.Context(), r.as(t, made.Secret), client.Filter{}); !errdefs.IsPermissionDenied(err) {
		t.Errorf("a tenant lists operations: %v", err)
	}
}
