package place

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// Explanation says what becomes of an ask, and why.
type Explanation struct {
	Hosts int // there are
	Fit   int // take the set; each of the others is rejected by one filter at least
	// Counts are of the filters that reject any, in the order of the filters.
	Counts []Count
	Best   []Candidate // the best of those that fit, at most five
	// Preemption is what would make room, if the ask Preempts and no host fits.
	Preemption *Preemption
}

// Count is how many hosts a filter rejects.
type Count struct {
	Filter  Filter
	Rejects int
	Alone   int    // of these, the hosts that no other filter rejects
	Note    string // of resources: how much there is; of others: why one host is rejected
}

// Candidate is a host that fits.
type Candidate struct {
	Host  HostID
	Score Score
	Pull  int64 // bytes of its images that the host lacks
}

// Verdict is what becomes of an ask on one host.
type Verdict struct {
	Host    HostID
	Reasons []Reason // for which it is rejected, all of them
	Score   Score    // as if it were not
	Pull    int64
}

// Reason is why a filter rejects a host.
type Reason struct {
	Filter Filter
	Text   string
}

const bestFew = 5

// Explain says what Place would do, and books nothing.
func (c *Cluster) Explain(a *Ask) Explanation {
	v := c.view(a)
	c.terms.find(c, a, v)
	e := Explanation{Hosts: len(c.hosts)}
	var rejects, alone [filters]int
	var most [resources]int64 // left on a host that lacks nothing else
	var as [filters]example
	var ranked []ranked
	for _, h := range c.slots {
		if h == nil {
			continue
		}
		why := c.reasons(a, h)
		if why == 0 {
			e.Fit++
			ranked = c.rank(ranked, a, h)
			continue
		}
		for f := range filters {
			if why == 1<<f {
				alone[f]++
			}
			if why.has(f) {
				rejects[f]++
				as[f].take(h, why == 1<<f)
			}
		}
		for r := range resources {
			if why == 1<<filterOf(r) {
				most[r] = max(most[r], h.cap[r]-h.used[r])
			}
		}
	}
	for f := range filters {
		if rejects[f] > 0 {
			e.Counts = append(e.Counts, Count{f, rejects[f], alone[f], c.note(a, f, as[f].host, alone[f], most)})
		}
	}
	for _, r := range ranked {
		e.Best = append(e.Best, Candidate{r.host.ID, r.score, a.pull(r.host)})
	}
	if e.Fit == 0 && a.Preempts {
		e.Preemption = c.preempt(a, func(SetID) bool { return true })
	}
	return e
}

// example is a host that a filter rejects: one that no other does if there is any, the first by
// its name, whatever the order in which hosts are known.
type example struct {
	host  *host
	alone bool
}

func (e *example) take(h *host, alone bool) {
	if e.host == nil || alone && !e.alone || alone == e.alone && h.ID < e.host.ID {
		*e = example{h, alone}
	}
}

func filterOf(r Resource) Filter { return [...]Filter{FilterCPU, FilterMemory, FilterDisk}[r] }

// reasons is what all filters say of a host. The terms of the ask were found.
func (c *Cluster) reasons(a *Ask, h *host) reasons {
	return a.static(h) | a.dynamic(h) | c.holds(a, h) | c.terms.of(c, h).bars
}

// note says how much there is of a resource that is lacking, else what one host lacks.
func (c *Cluster) note(a *Ask, f Filter, as *host, alone int, most [resources]int64) string {
	for r := range resources {
		if filterOf(r) != f {
			continue
		}
		var largest int64
		for _, h := range c.hosts {
			largest = max(largest, h.cap[r])
		}
		switch need := a.Amounts[r]; {
		case need > largest:
			return fmt.Sprintf("%s needed, the largest host has %s", Show(r, need), Show(r, largest))
		case alone > 0:
			return fmt.Sprintf("%s needed, at most %s free where nothing else lacks", Show(r, need), Show(r, most[r]))
		}
		return Show(r, a.Amounts[r]) + " needed"
	}
	if f == FilterPort {
		var ports []string
		for _, p := range a.Ports {
			if _, held := as.ports[p.anywhere()]; held || as.hasPort(p) {
				ports = append(ports, p.String())
			}
		}
		return fmt.Sprintf("as %s: %s", as.ID, strings.Join(ports, ", "))
	}
	if f == FilterVolume || f == FilterAddress {
		return "" // who holds it may be another tenant's
	}
	return fmt.Sprintf("as %s: %s", as.ID, c.say(a, as, f, nil))
}

// ranked is a host that fits.
type ranked struct {
	host  *host
	score Score
}

// rank puts a host among the best few.
func (c *Cluster) rank(best []ranked, a *Ask, h *host) []ranked {
	r := ranked{h, c.score(a, h, &c.terms)}
	at, _ := slices.BinarySearchFunc(best, r, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(b.score.Total(), a.score.Total()), cmp.Compare(b.host.tie, a.host.tie), cmp.Compare(a.host.ID, b.host.ID))
	})
	if at == bestFew {
		return best
	}
	best = slices.Insert(best, at, r)
	return best[:min(len(best), bestFew)]
}

