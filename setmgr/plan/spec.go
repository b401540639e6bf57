package plan

import (
	"maps"
	"math"
	"slices"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/setmgr/render"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// Spec is the spec of a set as its containers tell it: their labels say what never
// changes, their limits what was resized since. next are the totals of a resize
// that may have been cut off. An error is of class NotFound without an infra
// container.
func Spec(o Observed, name string, next ...Limits) (spec.Set, error) {
	if o.Infra == nil {
		return spec.Set{Name: name}, fault.NotFound("there is no set %.80s: docker set ls shows those that there are", name)
	}
	s, err := spec.DecodePart(o.Infra.Spec)
	if err != nil {
		return s, fault.Unavailable("label of container %s: %w", o.Infra.Name, err)
	}
	s.Name, s.CPU, s.MEM = name, o.Infra.Limits.CPU, o.Infra.Limits.MEM
	s.Containers = nil
	for _, c := range o.inService(name) {
		own, err := spec.DecodeContainer(c.Spec)
		if err != nil {
			return s, fault.Unavailable("label of container %s: %w", c.Name, err)
		}
		s.Containers = append(s.Containers, resized(s, own, c.Limits, next))
	}
	slices.SortStableFunc(s.Containers, func(a, b spec.Container) int { return a.Index - b.Index })
	return s, nil
}

// inService are the containers that stand for the members of a set, one of each. A
// member whose update was cut off between two names has one as well.
func (o Observed) inService(set string) []Container {
	have := map[string][]Container{}
	for _, c := range o.Members {
		have[c.Member] = append(have[c.Member], c)
	}
	var out []Container
	for _, member := range slices.Sorted(maps.Keys(have)) {
		slices.SortFunc(have[member], func(x, y Container) int { return y.Rev - x.Rev })
		c, _ := serving(have[member], render.MemberName(set, member))
		out = append(out, c)
	}
	return out
}

// resized is a container's spec with the limits that it has. Percents stay: those
// of its label if they give its limits for the total as it is recorded, or as it is
// to be, else those that its limits are of the total.
func resized(s spec.Set, c spec.Container, have Limits, next []Limits) spec.Container {
	cpu, mem := false, false // given by its label
	for _, t := range append([]Limits{total(s)}, next...) {
		of := s
		of.CPU, of.MEM = t.CPU, t.MEM
		given := limitsOf(of, c)
		cpu = cpu || Limits{CPU: have.CPU}.near(Limits{CPU: given.CPU})
		mem = mem || given.MEM == have.MEM
	}
	out := &c.Options
	switch {
	case cpu:
	case out.CPU > 0 && s.CPU > 0:
		out.CPU = percent(float64(have.CPU), float64(s.CPU))
	default:
		out.CPU, out.Cores = 0, have.CPU
	}
	switch {
	case mem:
	case out.MEM > 0 && s.MEM > 0:
		out.MEM = percent(float64(have.MEM), float64(s.MEM))
		if limitsOf(s, c).MEM == have.MEM {
			break
		}
		// Somebody's docker update, which knows no percents.
		if out.MEM = float64(have.MEM) / float64(s.MEM) * 100; limitsOf(s, c).MEM != have.MEM {
			out.MEM, out.Memory = 0, have.MEM
		}
	default:
		out.MEM, out.Memory = 0, have.MEM
	}
	return c
}

func percent(part, whole float64) float64 { return math.Round(part/whole*1e4) / 100 }
