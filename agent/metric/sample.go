package metric

import (
	"fmt"
	"strings"
	"time"
)

// Object is what a point is about. It does not change once it is in a sample;
// when what is known of a container changes, it gets another Object.
type Object struct {
	Scope  Scope
	ID     string // of a container 64 hex digits, of a set its name, of host and agent the host's name
	Name   string // as Docker knows a container, without the slash; else as ID
	Image  string // as the user named it
	Set    string // name of the set of a container, or ""
	Member string // name of a container in its set, "" of the infra container
	Labels map[string]string
	Cgroup string // path in the cgroup tree, from its root: /docker/…
}

// Series is one value of an object that changes with time.
type Series struct {
	Dim   string // value of the metric's dimension, "" if it has none
	Value float64
	ID    ID   // beside OK: a host has tens of thousands of these
	OK    bool // false: not measured this time, or there is no such thing
}

// Point is an object with its series.
type Point struct {
	Object *Object
	// Series has the metrics without a dimension at their IDs, then the others in
	// the order in which they appeared. Series are never taken away.
	Series []Series
}

// NewPoint makes a point without values.
func NewPoint(o *Object) *Point {
	p := &Point{Object: o, Series: make([]Series, firstDim)}
	for i := range p.Series {
		p.Series[i].ID = ID(i)
	}
	return p
}

// Set gives a metric without a dimension its value.
func (p *Point) Set(id ID, v float64) {
	s := &p.Series[id]
	s.Value, s.OK = v, true
}

// Get returns the value of a metric without a dimension.
func (p *Point) Get(id ID) (v float64, ok bool) {
	s := &p.Series[id]
	return s.Value, s.OK
}

// Add appends a series with a dimension and returns its place.
func (p *Point) Add(id ID, dim string) int {
	p.Series = append(p.Series, Series{ID: id, Dim: dim})
	return len(p.Series) - 1
}

// SetAt gives the series at a place of [Point.Add] its value.
func (p *Point) SetAt(at int, v float64) {
	s := &p.Series[at]
	s.Value, s.OK = v, true
}

// Forget marks the values as not measured; those of slow and lazy metrics stay
// unless it is told otherwise.
func (p *Point) Forget(slow, lazy bool) {
	for i := range p.Series {
		s := &p.Series[i]
		if d := &table[s.ID]; s.OK && (slow || !d.Slow) && (lazy || !d.Lazy) {
			s.OK = false
		}
	}
}

// Sample is all points at one moment. It belongs to who measures: others read it
// only while they are called with it.
type Sample struct {
	Time       time.Time
	Host       string // name of the host
	Generation uint64 // changes with the points and their series, never with values
	Points     []*Point
}

// ForgetLazy marks the values of lazy metrics as not measured.
func (p *Point) ForgetLazy() {
	for i := range p.Series {
		if s := &p.Series[i]; table[s.ID].Lazy {
			s.OK = false
		}
	}
}

// String lists the values, one a line, for people.
func (p *Point) String() string {
	var b strings.Builder
	for _, s := range p.Series {
		if !s.OK {
			continue
		}
		d := Of(s.ID)
		b.WriteString(d.Name)
		if d.Dim != "" {
			fmt.Fprintf(&b, "{%s=%q}", d.Dim, s.Dim)
		}
		fmt.Fprintf(&b, " %v %s\n", s.Value, d.Unit)
	}
	return b.String()
}
