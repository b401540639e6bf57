package spec

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"strings"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// NetworkID is the id Docker gave a network: 64 hex digits (checked by [ParseNetworkID]).
type NetworkID string

// EndpointID is the id Docker gave an endpoint: 64 hex digits (checked by [ParseEndpointID]).
type EndpointID string

// Short is the first 12 characters, the form Docker's own listings use.
func (n NetworkID) Short() string { return short(string(n)) }

// Short is the first 12 characters, the form Docker's own listings use.
func (e EndpointID) Short() string { return short(string(e)) }

func short(s string) string { return s[:min(12, len(s))] }

// GatewayMode says who holds a network's gateway address.
type GatewayMode string

// The gateway modes. GatewayNone is what `--internal` gives; it is no option value.
const (
	GatewayHost     GatewayMode = "host"     // this host holds it, forwards, and translates to the outside
	GatewayExternal GatewayMode = "external" // a router behind the uplink holds it
	GatewayNone     GatewayMode = "none"     // nobody: the network has no way out
)

// Rate is a bandwidth limit in bits per second; 0 means no limit.
type Rate uint64

// Rates are the limits of an endpoint as its container sees them: In is what
// the container receives, Out what it sends.
type Rates struct {
	In  Rate `json:"in,omitempty"`
	Out Rate `json:"out,omitempty"`
}

// Subnet is one address range of a network.
type Subnet struct {
	Prefix  netip.Prefix `json:"prefix"`           // masked
	Gateway netip.Addr   `json:"gateway,omitzero"` // zero when the network has none
}

// Network is a checked network as the user asked for it; it does not change
// in the network's life but for Rates.
type Network struct {
	ID       NetworkID   `json:"id"`
	Bridge   string      `json:"bridge"`
	VLAN     uint16      `json:"vlan,omitempty"`   // 0: untagged
	Uplink   string      `json:"uplink,omitempty"` // "": none
	Gateway  GatewayMode `json:"gateway"`
	NAT      bool        `json:"nat,omitempty"`
	MTU      int         `json:"mtu,omitempty"` // 0: found from the uplink at run time
	Internal bool        `json:"internal,omitempty"`
	Rates    Rates       `json:"rates,omitzero"` // default of the network's endpoints
	Subnets  []Subnet    `json:"subnets"`        // IPv4 before IPv6, at most one of each
}

// Subnet returns the network's range of the family of a, and whether it has one.
func (n *Network) Subnet(is4 bool) (Subnet, bool) {
	for _, s := range n.Subnets {
		if s.Prefix.Addr().Is4() == is4 {
			return s, true
		}
	}
	return Subnet{}, false
}

// Proto is a transport protocol that ports can be published for.
type Proto string

// The protocols whose ports can be published.
const (
	TCP Proto = "tcp"
	UDP Proto = "udp"
)

// Port is one published port as asked for with `-p`. HostPort 0 asks for any
// free port; HostPort < HostPortEnd asks for the first free one of a range.
type Port struct {
	Proto       Proto      `json:"proto"`
	Container   uint16     `json:"container"`
	HostIP      netip.Addr `json:"hostIP,omitzero"` // zero: all addresses of the families the endpoint has
	HostPort    uint16     `json:"hostPort"`
	HostPortEnd uint16     `json:"hostPortEnd,omitempty"`
}

// Endpoint is a checked endpoint: one interface of one container.
type Endpoint struct {
	ID      EndpointID   `json:"id"`
	Network NetworkID    `json:"network"`
	MAC     MAC          `json:"mac"`
	IPv4    netip.Prefix `json:"ipv4,omitzero"` // address with the subnet's length
	IPv6    netip.Prefix `json:"ipv6,omitzero"`
	Rates   *Rates       `json:"rates,omitempty"` // nil: the network's
	IfName  string       `json:"ifName,omitempty"`
}

// Addrs returns the endpoint's one or two addresses, IPv4 first.
func (e *Endpoint) Addrs() []netip.Addr {
	var as []netip.Addr
	for _, p := range []netip.Prefix{e.IPv4, e.IPv6} {
		if p.IsValid() {
			as = append(as, p.Addr())
		}
	}
	return as
}

// Names of the links and ports that belong to an object, all at most 15 bytes
// (IFNAMSIZ-1). The eleven hex digits are of the object's id, so two objects
// of one host share a name with a chance of 1 in 2^44 per pair; the record
// refuses such a twin.
const (
	PrefixPort    = "mosp" // host side of an endpoint, an OVS port
	PrefixPeer    = "mosc" // container side until the engine moves it
	PrefixGateway = "mosg" // gateway of a network, in the host's namespace
	PrefixRouter  = "mosr" // the OVS port behind a gateway
)

// OwnName says whether a link's name is one that mosbridge gives: a prefix and
// eleven hex digits.
func OwnName(link string) bool {
	for _, p := range []string{PrefixPort, PrefixPeer, PrefixGateway, PrefixRouter} {
		if id, ok := strings.CutPrefix(link, p); ok {
			return len(id) == 11 && strings.Trim(id, "0123456789abcdef") == ""
		}
	}
	return false
}

// PortName is the name of the endpoint's OVS port, a link of the host.
func (e EndpointID) PortName() string { return PrefixPort + string(e)[:11] }

// PeerName is the name of the container's side until the engine renames it.
func (e EndpointID) PeerName() string { return PrefixPeer + string(e)[:11] }

// GatewayName is the link that holds the network's gateway addresses.
func (n NetworkID) GatewayName() string { return PrefixGateway + string(n)[:11] }

// RouterName is the OVS port at the other end of the gateway link.
func (n NetworkID) RouterName() string { return PrefixRouter + string(n)[:11] }

// GatewayMAC is the MAC of the network's gateway link: derived from the id, so
// that containers' neighbor caches stay right over every restart.
func (n NetworkID) GatewayMAC() MAC { return deriveMAC("gateway", string(n)) }

// DeriveMAC gives an endpoint that asked for no MAC one: derived from network
// and address, so that a container that gets its address back keeps its MAC.
func DeriveMAC(n NetworkID, a netip.Addr) MAC { return deriveMAC(string(n), a.String()) }

func deriveMAC(parts ...string) MAC {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	var m MAC
	copy(m[:], h.Sum(nil))
	m[0] = m[0]&^0x01 | 0x02 // unicast, locally administered
	return m
}

// ParseNetworkID checks an id that came over the wire.
func ParseNetworkID(s string) (NetworkID, error) {
	return NetworkID(s), checkID("network", s)
}

// ParseEndpointID checks an id that came over the wire.
func ParseEndpointID(s string) (EndpointID, error) {
	return EndpointID(s), checkID("endpoint", s)
}

func checkID(what, s string) error {
	if _, err := hex.DecodeString(s); err != nil || len(s) != 64 {
		return fault.Invalid("%s id %.80q is not 64 hex digits", what, s)
	}
	return nil
}
