package spec

import (
	"slices"
	"strings"

	"github.com/mosdocker/mosdocker/internal/near"
)

// order checks what containers wait for. names has their places in the list.
func (f *flaws) order(cs []Container, names map[string]int) {
	for i, c := range cs {
		seen := map[string]bool{}
		for j, d := range c.Options.DependsOn {
			at := index(index("/Containers", i)+"/Options/DependsOn", j)
			f.dependency(at, c, d, cs, names)
			if seen[d.Container] && d.Container != "" {
				f.add(at+"/Container", "%.60s stands here twice: name each container once", d.Container)
			}
			seen[d.Container] = true
		}
	}
	w := walk{cs: cs, names: names, state: make([]int, len(cs))}
	for i := range cs {
		if cycle := w.from(i, nil); cycle != nil {
			f.add(index("/Containers", names[cycle[0]])+"/Options/DependsOn", "%s wait for each other in a ring: drop one of these dependencies", strings.Join(cycle, " → "))
		}
	}
}

func (f *flaws) dependency(at string, c Container, d Dependency, cs []Container, names map[string]int) {
	i, ok := names[d.Container]
	switch {
	case d.Container == "":
		f.add(at, "the dependency names no container: write one of the set as Container")
		return
	case d.Container == c.Name:
		f.add(at+"/Container", "%.60s waits for itself: drop the dependency", c.Name)
		return
	case !ok:
		var known []string
		for _, c := range cs {
			known = append(known, c.Name)
		}
		f.add(at+"/Container", "the set has no container %.60q%s", d.Container, meant(near.Fold(d.Container), known, ": name one of "+short(strings.Join(known, ", "))))
		return
	}
	on := cs[i]
	if on.Index > c.Index {
		f.add(at+"/Container", "%.60s of Index %d waits for %.60s of Index %d, which is started later: give it an Index of %d at most", c.Name, c.Index, on.Name, on.Index, c.Index)
	}
	h := on.Options.Health
	checked := h != nil && (len(h.Cmd) == 0 || h.Cmd[0] != "NONE") || on.Options.Ready != nil
	switch d.Condition {
	case "", Started:
	case Healthy:
		if !checked {
			f.add(at+"/Condition", "%.60s never gets healthy, since it has no Health and no Ready: give it one, or write condition started", on.Name)
		}
	case Completed:
		if !on.Options.Once {
			f.add(at+"/Condition", "%.60s never completes: give it Once, or write condition started or healthy", on.Name)
		}
	default:
		f.add(at+"/Condition", "%.40q is no condition: write %s, %s or %s", d.Condition, Started, Healthy, Completed)
	}
}

// walk looks for rings among dependencies.
type walk struct {
	cs    []Container
	names map[string]int
	state []int // of each container: not seen, on the way, done
}

const (
	onTheWay = 1
	done     = 2
)

// from returns the first ring that is met on the ways from a container: its names in
// order, the first again at the end.
func (w *walk) from(i int, way []string) []string {
	switch w.state[i] {
	case onTheWay:
		return append(way[slices.Index(way, w.cs[i].Name):], w.cs[i].Name)
	case done:
		return nil
	}
	w.state[i] = onTheWay
	way = append(way, w.cs[i].Name)
	var ring []string
	for _, d := range w.cs[i].Options.DependsOn {
		if next, ok := w.names[d.Container]; ok && next != i && ring == nil {
			ring = w.from(next, way)
		}
	}
	w.state[i] = done
	return ring
}
