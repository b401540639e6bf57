package cluster

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"

	bridge "github.com/mosdocker/mosdocker/mosbridge/api"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/link"
)

// bridged is a mosbridge that takes what it is told.
type bridged struct {
	told bridge.Cluster
	used int
	err  error
	when func()
}

func (b *bridged) SetCluster(_ context.Context, to bridge.Cluster) (bridge.Cluster, error) {
	if b.err != nil {
		return bridge.Cluster{}, b.err
	}
	b.told = to
	if b.when != nil {
		b.when()
	}
	for _, p := range to.Pools {
		for i := range p.Blocks {
			p.Blocks[i].Used = b.used
		}
	}
	return to, nil
}

// TestMosbridgeIsToldBeforeSets: what the cluster gives is at mosbridge before a set asks for its
// address, the host reports what it gives back, and a host that leaves frees its mosbridge.
func TestMosbridgeIsToldBeforeSets(t *testing.T) {
	h, w := configured(t, t.TempDir())
	b := &bridged{used: 1}
	b.when = func() {
		if w.times > 0 {
			t.Error("sets were wished before mosbridge was told")
		}
	}
	h.Guard(b)
	a := assignment(t, 7, 9)
	a.Networks = []link.Given{{
		Network: "net1", Pools: []api.AddressPool{{Subnet: "10.9.0.0/24", Gateway: "10.9.0.1", Exclude: []string{"10.9.0.192/26"}, Block: 28}},
		Blocks: []api.HostBlock{{Network: "net1", Prefix: "10.9.0.16/28"}, {Network: "net1", Prefix: "10.9.0.32/28", Leaving: true}},
		Sets:   map[string]string{"10.9.0.5": "web-1"},
	}}
	if err := h.Assign(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	b.when = nil
	p := b.told.Pools
	if len(p) != 1 || b.told.Host != "h1" || p[0].Subnet.String() != "10.9.0.0/24" || len(p[0].Except) != 2 || p[0].Sets[netip.MustParseAddr("10.9.0.5")] != "web-1" ||
		len(p[0].Blocks) != 2 || p[0].Blocks[0].Leaving || !p[0].Blocks[1].Leaving {
		t.Errorf("mosbridge was told %+v", b.told)
	}
	if r := h.Report(t.Context()); !r.Guarded || len(r.Returned) > 0 {
		t.Errorf("with the block in use: guarded %v, returned %v", r.Guarded, r.Returned)
	}
	b.used = 0
	h.tellBridge(t.Context())
	if r := h.Report(t.Context()); !slices.Equal(r.Returned, []api.HostBlock{{Network: "net1", Prefix: "10.9.0.32/28", Leaving: true}}) {
		t.Errorf("with nothing in use: returned %v", r.Returned)
	}
	b.err = errors.New("it is away")
	h.tellBridge(t.Context())
	if r := h.Report(t.Context()); r.Guarded || len(r.Returned) > 0 {
		t.Errorf("without mosbridge: guarded %v, returned %v", r.Guarded, r.Returned)
	}
	b.err = nil
	again, _ := open(t, h.cfg.State) // a mosd that starts tells what it has on its disk
	again.Guard(b)
	b.told = bridge.Cluster{}
	again.tellBridge(t.Context())
	if len(b.told.Pools) != 1 {
		t.Errorf("after a start mosbridge was told %+v", b.told)
	}
	if err := again.Leave(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if len(b.told.Pools) > 0 {
		t.Errorf("of no cluster: told %+v", b.told)
	}
}
