package ipam_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/mosbridge/ipam"
)

// guarded has a cluster give out 10.9.0.0/24 but its gateway and the last quarter, and this
// host have some blocks of it, with a set at 10.9.0.5.
func (w world) guarded(blocks ...ipam.Block) {
	w.Guard(map[netip.Prefix]*ipam.Guard{netip.MustParsePrefix("10.9.0.0/24"): {
		Network: "net1", Host: "h2", Range: netip.MustParsePrefix("10.9.0.0/24"), Blocks: blocks,
		Except: []netip.Prefix{netip.MustParsePrefix("10.9.0.1/32"), netip.MustParsePrefix("10.9.0.192/26")},
		Sets:   map[netip.Addr]string{netip.MustParseAddr("10.9.0.5"): "web-1"},
	}})
}

func block(s string) ipam.Block { return ipam.Block{Prefix: netip.MustParsePrefix(s)} }

func TestContainersOfNoSetGetAddressesOfTheHostsBlock(t *testing.T) {
	w := open(t)
	id := w.pool("10.9.0.0/24", "")
	want(t, "gateway", w.get(id, ipam.Request{Gateway: true}, t0), "10.9.0.1")
	before := w.get(id, named("before", 1), t0) // the cluster was not heard yet
	w.guarded(block("10.9.0.16/30"))
	want(t, "a container that runs goes on", w.get(id, named("before", 1), t0.Add(time.Hour)), before)
	w.release(id, before, t0.Add(2*time.Hour))
	now := t0.Add(3 * time.Hour)
	want(t, "it comes back into the block", w.get(id, named("before", 1), now), "10.9.0.16")
	want(t, "second", w.get(id, named("b", 2), now), "10.9.0.17")
	want(t, "asked for in the block", w.get(id, asked("c", "10.9.0.19", 3), now), "10.9.0.19")
	want(t, "third", w.get(id, named("d", 4), now), "10.9.0.18")
	_, err := w.RequestAddress(id, named("e", 5), now)
	refused(t, err, errdefs.ErrResourceExhausted, "10.9.0.16/30", "host h2", "network net1")
	w.release(id, "10.9.0.17", now)
	w.release(id, "10.9.0.19", now)
	if n := w.Used(netip.MustParsePrefix("10.9.0.16/30")); n != 2 {
		t.Errorf("%d addresses of the block are in use, want 2", n)
	}
	want(t, "a past one of the block", w.get(id, named("f", 6), now.Add(time.Hour)), "10.9.0.17")
}

func TestAddressesOfOthersAreRefused(t *testing.T) {
	w := open(t)
	id := w.pool("10.9.0.0/24", "")
	want(t, "the gateway is not under it", w.get(id, ipam.Request{Gateway: true}, t0), "10.9.0.1")
	w.get(id, asked("old", "10.9.0.77", 9), t0)
	w.release(id, "10.9.0.77", t0)
	w.guarded(block("10.9.0.16/28"), ipam.Block{Prefix: netip.MustParsePrefix("10.9.0.32/28"), Leaving: true})
	for addr, says := range map[string][]string{
		"10.9.0.40": {"10.9.0.40", "giving back", "net1", "h2"},
		"10.9.0.50": {"10.9.0.50", "by the cluster", "net1", "h2", "10.9.0.16/28", "--ip"},
		"10.9.0.77": {"10.9.0.77", "by the cluster"},
	} {
		_, err := w.RequestAddress(id, asked("old", addr, 2), t0)
		refused(t, err, errdefs.ErrFailedPrecondition, says...)
	}
	want(t, "that of a set of this host", w.get(id, asked("set", "10.9.0.5", 3), t0), "10.9.0.5")
	want(t, "one that the cluster excludes", w.get(id, asked("x", "10.9.0.200", 4), t0), "10.9.0.200")
	want(t, "whose owner comes back without --ip", w.get(id, named("old", 2), t0), "10.9.0.16")
	w.guarded()
	_, err := w.RequestAddress(id, asked("y", "10.9.0.20", 5), t0)
	refused(t, err, errdefs.ErrFailedPrecondition, "no block")
	_, err = w.RequestAddress(id, named("z", 6), t0)
	refused(t, err, errdefs.ErrResourceExhausted, "no block", "within seconds", "--ip-range", "net1")
	w.Guard(nil)
	want(t, "of no cluster", w.get(id, asked("y", "10.9.0.50", 5), t0), "10.9.0.50")
}

func TestRangeThatTheClusterExcludesIsGivenOutWithoutBlocks(t *testing.T) {
	w := open(t)
	id := w.pool("10.9.0.0/24", "10.9.0.128/25") // half of it is the cluster's
	w.guarded()
	want(t, "first", w.get(id, named("a", 1), t0), "10.9.0.192")
	w.guarded(block("10.9.0.16/30"))
	want(t, "a block comes first", w.get(id, named("b", 2), t0), "10.9.0.16")
	w.release(id, "10.9.0.192", t0)
	other := open(t)
	id = other.pool("10.8.0.0/24", "")
	other.guarded()
	want(t, "another subnet", other.get(id, named("a", 1), t0), "10.8.0.1")
}