// Why says what becomes of an ask on one host. The error is of class NotFound.
func (c *Cluster) Why(a *Ask, id HostID) (Verdict, error) { return c.WhyFor(a, id, nil) }

// WhyFor is Why for somebody who is told the names of some sets only, of all by nil.
func (c *Cluster) WhyFor(a *Ask, id HostID, tell func(SetID) bool) (Verdict, error) {
	h, ok := c.hosts[id]
	if !ok {
		return Verdict{}, fault.NotFound("there is no host %s", id)
	}
	c.terms.find(c, a, c.view(a))
	v := Verdict{Host: id, Score: c.score(a, h, &c.terms), Pull: a.pull(h)}
	why := c.reasons(a, h)
	for f := range filters {
		if why.has(f) {
			v.Reasons = append(v.Reasons, Reason{f, c.say(a, h, f, tell)})
		}
	}
	return v, nil
}

// say is the sentence for a filter that rejects a host.
func (c *Cluster) say(a *Ask, h *host, f Filter, tell func(SetID) bool) string {
	var parts []string
	who := func(id SetID) string {
		if tell == nil || tell(id) {
			return "set " + string(id)
		}
		return "another's set"
	}
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	switch f {
	case FilterState:
		add("the host is %s", h.State)
	case FilterTaint:
		for _, t := range h.Taints {
			if !t.Soft && !a.tolerates(t) {
				add("the taint %s=%s is not tolerated", t.Key, t.Value)
			}
		}
	case FilterConstraint:
		for _, k := range a.Constraints {
			if v, there := h.label(k.Key); !there && !k.met(v, there) {
				add("%s: the host has no such label", k)
			} else if !k.met(v, there) {
				add("%s: the host has %s", k, v)
			}
		}
	case FilterVolume:
		c.sayVolumes(a, h, who, add)
	case FilterNetwork, FilterAddress:
		c.sayNetworks(a, h, f, who, add)
	case FilterPort:
		for _, p := range a.Ports {
			if set, held := h.ports[p.anywhere()]; held {
				add("port %s is held by %s", p, who(set))
			} else if h.hasPort(p) {
				add("port %s is held by the host, outside of the cluster's sets", p)
			}
		}
	case FilterCPU, FilterMemory, FilterDisk:
		for r := range resources {
			if filterOf(r) == f {
				add("%s needed, %s of %s free", Show(r, a.Amounts[r]), Show(r, h.cap[r]-h.used[r]), Show(r, h.cap[r]))
			}
		}
	case FilterSpread:
		add("its host, rack or room has more sets of %s than MaxSkew allows", a.Service)
	case FilterAffinity:
		add("a hard affinity of the set, or of a set that is there, is not met")
	case filters:
	}
	return strings.Join(parts, "; ")
}

func (c *Cluster) sayVolumes(a *Ask, h *host, who func(SetID) string, add func(string, ...any)) {
	for _, name := range a.Volumes {
		switch v := c.volumes[name]; {
		case v == nil:
			add("volume %s is not known", name)
		case v.user != "":
			add("volume %s is used by %s", name, who(v.user))
		case !v.hosts[h]:
			add("volume %s is on another host", name)
		}
	}
}

func (c *Cluster) sayNetworks(a *Ask, h *host, f Filter, who func(SetID) string, add func(string, ...any)) {
	for i, n := range a.Networks {
		p := h.pool(n.Network)
		switch holder, held := c.fixed[n]; {
		case f == FilterNetwork && p == nil:
			add("network %s does not reach the host", n.Network)
		case f == FilterNetwork:
		case held:
			add("address %s of network %s is held by %s", n.Address, n.Network, who(holder))
		case p != nil && !n.Address.IsValid() && p.used+a.earlier(i, h, p) >= p.Size:
			add("network %s: pool %s has no address left of %d", n.Network, p.ID, p.Size)
		}
	}
}

// Show writes an amount as people do.
func Show(r Resource, n int64) string {
	if r == CPU {
		return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.3f", float64(n)/1000), "0"), ".")
	}
	unit, name := int64(1), "B"
	for _, u := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if n < unit<<10 && n > -unit<<10 {
			break
		}
		unit, name = unit<<10, u
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", float64(n)/float64(unit)), ".0") + " " + name
}

func (e Explanation) String() string {
	if e.Hosts == 0 {
		return "there are no hosts"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d hosts fit", e.Fit, e.Hosts)
	for i, n := range e.Counts {
		b.WriteString([]string{": ", ", "}[min(i, 1)])
		fmt.Fprintf(&b, "%s rejects %d", n.Filter, n.Rejects)
		if n.Alone != n.Rejects {
			fmt.Fprintf(&b, " (%d alone)", n.Alone)
		}
		if n.Note != "" {
			fmt.Fprintf(&b, " (%s)", n.Note)
		}
	}
	if p := e.Preemption; p != nil {
		fmt.Fprintf(&b, "; host %s would fit without %d sets of lower priority", p.Host, len(p.Victims))
	}
	return b.String()
}
