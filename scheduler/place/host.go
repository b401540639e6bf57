package place

import (
	"fmt"
	"net/netip"
)

// HostID is the name of a host.
type HostID string

// SetID is the name of a set in the cluster.
type SetID string

// ServiceID is the name of a service.
type ServiceID string

// Resource is something of which a host has an amount.
type Resource int

// The resources.
const (
	CPU    Resource = iota // thousandths of a core
	Memory                 // bytes
	Disk                   // bytes of volumes
	resources
)

func (r Resource) String() string { return [...]string{"CPU", "memory", "volume space"}[r] }

// Amounts are an amount of each resource, in its unit.
type Amounts [resources]int64

// Host is a host as it is told to be. What sets take of it is not part of it.
type Host struct {
	ID    HostID
	State State
	// Room and Rack are where it stands; racks of one name in two rooms are two racks.
	// Hosts without stand together in one that has no name.
	Room, Rack string
	Labels     map[string]string
	Taints     []Taint
	Capacity   Amounts
	// Overcommit is how many percent of its capacity may be given away; 0 is 100.
	Overcommit Amounts
	// Networks are those that reach the host, with the pool that its addresses are of.
	Networks map[string]string
	// Ports are those of the host that others have.
	Ports []Port
	// Layers are of the images that it has, and the names of those, in order.
	Layers  []LayerID
	Volumes []string // that are on it
}

// LayerID stands for a layer of an image, or for the name of an image. It is a hash: a host
// has hundreds, and two that are taken for one cost points at worst.
type LayerID uint64

// LayerOf is that of a digest or name.
func LayerOf(name string) LayerID {
	h := uint64(14695981039346656037) // FNV-1a
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	return LayerID(h)
}

// State says whether a host may be given sets.
type State int

// The states of a host.
const (
	Ready    State = iota
	Cordoned       // takes no more
	Draining       // is being emptied
	Troubled       // can start nothing right now
	Suspect        // has not been heard of lately
	Lost
)

func (s State) String() string {
	return [...]string{"ready", "cordoned", "draining", "in trouble", "suspect", "lost"}[s]
}

// Taint keeps sets that do not tolerate it away from a host.
type Taint struct {
	Key, Value string
	Soft       bool // it costs points only
}

// Port is a port of the host itself.
type Port struct {
	Protocol string // tcp or udp
	Number   uint16
	// At is the host's address where it is; none is all addresses, 0.0.0.0 and :: those of a
	// family. Between sets it makes no difference.
	At netip.Addr
}

// anywhere is the port without its address.
func (p Port) anywhere() Port { return Port{Protocol: p.Protocol, Number: p.Number} }

// clashes says whether an Engine refuses one of two ports where the other one is.
func (p Port) clashes(q Port) bool {
	return p.Number == q.Number && p.Protocol == q.Protocol && (p.At == q.At || covers(p.At, q.At) || covers(q.At, p.At))
}

// covers says whether a stands for all addresses of b's family.
func covers(a, b netip.Addr) bool {
	return !a.IsValid() || a.IsUnspecified() && a.BitLen() == b.BitLen()
}

func (p Port) String() string {
	if p.At.IsValid() {
		return netip.AddrPortFrom(p.At, p.Number).String() + "/" + p.Protocol
	}
	return fmt.Sprintf("%d/%s", p.Number, p.Protocol)
}

// Pool is a stock of addresses that hosts draw from. Fixed addresses are not of it.
type Pool struct {
	ID   string
	Size int // how many addresses there are to give
}

// Need is a network that a set is connected to. Without an Address it takes one of the
// host's pool.
type Need struct {
	Network string
	Address netip.Addr
}
