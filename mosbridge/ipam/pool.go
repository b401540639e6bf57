package ipam

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// Repeat is how long after a request the same one may be Docker's own retry,
// which comes when the answer was lost, at most 30 s later.
const Repeat = time.Minute

// Settle is how long a pool that was given to one network's creation is not
// given to another, which would give it back when it is refused. It is longer
// than an engine takes from asking for a pool to creating its network.
const Settle = 5 * time.Second

// RequestPool gives a pool to a network that is being created. Errors are of
// class InvalidArgument for a bad request, FailedPrecondition for a prefix that
// overlaps with another pool, ResourceExhausted when the ranges are used up.
func (a *Allocator) RequestPool(r PoolRequest, now time.Time) (Pool, error) {
	p, bits, err := parsePool(r)
	if err != nil {
		return Pool{}, err
	}
	p.Since = instant(now)
	a.mu.Lock()
	defer a.mu.Unlock()
	if !p.Prefix.IsValid() {
		if p.Prefix, err = a.anyPrefix(r, bits); err != nil {
			return Pool{}, err
		}
		return p, a.give(p)
	}
	for _, id := range slices.Sorted(maps.Keys(a.pools)) {
		o := a.pools[id]
		if o.Space != p.Space || !o.Prefix.Overlaps(p.Prefix) {
			continue
		}
		switch {
		case o.Prefix != p.Prefix || o.Sub != p.Sub || !o.fresh(p.Since):
			return Pool{}, overlap(p, o.Pool)
		case p.Since.Sub(o.given) < Settle:
			return Pool{}, fault.Conflict("subnet %s was given to another network a moment ago: choose another, or try again in %s if that one was not created", p.Prefix, Settle)
		}
		o.given = p.Since
		return o.Pool, nil
	}
	return p, a.give(p)
}

// give notes a new pool, and since when somebody has it.
func (a *Allocator) give(p Pool) error {
	if err := a.apply(Change{PutPools: []Pool{p}}); err != nil {
		return err
	}
	a.pools[p.ID()].given = p.Since
	return nil
}

// fresh says that a pool may have been requested by the same call before.
func (p *pool) fresh(now time.Time) bool {
	if p.Network != "" || now.Sub(p.Since) >= Repeat {
		return false
	}
	for _, l := range p.leases {
		if l.Kind == Endpoint {
			return false
		}
	}
	return true
}

func overlap(p, o Pool) error {
	since := o.Since.UTC().Format(time.RFC3339)
	if o.Network == "" {
		return fault.Conflict("subnet %s overlaps with pool %s, requested at %s: choose another, or if no network has it run docker mos net gc", p.Prefix, o.Prefix, since)
	}
	return fault.Conflict("subnet %s overlaps with subnet %s of network %s, in use since %s: choose another subnet or remove that network", p.Prefix, o.Prefix, o.Network[:min(12, len(o.Network))], since)
}

// anyPrefix finds the first prefix of the ranges that overlaps with no pool and
// nothing busy. Bits is the length asked for, 0 for the range's own.
func (a *Allocator) anyPrefix(r PoolRequest, bits int) (netip.Prefix, error) {
	used := slices.Clone(r.Busy)
	for _, o := range a.pools {
		if o.Space == r.Space {
			used = append(used, o.Prefix)
		}
	}
	var tried []string
	for _, rg := range a.ranges {
		n := rg.Bits
		if bits != 0 {
			n = bits
		}
		if rg.Prefix.Addr().Is4() == r.V6 || n < rg.Prefix.Bits() {
			continue
		}
		if p, ok := firstFree(rg.Prefix, n, used); ok {
			return p, nil
		}
		tried = append(tried, rg.Prefix.String())
	}
	if tried == nil {
		return netip.Prefix{}, fault.Exhausted("no range is configured for a pool of this family and size: give --subnet")
	}
	return netip.Prefix{}, fault.Exhausted("no free subnet is left in %s: give --subnet or remove a network", strings.Join(tried, ", "))
}

// firstFree is the first prefix of the given length in rg that overlaps with
// none of used.
func firstFree(rg netip.Prefix, bits int, used []netip.Prefix) (netip.Prefix, bool) {
	for c := netip.PrefixFrom(rg.Addr(), bits); c.IsValid() && rg.Contains(c.Addr()); {
		i := slices.IndexFunc(used, c.Overlaps)
		if i < 0 {
			return c, true
		}
		end := last(c)
		if e := last(used[i]); end.Less(e) {
			end = e
		}
		next := end.Next()
		if !next.IsValid() {
			break
		}
		c = netip.PrefixFrom(next, bits)
	}
	return netip.Prefix{}, false
}

