package sink

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/mosdocker/mosdocker/agent/metric"
)

// Options say what a sink sends, and under which names. Patterns are those of
// path.Match; one that begins with "!" takes away. Without a pattern that takes,
// all is taken.
type Options struct {
	Scopes     []string `toml:"scopes" doc:"What is sent: container, set, host, agent; empty is all."`
	Metrics    []string `toml:"metrics" doc:"Patterns of names of metrics, such as cpu.* or !memory.faults*."`
	Containers []string `toml:"containers" doc:"Patterns of names of containers."`
	Labels     []string `toml:"labels" doc:"Labels of containers that are sent as tags, such as com.example.team."`
	Tags       []string `toml:"tags" doc:"Tags that everything gets, such as dc=north."`
	Names      []string `toml:"names" doc:"Other names for metrics, such as cpu.usage=cpu_time."`
}

// Check returns all faults of the options.
func (o *Options) Check() error {
	_, err := NewSelector(*o)
	return err
}

// patterns is a list of patterns.
type patterns struct{ take, leave []string }

func parsePatterns(key string, list []string) (p patterns, err error) {
	for _, s := range list {
		glob, not := strings.CutPrefix(s, "!")
		if _, err := path.Match(glob, ""); err != nil || glob == "" {
			return p, fmt.Errorf("%s: %q is no pattern", key, s)
		}
		if not {
			p.leave = append(p.leave, glob)
		} else {
			p.take = append(p.take, glob)
		}
	}
	return p, nil
}

func (p patterns) match(name string) bool {
	return (len(p.take) == 0 || anyOf(p.take, name)) && !anyOf(p.leave, name)
}

func anyOf(globs []string, name string) bool {
	for _, g := range globs {
		if ok, _ := path.Match(g, name); ok { // they were checked
			return true
		}
	}
	return false
}

func pairs(key string, list []string) (map[string]string, error) {
	m := map[string]string{}
	for _, s := range list {
		k, v, ok := strings.Cut(s, "=")
		if _, twice := m[k]; !ok || twice || k == "" || v == "" {
			return nil, fmt.Errorf("%s: want NAME=VALUE, each name once, not %q", key, s)
		}
		m[k] = v
	}
	return m, nil
}

// NewSelector makes the selector of the options, or returns all their faults.
func NewSelector(o Options) (*Selector, error) {
	s := &Selector{labels: o.Labels}
	var errs [4]error
	s.metrics, errs[0] = parsePatterns("metrics", o.Metrics)
	s.containers, errs[1] = parsePatterns("containers", o.Containers)
	s.tags, errs[2] = pairs("tags", o.Tags)
	s.names, errs[3] = pairs("names", o.Names)
	err := errors.Join(errs[:]...)
	for name := range s.names {
		if !known(name) {
			err = errors.Join(err, fmt.Errorf("names: there is no metric %q", name))
		}
	}
	for _, w := range o.Scopes {
		sc, ok := metric.ParseScope(w)
		if !ok {
			err = errors.Join(err, fmt.Errorf("scopes: want container, set, host or agent, not %q", w))
		}
		s.scopes |= sc
	}
	if s.scopes == 0 {
		s.scopes = metric.Container | metric.Set | metric.Host | metric.Agent
	}
	return s, err
}

func known(name string) bool {
	for i := range metric.Table() {
		if metric.Of(metric.ID(i)).Name == name {
			return true
		}
	}
	return false
}
