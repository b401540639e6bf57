package spec

import (
	"errors"
	"net/netip"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// errLater refuses what has a name but no code.
var errLater = fault.Later("not available yet")

// NetworkRequest is what Docker sends for `docker network create`.
type NetworkRequest struct {
	ID       string
	Options  map[string]string // the user's -o values
	Internal bool
	Subnets  []Subnet
}

// ParseNetwork checks a request and fills in the defaults. Errors are of class
// InvalidArgument, or NotImplemented for options that are not available yet.
func ParseNetwork(r NetworkRequest) (Network, error) {
	id, err := ParseNetworkID(r.ID)
	if err != nil {
		return Network{}, err
	}
	n := Network{ID: id, Bridge: DefaultBridge, Internal: r.Internal, Subnets: r.Subnets}
	set := func(o Option, v string) error { return o.network(&n, v) }
	if err := parse(r.Options, set, Option.OfNetwork); err != nil {
		return Network{}, err
	}
	if err := n.gatewayDefaults(r.Options); err != nil {
		return Network{}, err
	}
	return n, n.check()
}

// gatewayDefaults fills Gateway and NAT, which depend on other options and on
// whether the user set them.
func (n *Network) gatewayDefaults(given map[string]string) error {
	_, natSet := given["mos.nat"]
	switch {
	case n.Internal && (n.Gateway != "" || n.NAT):
		return fault.Invalid("an --internal network has no way out: drop mos.gateway and mos.nat")
	case n.Internal:
		n.Gateway = GatewayNone
	case n.Gateway == "" && n.Uplink != "":
		n.Gateway = GatewayExternal
	case n.Gateway == "":
		n.Gateway = GatewayHost
	}
	if n.Gateway == GatewayExternal && n.NAT {
		return fault.Invalid("mos.nat=true needs mos.gateway=host: with an external gateway the router out there translates")
	}
	if n.Gateway == GatewayExternal && n.Uplink == "" {
		return fault.Invalid("mos.gateway=external needs mos.uplink: without one no router can be reached")
	}
	if n.Gateway == GatewayHost && !natSet {
		n.NAT = true
	}
	return nil
}

func (n *Network) check() error {
	if len(n.Subnets) == 0 {
		return fault.Invalid("the network has no subnet: give --subnet")
	}
	if n.Uplink == n.Bridge && n.Uplink != "" {
		return fault.Invalid("mos.uplink and mos.bridge are both %s: the uplink is put on the bridge, it cannot be the bridge", n.Uplink)
	}
	seen := map[bool]bool{}
	for _, s := range n.Subnets {
		is4 := s.Prefix.Addr().Is4()
		if seen[is4] {
			return fault.Invalid("subnet %s is the second of its family: a network takes one IPv4 and one IPv6 subnet", s.Prefix)
		}
		seen[is4] = true
		if err := n.checkSubnet(s); err != nil {
			return err
		}
	}
	if seen[false] && n.MTU != 0 && n.MTU < 1280 {
		return fault.Invalid("mos.mtu=%d is below 1280, the least that IPv6 works with", n.MTU)
	}
	return nil
}

func (n *Network) checkSubnet(s Subnet) error {
	a := s.Prefix.Addr()
	switch {
	case !s.Prefix.IsValid() || s.Prefix.Masked() != s.Prefix:
		return fault.Invalid("subnet %s has bits set behind its mask: write %s", s.Prefix, s.Prefix.Masked())
	case a.IsMulticast() || a.IsLoopback() || a.IsUnspecified() || a.IsLinkLocalUnicast() && a.Is6():
		return fault.Invalid("subnet %s is not a range of host addresses", s.Prefix)
	case s.Prefix.Bits() > a.BitLen()-2:
		return fault.Invalid("subnet %s is too small: a gateway and a container need a /%d at least", s.Prefix, a.BitLen()-2)
	}
	if !s.Gateway.IsValid() {
		if n.Gateway == GatewayNone {
			return nil
		}
		return fault.Invalid("subnet %s has no gateway address: give --gateway", s.Prefix)
	}
	if !s.Prefix.Contains(s.Gateway) {
		return fault.Invalid("gateway %s is outside subnet %s", s.Gateway, s.Prefix)
	}
	if a.Is4() && (s.Gateway == a || s.Gateway == broadcast(s.Prefix)) {
		return fault.Invalid("gateway %s is the network or broadcast address of subnet %s", s.Gateway, s.Prefix)
	}
	return nil
}

// broadcast is the last address of an IPv4 prefix.
func broadcast(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	return netip.AddrFrom4(b)
}

// EndpointRequest is what Docker sends for a container's new interface.
type EndpointRequest struct {
	ID, Network string
	MAC         string // "" when the driver is to choose one
	IPv4, IPv6  string // CIDR, "" for none
	Options     map[string]string
	IfName      string
}

// ParseEndpoint checks a request against its network. The MAC stays zero when
// none is asked for. Errors are of class InvalidArgument or NotImplemented.
func ParseEndpoint(n Network, r EndpointRequest) (Endpoint, error) {
	id, err := ParseEndpointID(r.ID)
	if err != nil {
		return Endpoint{}, err
	}
	e := Endpoint{ID: id, Network: n.ID}
	if r.MAC != "" {
		if e.MAC, err = ParseMAC(r.MAC); err != nil {
			return Endpoint{}, err
		}
		if e.MAC == n.ID.GatewayMAC() {
			return Endpoint{}, fault.Invalid("MAC address %s is the gateway's: choose another", e.MAC)
		}
	}
	if e.IPv4, err = n.address(r.IPv4, true); err != nil {
		return Endpoint{}, err
	}
	if e.IPv6, err = n.address(r.IPv6, false); err != nil {
		return Endpoint{}, err
	}
	if !e.IPv4.IsValid() && !e.IPv6.IsValid() {
		return Endpoint{}, fault.Invalid("endpoint %s has no address", id.Short())
	}
	if r.IfName != "" {
		if e.IfName, err = linkName("interface", r.IfName); err != nil {
			return Endpoint{}, err
		}
	}
	set := func(o Option, v string) error { return o.point(&e, v) }
	if err := parse(r.Options, set, Option.OfEndpoint); err != nil {
		return Endpoint{}, err
	}
	if e.Rates != nil {
		e.inheritRates(n, r.Options)
	}
	return e, nil
}

// inheritRates gives the direction the endpoint did not set the network's limit.
func (e *Endpoint) inheritRates(n Network, given map[string]string) {
	if _, ok := given["mos.rate.in"]; !ok {
		e.Rates.In = n.Rates.In
	}
	if _, ok := given["mos.rate.out"]; !ok {
		e.Rates.Out = n.Rates.Out
	}
}

func (n *Network) address(s string, is4 bool) (netip.Prefix, error) {
	if s == "" {
		return netip.Prefix{}, nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is4() != is4 || p.Addr().Is4In6() {
		return netip.Prefix{}, errors.Join(fault.Invalid("address %.60q is not of the form 10.9.0.21/24", s), err)
	}
	sub, ok := n.Subnet(is4)
	switch {
	case !ok:
		return netip.Prefix{}, fault.Invalid("address %s fits no subnet of the network", p)
	case !sub.Prefix.Contains(p.Addr()):
		return netip.Prefix{}, fault.Invalid("address %s is outside subnet %s", p.Addr(), sub.Prefix)
	case p.Addr() == sub.Gateway:
		return netip.Prefix{}, fault.Invalid("address %s is the gateway of subnet %s", p.Addr(), sub.Prefix)
	}
	return netip.PrefixFrom(p.Addr(), sub.Prefix.Bits()), nil
}
