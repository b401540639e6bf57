package control

import (
	"cmp"
	"slices"
	"time"

	"github.com/mosdocker/mosdocker/scheduler"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/state"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// draft is what a pass wants to be, beside the cache. All of it is made under the cache's
// mutex.
type draft struct {
	*cache
	now      time.Time
	members  map[string]*member
	hosts    map[string]*api.Host // those that are to be otherwise
	statuses []*api.Service       // services that are to be otherwise
	ends     []api.Resource       // services and hosts of which nothing is left
	notes    map[string][]note    // by service, or / and host
	freed    bool                 // a set left its host
	used     map[string]api.Usage // by tenant, where it was counted
	begun    []*api.Operation
	told     []*api.Operation // operations that are otherwise
	taken    map[api.SetAddress]bool
	settled  map[string]*api.Leftover // that are to go
}

// member is a set in a draft. Its SetInstance is the cache's until it is edited.
type member struct {
	*api.SetInstance
	was    *set // nil for one that is made
	hash   string
	edited bool
	gone   bool
	left   *api.Leftover // what stays of it on a host that is lost
}

func newDraft(c *cache, now time.Time) *draft {
	return &draft{cache: c, now: now, members: map[string]*member{}, hosts: map[string]*api.Host{}, notes: map[string][]note{}, used: map[string]api.Usage{}, taken: map[api.SetAddress]bool{}, settled: map[string]*api.Leftover{}}
}

func (d *draft) member(s *set) *member {
	m := d.members[s.Name]
	if m == nil {
		m = &member{SetInstance: s.SetInstance, was: s, hash: s.hash}
		d.members[s.Name] = m
	}
	return m
}

// edit gives a set that may be changed.
func (m *member) edit() *api.SetInstance {
	if !m.edited {
		own := *m.SetInstance
		m.SetInstance, m.edited = &own, true
	}
	return m.SetInstance
}

// host is one as it is to be; nil if there is none.
func (d *draft) host(name string) *api.Host {
	if h := d.hosts[name]; h != nil {
		return h
	}
	return d.cache.hosts[name]
}

func (d *draft) editHost(h *api.Host) *api.Host {
	if d.hosts[h.Name] == nil {
		own := *h
		d.hosts[h.Name] = &own
	}
	return d.hosts[h.Name]
}

func (d *draft) note(of string, n note) { d.notes[of] = append(d.notes[of], n) }

// change is one resource to be written, whole with its claims.
type change struct {
	of   string // the service that is looked at again if it is not written
	set  string // whose booking is put right then
	host string // whose report is looked at again then
	to   string // the host that gets the set
	ops  int
	fill func(*state.Batch)
}

// changes are those of the draft, sets of one service beside each other.
func (d *draft) changes() []change {
	var all []change
	for _, m := range named(d.members) {
		if c, is := m.change(); is {
			all = append(all, c)
		}
	}
	slices.SortStableFunc(all, func(a, b change) int { return cmp.Compare(a.of, b.of) })
	for _, h := range named(d.hosts) {
		all = append(all, hostChange(d.cache.hosts[h.Name], h))
	}
	for _, l := range named(d.settled) {
		all = append(all, settlement(l))
	}
	all = append(all, d.operationChanges()...)
	for _, s := range d.statuses {
		all = append(all, change{of: s.Name, ops: 1, fill: func(b *state.Batch) { b.Update(s) }})
	}
	for _, r := range d.ends {
		c := change{ops: 1, fill: func(b *state.Batch) { b.Delete(r) }}
		switch h, is := r.(*api.Host); {
		case is:
			c = hostEnd(h)
		case r.Kind() == api.Services:
			c.of = r.Head().Name
		default:
			c.host = r.Head().Name
		}
		all = append(all, c)
	}
	return all
}

func (m *member) change() (change, bool) {
	c := change{of: m.Spec.Service, set: m.Name}
	if m.was != nil {
		c.host = m.was.Spec.Host
	}
	if !m.gone {
		c.to = m.Spec.Host
	}
	switch {
	case m.was == nil && m.gone, !m.edited && !m.gone:
		return c, false
	case m.gone:
		held := without(things(m.was.SetInstance), m.stays())
		c.ops = 2 + len(held)
		c.fill = func(b *state.Batch) {
			b.Delete(m.was.SetInstance)
			m.keepLeft(b)
			for _, t := range held {
				b.Release(t, holder(m.was.SetInstance))
			}
		}
	case m.was == nil:
		held := things(m.SetInstance)
		c.ops = 1 + len(held)
		c.fill = func(b *state.Batch) {
			b.Create(m.SetInstance)
			for _, t := range held {
				b.Claim(t, holder(m.SetInstance))
			}
		}
	default:
		if changedSpec(&m.was.Spec, &m.Spec) {
			m.Generation++
		}
		had, has := things(m.was.SetInstance), things(m.SetInstance)
		lost := without(without(had, has), m.stays())
		taken := without(has, had)
		c.ops = 2 + len(lost) + len(taken)
		c.fill = func(b *state.Batch) {
			b.Update(m.SetInstance)
			m.keepLeft(b)
			for _, t := range lost {
				b.Release(t, holder(m.SetInstance))
			}
			for _, t := range taken {
				b.Claim(t, holder(m.SetInstance))
			}
		}
	}
	return c, true
}

// stays are the things that stay with what is left of a set.
func (m *member) stays() []state.Thing {
	if m.left == nil {
		return nil
	}
	return addressThings(m.left.Spec.Addresses)
}

func (m *member) keepLeft(b *state.Batch) {
	if m.left != nil {
		b.Create(m.left)
	}
}

// changedSpec compares what a leader changes in a set.
func changedSpec(a, b *api.SetSpec) bool {
	return a.Host != b.Host || a.Leaving != b.Leaving || a.ServiceGeneration != b.ServiceGeneration ||
		!slices.Equal(a.Addresses, b.Addresses)
}

func without(all, those []state.Thing) []state.Thing {
	return slices.DeleteFunc(slices.Clone(all), func(t state.Thing) bool { return slices.Contains(those, t) })
}

func holder(s *api.SetInstance) state.Holder { return state.Holder{Name: s.Name, UID: s.UID} }

// things are what a set has for itself: its addresses and, while it is on a host, its volume
// and ports of the host.
func things(s *api.SetInstance) []state.Thing {
	all := addressThings(addresses(s))
	if s.Spec.Host == "" {
		return all
	}
	set := &s.Spec.Set.Set
	add := func(t state.Thing) {
		if !slices.Contains(all, t) {
			all = append(all, t)
		}
	}
	if name := volume(s.Name, set); name != "" {
		add(state.Volume(name))
	}
	if a, err := scheduler.Ask(&api.Service{Meta: api.Meta{Name: s.Spec.Service}}, set); err == nil {
		for _, p := range a.Ports {
			add(state.Port(s.Spec.Host, p.Protocol, p.Number))
		}
	}
	return all
}

// volume is the name of a set's volume, empty if it has none.
func volume(name string, set *spec.Set) string {
	if set.Volume == nil {
		return ""
	}
	return cmp.Or(set.Volume.Name, name+"-data")
}

// lossPolicy is what becomes of a set whose host is lost. Without a service, what is safe.
func lossPolicy(of *api.Service, s *api.SetInstance) api.LossPolicy {
	if of != nil && of.Spec.OnHostLost != "" {
		return of.Spec.OnHostLost
	}
	set := &s.Spec.Set.Set
	sticky := of != nil && of.Spec.StickyAddresses && len(s.Spec.Addresses) > 0
	if sticky || set.Volume != nil || api.HasFixed(set) {
		return api.Keep
	}
	return api.Replace
}
