// Package prom gives samples to Prometheus: as the text that it scrapes, version
// 0.0.4 or OpenMetrics 1.0. Names and labels of containers are those of cAdvisor
// where it has the metric. Values have no time of their own, so that series of
// ended containers end at once.
package prom

import (
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/mosdocker/mosdocker/agent/metric"
	"github.com/mosdocker/mosdocker/agent/sink"
)

// Name is the name of an item's metric for Prometheus.
func Name(i *sink.Item) string {
	if i.Named {
		return sink.Clean(i.Name)
	}
	if i.Object.Scope == metric.Container {
		return "container_" + i.Def.Prom
	}
	return "mos_" + i.Object.Scope.String() + "_" + i.Def.Prom
}

// Labels are an item's labels in the order in which they are sent.
func Labels(i *sink.Item) []sink.Tag {
	var tags []sink.Tag
	add := func(key, value string) {
		if value != "" {
			tags = append(tags, sink.Tag{Key: key, Value: value})
		}
	}
	o := i.Object
	if o.Scope == metric.Container {
		add("id", o.Cgroup)
		add("image", o.Image)
		add("member", o.Member)
		add("name", o.Name)
	}
	add("set", o.Set)
	add(i.Def.Dim, i.Dim)
	for _, t := range i.Tags {
		key := sink.Clean(t.Key)
		if key[0] >= '0' && key[0] <= '9' {
			key = "_" + key
		}
		if !slices.ContainsFunc(tags, func(t sink.Tag) bool { return t.Key == key }) {
			add(key, t.Value)
		}
	}
	slices.SortFunc(tags, func(a, b sink.Tag) int { return strings.Compare(a.Key, b.Key) })
	return tags
}

// Text renders samples.
type Text struct {
	mu       sync.Mutex // guards all below
	selector *sink.Selector
	families []family
	room     int    // about what an answer takes
	spare    []byte // room of an earlier answer
}

// family is all series of one name.
type family struct {
	name        string
	plain, open []byte // its HELP and TYPE lines in the two formats
	series      []series
}

type series struct {
	item   *sink.Item
	labels string // and a blank
}

// owner is what series with the same labels have in common: they share the text of them,
// which is most of a line.
type owner struct {
	object   *metric.Object
	dim, has string
}

// New makes a renderer.
func New(o sink.Options) (*Text, error) {
	s, err := sink.NewSelector(o)
	return &Text{selector: s}, err
}

// digits is room for a number and the end of its line.
const digits = 20

// arrange groups the items by name, as the format wants them.
func (t *Text) arrange(items []sink.Item) {
	type kind struct {
		name  string
		named bool
		scope metric.Scope
	}
	kinds, names, labels := map[kind]int{}, map[string]int{}, map[owner]string{}
	t.families, t.room = nil, 0
	for k := range items {
		i := &items[k]
		of := kind{i.Name, i.Named, i.Object.Scope}
		at, ok := kinds[of]
		if !ok {
			at = t.family(Name(i), i.Def, names)
			kinds[of] = at
		}
		who := owner{i.Object, i.Def.Dim, i.Dim}
		text, ok := labels[who]
		if !ok {
			text = braced(Labels(i))
			labels[who] = text
		}
		f := &t.families[at]
		f.series = append(f.series, series{i, text})
		if _, ok := i.Value(); ok {
			t.room += len(f.name) + len(text) + digits
		}
	}
}

// family is the place of the family of a name.
func (t *Text) family(name string, d *metric.Def, names map[string]int) int {
	at, ok := names[name]
	if !ok {
		at = len(t.families)
		names[name] = at
		t.families = append(t.families, head(name, d))
	}
	return at
}

func head(name string, d *metric.Def) family {
	kind, open, openKind := "gauge", name, "gauge"
	if d.Kind == metric.Counter {
		kind, openKind = "counter", "counter"
		// OpenMetrics wants the names of counters to end so; the others are of an
		// unknown type there.
		var ok bool
		if open, ok = strings.CutSuffix(name, "_total"); !ok {
			openKind = "unknown"
		}
	}
	text := func(name, kind string) []byte {
		return []byte("# HELP " + name + " " + d.Help + "\n# TYPE " + name + " " + kind + "\n")
	}
	return family{name: name, plain: text(name, kind), open: text(open, openKind)}
}

var escape = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`) //nolint:gochecknoglobals // a constant table, dear to make

// braced is labels as they stand behind a name.
func braced(tags []sink.Tag) string {
	var b []byte
	for n, t := range tags {
		b = append(b, "{,"[min(n, 1)])
		b = append(append(b, t.Key...), `="`...)
		b = append(append(b, escape.Replace(strings.ToValidUTF8(t.Value, "\uFFFD"))...), '"')
	}
	if len(tags) > 0 {
		b = append(b, '}')
	}
	return string(append(b, ' '))
}

// Append appends a sample as text.
func (t *Text) Append(b []byte, s *metric.Sample, openMetrics bool) []byte {
	items, changed := t.selector.Items(s)
	if changed {
		t.arrange(items)
		b = slices.Grow(b, t.room) // at once: growing by and by leaves several times as much to be collected
	}
	for k := range t.families {
		f := &t.families[k]
		headed := false
		for n := range f.series {
			v, ok := f.series[n].item.Value()
			if !ok {
				continue
			}
			if !headed {
				headed = true
				if openMetrics {
					b = append(b, f.open...)
				} else {
					b = append(b, f.plain...)
				}
			}
			b = append(append(b, f.name...), f.series[n].labels...)
			b = append(number(b, v), '\n')
		}
	}
	if openMetrics {
		b = append(b, "# EOF\n"...)
	}
	return b
}

// number appends whole numbers as such, which is quicker and reads better.
func number(b []byte, v float64) []byte {
	if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
		return strconv.AppendInt(b, int64(v), 10)
	}
	return strconv.AppendFloat(b, v, 'g', -1, 64)
}

// Types of what is answered.
const (
	plainType = "text/plain; version=0.0.4; charset=utf-8"
	openType  = "application/openmetrics-text; version=1.0.0; charset=utf-8"
)

// Handler answers scrapes with the sample that view lends.
func (t *Text) Handler(view func(func(*metric.Sample))) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		open := strings.Contains(r.Header.Get("Accept"), "application/openmetrics-text")
		body := t.render(view, open)
		defer t.keep(body)
		w.Header().Set("Content-Type", plainType)
		if open {
			w.Header().Set("Content-Type", openType)
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body) // who scrapes may be gone
	})
}

// render is done before the answer is written, which may take the other side's time.
func (t *Text) render(view func(func(*metric.Sample)), open bool) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	body := t.spare[:0]
	t.spare = nil
	view(func(s *metric.Sample) { body = t.Append(body, s, open) })
	return body
}

func (t *Text) keep(body []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.spare = body
}
