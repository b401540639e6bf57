package ipamtest

import (
	"cmp"
	"net/netip"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mosdocker/mosdocker/mosbridge/ipam"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// Suite checks that a store keeps the contract of [ipam.Store]. Open returns
// an empty store for each call.
func Suite(t *testing.T, open func() ipam.Store) {
	t.Helper()
	t.Run("EmptyLoadsNothing", func(t *testing.T) { expect(t, open(), nil, nil) })
	t.Run("AllFieldsSurvive", func(t *testing.T) {
		s := open()
		p, l := samples()
		apply(t, s, ipam.Change{PutPools: p, PutLeases: l})
		expect(t, s, p, l)
	})
	t.Run("PuttingAgainReplaces", func(t *testing.T) {
		s := open()
		p, l := samples()
		apply(t, s, ipam.Change{PutPools: p, PutLeases: l})
		p[0].Network, l[0].State, l[0].Name = "n2", ipam.Past, "other"
		apply(t, s, ipam.Change{PutPools: p[:1], PutLeases: l[:1]})
		expect(t, s, p, l)
	})
	t.Run("DroppingALeaseLeavesOthers", func(t *testing.T) {
		s := open()
		p, l := samples()
		apply(t, s, ipam.Change{PutPools: p, PutLeases: l})
		apply(t, s, ipam.Change{DropLeases: []ipam.Key{l[1].Key()}})
		expect(t, s, p, slices.Delete(l, 1, 2))
	})
	t.Run("DroppingAPoolDropsItsLeases", func(t *testing.T) {
		s := open()
		p, l := samples()
		apply(t, s, ipam.Change{PutPools: p, PutLeases: l})
		apply(t, s, ipam.Change{DropPools: []ipam.PoolID{p[0].ID()}})
		rest := slices.DeleteFunc(l, func(x ipam.Lease) bool { return x.Pool == p[0].ID() })
		expect(t, s, p[1:], rest)
	})
	t.Run("DroppingTheUnknownIsWell", func(t *testing.T) {
		s := open()
		p, l := samples()
		apply(t, s, ipam.Change{DropPools: []ipam.PoolID{p[0].ID()}, DropLeases: []ipam.Key{l[0].Key()}})
		expect(t, s, nil, nil)
	})
}

// samples are pools of which one's id begins like the other's, and leases of
// all kinds in them.
func samples() ([]ipam.Pool, []ipam.Lease) {
	at := time.Date(2026, 3, 1, 12, 30, 0, 123456789, time.UTC)
	ps := []ipam.Pool{
		{Space: "s", Prefix: netip.MustParsePrefix("10.1.0.0/24"), Sub: netip.MustParsePrefix("10.1.0.128/25"), Network: "n1", Since: at},
		{Space: "s", Prefix: netip.MustParsePrefix("fd00:1::/64"), Since: at},
		{Space: "ss", Prefix: netip.MustParsePrefix("10.1.0.0/24"), Since: at},
	}
	a, b, c := ps[0].ID(), ps[1].ID(), ps[2].ID()
	ls := []ipam.Lease{
		{Pool: a, Addr: netip.MustParseAddr("10.1.0.1"), State: ipam.Held, Kind: ipam.Gateway, Since: at},
		{Pool: a, Addr: netip.MustParseAddr("10.1.0.2"), State: ipam.Kept, Kind: ipam.Endpoint, Asked: true, Name: "web", MAC: spec.MAC{2, 1}, Since: at},
		{Pool: b, Addr: netip.MustParseAddr("fd00:1::2"), State: ipam.Past, Kind: ipam.Endpoint, MAC: spec.MAC{2, 2}, Since: at},
		{Pool: c, Addr: netip.MustParseAddr("10.1.0.1"), State: ipam.Held, Kind: ipam.Auxiliary, Asked: true, Since: at},
	}
	return ps, ls
}

func apply(t *testing.T, s ipam.Store, c ipam.Change) {
	t.Helper()
	if err := s.Apply(c); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, s ipam.Store, pools []ipam.Pool, leases []ipam.Lease) {
	t.Helper()
	ps, ls, err := s.Load()
	if err != nil {
		t.Fatal(err)
	}
	opts := []gocmp.Option{
		cmpopts.EquateEmpty(),
		cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}),
		cmpopts.SortSlices(func(x, y ipam.Pool) int { return cmp.Compare(x.ID(), y.ID()) }),
		cmpopts.SortSlices(func(x, y ipam.Lease) int {
			return cmp.Or(cmp.Compare(x.Pool, y.Pool), x.Addr.Compare(y.Addr))
		}),
	}
	if diff := gocmp.Diff(pools, ps, opts...); diff != "" {
		t.Errorf("pools differ (-want +got):\n%s", diff)
	}
	if diff := gocmp.Diff(leases, ls, opts...); diff != "" {
		t.Errorf("leases differ (-want +got):\n%s", diff)
	}
}
