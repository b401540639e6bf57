package firewall

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// State is all that the host's rules are made from. The order of its parts
// means nothing.
type State struct {
	Networks []Network
	Ports    []Published
	// Uplinks are the host's links that are ports of a bridge. Nothing that
	// comes in there is the host's own.
	Uplinks []string
}

// empty says that there is nothing to have rules for.
func (s State) empty() bool { return len(s.Networks) == 0 && len(s.Uplinks) == 0 }

// Network is one network that has a gateway link on this host.
type Network struct {
	// Object is the number of the network on this host.
	Object uint32
	// Gateway is the link that holds the gateway addresses, as
	// [spec.NetworkID.GatewayName] gives it.
	Gateway string
	// Subnets are the network's ranges, masked.
	Subnets []netip.Prefix
	// NAT translates what leaves by another link. Without it the network is
	// routed: the outside may open connections to the containers.
	NAT bool
	// Internal keeps the network from everything but its gateway.
	Internal bool
}

// Published is one port of the host that leads to a container.
type Published struct {
	Proto spec.Proto
	// HostIP is the address of the host; zero or unspecified is every local
	// address of the container address's family.
	HostIP   netip.Addr
	HostPort uint16
	// Container is where it leads to; its family is the port's.
	Container netip.AddrPort
	// Gateway is the link behind which the container is.
	Gateway string
}

// linkName is what the kernel takes as the name of a link and nft as a word in
// quotes.
var linkName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$`)

// uplinkName is the same for links that others named.
var uplinkName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,15}$`)

// Validate says all that is wrong with the state, with ErrInvalidArgument: a
// name that is none of a link, two networks of one gateway, a port that leads
// behind no gateway of the state or is taken twice.
func (s State) Validate() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fault.Invalid(format, args...))
	}
	internal := map[string]bool{}
	for _, n := range s.Networks {
		if _, twice := internal[n.Gateway]; twice || !linkName.MatchString(n.Gateway) {
			bad("gateway %q of network %d is of two networks or no name of a link", n.Gateway, n.Object)
		}
		internal[n.Gateway] = n.Internal
		for _, p := range n.Subnets {
			if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() {
				bad("subnet %s of gateway %s is no masked range", p, n.Gateway)
			}
		}
	}
	for _, l := range s.Uplinks {
		if !uplinkName.MatchString(l) {
			bad("uplink %q is no name of a link", l)
		}
	}
	taken := map[Published]bool{}
	for _, p := range s.Ports {
		isInternal, known := internal[p.Gateway]
		key := p.key()
		switch {
		case !known:
			bad("port %s leads behind %q, the gateway of no network", p, p.Gateway)
		case isInternal:
			bad("port %s leads into the internal network of %s", p, p.Gateway)
		case taken[key]:
			bad("port %s is published twice", p)
		case !p.valid():
			bad("port %s is no port that can be published", p)
		}
		taken[key] = true
	}
	return errors.Join(errs...)
}

// key is the side of the host, for comparing.
func (p Published) key() Published {
	k := Published{Proto: p.Proto, HostIP: p.HostIP, HostPort: p.HostPort}
	if p.anyIP() { // one key for each family
		k.HostIP = netip.IPv6Unspecified()
		if p.Container.Addr().Is4() {
			k.HostIP = netip.IPv4Unspecified()
		}
	}
	return k
}

func (p Published) anyIP() bool { return !p.HostIP.IsValid() || p.HostIP.IsUnspecified() }

func (p Published) valid() bool {
	c := p.Container.Addr()
	return (p.Proto == spec.TCP || p.Proto == spec.UDP) && p.HostPort != 0 && p.Container.Port() != 0 &&
		c.IsValid() && !c.Is4In6() && c.Zone() == "" && p.HostIP.Zone() == "" &&
		(p.anyIP() || p.HostIP.Is4() == c.Is4())
}

// String is the port as people write it.
func (p Published) String() string {
	return fmt.Sprintf("%s/%s to %s", netip.AddrPortFrom(p.key().HostIP, p.HostPort), p.Proto, p.Container)
}
