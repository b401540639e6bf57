package agent

import "github.com/mosdocker/mosdocker/agent/metric"

// Value is a value of the host that others measure.
type Value struct {
	ID  metric.ID
	Dim string // of a metric with a dimension
	V   float64
}

// told is what others measured last, with the places of its series.
type told struct {
	values []Value
	at     []int
	of     *metric.Point // that has them
}

// Space is that of a volume whose folder the Engine's files do not name, as of all volumes
// of plugins. Sizes are in bytes.
type Space struct{ Size, Used, Available, InodesFree uint64 }

// Tell makes values part of the host's, and spaces, by the names of volumes, of the
// containers that have these, in each sample from now on until the next call, which
// replaces them all.
func (a *Agent) Tell(values []Value, spaces map[string]Space) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.told, a.spaces = told{values: values}, spaces
}

// putSpaces gives a container the space of its volumes that others measured.
func (t *target) putSpaces(spaces map[string]Space) {
	for _, v := range t.known.Volumes {
		s, known := spaces[v.Name]
		if v.Source != "" || !known {
			continue
		}
		p := t.source.Point
		at := place(p, Value{ID: metric.FSSize, Dim: v.Name})
		for id := metric.FSSize + 1; id <= metric.FSInodesFree; id++ {
			place(p, Value{ID: id, Dim: v.Name}) // they are added together
		}
		part := 100 * float64(s.Used) / max(float64(s.Used+s.Available), 1)
		for i, n := range [...]float64{float64(s.Size), float64(s.Used), float64(s.Available), part, float64(s.InodesFree)} {
			p.SetAt(at+i, n)
		}
	}
}

func (t *told) put(p *metric.Point) {
	if t.of != p {
		t.of, t.at = p, make([]int, len(t.values))
		for i, v := range t.values {
			t.at[i] = place(p, v)
		}
	}
	for i, v := range t.values {
		p.SetAt(t.at[i], v.V)
	}
}

// place is where a point has the series of a value, which is added when it is not there.
func place(p *metric.Point, v Value) int {
	for i := range p.Series {
		if s := &p.Series[i]; s.ID == v.ID && s.Dim == v.Dim {
			return i
		}
	}
	return p.Add(v.ID, v.Dim)
}
