package ipam

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// State is how far a lease is.
type State string

// The states of a lease.
const (
	Held State = "held" // in use
	Kept State = "kept" // released, but never chosen for another owner
	Past State = "past" // released; remembered so that its owner may get it back
)

// Kind is what a lease is for.
type Kind string

// The kinds of leases.
const (
	Endpoint  Kind = "endpoint"  // a container's interface
	Gateway   Kind = "gateway"   // the network's gateway
	Auxiliary Kind = "auxiliary" // set aside by --aux-address
)

// Lease is one address of a pool that is in use, or was.
type Lease struct {
	Pool  PoolID     `json:"pool"`
	Addr  netip.Addr `json:"addr"`
	State State      `json:"state"`
	Kind  Kind       `json:"kind"`
	// Asked says that the user asked for this very address.
	Asked bool `json:"asked,omitempty"`
	// Name is the container's name; "" when the engine did not say (before 29.0).
	Name string `json:"name,omitempty"`
	// MAC is the interface's; zero when unknown.
	MAC spec.MAC `json:"mac,omitzero"`
	// Since is when the lease came into its state.
	Since time.Time `json:"since"`
}

// Key identifies a lease.
type Key struct {
	Pool PoolID
	Addr netip.Addr
}

// Key returns what identifies the lease.
func (l Lease) Key() Key { return Key{l.Pool, l.Addr} }

// Owner names the holder for people, such as "container web-7" or "the gateway".
func (l Lease) Owner() string {
	switch {
	case l.Kind == Gateway:
		return "the gateway"
	case l.Kind == Auxiliary:
		return "an --aux-address"
	case l.Name != "":
		return "container " + l.Name
	case !l.MAC.IsZero():
		return "the container with MAC address " + l.MAC.String()
	}
	return "a container of unknown name"
}

// String is the lease in one line.
func (l Lease) String() string {
	return fmt.Sprintf("%s %s %s by %s since %s", l.Pool, l.Addr, l.State, l.Owner(), l.Since.UTC().Format(time.RFC3339))
}

// PoolID identifies a pool: its address space and prefix, such as
// "mosbridge/10.200.0.0/24".
type PoolID string

// Pool is a range of addresses that belongs to one network.
type Pool struct {
	Space  string       `json:"space"`
	Prefix netip.Prefix `json:"prefix"` // masked
	// Sub is the part of Prefix from which addresses are chosen; zero: all of it.
	Sub netip.Prefix `json:"sub,omitzero"`
	// Network is the network the pool is bound to; "" before [Allocator.Bind].
	Network string `json:"network,omitempty"`
	// Since is when the pool was requested first.
	Since time.Time `json:"since"`
}

// ID returns what identifies the pool.
func (p Pool) ID() PoolID { return PoolID(p.Space + "/" + p.Prefix.String()) }

// Prefix returns the range that an id names, such as 10.200.0.0/24.
func (id PoolID) Prefix() (netip.Prefix, bool) {
	_, s, ok := strings.Cut(string(id), "/")
	if !ok {
		return netip.Prefix{}, false
	}
	p, err := netip.ParsePrefix(s)
	return p, err == nil
}

// PoolRequest is what Docker asks for a network's pool.
type PoolRequest struct {
	Space   string
	Pool    string            // prefix; "" for any; unspecified (0.0.0.0/26) for any of that size
	SubPool string            // prefix, from --ip-range; "" for all of the pool
	Options map[string]string // the user's --ipam-opt values
	V6      bool
	// Busy are prefixes that an any-pool must not overlap: what the host has routes for.
	Busy []netip.Prefix
}

// Request is who asks for an address.
type Request struct {
	Addr    netip.Addr // the address asked for; zero for any
	Gateway bool       // for the network's gateway
	MAC     spec.MAC   // zero when unknown
	Name    string     // container's name; "" when unknown
	// Gone says of a lease that is held by an endpoint whether that endpoint
	// exists no more, as when Docker released it while no daemon listened. Such
	// a lease goes to its owner, or to who asks for the address. It is called
	// with the allocator locked, and not for leases younger than [Repeat], whose
	// endpoint may be about to be made. Nil: no endpoint is gone.
	Gone func(Lease) bool
}

// gone says whether a held lease is in nobody's use.
func (r Request) gone(l Lease, now time.Time) bool {
	return l.State == Held && l.Kind == Endpoint && r.Gone != nil && now.Sub(l.Since) >= Repeat && r.Gone(l)
}