// parsePool checks a request. The pool's Prefix stays zero when any will do, of
// the length bits (0: no matter).
func parsePool(r PoolRequest) (p Pool, bits int, err error) {
	if r.Space == "" || strings.Contains(r.Space, "/") {
		return p, 0, fault.Invalid("address space %.40q is no name of one", r.Space)
	}
	for _, key := range slices.Sorted(maps.Keys(r.Options)) {
		if !strings.HasPrefix(key, "com.docker.") {
			return p, 0, fault.Invalid("--ipam-opt %.60q is not known: mosbridge takes none; options of the network are given with -o", key)
		}
	}
	p.Space = r.Space
	if r.Pool != "" {
		if p.Prefix, err = netip.ParsePrefix(r.Pool); err != nil {
			return p, 0, fault.Invalid("subnet %.60q is not of the form 10.9.0.0/24", r.Pool)
		}
		if p.Prefix.Addr().IsUnspecified() {
			p.Prefix, bits = netip.Prefix{}, p.Prefix.Bits()
		}
	}
	if !p.Prefix.IsValid() {
		if r.SubPool != "" {
			return p, 0, fault.Invalid("--ip-range %.60s needs --subnet", r.SubPool)
		}
		if size := addrBits(!r.V6); bits > size-2 {
			return p, 0, fault.Invalid("a subnet of /%d is too small: a gateway and a container need a /%d at least", bits, size-2)
		}
		return p, bits, nil
	}
	if err := checkPrefix(p.Prefix, r.V6); err != nil {
		return p, 0, err
	}
	if r.SubPool != "" {
		p.Sub, err = parseSub(p.Prefix, r.SubPool)
	}
	return p, 0, err
}

func checkPrefix(p netip.Prefix, v6 bool) error {
	a := p.Addr()
	switch {
	case a.Is4In6() || a.Is4() == v6:
		return fault.Invalid("subnet %s is not of the family asked for", p)
	case p.Masked() != p:
		return fault.Invalid("subnet %s has bits set behind its mask: write %s", p, p.Masked())
	case a.IsMulticast() || a.IsLoopback() || a.IsUnspecified() || a.IsLinkLocalUnicast() && a.Is6():
		return fault.Invalid("subnet %s is not a range of host addresses", p)
	case p.Bits() > a.BitLen()-2:
		return fault.Invalid("subnet %s is too small: a gateway and a container need a /%d at least", p, a.BitLen()-2)
	}
	return nil
}

func parseSub(p netip.Prefix, s string) (netip.Prefix, error) {
	sub, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return sub, fault.Invalid("--ip-range %.60q is not of the form 10.9.0.128/25", s)
	case sub.Addr().BitLen() != p.Addr().BitLen() || sub.Bits() < p.Bits() || !p.Contains(sub.Addr()):
		return sub, fault.Invalid("--ip-range %s is outside subnet %s", sub, p)
	case sub.Masked() != sub:
		return sub, fault.Invalid("--ip-range %s has bits set behind its mask: write %s", sub, sub.Masked())
	}
	if lo, hi := bounds(p, sub); hi.Less(lo) {
		return sub, fault.Invalid("--ip-range %s holds no address that a container can have in subnet %s", sub, p)
	}
	return sub, nil
}

// Bind notes which network a pool belongs to, so that a request for the same
// prefix is no repeat. Errors are NotFound for an unknown pool and
// FailedPrecondition for one that belongs to another network.
func (a *Allocator) Bind(id PoolID, network string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	p, ok := a.pools[id]
	switch {
	case !ok:
		return fault.NotFound("pool %.100s is not known", id)
	case p.Network == network:
		return nil
	case p.Network != "":
		return fault.Conflict("pool %s belongs to network %s", id, p.Network)
	}
	bound := p.Pool
	bound.Network = network
	return a.apply(Change{PutPools: []Pool{bound}})
}

// ReleasePool forgets a pool and all its leases. An unknown pool is well.
func (a *Allocator) ReleasePool(id PoolID) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.pools[id]; !ok {
		return nil
	}
	return a.apply(Change{DropPools: []PoolID{id}})
}

func addrBits(is4 bool) int {
	if is4 {
		return 32
	}
	return 128
}

// last is the last address of a prefix.
func last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// bounds are the first and last address that can be chosen from sub, a part of
// p: all but p's network address and, with IPv4, its broadcast address.
func bounds(p, sub netip.Prefix) (lo, hi netip.Addr) {
	if !sub.IsValid() {
		sub = p
	}
	lo, hi = sub.Addr(), last(sub)
	if lo == p.Addr() {
		lo = lo.Next()
	}
	if hi.Is4() && hi == last(p) {
		hi = hi.Prev()
	}
	return lo, hi
}

// instant drops what a stored time does not keep, so that an index built from
// the store equals the one that wrote it.
func instant(t time.Time) time.Time { return t.UTC().Round(0) }
