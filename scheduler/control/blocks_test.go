package control_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/simulate"
	"github.com/mosdocker/mosdocker/scheduler/state"
)

// lan is a network of the cluster: .2 to .14, of which hosts have blocks of two addresses.
func lan() *api.Network {
	return &api.Network{Meta: api.Meta{Name: "vlan"}, Spec: api.NetworkSpec{Pools: []api.AddressPool{
		{Subnet: vlanSubnet, Gateway: "10.20.0.1", Block: 31},
	}}}
}

// blockHost is a host with that network, whose mosbridge goes by what the cluster gives.
func (r *rig) blockHost(name string, guarded bool) *simulate.Host {
	h := r.prepared(name)
	h.Status.Networks = map[string]string{"vlan": vlanSubnet}
	h.Guarded = guarded
	return r.add(h)
}

func (r *rig) blocks(host string) []api.HostBlock {
	r.t.Helper()
	h, err := state.Get[api.Host](r.t.Context(), r.store, host)
	must(r.t, err)
	return h.Status.Blocks
}

// haveBlocks waits until hosts have blocks, or leaving ones, as the store says and as they were
// told, which are claimed and overlap with nobody's.
func (r *rig) haveBlocks(want map[string]int) {
	r.t.Helper()
	testx.Eventually(r.t, patience, func() error {
		claimed := 0
		for name, n := range want {
			has := r.blocks(name)
			claimed += len(has)
			if len(has) != n || !slices.Equal(r.hosts[name].Given("vlan").Blocks, has) {
				return fmt.Errorf("%s has %v and was told %v, wanted %d", name, has, r.hosts[name].Given("vlan").Blocks, n)
			}
		}
		for _, c := range r.claims() {
			if c.Thing.Class == "block" {
				claimed--
			}
		}
		if claimed != 0 {
			return fmt.Errorf("%d claims too few", claimed)
		}
		return nil
	})
	seen := map[netip.Addr]string{}
	for name := range want {
		for _, b := range r.blocks(name) {
			p := netip.MustParsePrefix(b.Prefix)
			for a := p.Addr(); p.Contains(a); a = a.Next() {
				if seen[a] != "" || a == netip.MustParseAddr("10.20.0.1") || a == netip.MustParseAddr("10.20.0.15") {
					r.t.Errorf("%s of %s is of %q, too", a, name, seen[a])
				}
				seen[a] = name
			}
		}
	}
	for set, a := range r.given() {
		if of := seen[netip.MustParseAddr(a)]; of != "" {
			r.t.Errorf("%s has %s, which is in a block of %s", set, a, of)
		}
	}
}

