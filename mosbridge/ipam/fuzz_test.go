package ipam_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/mosdocker/mosdocker/mosbridge/ipam"
	"github.com/mosdocker/mosdocker/mosbridge/ipam/ipamtest"
)

// FuzzRequestPool asks for pools as an engine that sends anything would. What
// is given out can be used; what is refused leaves nothing and says so shortly.
func FuzzRequestPool(f *testing.F) {
	for _, s := range [][3]string{
		{"10.0.0.0/24", "", "10.0.0.9"},
		{"10.0.0.0/24", "10.0.0.128/25", ""},
		{"0.0.0.0/0", "", ""},
		{"::/64", "", ""},
		{"fd00::/8", "fd00::/127", "fd00::1"},
		{"255.255.255.252/30", "255.255.255.254/31", ""},
		{"::ffff:10.0.0.0/120", "", "::ffff:10.0.0.1"},
		{"fe80::%eth0/64", "", "fe80::1%eth0"},
		{"", "10.0.0.0/24", ""},
	} {
		f.Add("s", s[0], s[1], s[2], strings.Contains(s[0], ":"))
	}
	f.Fuzz(func(t *testing.T, space, pool, sub, addr string, v6 bool) {
		store := &ipamtest.Mem{}
		a, err := ipam.New(ipam.Config{Store: store})
		if err != nil {
			t.Fatal(err)
		}
		p, err := a.RequestPool(ipam.PoolRequest{Space: space, Pool: pool, SubPool: sub, V6: v6}, t0)
		if err != nil {
			if len(err.Error()) > 500 || len(a.Pools()) != 0 || store.Applied != 0 {
				t.Fatalf("refused with %d bytes, left %v", len(err.Error()), a.Pools())
			}
			return
		}
		if p.Prefix != p.Prefix.Masked() || p.Prefix.Addr().Is4() == v6 {
			t.Fatalf("gave %s for %q", p.Prefix, pool)
		}
		if got, ok := p.ID().Prefix(); !ok || got != p.Prefix {
			t.Fatalf("id %s does not name %s", p.ID(), p.Prefix)
		}
		r := ipam.Request{MAC: mac(1)}
		r.Addr, _ = netip.ParseAddr(addr)
		l, err := a.RequestAddress(p.ID(), r, t0)
		if err == nil && (!p.Prefix.Contains(l.Addr) || l.Addr == p.Prefix.Addr()) {
			t.Fatalf("gave %s of %s", l.Addr, p.Prefix)
		}
		if err != nil && !r.Addr.IsValid() {
			t.Fatalf("a fresh pool %s has no address: %v", p.Prefix, err)
		}
		b, err := ipam.New(ipam.Config{Store: store})
		if err != nil || len(b.Leases("")) != len(a.Leases("")) {
			t.Fatalf("rebuilt: %v, %v", b, err)
		}
	})
}
