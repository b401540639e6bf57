package ipam

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// Guard is which addresses of a subnet a cluster gives out, and which of these this host has.
// A gateway and what --aux-address sets aside are not under it.
type Guard struct {
	Network string // the cluster's name of the network
	Host    string // this host's in the cluster
	Range   netip.Prefix
	Except  []netip.Prefix // parts of Range that the cluster does not give out
	Blocks  []Block
	Sets    map[netip.Addr]string // addresses of sets of this host, with the sets' names
}

// Block is addresses that the host gives out by itself. Of one that leaves nothing new is given.
type Block struct {
	Prefix  netip.Prefix
	Leaving bool
}

// Guard has these guards hold from now on, each for the pool of its subnet, and no others.
// What is held already stays so.
func (a *Allocator) Guard(by map[netip.Prefix]*Guard) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.guards = by
}

// Used is how many addresses of a block are held by endpoints.
func (a *Allocator) Used(block netip.Prefix) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.pools {
		if !p.Prefix.Overlaps(block) {
			continue
		}
		for addr, l := range p.leases {
			if l.State == Held && l.Kind == Endpoint && block.Contains(addr) {
				n++
			}
		}
	}
	return n
}

// theirs says whether an address is the cluster's to give out.
func (g *Guard) theirs(a netip.Addr) bool {
	in := func(p netip.Prefix) bool { return p.Contains(a) }
	return g.Range.Contains(a) && !slices.ContainsFunc(g.Except, in)
}

func (g *Guard) inBlock(a netip.Addr, leaving bool) bool {
	return slices.ContainsFunc(g.Blocks, func(b Block) bool { return b.Leaving == leaving && b.Prefix.Contains(a) })
}

// owns says whether the host may give an address to a container of no set. No guard lets it.
func (g *Guard) owns(a netip.Addr) bool {
	return g == nil || g.inBlock(a, false) && g.Sets[a] == "" || !g.theirs(a)
}

// check says why an address that was asked for is not this host's.
func (g *Guard) check(a netip.Addr) error {
	if g.owns(a) || g.Sets[a] != "" {
		return nil
	}
	if g.inBlock(a, true) {
		return fault.Conflict("address %s is in a block of network %s that host %s is giving back to the cluster: choose another, or leave --ip out", a, g.Network, g.Host)
	}
	has := "has no block of it: leave that address to the cluster, as that of a set"
	if blocks := g.blocks(); blocks != "" {
		has = "has block " + blocks + " of it: choose one of these, leave --ip out, or leave that address to the cluster, as that of a set"
	}
	return fault.Conflict("address %s of network %s is given out by the cluster, to its sets and other hosts, and host %s %s", a, g.Network, g.Host, has)
}

// blocks are those of which addresses are given out.
func (g *Guard) blocks() string {
	var all []string
	for _, b := range g.Blocks {
		if !b.Leaving {
			all = append(all, b.Prefix.String())
		}
	}
	return strings.Join(all, ", ")
}

// exhausted says what to do about a subnet of which the host has nothing to choose.
func (g *Guard) exhausted() error {
	if blocks := g.blocks(); blocks != "" {
		return fault.Exhausted("no free address is left in block %s, which host %s has of network %s of the cluster: stop a container there, or run it as a set of the cluster", blocks, g.Host, g.Network)
	}
	return fault.Exhausted("network %s is one of the cluster, which gave host %s no block of it: where the network's pool says \"block\", one comes within seconds of the network; else say so there, or create it here with an --ip-range that the pool excludes", g.Network, g.Host)
}

// chooses says whether an address can be chosen for a container that asks for none.
func (p *pool) chooses(a netip.Addr) bool {
	switch {
	case p.check(a) != nil:
		return false
	case p.guard == nil:
		return !a.Less(p.lo) && !p.hi.Less(a)
	case p.guard.inBlock(a, false):
		return p.guard.owns(a)
	}
	// What the cluster excludes is given out by somebody: by this host only where its
	// network was told so.
	return p.Sub.IsValid() && !a.Less(p.lo) && !p.hi.Less(a) && p.guard.owns(a)
}

// keeps says whether the owner of a lease may have its address again without asking for it.
func (p *pool) keeps(l Lease) bool {
	return p.guard == nil || p.chooses(l.Addr) || l.Asked && p.guard.owns(l.Addr)
}

// mostTried bounds the search for an address beside the host's blocks.
const mostTried = 1 << 16

// unusedOwn is the first address without a lease that the host may choose, of its blocks before
// others.
func (p *pool) unusedOwn() (netip.Addr, bool) {
	if p.guard == nil {
		return p.unused()
	}
	free := func(a netip.Addr) bool { _, has := p.leases[a]; return !has && p.chooses(a) }
	for _, b := range p.guard.Blocks {
		for a := b.Prefix.Addr(); b.Prefix.Contains(a) && !b.Leaving; a = a.Next() {
			if free(a) {
				return a, true
			}
		}
	}
	if !p.Sub.IsValid() {
		return netip.Addr{}, false
	}
	for a, tried := p.lo, 0; a.IsValid() && !p.hi.Less(a) && tried < mostTried; a, tried = a.Next(), tried+1 {
		if free(a) {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// oldestOwn is the longest released past address that the host may choose.
func (p *pool) oldestOwn() (netip.Addr, bool) {
	if p.guard == nil {
		return p.oldest()
	}
	var best Lease
	for a, l := range p.leases {
		if l.State == Past && p.chooses(a) && (best.State == "" || entry{l.Since, a}.compare(entry{best.Since, best.Addr}) < 0) {
			best = l
		}
	}
	return best.Addr, best.State != ""
}
