package ipam_test

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/mosdocker/mosdocker/mosbridge/ipam"
	"github.com/mosdocker/mosdocker/mosbridge/ipam/ipamtest"
)

// model is what the property test believes: who holds which address.
type model struct {
	a      *ipam.Allocator
	store  *ipamtest.Mem
	id     ipam.PoolID
	now    time.Time
	holder map[netip.Addr]ipam.Request
	serial int
}

func (m *model) request(t *rapid.T) {
	m.serial++
	r := ipam.Request{Name: rapid.SampledFrom([]string{"", "a", "b", "c", "d"}).Draw(t, "name"), MAC: mac(m.serial)}
	if rapid.Bool().Draw(t, "asked") {
		r.Addr = netip.AddrFrom4([4]byte{10, 0, 0, byte(rapid.IntRange(0, 15).Draw(t, "addr"))})
	}
	free := m.free()
	l, err := m.a.RequestAddress(m.id, r, m.now)
	switch {
	case err == nil:
		if h, ok := m.holder[l.Addr]; ok {
			t.Fatalf("%s was given to %+v though %+v holds it", l.Addr, r, h)
		}
		if l.Addr.As4()[3] == 0 || l.Addr.As4()[3] == 15 {
			t.Fatalf("%s was given out", l.Addr)
		}
		m.holder[l.Addr] = r
		again, err := m.a.RequestAddress(m.id, r, m.now)
		if err != nil || again != l {
			t.Fatalf("the same request again: %v, %v, want %v", again, err, l)
		}
	case r.Addr.IsValid():
		_, held := m.holder[r.Addr]
		if edge := r.Addr.As4()[3] == 0 || r.Addr.As4()[3] == 15; !held && !edge {
			t.Fatalf("%s is free but refused: %v", r.Addr, err)
		}
	case !errors.Is(err, errdefs.ErrResourceExhausted):
		t.Fatal(err)
	case free > 0:
		t.Fatalf("%d addresses are free but: %v", free, err)
	}
}

// free counts the addresses that anybody may be given.
func (m *model) free() int {
	n := 14
	for range m.a.Leases(m.id) {
		n--
	}
	return n
}

func (m *model) release(t *rapid.T) {
	for _, addr := range slices.SortedFunc(maps.Keys(m.holder), netip.Addr.Compare) {
		r := m.holder[addr]
		if rapid.IntRange(0, 2).Draw(t, "pick") != 0 {
			continue
		}
		before := m.free()
		if err := m.a.ReleaseAddress(m.id, addr, m.now); err != nil {
			t.Fatal(err)
		}
		delete(m.holder, addr)
		if m.free() == before {
			continue // kept
		}
		// Its MAC gets it back at once.
		l, err := m.a.RequestAddress(m.id, ipam.Request{MAC: r.MAC}, m.now)
		if err != nil || l.Addr != addr {
			t.Fatalf("%s came back as %v, %v", addr, l, err)
		}
		m.holder[addr] = r
		if err := m.a.ReleaseAddress(m.id, addr, m.now); err != nil {
			t.Fatal(err)
		}
		delete(m.holder, addr)
	}
}

func (m *model) forget(t *rapid.T) {
	for _, l := range m.a.Leases(m.id) {
		if l.State == ipam.Kept && rapid.Bool().Draw(t, "forget") {
			if err := m.a.Forget(m.id, l.Addr); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// check also rebuilds the allocator and lets both answer the next request.
func (m *model) check(t *rapid.T) {
	twin, err := ipam.New(ipam.Config{Store: m.store})
	if err != nil {
		t.Fatal(err)
	}
	opts := cmp.Options{cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}), cmpopts.EquateEmpty()}
	if diff := cmp.Diff(m.a.Leases(""), twin.Leases(""), opts); diff != "" {
		t.Fatalf("rebuilt leases differ:\n%s", diff)
	}
	if diff := cmp.Diff(m.a.Pools(), twin.Pools(), opts); diff != "" {
		t.Fatalf("rebuilt pools differ:\n%s", diff)
	}
	m.store.Fail = true
	defer func() { m.store.Fail = false }()
	// A store that fails shows what would be chosen, without a change.
	seen := map[*ipam.Allocator]string{}
	for _, a := range []*ipam.Allocator{m.a, twin} {
		l, err := a.RequestAddress(m.id, ipam.Request{Name: "new", MAC: mac(1 << 20)}, m.now)
		seen[a] = fmt.Sprint(l, err)
	}
	if seen[m.a] != seen[twin] {
		t.Fatalf("rebuilt chooses %s instead of %s", seen[twin], seen[m.a])
	}
}

func TestAddressesUnderRandomUse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{store: &ipamtest.Mem{}, now: t0, holder: map[netip.Addr]ipam.Request{}}
		var err error
		if m.a, err = ipam.New(ipam.Config{Store: m.store}); err != nil {
			t.Fatal(err)
		}
		p, err := m.a.RequestPool(ipam.PoolRequest{Space: "s", Pool: "10.0.0.0/28"}, t0)
		if err != nil {
			t.Fatal(err)
		}
		m.id = p.ID()
		t.Repeat(map[string]func(*rapid.T){
			"request": m.request,
			"release": m.release,
			"forget":  m.forget,
			"":        func(t *rapid.T) { m.now = m.now.Add(time.Second); m.check(t) },
		})
	})
}

type nowhere struct{}

func (nowhere) Load() ([]ipam.Pool, []ipam.Lease, error) { return nil, nil, nil }
func (nowhere) Apply(ipam.Change) error                  { return nil }

// BenchmarkAddressOfAFullPool releases and requests an address of a /16 that
// is full but for it.
func BenchmarkAddressOfAFullPool(b *testing.B) {
	a, err := ipam.New(ipam.Config{Store: nowhere{}})
	if err != nil {
		b.Fatal(err)
	}
	p, err := a.RequestPool(ipam.PoolRequest{Space: "s", Pool: "10.0.0.0/16"}, t0)
	if err != nil {
		b.Fatal(err)
	}
	var last ipam.Lease
	for i := range 1<<16 - 2 {
		if last, err = a.RequestAddress(p.ID(), ipam.Request{MAC: mac(i + 1)}, t0); err != nil {
			b.Fatal(err)
		}
	}
	for i := 0; b.Loop(); i++ {
		if err := a.ReleaseAddress(p.ID(), last.Addr, t0); err != nil {
			b.Fatal(err)
		}
		if last, err = a.RequestAddress(p.ID(), ipam.Request{MAC: mac(1<<20 + i)}, t0); err != nil {
			b.Fatal(err)
		}
	}
}
