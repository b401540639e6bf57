package control_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/simulate"
	"github.com/mosdocker/mosdocker/scheduler/state"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

const vlanSubnet = "10.20.0.0/28"

// vlan is a network of the cluster with 5 addresses to give: .2 to .6.
func vlan() *api.Network {
	return &api.Network{Meta: api.Meta{Name: "vlan"}, Spec: api.NetworkSpec{Pools: []api.AddressPool{
		{Subnet: vlanSubnet, Range: "10.20.0.0/29", Gateway: "10.20.0.1", Exclude: []string{"10.20.0.7"}},
	}}}
}

// vlanRig has hosts with that network.
func vlanRig(t *testing.T, hosts int) *rig {
	t.Helper()
	r := newRig(t, 0)
	for i := range hosts {
		r.vlanHost(fmt.Sprintf("h%d", i+1))
	}
	r.lead("c1")
	r.create(vlan())
	return r
}

func (r *rig) vlanHost(name string) *simulate.Host {
	h := r.prepared(name)
	h.Status.Networks = map[string]string{"prod": "pool", "vlan": vlanSubnet}
	return r.add(h)
}

func onVLAN(name string, replicas int) *api.Service {
	s := service(name, replicas)
	s.Spec.Set.Network = spec.Network{Name: "vlan"}
	s.Spec.Placement.Spread = []api.Spread{{Level: api.LevelHost, Weight: 10}}
	return s
}

// given are the addresses of the sets that have a host, by name; each has one and no two have the same.
func (r *rig) given() map[string]string {
	r.t.Helper()
	all, seen := map[string]string{}, map[string]string{}
	for _, s := range r.sets() {
		if s.Spec.Host == "" {
			continue
		}
		if len(s.Spec.Addresses) != 1 {
			r.t.Fatalf("%s has %v", s.Name, s.Spec.Addresses)
		}
		a := s.Spec.Addresses[0].Address
		if seen[a] != "" {
			r.t.Errorf("%s is of %s and of %s", a, s.Name, seen[a])
		}
		all[s.Name], seen[a] = a, s.Name
	}
	return all
}

func (r *rig) leftovers() []*api.Leftover {
	l, err := state.All[api.Leftover](r.t.Context(), r.store, state.Page{})
	must(r.t, err)
	return l.Items
}

// TestAddressesOfTheCluster: each set has an address of its own, which its host is told; the
// one that finds none waits and says so; what is given back is given again; and the network
// stays until nobody has anything of it.
func TestAddressesOfTheCluster(t *testing.T) {
	t.Parallel()
	r := vlanRig(t, 2)
	other := r.prepared("h3") // its network of that name is another
	other.Status.Networks = map[string]string{"vlan": "10.99.0.0/24"}
	r.add(other)
	r.create(onVLAN("web", 4))
	r.ready("web")
	given := r.given()
	for name, a := range given {
		if !slices.Contains([]string{"10.20.0.2", "10.20.0.3", "10.20.0.4", "10.20.0.5", "10.20.0.6"}, a) {
			t.Errorf("%s has %s", name, a)
		}
	}
	for _, s := range r.sets() {
		if s.Spec.Host == "h3" {
			t.Errorf("%s is on a host whose network is another", s.Name)
		}
	}
	r.edit("web", func(s *api.Service) { s.Spec.Replicas = 6 })
	testx.Eventually(t, patience, func() error {
		s, err := state.Get[api.Service](t.Context(), r.store, "web")
		if err == nil && (s.Status.Ready != 5 || !strings.Contains(s.Status.Reason, "address")) {
			err = fmt.Errorf("the service is %+v", s.Status)
		}
		return err
	})
	r.edit("web", func(s *api.Service) { s.Spec.Replicas = 3 })
	r.ready("web")
	r.settled()
	if now := r.given(); now["web-1"] != given["web-1"] {
		t.Errorf("web-1 had %s and has %s", given["web-1"], now["web-1"])
	}
	fixed := onVLAN("vip", 1)
	fixed.Spec.Set.Network.IP = r.given()["web-1"]
	r.create(fixed)
	testx.Eventually(t, patience, func() error {
		s, err := state.Get[api.Service](t.Context(), r.store, "vip")
		if err == nil && !strings.Contains(s.Status.Reason, "is another set's") {
			err = fmt.Errorf("the service with that address is %+v", s.Status)
		}
		return err
	})
	_, err := state.Edit(t.Context(), r.store, "vlan", func(n *api.Network) error { n.Deleted = n.Created; return nil })
	must(t, err)
	r.remove("vip")
	r.remove("web")
	r.gone(func() error { _, err := state.Get[api.Network](t.Context(), r.store, "vlan"); return err })
	if c := r.claims(); len(c) > 0 {
		t.Errorf("claims are left: %+v", c)
	}
}

