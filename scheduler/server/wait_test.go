package server_test

import (
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/client"
	"github.com/mosdocker/mosdocker/scheduler/server"
	"github.com/mosdocker/mosdocker/scheduler/state"
)

// TestNobodyWaitsForWhatWasTakenBack: a template that did not get ready will not be as wished.
func TestNobodyWaitsForWhatWasTakenBack(t *testing.T) {
	r := newRig(t, server.Config{})
	_, err := client.Create(t.Context(), r.Client, web("web", 3), client.Change{})
	must(t, err)
	ended := make(chan error, 1)
	go func() {
		_, err := client.Patch[api.Service](t.Context(), r.Client, "web", map[string]any{"spec": map[string]any{"replicas": 4}}, client.Change{Wait: 5 * time.Minute})
		ended <- err
	}()
	for seen := false; !seen; {
		s, err := state.Get[api.Service](t.Context(), r.store, "web")
		must(t, err)
		seen = s.Spec.Replicas == 4
	}
	_, err = state.Edit(t.Context(), r.store, "web", func(s *api.Service) error {
		s.Status.ObservedGeneration, s.Status.Failed = s.Generation, "abc"
		return nil
	})
	must(t, err)
	select {
	case err := <-ended:
		if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "went back to the template before") {
			t.Errorf("it says %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("it is waited for")
	}
}
