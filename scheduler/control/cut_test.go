package control

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/mosdocker/mosdocker/scheduler/api"
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
	v6 := newPool(api.AddressPool{Subnet: "fd00:9::/64", Block: 120})
	if one, found := v6.cut(func(netip.Addr) bool { return false }, func(netip.Addr) netip.Prefix { return netip.Prefix{} }); !found || one.String() != "fd00:9::ffff:ffff:ffff:ff00/120" {
		t.Errorf("of IPv6: %s, %v", one, found)
	}
}
