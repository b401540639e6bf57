package control

import (
	"slices"

	"github.com/mosdocker/mosdocker/scheduler/api"
)

// flight is what one pass changes, until the cache has it. Passes go on meanwhile: they
// leave alone what it has in it, and what it books of hosts is booked.
type flight struct {
	changes  []change
	notes    map[string][]note
	services map[string]bool
	hosts    map[string]bool // that are changed themselves
	to       map[string]bool // hosts that get sets
	alone    bool            // others are decided when it is seen
	lists    int             // how often the cache was listed before
	taken    map[api.SetAddress]bool
	unheard  map[string]bool // hosts that spoke of what is in it

	landed   bool
	revision int64 // of the last batch that was written
	err      error
}

// mostFlights bounds how many there are, so that what comes together is written together.
const mostFlights = 4

func newFlight(d *draft) *flight {
	f := &flight{
		changes: d.changes(), notes: d.notes, lists: d.lists, taken: d.taken, alone: len(d.settled)+len(d.begun)+len(d.told) > 0,
		services: map[string]bool{}, hosts: map[string]bool{}, to: map[string]bool{}, unheard: map[string]bool{},
	}
	for _, c := range f.changes {
		if c.of != "" {
			f.services[c.of] = true
		}
		if c.to != "" {
			f.to[c.to] = true
		}
	}
	for name, h := range d.hosts {
		f.hosts[name] = true
		was := d.cache.hosts[name]
		f.alone = f.alone || h.Status.Health != was.Status.Health || h.Spec.Fenced != was.Spec.Fenced || !slices.Equal(h.Status.Blocks, was.Status.Blocks)
	}
	for _, m := range d.members {
		f.alone = f.alone || m.left != nil
	}
	for _, r := range d.ends {
		f.alone = f.alone || r.Kind() != api.Services
	}
	return f
}

// mayDecide forgets flights that the cache has, and says whether the next may begin. One under
// way while all was listed anew has lost its bookings, so nothing is booked until it is seen.
// Who calls has the cache's mutex.
func (l *leader) mayDecide() bool {
	may := true
	var left []*flight
	for _, f := range l.flights {
		if f.landed && l.cache.revision >= f.revision {
			l.mu.Lock()
			for host := range f.unheard {
				l.own.fresh[host] = true
			}
			l.mu.Unlock()
			continue
		}
		left = append(left, f)
		may = may && !f.alone && f.lists == l.cache.lists
	}
	l.flights = left
	if l.quiet && len(left) > 0 {
		return false
	}
	l.quiet = false
	return may && len(left) < mostFlights
}

// hasAddress says whether a set has an address, or is to get it.
func (k *look) hasAddress(a api.SetAddress) bool { return k.leader.hasAddress(k.draft, a) }

func (l *leader) hasAddress(d *draft, a api.SetAddress) bool {
	return d.held[a] > 0 || d.taken[a] || slices.ContainsFunc(l.flights, func(f *flight) bool { return f.taken[a] })
}

// inFlight is the flight that has a service in it, nil if there is none.
func (l *leader) inFlight(service string) *flight {
	for _, f := range l.flights {
		if f.services[service] {
			return f
		}
	}
	return nil
}

// approached says whether sets are on their way to a host.
func (l *leader) approached(d *draft, host string) bool {
	for _, f := range l.flights {
		if f.to[host] || f.hosts[host] {
			return true
		}
	}
	for _, m := range d.members {
		if m.Spec.Host == host {
			return true
		}
	}
	return false
}
