package sink

import (
	"maps"
	"slices"
	"strings"

	"github.com/mosdocker/mosdocker/agent/metric"
)

// Selector turns samples into what one sink sends of them. One goroutine uses it
// at a time.
type Selector struct {
	scopes              metric.Scope
	metrics, containers patterns
	labels              []string
	tags, names         map[string]string

	items      []Item
	generation uint64
	filled     bool
}

// Tag is a name and a value.
type Tag struct{ Key, Value string }

// Item is one series to send.
type Item struct {
	Object *metric.Object
	Def    *metric.Def
	Name   string // of the metric, dotted; the user may have changed it
	Named  bool   // the user has
	Dim    string // value of Def.Dim
	// Tags are those of the options and the chosen labels, sorted by name. Items
	// of one object share them.
	Tags   []Tag
	series *metric.Series
}

// Value is the value in the sample; false means that there is none.
func (i *Item) Value() (float64, bool) { return i.series.Value, i.series.OK }

// Items lists what is sent of a sample, objects together. The list is the same one
// until changed is true.
func (s *Selector) Items(sample *metric.Sample) (items []Item, changed bool) {
	if s.filled && s.generation == sample.Generation {
		return s.items, false
	}
	s.filled, s.generation, s.items = true, sample.Generation, s.items[:0]
	for _, p := range sample.Points {
		o := p.Object
		if s.scopes&o.Scope == 0 || o.Scope == metric.Container && !s.containers.match(o.Name) {
			continue
		}
		tags := s.tagsOf(o)
		for i := range p.Series {
			v := &p.Series[i]
			def := metric.Of(v.ID)
			if def.In&o.Scope == 0 || !s.metrics.match(def.Name) {
				continue
			}
			item := Item{Object: o, Def: def, Name: def.Name, Dim: v.Dim, Tags: tags, series: v}
			if n := s.names[def.Name]; n != "" {
				item.Name, item.Named = n, true
			}
			s.items = append(s.items, item)
		}
	}
	return s.items, true
}

// tagsOf are the tags of an object. What the options say wins over labels.
func (s *Selector) tagsOf(o *metric.Object) []Tag {
	m := map[string]string{}
	for _, l := range s.labels {
		if v, ok := o.Labels[l]; ok {
			m[l] = v
		}
	}
	maps.Copy(m, s.tags)
	var tags []Tag
	for _, k := range slices.Sorted(maps.Keys(m)) {
		tags = append(tags, Tag{k, m[k]})
	}
	return tags
}

// Clean replaces all characters but letters, digits and underscores, as most
// formats want it.
func Clean(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return r
		}
		return '_'
	}, name)
}
