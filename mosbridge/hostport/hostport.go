package hostport

import (
	"context"
	"net/netip"

	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// Binding is one port of the host that a claim holds.
type Binding struct {
	Proto    spec.Proto `json:"proto"`
	HostIP   netip.Addr `json:"hostIP"` // 0.0.0.0 or :: for every address of its family
	HostPort uint16     `json:"hostPort"`
	// Container is the port in the container that it leads to.
	Container uint16 `json:"container"`
}

// Claim is what one owner holds.
type Claim struct {
	Owner    string
	Bindings []Binding
}

// Families says for which families ports are published: those in which the
// endpoint has an address.
type Families struct{ IPv4, IPv6 bool }

// Config says how an [Allocator] works; its zero value is good.
type Config struct {
	// Describe names an owner for people, such as "endpoint 3f2a19c0d1e2 of
	// network prod"; nil prints the owner.
	Describe func(owner string) string
	// First and Last bound the ports taken for host port 0; both zero means
	// those of net.ipv4.ip_local_port_range, else 49153 to 65535.
	First, Last uint16
}

// Allocator holds the claims of this host. Its methods may be called at once.
type Allocator struct{ cfg Config }

// New returns an Allocator without claims.
func New(c Config) *Allocator { return &Allocator{cfg: c} }

// Claim takes a port of the host for each of ports and family, or none of
// them. With both families an unspecified HostIP gives two bindings of one
// number. A repeat by the same owner for the same ports gives the same answer.
// The error is ErrAlreadyExists when somebody holds the port (it says who),
// ErrResourceExhausted when a whole range is taken, ErrInvalidArgument when the
// host address is not of the endpoint's families or not one of this host's.
func (a *Allocator) Claim(ctx context.Context, owner string, ports []spec.Port, f Families) ([]Binding, error) {
	return nil, nil
}

// Restore takes up claims of before a restart. A port that the kernel refuses
// is claimed all the same, since the container behind it runs; the error joins
// what is not reserved in the kernel.
func (a *Allocator) Restore(claims []Claim) error { return nil }

// Release gives up what the owner holds; an owner without claims is no error.
func (a *Allocator) Release(owner string) {}

// Claims returns all claims, sorted by owner.
func (a *Allocator) Claims() []Claim { return nil }

// Close gives up all sockets.
func (a *Allocator) Close() {}
