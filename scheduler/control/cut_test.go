package control

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/link"
)

func TestBlocksAreCutFromTheEndOn(t *testing.T) {
	p := newPool(api.AddressPool{Subnet: "10.9.0.0/26", Gateway: "10.9.0.1", Exclude: []string{"10.9.0.33"}, Block: 29})
	taken := map[string]bool{"10.9.0.18": true}
	blocks := map[netip.Prefix]bool{}
	cut := func() string {
		one, found := p.cut(func(a netip.Addr) bool { return taken[a.String()] }, func(a netip.Addr) netip.Prefix {
			b, _ := a.Prefix(29)
			if !blocks[b] {
				return netip.Prefix{}
			}
			return b
		})
		if !found {
			return "none"
		}
		blocks[one] = true
		return one.String()
	}
	var got []string
	for range 5 {
		got = append(got, cut())
	}
	// Without that of the broadcast address, of the one excluded, of the one taken and of the gateway.
	if want := "10.9.0.48/29 10.9.0.40/29 10.9.0.24/29 10.9.0.8/29 none"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	taken = nil
	delete(blocks, netip.MustParsePrefix("10.9.0.40/29"))
	if a, b := cut(), cut(); a+" "+b != "10.9.0.40/29 10.9.0.16/29" && a+" "+b != "10.9.0.16/29 10.9.0.40/29" {
		t.Errorf("what was given back is %s and %s", a, b)
	}
	for of, want := range map[string]string{"10.0.0.0/8 10.128.0.0/9 30": "10.127.255.252/30", "fd00:9::/64 fd00:9::ffff:0:0:0/80 120": "fd00:9::fffe:ffff:ffff:ff00/120"} {
		var pool api.AddressPool
		pool.Exclude = []string{""}
		if _, err := fmt.Sscan(of, &pool.Subnet, &pool.Exclude[0], &pool.Block); err != nil {
			t.Fatal(err)
		}
		one, found := newPool(pool).cut(func(netip.Addr) bool { return false }, func(netip.Addr) netip.Prefix { return netip.Prefix{} })
		if !found || one.String() != want {
			t.Errorf("below a large part that is excluded: %s, %v, want %s", one, found, want)
		}
	}
	v6 := newPool(api.AddressPool{Subnet: "fd00:9::/64", Block: 120})
	if one, found := v6.cut(func(netip.Addr) bool { return false }, func(netip.Addr) netip.Prefix { return netip.Prefix{} }); !found || one.String() != "fd00:9::ffff:ffff:ffff:ff00/120" {
		t.Errorf("of IPv6: %s, %v", one, found)
	}
}

// TestRoomForSetsIsCountedWithoutBlocks: as blocks come, change and go, also before their network is known.
func TestRoomForSetsIsCountedWithoutBlocks(t *testing.T) {
	c := newCache(1)
	has := func(prefixes ...string) {
		h := &api.Host{Meta: api.Meta{Name: "h1"}}
		for _, p := range prefixes {
			h.Status.Blocks = append(h.Status.Blocks, api.HostBlock{Network: "prod", Prefix: p})
		}
		c.setHost(h)
	}
	want := func(all, lent int) {
		t.Helper()
		if p := c.networks["prod"].pools[0]; p.all != all || p.lent != lent {
			t.Errorf("%d addresses, of which %d are in blocks, want %d and %d", p.all, p.lent, all, lent)
		}
	}
	pool := api.AddressPool{Subnet: "10.9.0.0/24", Gateway: "10.9.0.1", Block: 28}
	declare := func() {
		c.setNetwork(&api.Network{Meta: api.Meta{Name: "prod"}, Spec: api.NetworkSpec{Pools: []api.AddressPool{pool}}})
	}
	has("10.9.0.16/28")
	declare()
	want(253, 16)
	has("10.9.0.16/28", "10.9.0.32/28")
	want(253, 32)
	pool.Exclude = []string{"10.9.0.2"}
	declare()
	want(252, 32)
	has("10.9.0.32/28")
	want(252, 16)
	c.remove(api.Hosts, "h1")
	want(252, 0)
}

// BenchmarkHostWithABlock: one more host with a block of a large network comes into the cache.
func BenchmarkHostWithABlock(b *testing.B) {
	c := newCache(1)
	c.setNetwork(&api.Network{Meta: api.Meta{Name: "prod"}, Spec: api.NetworkSpec{Pools: []api.AddressPool{{Subnet: "10.0.0.0/12", Block: 28}}}})
	block := netip.MustParseAddr("10.0.0.0")
	for i := 0; b.Loop(); i++ {
		c.setHost(&api.Host{Meta: api.Meta{Name: strconv.Itoa(i % 10000)}, Status: api.HostStatus{
			Networks: map[string]string{"prod": "10.0.0.0/12"}, Blocks: []api.HostBlock{{Network: "prod", Prefix: netip.PrefixFrom(block, 28).String()}},
		}})
		block = last(netip.PrefixFrom(block, 28)).Next()
	}
}

