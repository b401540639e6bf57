package control_test

import (
	"testing"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/state"
)

// TestHostsJoinByAnyController: one that does not lead makes them too, once each; the name of a
// lost one is given by the leader only.
func TestHostsJoinByAnyController(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.lead("c1")
	leader := r.controllers[0]
	testx.Eventually(t, patience, func() error {
		_, err := leader.Host(t.Context(), "h9")
		if errdefs.IsNotFound(err) && leader.Leads() {
			return nil
		}
		return err
	})
	r.lead("c2")
	other := r.controllers[1]
	testx.Eventually(t, patience, func() error { return other.Join(t.Context(), "h9", api.HostStatus{Machine: "m9"}) })
	if other.Leads() {
		t.Fatal("the second leads")
	}
	h, err := state.Get[api.Host](t.Context(), r.store, "h9")
	must(t, err)
	if h.Status.Machine != "m9" {
		t.Errorf("it is %+v", h)
	}
	must(t, other.Join(t.Context(), "h9", api.HostStatus{Machine: "m9"}))
	_, err = state.Edit(t.Context(), r.store, "h9", func(h *api.Host) error { h.Status.Health = api.Lost; return nil })
	must(t, err)
	if err := other.Join(t.Context(), "h9", api.HostStatus{Machine: "m10"}); !errdefs.IsUnavailable(err) {
		t.Errorf("the name of a lost host, of one that does not lead: %v", err)
	}
	must(t, leader.Join(t.Context(), "h9", api.HostStatus{Machine: "m10"}))
	_, err = state.Edit(t.Context(), r.store, "h9", func(h *api.Host) error { h.Status.Health = api.Healthy; return nil })
	must(t, err)
	for _, c := range r.controllers {
		if err := c.Join(t.Context(), "h9", api.HostStatus{Machine: "m11"}); !errdefs.IsAlreadyExists(err) {
			t.Errorf("the name of a live host: %v", err)
		}
	}
}