// TestHostsHaveBlocksOfAddresses: each host whose mosbridge goes by it has a block of its own
// beside the addresses of sets, keeps it while it is lost, and gives it back only when nothing of
// it is in use.
func TestHostsHaveBlocksOfAddresses(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	h1 := r.blockHost("h1", true)
	r.blockHost("h2", true)
	r.blockHost("h3", false)
	r.lead("c1")
	r.create(lan())
	r.haveBlocks(map[string]int{"h1": 1, "h2": 1, "h3": 0})
	r.create(onVLAN("web", 9)) // .2 to .14 without 4: just what is left
	r.ready("web")
	r.haveBlocks(map[string]int{"h1": 1, "h2": 1, "h3": 0})
	h1.Silence(true) // others get nothing of it
	r.edit("web", func(s *api.Service) { s.Spec.Replicas = 0 })
	testx.Eventually(t, patience, func() error {
		h, err := state.Get[api.Host](t.Context(), r.store, "h1")
		if err == nil && h.Status.Health != api.Lost {
			err = fmt.Errorf("h1 is %s", h.Status.Health)
		}
		return err
	})
	h1.Silence(false)
	r.haveBlocks(map[string]int{"h1": 1, "h2": 1, "h3": 0})

	// A block that is not wished any more leaves; while containers have addresses of it, it stays.
	was := r.blocks("h1")[0]
	h1.Uses(was.Prefix, true)
	_, err := state.Edit(t.Context(), r.store, "vlan", func(n *api.Network) error { n.Spec.Pools[0].Block = 0; return nil })
	must(t, err)
	r.haveBlocks(map[string]int{"h1": 1, "h2": 0, "h3": 0})
	r.happened("block-returned", "vlan")
	if b := r.blocks("h1")[0]; !b.Leaving || b.Prefix != was.Prefix {
		t.Errorf("the block in use is %+v, wanted it to leave", b)
	}
	r.edit("web", func(s *api.Service) { s.Deleted = time.Now() })
	_, err = state.Edit(t.Context(), r.store, "vlan", func(n *api.Network) error { n.Deleted = time.Now(); return nil })
	must(t, err)
	r.gone(func() error { _, err := state.Get[api.Service](t.Context(), r.store, "web"); return err })
	if _, err := state.Get[api.Network](t.Context(), r.store, "vlan"); err != nil {
		t.Errorf("the network of a block in use: %v", err)
	}
	h1.Uses(was.Prefix, false)
	r.gone(func() error { _, err := state.Get[api.Network](t.Context(), r.store, "vlan"); return err })
	if left := r.claims(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestBlocksComeBackToAnotherLeader: also if the host's record changed since it was told of them.
func TestBlocksComeBackToAnotherLeader(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	h1 := r.blockHost("h1", true)
	stop := r.lead("c1")
	r.create(lan())
	r.haveBlocks(map[string]int{"h1": 1})
	was := r.blocks("h1")[0]
	h1.Uses(was.Prefix, true)
	_, err := state.Edit(t.Context(), r.store, "vlan", func(n *api.Network) error { n.Spec.Pools[0].Block = 0; return nil })
	must(t, err)
	r.happened("block-leaves", "vlan")
	r.editHost("h1", func(h *api.Host) { h.Spec.Rack = "k9" })
	stop()
	r.editHost("h1", func(h *api.Host) { h.Spec.Rack = "k10" })
	h1.Uses(was.Prefix, false)
	r.lead("c2")
	r.haveBlocks(map[string]int{"h1": 0})
}

// TestBlocksSpareAddressesThatServicesName: also while no set of the service has a host, or it
// would never get one.
func TestBlocksSpareAddressesThatServicesName(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.blockHost("h1", true)
	r.lead("c1")
	db := onVLAN("db", 0)
	db.Spec.Set.Network.IP = "10.20.0.13"
	r.create(db)
	r.create(lan())
	r.haveBlocks(map[string]int{"h1": 1})
	r.edit("db", func(s *api.Service) { s.Spec.Replicas = 1 })
	r.ready("db")
	r.haveBlocks(map[string]int{"h1": 1})
}

// TestBlocksOfHostsThatGo: a host that lives gives its block back before it goes, and of one
// that is lost the removal is the word.
func TestBlocksOfHostsThatGo(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	h1, h2 := r.blockHost("h1", true), r.blockHost("h2", true)
	r.lead("c1")
	r.create(lan())
	r.haveBlocks(map[string]int{"h1": 1, "h2": 1})
	h1.Uses(r.blocks("h1")[0].Prefix, true)
	r.editHost("h1", func(h *api.Host) { h.Deleted = time.Now() })
	r.happened("block-leaves", "vlan")
	h, err := state.Get[api.Host](t.Context(), r.store, "h1")
	if err != nil || h.Deleted.IsZero() {
		t.Fatalf("a host with containers in its block: %+v, %v", h, err)
	}
	h1.Uses(h.Status.Blocks[0].Prefix, false)
	r.gone(func() error {
		is, err := state.Get[api.Host](t.Context(), r.store, "h1")
		if err == nil && is.UID != h.UID {
			err = errors.New("it joined anew")
		}
		return err
	})
	h2.Silence(true)
	testx.Eventually(t, patience, func() error {
		h, err := state.Get[api.Host](t.Context(), r.store, "h2")
		if err == nil && h.Status.Health != api.Lost {
			err = fmt.Errorf("h2 is %s", h.Status.Health)
		}
		return err
	})
	if len(r.blocks("h2")) != 1 {
		t.Error("a lost host lost its block")
	}
	r.editHost("h2", func(h *api.Host) { h.Deleted = time.Now() })
	r.gone(func() error { _, err := state.Get[api.Host](t.Context(), r.store, "h2"); return err })
	r.haveBlocks(map[string]int{"h1": 1}) // it joined anew
}
