package link

import (
	"context"
	"net/netip"

	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// Gateway is a pair of links by which the host takes part in a network: Name
// holds the gateway's addresses in the host's namespace, RouterPort is the
// switch's end.
type Gateway struct {
	Name, RouterPort string
	MAC              spec.MAC       // of Name
	Addrs            []netip.Prefix // with the subnets' lengths
	MTU              int            // 0 is 1500
	TxOff            bool           // as for [Veth], at Name
}

// EnsureGateway makes the gateway or repairs what is missing or different:
// links, MAC, MTU, addresses, forwarding and the other sysctls. It returns one
// phrase for each thing that it changed, such as "net.ipv4.ip_forward: 0 to 1".
// Addresses of another range of ours on the link go; forwarding for the whole
// host is only ever switched on, and interfaces that take IPv6 routes from
// router advertisements are told to go on doing so.
func EnsureGateway(ctx context.Context, g Gateway) (changed []string, err error) {
	return nil, errTodo
}
