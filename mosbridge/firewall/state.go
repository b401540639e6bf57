package firewall

import (
	"net/netip"

	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// State is all that the host's rules are made from. The order of its parts
// means nothing.
type State struct {
	Networks []Network
	Ports    []Published
}

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
