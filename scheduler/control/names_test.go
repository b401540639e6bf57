package control_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/link"
)

// TestNamesGoToHosts: a host is told of the sets in the networks of its own sets, at first and
// when something changes, and not again when nothing does.
func TestNamesGoToHosts(t *testing.T) {
	t.Parallel()
	r := vlanRig(t, 1)
	s := onVLAN("web", 3)
	s.Spec.Set.Ports = []string{"80", "53/udp"}
	r.create(s)
	r.create(service("other", 1)) // in a network that is not the cluster's
	r.ready("web")
	r.ready("other")
	told := make(chan *link.Names, 100)
	go func() {
		for a, err := range r.controllers[0].Assignments(t.Context(), "h1") {
			if err == nil && a.Names != nil {
				told <- a.Names
			}
		}
	}()
	var last *link.Names
	until := func(ready int) {
		t.Helper()
		testx.Eventually(t, patience, func() error {
			for len(told) > 0 {
				last = <-told
			}
			if last == nil {
				return errors.New("no names are told")
			}
			n := 0
			for _, name := range last.Networks["vlan"] {
				if name.Ready {
					n++
				}
			}
			if n != ready || len(last.Networks["vlan"]) != ready || len(last.Networks) != 1 {
				return fmt.Errorf("wanted %d names that are ready: %+v", ready, last)
			}
			return nil
		})
	}
	until(3)
	given := map[string]string{}
	for _, s := range r.sets() {
		if len(s.Spec.Addresses) > 0 {
			given[s.Name] = s.Spec.Addresses[0].Address
		}
	}
	for _, n := range last.Networks["vlan"] {
		if n.Service != "web" || !slices.Equal(n.Addresses, []string{given[n.Set]}) || !slices.Equal(n.Ports, []string{"tcp/80", "udp/53"}) {
			t.Errorf("a name is %+v", n)
		}
	}
	r.edit("web", func(s *api.Service) { s.Spec.Replicas = 2 })
	until(2)
	select {
	case n := <-told:
		t.Errorf("nothing changed, and %+v is told", n)
	case <-time.After(3 * time.Second):
	}
}
