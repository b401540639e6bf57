package control

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/mosdocker/mosdocker/scheduler"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/place"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// Explain says what becomes of one more set of a service, on all hosts, and where one is
// named also on that. The service need not be stored; it is one that Check lets pass. Any
// process answers, as its cache is. Of sets only those are named that tell is true for, all by nil.
func (c *Controller) Explain(_ context.Context, s *api.Service, host string, tell func(set string) bool) (*api.Explanation, error) {
	a, err := scheduler.Ask(s, &s.Spec.Set.Set)
	if err != nil {
		return nil, err
	}
	if err := c.cache.lock(); err != nil {
		return nil, err
	}
	defer c.cache.mu.Unlock()
	a = c.cache.withImages(a, &s.Spec.Set.Set)
	e := explanation(c.cache.cluster.Explain(a))
	if host == "" {
		return e, nil
	}
	v, err := c.cache.cluster.WhyFor(a, place.HostID(host), toldOf(tell))
	if err != nil {
		return nil, err
	}
	e.Host = &api.Verdict{Host: host, Score: int(v.Score.Total()), Pull: v.Pull}
	for _, r := range v.Reasons {
		e.Host.Reasons = append(e.Host.Reasons, api.Reason{Filter: r.Filter.String(), Text: r.Text})
	}
	return e, nil
}

// toldOf is tell for place.
func toldOf(tell func(set string) bool) func(place.SetID) bool {
	if tell == nil {
		return nil
	}
	return func(id place.SetID) bool { return tell(string(id)) }
}

func explanation(e place.Explanation) *api.Explanation {
	to := &api.Explanation{Hosts: e.Hosts, Fit: e.Fit, Sentence: e.String()}
	for _, n := range e.Counts {
		to.Filters = append(to.Filters, api.FilterCount{Filter: n.Filter.String(), Rejects: n.Rejects, Alone: n.Alone, Note: n.Note})
	}
	for _, b := range e.Best {
		to.Best = append(to.Best, api.Candidate{Host: string(b.Host), Score: b.Score.Total(), Pull: b.Pull})
	}
	return to
}

// DryRun says what would become of a service if it were stored now: which of its sets would
// get another template, and where those would go that it lacks: all of one that is new, those
// that are more of one that is there. tell is as of Explain.
func (c *Controller) DryRun(_ context.Context, s *api.Service, tell func(set string) bool) (*api.Forecast, error) {
	a, err := scheduler.Ask(s, &s.Spec.Set.Set)
	if err != nil {
		return nil, err
	}
	if err := c.cache.lock(); err != nil {
		return nil, err
	}
	defer c.cache.mu.Unlock()
	a = c.cache.withImages(a, &s.Spec.Set.Set)
	f := &api.Forecast{}
	var have []*set
	if of := c.cache.services[s.Name]; of != nil {
		have = slices.SortedFunc(maps.Values(of.sets), func(a, b *set) int { return cmp.Compare(b.Spec.Slot, a.Spec.Slot) })
	}
	taken := map[int]bool{}
	for _, m := range have {
		taken[m.Spec.Slot] = true // also of one that is asked to go, until it is gone
	}
	have = slices.DeleteFunc(have, func(m *set) bool { return !m.Deleted.IsZero() })
	old := c.cache.updates(s, have)
	for _, m := range old {
		c.cache.cluster.Remove(id(m.Name))
		was, _ := c.cache.service(m.Spec.Service).ask(m.hash, &m.Spec.Set.Set) // as in inPlace
		why := cannotHold(c.cache.cluster, a, was, m.Spec.Host, toldOf(tell))
		if why == "" {
			_ = c.cache.cluster.Add(id(m.Name), a, place.HostID(m.Spec.Host)) // the host is known: it was asked
		}
		f.Updates = append(f.Updates, api.SetChange{Set: m.Name, Host: m.Spec.Host, Leaves: why})
	}
	defer func() {
		for _, m := range old {
			c.cache.book(m)
		}
	}()
	var names []place.SetID
	for slot := 1; len(have)+len(names) < s.Spec.Replicas; slot++ {
		if !taken[slot] {
			names = append(names, id(s.Named(slot).Name))
		}
	}
	placed, err := c.cache.cluster.Place(a, names...)
	f.Unplaced = len(names) - len(placed)
	if refused, is := errors.AsType[*place.RefusedError](err); is {
		f.Why, err = explanation(refused.Why), nil
	} else if err == nil {
		f.Why = explanation(c.cache.cluster.Explain(a))
	}
	for _, p := range placed {
		c.cache.cluster.Remove(p.Set)
		f.Placed = append(f.Placed, api.Placing{Set: string(p.Set), Host: string(p.Host)})
	}
	return f, err
}

// updates are those of a service's sets, the highest slot first, that its template would
// come to.
func (c *cache) updates(s *api.Service, have []*set) []*set {
	hash, u := spec.Hash(s.Spec.Set.Set), s.Spec.Update
	var old []*set
	for _, m := range have {
		if m.hash != hash && m.Spec.Host != "" && !m.Spec.Leaving {
			old = append(old, m)
		}
	}
	if u.Paused {
		return nil
	}
	return old[:max(min(len(old), s.Spec.Replicas-u.Partition-(len(have)-len(old))), 0)]
}
