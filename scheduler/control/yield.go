package control

import (
	"errors"
	"fmt"
	"strings"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/place"
)

// mayPreempt says whether a set that was refused a host may have others yield.
func (k *look) mayPreempt(m *member, err error) bool {
	_, refused := errors.AsType[*place.RefusedError](err)
	return refused && !k.NoPreemption && m.was != nil && k.of.Service != nil && k.of.Spec.Placement.Preempts
}

// makeRoom has sets of lower priority yield to one that found no host for a while, and books
// for it what they leave, so that nobody else takes that. It says what the set waits for,
// nothing if nobody yields. Where room is on its way already, nobody more does. Kept is the
// host where something was booked for it before, if any.
func (k *look) makeRoom(m *member, err error, kept place.HostID) string {
	if !k.mayPreempt(m, err) {
		return ""
	}
	if k.hungry[k.of.name].IsZero() {
		k.hungry[k.of.name] = k.now
	}
	if k.now.Sub(k.hungry[k.of.name]) < k.Yield {
		k.late[k.of.name] = true
		return ""
	}
	a, err := k.ask(m)
	if err != nil {
		return ""
	}
	if len(k.flights) > 0 { // what others can spare is known when all is seen
		k.quiet, k.dirty[k.of.name] = true, true
		if kept == "" || k.cluster.Add(id(m.Name), a, kept) != nil {
			return ""
		}
		return waitsFor(m, kept)
	}
	going := k.going()
	for _, g := range going {
		k.cluster.Remove(id(g.Name))
	}
	var host place.HostID
	if placed, err := k.cluster.Place(a, id(m.Name)); err == nil {
		host = placed[0].Host
		k.cluster.Remove(id(m.Name))
	} else if p := k.propose(a); p != nil {
		host = p.Host
		going = append(going, k.yield(m, p)...)
	}
	for _, g := range going {
		k.book(g.was)
	}
	if host == "" {
		return ""
	}
	_ = k.cluster.Add(id(m.Name), a, host) // last: ports of those that leave are theirs until they have left
	return waitsFor(m, host)
}

func waitsFor(m *member, host place.HostID) string {
	return fmt.Sprintf("%s waits for sets of host %s to leave", m.Name, host)
}

// going are the sets that are to leave their hosts.
func (d *draft) going() []*member {
	var all []*member
	for _, s := range named(d.sets) {
		if s.Spec.Host == "" {
			continue
		}
		if m := d.members[s.Name]; m != nil && (m.gone || m.Spec.Host != s.Spec.Host || !stops(m.SetInstance)) || m == nil && !stops(s.SetInstance) {
			continue
		}
		all = append(all, d.member(s))
	}
	return all
}

// mostProposals bounds how often another host is looked for, where services cannot spare
// what the one before costs them.
const mostProposals = 20

// propose finds victims that their services can spare.
func (k *look) propose(a *place.Ask) *place.Preemption {
	left, kept := map[string]int{}, map[place.SetID]bool{}
	may := func(id place.SetID) bool {
		s := k.stored(id)
		if s == nil || kept[id] {
			return false
		}
		if _, known := left[s.Spec.Service]; !known {
			left[s.Spec.Service] = k.spare(k.services[s.Spec.Service])
		}
		return left[s.Spec.Service] > 0 || !k.available(k.member(s))
	}
	for range mostProposals {
		p := k.cluster.Preempt(a, may)
		if p == nil {
			return nil
		}
		spent, over := map[string]int{}, false
		for _, v := range p.Victims {
			s := k.stored(v)
			if !k.available(k.member(s)) {
				continue
			}
			spent[s.Spec.Service]++
			if spent[s.Spec.Service] > left[s.Spec.Service] {
				kept[v], over = true, true
			}
		}
		if !over {
			return p
		}
	}
	return nil
}

// stored is a set as the cache has it.
func (d *draft) stored(id place.SetID) *set { return d.cache.sets[string(id)] }

// spare is how many sets a service can do without.
func (k *look) spare(of *service) int {
	if of == nil || of.Service == nil {
		return 0
	}
	n := max(of.Spec.Update.MaxUnavailable, 1) - of.Spec.Replicas
	for _, s := range of.sets {
		if m := k.member(s); m.Deleted.IsZero() && k.available(m) {
			n++
		}
	}
	return n
}

// yield asks victims to leave for a set, and tells both services.
func (k *look) yield(m *member, p *place.Preemption) []*member {
	var all []*member
	var names []string
	for _, v := range p.Victims {
		s := k.stored(v)
		of := k.member(s)
		of.edit().Spec.Leaving = true
		all, names = append(all, of), append(names, of.Name)
		k.note(s.Spec.Service, note{
			on: api.Reference{Kind: api.Services, Name: s.Spec.Service}, what: "yields",
			cause: fmt.Sprintf("%s of priority %d needs room on host %s", m.Name, k.of.Spec.Placement.Priority, p.Host), text: of.Name,
		})
		k.waiting[s.Spec.Service] = true
	}
	k.say("preempts", "no host has room", fmt.Sprintf("%s takes the room of %s on host %s", m.Name, strings.Join(names, ", "), p.Host))
	return all
}