// TestAddressesOfALostHost: a set that is replaced has another address, and the one that the
// lost host may still use is nobody's until that host says that it is free.
func TestAddressesOfALostHost(t *testing.T) {
	t.Parallel()
	r := vlanRig(t, 3)
	r.create(onVLAN("web", 3))
	r.ready("web")
	before := r.given()
	var lost string
	for _, s := range r.sets() {
		if s.Name == "web-2" {
			lost = s.Spec.Host
		}
	}
	r.hosts[lost].Silence(true) // what it runs goes on
	r.happened("replaced", lost)
	r.ready("web")
	if now := r.given(); now["web-2"] == before["web-2"] {
		t.Errorf("web-2 is replaced with the address %s that %s may use", now["web-2"], lost)
	}
	r.edit("web", func(s *api.Service) { s.Spec.Replicas = 5 }) // one address more than there are
	testx.Eventually(t, patience, func() error {
		s, err := state.Get[api.Service](t.Context(), r.store, "web")
		if err == nil && (s.Status.Ready != 4 || s.Status.Reason == "") {
			err = fmt.Errorf("the service is %+v; %s", s.Status, r.all())
		}
		return err
	})
	for name, a := range r.given() {
		if a == before["web-2"] {
			t.Errorf("%s was given %s, which %s may use", name, a, lost)
		}
	}
	if l := r.leftovers(); len(l) != 1 || l[0].Name != lost+".web-2" || l[0].Spec.Addresses[0].Address != before["web-2"] {
		t.Errorf("the leftovers are %+v", l)
	}
	r.hosts[lost].Silence(false)
	r.ready("web")
	r.settled()
	testx.Eventually(t, patience, func() error {
		if l := r.leftovers(); len(l) > 0 {
			return fmt.Errorf("left of the host that came back: %+v", l[0].Spec)
		}
		return nil
	})
	if c, n := r.claims(), len(r.given()); len(c) != n {
		t.Errorf("%d claims of %d sets: %+v", len(c), n, c)
	}
}

// TestAddressesOfAFencedHost: the word that nothing of a host runs frees what it had, and so
// does its removal.
func TestAddressesOfAFencedHost(t *testing.T) {
	t.Parallel()
	for _, free := range []struct {
		name string
		do   func(r *rig, host string)
	}{
		{"fenced", func(r *rig, host string) { r.editHost(host, func(h *api.Host) { h.Spec.Fenced = true }) }},
		{"removed", func(r *rig, host string) { r.editHost(host, func(h *api.Host) { h.Deleted = h.Created }) }},
	} {
		t.Run(free.name, func(t *testing.T) {
			t.Parallel()
			r := vlanRig(t, 2)
			r.create(onVLAN("web", 2))
			r.ready("web")
			lost := r.sets()[0].Spec.Host
			r.hosts[lost].Kill()
			r.ready("web")
			r.happened("replaced", lost)
			r.ready("web")
			if l := r.leftovers(); len(l) != 1 {
				t.Fatalf("the leftovers are %+v", l)
			}
			free.do(r, lost)
			testx.Eventually(t, patience, func() error {
				if n, c := len(r.leftovers()), len(r.claims()); n != 0 || c != 2 {
					return fmt.Errorf("%d leftovers and %d claims", n, c)
				}
				return nil
			})
		})
	}
}

// TestStickyAddresses: sets keep their address over moves; those of a lost host wait.
func TestStickyAddresses(t *testing.T) {
	t.Parallel()
	r := vlanRig(t, 2)
	s := onVLAN("web", 1)
	s.Spec.StickyAddresses = true
	r.create(s)
	r.ready("web")
	had, from := r.given()["web-1"], r.sets()[0].Spec.Host
	r.create(onVLAN("edge", 3)) // that the next address is another
	r.ready("edge")
	r.editHost(from, func(h *api.Host) { h.Spec.Availability = api.Draining })
	testx.Eventually(t, patience, func() error {
		for _, s := range r.sets() {
			if s.Spec.Host == from || s.Status.Phase != api.Ready {
				return errors.New(s.Name + " is there still")
			}
		}
		return nil
	})
	if now := r.given()["web-1"]; now != had {
		t.Errorf("it moved with %s instead of %s", now, had)
	}
	s.Spec.OnHostLost = api.Replace
	if err := s.Check(); err == nil || !strings.Contains(err.Error(), "keeps its address") {
		t.Errorf("to replace it is %v", err)
	}
	r.remove("web")
	r.remove("edge")
	if c := r.claims(); len(c) > 0 {
		t.Errorf("claims are left: %+v", c)
	}
}

// TestAddressIsKeptThroughUpdates: a set that is changed in place keeps its address, and gets
// rid of one that its template named before only when nothing runs of that.
func TestAddressIsKeptThroughUpdates(t *testing.T) {
	t.Parallel()
	r := vlanRig(t, 1)
	s := onVLAN("web", 1)
	s.Spec.Set.Network.IP = "10.20.0.4"
	r.create(s)
	r.ready("web")
	r.edit("web", func(s *api.Service) { s.Spec.Set.Network.IP = "10.20.0.5" })
	r.ready("web")
	testx.Eventually(t, patience, func() error {
		if got := r.sets()[0].Spec.Addresses; len(got) != 1 || got[0].Address != "10.20.0.5" {
			return fmt.Errorf("it has %v", got)
		}
		if c := r.claims(); len(c) != 1 {
			return fmt.Errorf("the claims are %+v", c)
		}
		return nil
	})
	r.edit("web", func(s *api.Service) { s.Spec.Set.Network.IP = "" })
	r.ready("web")
	if got := r.given()["web-1"]; got != "10.20.0.5" {
		t.Errorf("it had 10.20.0.5, and has %s where nothing is said", got)
	}
}
