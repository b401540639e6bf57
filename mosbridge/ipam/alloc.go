package ipam

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// MaxPast is how many past leases a pool remembers. Beyond it the longest
// released are forgotten.
const MaxPast = 4096

// Config says where pools come from that name no prefix.
type Config struct {
	Store Store // required
	// Ranges are cut in pools for networks that give no --subnet. Nil is
	// [DefaultRanges].
	Ranges []Range
}

// Range is a prefix that is cut in pools.
type Range struct {
	Prefix netip.Prefix // masked
	Bits   int          // length of a pool's prefix: 24, or 64 for IPv6
}

// DefaultRanges are 10.200.0.0/14 in /24 and fd6d:6f73:6272::/48 in /64.
func DefaultRanges() []Range {
	return []Range{
		{netip.MustParsePrefix("10.200.0.0/14"), 24},
		{netip.MustParsePrefix("fd6d:6f73:6272::/48"), 64},
	}
}

// Allocator gives out pools and addresses. It may be used by several
// goroutines. Errors of the store pass through; nothing is changed then.
type Allocator struct {
	store  Store
	ranges []Range

	mu      sync.Mutex // guards all below
	pools   map[PoolID]*pool
	suspect map[Key]suspicion
	orphan  map[PoolID]time.Time
	guards  map[netip.Prefix]*Guard // by subnet
}

// New loads the store's content.
func New(c Config) (*Allocator, error) {
	if c.Store == nil {
		return nil, fault.Invalid("the allocator needs a store")
	}
	if c.Ranges == nil {
		c.Ranges = DefaultRanges()
	}
	for _, r := range c.Ranges {
		if !r.Prefix.IsValid() || r.Prefix.Masked() != r.Prefix || r.Bits < r.Prefix.Bits() || r.Bits > r.Prefix.Addr().BitLen()-2 {
			return nil, fault.Invalid("range %s cannot be cut in /%d", r.Prefix, r.Bits)
		}
	}
	pools, leases, err := c.Store.Load()
	if err != nil {
		return nil, fmt.Errorf("load pools and leases: %w", err)
	}
	a := &Allocator{store: c.Store, ranges: c.Ranges, pools: map[PoolID]*pool{}, suspect: map[Key]suspicion{}, orphan: map[PoolID]time.Time{}}
	for _, p := range pools {
		a.pools[p.ID()] = newPool(p)
	}
	for _, l := range leases {
		if p, ok := a.pools[l.Pool]; ok {
			p.put(l)
		}
	}
	return a, nil
}

// Pools lists all pools, by id.
func (a *Allocator) Pools() []Pool {
	a.mu.Lock()
	defer a.mu.Unlock()
	var ps []Pool
	for _, id := range slices.Sorted(maps.Keys(a.pools)) {
		ps = append(ps, a.pools[id].Pool)
	}
	return ps
}

// Leases lists the held and kept addresses of a pool, or of all pools when id
// is "", by pool and address. Past ones are not listed.
func (a *Allocator) Leases(id PoolID) []Lease {
	a.mu.Lock()
	defer a.mu.Unlock()
	var ls []Lease
	for pid, p := range a.pools {
		if id != "" && pid != id {
			continue
		}
		for _, l := range p.leases {
			if l.State != Past {
				ls = append(ls, l)
			}
		}
	}
	slices.SortFunc(ls, func(x, y Lease) int {
		return cmp.Or(cmp.Compare(x.Pool, y.Pool), x.Addr.Compare(y.Addr))
	})
	return ls
}

// apply writes a change to the store and then to the index.
func (a *Allocator) apply(c Change) error {
	if err := a.store.Apply(c); err != nil {
		return err
	}
	for _, id := range c.DropPools {
		delete(a.pools, id)
	}
	for _, p := range c.PutPools {
		if old, ok := a.pools[p.ID()]; ok {
			old.Pool = p
		} else {
			a.pools[p.ID()] = newPool(p)
		}
	}
	for _, k := range c.DropLeases {
		if p, ok := a.pools[k.Pool]; ok {
			p.drop(k.Addr)
		}
	}
	for _, l := range c.PutLeases {
		a.pools[l.Pool].put(l)
	}
	return nil
}
