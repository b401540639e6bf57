package bench

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
)

// figure is a line of the table.
type figure struct {
	name, unit string
	value      float64
	peer       string  // what it is compared with, "" for nothing
	other      float64 // the peer's value
	ratio      float64 // median of the pairs' ratios
	goal       goal
}

// goal is a bound on the value, or on the ratio; the zero value is none.
type goal struct {
	limit   float64
	ofRatio bool
	atLeast bool
}

func (g goal) String() string {
	if g.limit == 0 {
		return "-"
	}
	sign, what := "<=", ""
	if g.atLeast {
		sign = ">="
	}
	if g.ofRatio {
		what = " x"
	}
	return fmt.Sprintf("%s %.4g%s", sign, g.limit, what)
}

func (f figure) met() string {
	v := f.value
	if f.goal.ofRatio {
		v = f.ratio
	}
	switch {
	case f.goal.limit == 0:
		return "-"
	case f.goal.atLeast == (v >= f.goal.limit) || v == f.goal.limit:
		return "yes"
	}
	return "NO"
}

// table collects figures.
type table struct {
	mu      sync.Mutex // guards all below
	figures []figure
}

func (t *table) add(f figure) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.figures = append(t.figures, f)
}

func (t *table) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.figures) == 0 {
		return ""
	}
	var s strings.Builder
	w := tabwriter.NewWriter(&s, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nMOS bench: name\tvalue\tunit\tpeer\tits value\tratio\tgoal\tmet?")
	for _, f := range t.figures {
		peer, other, ratio := "-", "-", "-"
		if f.peer != "" {
			peer, other, ratio = f.peer, fmt.Sprintf("%.4g", f.other), fmt.Sprintf("%.2f", f.ratio)
		}
		fmt.Fprintf(w, "%s\t%.4g\t%s\t%s\t%s\t%s\t%v\t%s\n", f.name, f.value, f.unit, peer, other, ratio, f.goal, f.met())
	}
	_ = w.Flush() // into memory
	return s.String()
}

// quantile is the q-th part of the values in order, such as 0.5 for the median.
func quantile(q float64, values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	return v[min(int(q*float64(len(v))), len(v)-1)]
}

func median(values []float64) float64 { return quantile(0.5, values) }

// ratios divides pair by pair.
func ratios(values, peers []float64) []float64 {
	out := make([]float64, len(values))
	for i := range values {
		out[i] = values[i] / peers[i]
	}
	return out
}

// against is a figure of pairs.
func against(name, unit string, values []float64, peer string, peers []float64, g goal) figure {
	return figure{name: name, unit: unit, value: median(values), peer: peer, other: median(peers), ratio: median(ratios(values, peers)), goal: g}
}
