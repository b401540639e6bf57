package plan

import (
	"cmp"
	"math"
	"slices"

	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// builder collects the steps of one plan.
type builder struct {
	s   spec.Set
	o   Observed
	opt Options
	p   Plan

	infra   int            // the step after which the infra exists, 0 when it does
	up      int            // the step after which it runs, 0 when it does
	ready   map[string]int // by member: the step after which it is ready, 0 when it is
	started map[string]int // by member: the step after which it runs
	// unready are members that others wait for, with NoWait, and what each is to do.
	unready map[string]string
	before  []int // what must be over before anything is touched
	// past is by member the container that served when the plan began, and last the
	// highest revision of those that it had.
	past map[string]Container
	last map[string]int
	torn bool // all that was there is removed first
	// cluster is label.Cluster of what is made.
	cluster string
}

func newBuilder(s spec.Set, o Observed, opt Options) *builder {
	o.Members = slices.Clone(o.Members)
	b := &builder{s: s, o: o, opt: opt, p: Plan{Set: s.Name}, unready: map[string]string{}, ready: map[string]int{}, started: map[string]int{}, past: map[string]Container{}, last: map[string]int{}, cluster: o.Cluster()}
	if o.Infra == nil {
		b.cluster = cmp.Or(b.cluster, opt.Cluster)
	}
	for _, c := range o.inService(s.Name) {
		b.past[c.Member], b.last[c.Member] = c, b.of(c.Member)[0].Rev
	}
	return b
}

// add appends a step and returns its id. Needs of 0 are none.
func (b *builder) add(s Step, needs ...int) int {
	s.ID = len(b.p.Steps) + 1
	for _, n := range needs {
		if n != 0 && !slices.Contains(s.Needs, n) {
			s.Needs = append(s.Needs, n)
		}
	}
	slices.Sort(s.Needs)
	b.p.Steps = append(b.p.Steps, s)
	return s.ID
}

// touch is add for a step that changes what is there: it waits for all that may
// fail beforehand.
func (b *builder) touch(s Step, needs ...int) int {
	return b.add(s, append(needs, b.before...)...)
}

func (b *builder) warn(sentence string) { b.p.Warnings = append(b.p.Warnings, sentence) }

// of are the containers of a member, the newest first.
func (b *builder) of(member string) []Container {
	var out []Container
	for _, c := range b.o.Members {
		if c.Member == member {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(x, y Container) int { return y.Rev - x.Rev })
	return out
}

// waves are the containers of the set by index, in the order of their start.
func waves(s spec.Set) [][]spec.Container {
	cs := slices.Clone(s.Containers)
	slices.SortStableFunc(cs, func(x, y spec.Container) int { return x.Index - y.Index })
	var out [][]spec.Container
	for i, c := range cs {
		if i == 0 || c.Index != cs[i-1].Index {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], c)
	}
	return out
}

// stopOrder are the containers of members in the order of their stop: a later
// index first.
func stopOrder(cs []Container) [][]Container {
	cs = slices.Clone(cs)
	slices.SortStableFunc(cs, func(x, y Container) int { return y.Index - x.Index })
	var out [][]Container
	for i, c := range cs {
		if i == 0 || c.Index != cs[i-1].Index {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], c)
	}
	return out
}

// live says whether a container has processes.
func (c Container) live() bool {
	return c.State == Running || c.State == Paused || c.State == Restarting
}

// named returns the spec of a container.
func named(s spec.Set, name string) (spec.Container, bool) {
	i := slices.IndexFunc(s.Containers, func(c spec.Container) bool { return c.Name == name })
	if i < 0 {
		return spec.Container{}, false
	}
	return s.Containers[i], true
}

// total is the cap of the set as a whole.
func total(s spec.Set) Limits { return Limits{CPU: s.CPU, MEM: s.MEM} }

func limitsOf(s spec.Set, c spec.Container) Limits {
	cpu, mem := s.LimitsOf(c)
	return Limits{CPU: cpu, MEM: mem}
}

// near says whether an Engine that was told want has l: the systemd driver rounds
// processors up to a hundredth.
func (l Limits) near(want Limits) bool {
	d, up := float64(l.CPU-want.CPU), float64(l.CPU)-math.Ceil(float64(want.CPU)*100-1e-6)/100
	return (math.Abs(d) < 5e-4 || math.Abs(up) < 5e-4) && l.MEM == want.MEM
}

// policyOf is a container's restart policy by its spec.
func policyOf(c spec.Container) string {
	switch {
	case c.Options.Backoff != nil:
		return "no" // mosd starts it again
	case c.Options.Restart != "":
		return c.Options.Restart
	case c.Options.Once:
		return "no"
	}
	return "always"
}
