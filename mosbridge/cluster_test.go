package mosbridge

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/pluginsrv/netapi"
	"github.com/mosdocker/mosdocker/mosbridge/api"
)

// TestAddressesOfAClustersNetwork: what a cluster gave holds from the moment it is told, is kept
// over a restart, and ends when it is taken back.
func TestAddressesOfAClustersNetwork(t *testing.T) {
	h := newHost(t)
	c := &creation{d: h.Driver, id: "a"}
	if err := c.all(t.Context()); err != nil {
		t.Fatal(err)
	}
	d := h.Driver
	ask := func(address, mac string) (string, error) {
		r, err := d.onRequestAddress(t.Context(), netapi.RequestAddressRequest{PoolID: c.pool, Address: address, Options: map[string]string{netapi.MACKey: mac}})
		return r.Address, err
	}
	given := api.Cluster{Host: "h2", Pools: []api.ClusterPool{{
		Network: "net1", Subnet: netip.MustParsePrefix("10.9.0.0/24"), Blocks: []api.ClusterBlock{{Prefix: netip.MustParsePrefix("10.9.0.16/28")}},
		Sets: map[netip.Addr]string{netip.MustParseAddr("10.9.0.5"): "web-1"},
	}}}
	if _, err := d.setCluster(t.Context(), given); err != nil {
		t.Fatal(err)
	}
	refuses := func(when string) {
		t.Helper()
		if _, err := ask("10.9.0.77", "02:00:00:00:00:07"); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "host h2 has block 10.9.0.16/28") {
			t.Errorf("%s: an address of others: got %v, want a refusal that names the block", when, err)
		}
	}
	refuses("told")
	if a, err := ask("", "02:00:00:00:00:01"); err != nil || a != "10.9.0.16/24" {
		t.Errorf("a container gets %q, %v, want the first of the block", a, err)
	}
	if a, err := ask("10.9.0.5", "02:00:00:00:00:02"); err != nil || a != "10.9.0.5/24" {
		t.Errorf("a set gets %q, %v, want its address", a, err)
	}
	if got := d.showCluster(); got.Pools[0].Blocks[0].Used != 1 {
		t.Errorf("shown: %+v, want one address in use", got)
	}
	for name, bad := range map[string]api.ClusterPool{
		"no subnet":          {Network: "net1"},
		"a block outside":    {Network: "net1", Subnet: netip.MustParsePrefix("10.9.0.0/24"), Blocks: []api.ClusterBlock{{Prefix: netip.MustParsePrefix("10.8.0.0/28")}}},
		"a block not masked": {Network: "net1", Subnet: netip.MustParsePrefix("10.9.0.0/24"), Blocks: []api.ClusterBlock{{Prefix: netip.MustParsePrefix("10.9.0.17/28")}}},
	} {
		if _, err := d.setCluster(t.Context(), api.Cluster{Host: "h2", Pools: []api.ClusterPool{bad}}); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: got %v, want it refused", name, err)
		}
	}
	refuses("after bad ones")
	late, gone := context.WithCancel(t.Context())
	gone()
	if _, err := d.setCluster(late, api.Cluster{}); !errors.Is(err, context.Canceled) {
		t.Errorf("of somebody who waits no longer: got %v", err)
	}
	refuses("after one that nobody waits for")
	cfg := d.cfg
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = opened(t, cfg)
	refuses("after a restart")
	if _, err := d.setCluster(t.Context(), api.Cluster{}); err != nil {
		t.Fatal(err)
	}
	if a, err := ask("10.9.0.77", "02:00:00:00:00:07"); err != nil || a != "10.9.0.77/24" {
		t.Errorf("of no cluster: got %q, %v", a, err)
	}
}

// TestNetworksOfOneSubnet: the first is the host's, and of others it has what it still has.
func TestNetworksOfOneSubnet(t *testing.T) {
	subnet := netip.MustParsePrefix("10.9.0.0/24")
	given := api.Cluster{Host: "h2", Pools: []api.ClusterPool{
		{Network: "net1", Subnet: subnet, Blocks: []api.ClusterBlock{{Prefix: netip.MustParsePrefix("10.9.0.16/28")}}, Sets: map[netip.Addr]string{netip.MustParseAddr("10.9.0.5"): "web-1"}},
		{
			Network: "old", Subnet: subnet, Range: netip.MustParsePrefix("10.9.0.128/25"), Blocks: []api.ClusterBlock{{Prefix: netip.MustParsePrefix("10.9.0.240/28"), Leaving: true}},
			Sets: map[netip.Addr]string{netip.MustParseAddr("10.9.0.200"): "db-1"},
		},
	}}
	all, err := guardsOf(given)
	if err != nil {
		t.Fatal(err)
	}
	g := all[subnet]
	if len(all) != 1 || g.Network != "net1" || g.Range != subnet || len(g.Blocks) != 2 || g.Blocks[0].Leaving || !g.Blocks[1].Leaving || len(g.Sets) != 2 {
		t.Errorf("got %+v", g)
	}
	if len(given.Pools[0].Sets) != 1 {
		t.Error("what was told is changed")
	}
}
