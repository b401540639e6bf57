package ipam

import "time"

// suspicion is a lease that nobody knew, and since when.
type suspicion struct {
	lease Lease
	at    time.Time
}

// Unknown lists the endpoints' held and kept leases that known denies, and
// changes nothing.
func (a *Allocator) Unknown(known func(Lease) bool) []Lease {
	var ls []Lease
	for _, l := range a.Leases("") {
		if l.Kind == Endpoint && !known(l) {
			ls = append(ls, l)
		}
	}
	return ls
}

// Collect takes back, in two phases, the endpoints' leases that known denies:
// one that is denied is only marked; when it is unchanged and still denied by a
// call at least grace later, a held one is released and a kept one forgotten.
// It returns those, as they were before. Call it from time to time; known is
// called without a lock held.
func (a *Allocator) Collect(now time.Time, grace time.Duration, known func(Lease) bool) ([]Lease, error) {
	unknown := a.Unknown(known)
	a.mu.Lock()
	defer a.mu.Unlock()
	marked := map[Key]suspicion{}
	var done []Lease
	for i, l := range unknown {
		s, ok := a.suspect[l.Key()]
		if !ok || s.lease != l {
			s = suspicion{l, now}
		}
		if now.Sub(s.at) < grace || s.at.Equal(now) {
			marked[l.Key()] = s
			continue
		}
		if err := a.takeBack(l, now); err != nil {
			for _, rest := range unknown[i:] {
				if s, ok := a.suspect[rest.Key()]; ok {
					marked[rest.Key()] = s
				}
			}
			a.suspect = marked
			return done, err
		}
		done = append(done, l)
	}
	a.suspect = marked
	return done, nil
}

// takeBack releases or forgets a lease unless it has changed.
func (a *Allocator) takeBack(l Lease, now time.Time) error {
	p, ok := a.pools[l.Pool]
	if !ok || p.leases[l.Addr] != l {
		return nil
	}
	if l.State == Kept {
		return a.apply(Change{DropLeases: []Key{l.Key()}})
	}
	return a.release(p, l, now)
}

// CollectPools is [Allocator.Collect] for pools: what a crash left between
// Docker's request and the network's creation or deletion. Of the pools of
// other network drivers, which are bound to none, known must know.
func (a *Allocator) CollectPools(now time.Time, grace time.Duration, known func(Pool) bool) ([]Pool, error) {
	var unknown []Pool
	for _, p := range a.Pools() {
		if !known(p) {
			unknown = append(unknown, p)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	marked := map[PoolID]time.Time{}
	var done []Pool
	var err error
	for _, p := range unknown {
		at, ok := a.orphan[p.ID()]
		if !ok {
			at = now
		}
		cur, there := a.pools[p.ID()]
		switch {
		case !there || cur.Pool != p:
		case err != nil || now.Sub(at) < grace || at.Equal(now):
			marked[p.ID()] = at
		default:
			if err = a.apply(Change{DropPools: []PoolID{p.ID()}}); err != nil {
				marked[p.ID()] = at
			} else {
				done = append(done, p)
			}
		}
	}
	a.orphan = marked
	return done, err
}
