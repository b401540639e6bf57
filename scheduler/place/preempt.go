package place

import (
	"cmp"
	"slices"
)

// Preemption is sets of lower priority whose removal lets a set onto a host. It is a
// proposal: who takes it removes the victims and then places the set.
type Preemption struct {
	Host    HostID
	Victims []SetID // by name
}

// freed is what victims can give back; the other filters stay as they are, also where
// they say no because of a victim.
const freed = 1<<FilterCPU | 1<<FilterMemory | 1<<FilterDisk | 1<<FilterPort

// Preempt proposes victims among the sets that may go, nil if that makes room nowhere.
func (c *Cluster) Preempt(a *Ask, may func(SetID) bool) *Preemption {
	c.terms.find(c, a, c.view(a))
	return c.preempt(a, may)
}

// preempt finds the host where the least is lost: by the highest priority of a victim,
// then their number, then as hosts are ranked. The terms of the ask were found.
func (c *Cluster) preempt(a *Ask, may func(SetID) bool) *Preemption {
	var best *Preemption
	var of *host
	var cost int
	for _, h := range c.slots {
		if h == nil || c.reasons(a, h)&^freed != 0 {
			continue
		}
		victims := c.victims(a, h, may)
		if len(victims) == 0 {
			continue
		}
		highest := slices.MaxFunc(victims, func(a, b *set) int { return cmp.Compare(a.ask.Priority, b.ask.Priority) }).ask.Priority
		if best != nil && cmp.Or(cmp.Compare(highest, cost), cmp.Compare(len(victims), len(best.Victims)),
			cmp.Compare(of.tie, h.tie), cmp.Compare(h.ID, of.ID)) >= 0 {
			continue
		}
		of, cost, best = h, highest, &Preemption{Host: h.ID}
		for _, s := range victims {
			best.Victims = append(best.Victims, s.id)
		}
		slices.Sort(best.Victims)
	}
	return best
}

// victims are those of a host that have to go for the ask, nil if that does not help.
// All that may go do; then, from the highest priority on, those stay that can.
func (c *Cluster) victims(a *Ask, h *host, may func(SetID) bool) []*set {
	var all []*set
	used := h.used
	ports := map[SetID]bool{} // sets that give their ports back
	for _, s := range h.sets {
		if s.ask.Preemptible && s.ask.Priority < a.Priority && may(s.id) {
			all = append(all, s)
			ports[s.id] = true
			for r := range resources {
				used[r] -= s.ask.Amounts[r]
			}
		}
	}
	if !a.fitsWithout(h, used, ports) {
		return nil
	}
	slices.SortFunc(all, func(a, b *set) int {
		return cmp.Or(cmp.Compare(b.ask.Priority, a.ask.Priority), cmp.Compare(a.id, b.id))
	})
	var victims []*set
	for _, s := range all {
		with := used
		for r := range resources {
			with[r] += s.ask.Amounts[r]
		}
		ports[s.id] = false
		if a.fitsWithout(h, with, ports) {
			used = with
			continue
		}
		ports[s.id] = true
		victims = append(victims, s)
	}
	return victims
}

// fitsWithout says whether the ask fits when so much is used and some sets gave back
// their ports.
func (a *Ask) fitsWithout(h *host, used Amounts, gone map[SetID]bool) bool {
	for r := range resources {
		if a.Amounts[r] > 0 && used[r]+a.Amounts[r] > h.cap[r] {
			return false
		}
	}
	for _, p := range a.Ports {
		if holder, held := h.ports[p.anywhere()]; held && !gone[holder] || h.hasPort(p) {
			return false
		}
	}
	return true
}
