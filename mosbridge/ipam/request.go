package ipam

import (
	"net/netip"
	"time"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// RequestAddress gives out an address of a pool and returns its held lease.
//
// The same request again gets the same lease: for named containers always, for
// others within [Repeat]. With no address asked for, a container gets the one
// that its name had last, else the one that its MAC had last, else the lowest
// that nobody ever had, else the longest released. A full pool takes back what
// is held by endpoints that are gone. An address asked for without
// MAC and name while the network is being created is an auxiliary one.
//
// Errors are NotFound for an unknown pool, InvalidArgument for an address that
// is not the pool's to give, [*TakenError] for one that another owner holds,
// ResourceExhausted for a full pool, FailedPrecondition for one that a [Guard]
// keeps for others.
func (a *Allocator) RequestAddress(id PoolID, r Request, now time.Time) (Lease, error) {
	now = instant(now)
	a.mu.Lock()
	defer a.mu.Unlock()
	p, ok := a.pools[id]
	if !ok {
		return Lease{}, fault.NotFound("pool %.100s is not known to mosbridge: remove its network and create it again", id)
	}
	p.guard = a.guards[p.Prefix]
	l := Lease{Pool: id, State: Held, Kind: p.kind(r), Asked: r.Addr.IsValid() && !r.Gateway, Name: r.Name, MAC: r.MAC, Since: now}
	if r.Addr.IsValid() {
		if err := p.check(r.Addr); err != nil {
			return Lease{}, err
		}
		l.Addr = r.Addr
	} else if err := p.choose(&l, r); err != nil {
		return Lease{}, err
	}
	if old, ok := p.leases[l.Addr]; ok {
		switch {
		case old.State != Held:
		case repeats(old, l):
			return old, nil
		case !r.gone(old, now):
			return Lease{}, &TakenError{old}
		}
		l.Asked = l.Asked || old.Asked
	}
	if l.Kind == Endpoint {
		if err := p.guard.check(l.Addr); err != nil {
			return Lease{}, err
		}
	}
	return l, a.apply(Change{PutLeases: []Lease{l}})
}

func (p *pool) kind(r Request) Kind {
	switch {
	case r.Gateway:
		return Gateway
	case r.Addr.IsValid() && r.Name == "" && r.MAC.IsZero() && p.Network == "":
		return Auxiliary
	}
	return Endpoint
}

// repeats says whether the request for l is that of the held lease old again.
// A nameless owner is believed for a short time only: a second container with
// the first one's MAC must not get the first one's address, since Docker would
// release it when that second container is refused.
func repeats(old, l Lease) bool {
	return old.Kind == l.Kind && old.Name == l.Name && old.MAC == l.MAC &&
		(l.Name != "" || l.Kind != Endpoint || l.Since.Sub(old.Since) < Repeat)
}

// check says whether an address asked for is one that the pool can give.
func (p *pool) check(a netip.Addr) error {
	switch {
	case !p.Prefix.Contains(a):
		return fault.Invalid("address %s is outside subnet %s", a, p.Prefix)
	case a == p.Prefix.Addr():
		return fault.Invalid("address %s is the network address of subnet %s", a, p.Prefix)
	case a.Is4() && a == last(p.Prefix):
		return fault.Invalid("address %s is the broadcast address of subnet %s", a, p.Prefix)
	}
	return nil
}

// choose fills in the address of l.
func (p *pool) choose(l *Lease, r Request) error {
	if l.Kind == Gateway {
		return p.chooseGateway(l, r)
	}
	for _, a := range p.byMAC[l.MAC] {
		if old := p.leases[a]; old.State == Held && repeats(old, *l) {
			l.Addr = a
			return nil
		}
	}
	if a, ok := p.had(p.byName[l.Name], r, l.Since); ok {
		l.Addr = a
		return nil
	}
	if a, ok := p.had(p.byMAC[l.MAC], r, l.Since); ok {
		l.Addr = a
		return nil
	}
	return p.next(l, r)
}

// chooseGateway takes the first address of the subnet, as people expect, even
// when --ip-range lies elsewhere.
func (p *pool) chooseGateway(l *Lease, r Request) error {
	for _, old := range p.leases {
		if old.Kind == Gateway {
			l.Addr = old.Addr
			return nil
		}
	}
	first := p.Prefix.Addr().Next()
	if _, ok := p.leases[first]; !ok {
		l.Addr = first
		return nil
	}
	return p.next(l, r)
}

func (p *pool) next(l *Lease, r Request) error {
	a, ok := p.unusedOwn()
	if !ok {
		a, ok = p.oldestOwn()
	}
	if !ok {
		a, ok = p.abandoned(r, l.Since)
	}
	if !ok && p.guard != nil {
		return p.guard.exhausted()
	}
	if !ok {
		from := p.Prefix
		if p.Sub.IsValid() {
			from = p.Sub
		}
		return fault.Exhausted("no free address is left in %s: the pool has %d held and %d kept, see docker mos net leases", from, p.count[Held], p.count[Kept])
	}
	l.Addr = a
	return nil
}

// abandoned is the longest held address whose endpoint is gone.
func (p *pool) abandoned(r Request, now time.Time) (netip.Addr, bool) {
	var best Lease
	if r.Gone == nil {
		return netip.Addr{}, false
	}
	for _, l := range p.leases {
		older := best.State == "" || entry{l.Since, l.Addr}.compare(entry{best.Since, best.Addr}) < 0
		if older && !l.Asked && p.chooses(l.Addr) && r.gone(l, now) {
			best = l
		}
	}
	return best.Addr, best.State != ""
}

// had is the address among those of one owner to give back: a held one that
// nobody uses before a kept one before a past one, the latest first.
func (p *pool) had(as []netip.Addr, r Request, now time.Time) (netip.Addr, bool) {
	order := map[State]int{Held: 3, Kept: 2, Past: 1}
	var best Lease
	for _, a := range as {
		l := p.leases[a]
		if l.State == Held && !r.gone(l, now) || !p.keeps(l) {
			continue
		}
		if order[l.State] > order[best.State] || l.State == best.State && later(l, best) {
			best = l
		}
	}
	return best.Addr, best.State != ""
}

func later(x, y Lease) bool {
	if x.Since.Equal(y.Since) {
		return x.Addr.Less(y.Addr)
	}
	return x.Since.After(y.Since)
}

// ReleaseAddress says that an address is no longer used. One that the user
// asked for stays kept. Unknown pools and addresses, and released ones, are well.
func (a *Allocator) ReleaseAddress(id PoolID, addr netip.Addr, now time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	p, ok := a.pools[id]
	if !ok {
		return nil
	}
	l, ok := p.leases[addr]
	if !ok || l.State != Held {
		return nil
	}
	return a.release(p, l, instant(now))
}

// release ends a held lease.
func (a *Allocator) release(p *pool, l Lease, now time.Time) error {
	if l.Kind != Endpoint {
		return a.apply(Change{DropLeases: []Key{l.Key()}})
	}
	l.Since = now
	if l.Asked {
		l.State = Kept
		return a.apply(Change{PutLeases: []Lease{l}})
	}
	l.State = Past
	c := Change{PutLeases: []Lease{l}}
	if p.count[Past] >= MaxPast {
		if old, ok := p.oldest(); ok {
			c.DropLeases = []Key{{l.Pool, old}}
		}
	}
	return a.apply(c)
}

// Forget drops a kept or past lease, so that the address can be chosen for
// anybody. Errors are NotFound for an address without one, and
// FailedPrecondition for one that is held.
func (a *Allocator) Forget(id PoolID, addr netip.Addr) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	p, ok := a.pools[id]
	if !ok {
		return fault.NotFound("pool %.100s is not known", id)
	}
	l, ok := p.leases[addr]
	switch {
	case !ok:
		return fault.NotFound("address %s of pool %s is neither held nor kept", addr, id)
	case l.State == Held:
		return fault.Conflict("address %s is held by %s: stop it first", addr, l.Owner())
	}
	return a.apply(Change{DropLeases: []Key{{id, addr}}})
}