// TestOldWordOfABlockIsOfNoAccount: a block that was given back and given to its host again goes
// back only by a report that knows of that.
func TestOldWordOfABlockIsOfNoAccount(t *testing.T) {
	c := newCache(1)
	b := api.HostBlock{Network: "prod", Prefix: "10.9.0.16/28", Leaving: true} // the network is gone
	for revision, blocks := range [][]api.HostBlock{5: {b}, 6: nil, 7: {b}, 8: {b}} {
		c.setHost(&api.Host{Meta: api.Meta{Name: "h1", Revision: int64(revision)}, Status: api.HostStatus{Blocks: blocks}})
	}
	d := newDraft(c, time.Now())
	for revision, want := range map[int64]int{6: 1, 7: 0} {
		if has := d.kept(c.hosts["h1"], &link.Report{Revision: revision, Returned: []api.HostBlock{b}}); len(has) != want {
			t.Errorf("by a report of revision %d the host has %v, want %d", revision, has, want)
		}
	}
}

// TestNetworksThatAHostHasAreToldFirst: also if it has something left of another one of their subnet.
func TestNetworksThatAHostHasAreToldFirst(t *testing.T) {
	c := newCache(1)
	for _, name := range []string{"a", "b", "c"} {
		c.setNetwork(&api.Network{Meta: api.Meta{Name: name}, Spec: api.NetworkSpec{Pools: []api.AddressPool{{Subnet: "10.9.0.0/24", Block: 28}}}})
	}
	c.setHost(&api.Host{Meta: api.Meta{Name: "h1"}, Status: api.HostStatus{
		Networks: map[string]string{"b": "10.9.0.0/24"}, Blocks: []api.HostBlock{{Network: "a", Prefix: "10.9.0.16/28", Leaving: true}},
	}})
	var told []string
	for _, g := range c.gives("h1") {
		told = append(told, g.Network)
	}
	if !slices.Equal(told, []string{"b", "a"}) {
		t.Errorf("told of %v, want b and then a", told)
	}
}

// TestBlocksMoveByWhatABatchTakes: a host of many networks gets and gives back its blocks one part after the other.
func TestBlocksMoveByWhatABatchTakes(t *testing.T) {
	c := newCache(1)
	h := &api.Host{Meta: api.Meta{Name: "h1"}, Status: api.HostStatus{Networks: map[string]string{}}}
	for i := range 100 {
		name, subnet := fmt.Sprint("n", i), fmt.Sprintf("10.9.%d.0/24", i)
		c.setNetwork(&api.Network{Meta: api.Meta{Name: name}, Spec: api.NetworkSpec{Pools: []api.AddressPool{{Subnet: subnet, Block: 28}}}})
		h.Status.Networks[name] = subnet
	}
	move := func(r link.Report) (ops int) {
		t.Helper()
		c.setHost(h)
		d := newDraft(c, time.Now())
		is := *h
		is.Status.Blocks = d.kept(h, &r)
		if r.Guarded {
			is.Status.Blocks, _ = (&leader{}).give(d, h, is.Status.Blocks, map[*pool]bool{}, d.wished)
		}
		d.noteBlocks(h, is.Status.Blocks)
		ops = hostChange(h, &is).ops + len(d.notes["/h1"])
		h = &is
		if ops > 2*batchOps {
			t.Errorf("%d changes in a batch, of which an etcd takes 126", ops)
		}
		return ops
	}
	for range 5 {
		move(link.Report{Guarded: true})
	}
	if len(h.Status.Blocks) != 100 || move(link.Report{Guarded: true}) != 1 {
		t.Errorf("it has %d blocks, want 100", len(h.Status.Blocks))
	}
	h.Status.Networks, h.Status.Engine = nil, "29.7.2"
	for range 5 {
		move(link.Report{}) // they leave
	}
	for range 5 {
		move(link.Report{Returned: h.Status.Blocks})
	}
	if len(h.Status.Blocks) > 0 {
		t.Errorf("it has %v still", h.Status.Blocks)
	}
}

// TestBlocksOfARangeThatWasMadeSmaller: what lies outside is not searched.
func TestBlocksOfARangeThatWasMadeSmaller(t *testing.T) {
	pool := api.AddressPool{Subnet: "10.0.0.0/8", Block: 28}
	var n *network
	for _, of := range []string{"", "10.0.0.0/24"} {
		pool.Range = of
		n = newNetwork(&api.Network{Spec: api.NetworkSpec{Pools: []api.AddressPool{pool}}}, n)
	}
	one, found := n.pools[0].cut(func(netip.Addr) bool { return false }, func(netip.Addr) netip.Prefix { return netip.Prefix{} })
	if !found || one.String() != "10.0.0.240/28" {
		t.Errorf("got %s, %v, want the last of the range", one, found)
	}
}
