package mosbridge

import (
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
	if _, err := d.setCluster(given); err != nil {
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
		if _, err := d.setCluster(api.Cluster{Host: "h2", Pools: []api.ClusterPool{bad}}); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: got %v, want it refused", name, err)
		}
	}
	refuses("after bad ones")
	cfg := d.cfg
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = opened(t, cfg)
	refuses("after a restart")
	if _, err := d.setCluster(api.Cluster{}); err != nil {
		t.Fatal(err)
	}
	if a, err := ask("10.9.0.77", "02:00:00:00:00:07"); err != nil || a != "10.9.0.77/24" {
		t.Errorf("of no cluster: got %q, %v", a, err)
	}
}
