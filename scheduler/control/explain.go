package control

import (
	"context"
	"errors"

	"github.com/mosdocker/mosdocker/scheduler"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/place"
)

// Explain says what becomes of one more set of a service, on all hosts, and where one is
// named also on that. The service need not be stored; it is one that Check lets pass. Any
// process answers, as its cache is.
func (c *Controller) Explain(_ context.Context, s *api.Service, host string) (*api.Explanation, error) {
	a, err := scheduler.Ask(s, &s.Spec.Set.Set)
	if err != nil {
		return nil, err
	}
	if err := c.cache.lock(); err != nil {
		return nil, err
	}
	defer c.cache.mu.Unlock()
	e := explanation(c.cache.cluster.Explain(a))
	if host == "" {
		return e, nil
	}
	v, err := c.cache.cluster.Why(a, place.HostID(host))
	if err != nil {
		return nil, err
	}
	e.Host = &api.Verdict{Host: host, Score: int(v.Score.Total())}
	for _, r := range v.Reasons {
		e.Host.Reasons = append(e.Host.Reasons, api.Reason{Filter: r.Filter.String(), Text: r.Text})
	}
	return e, nil
}

func explanation(e place.Explanation) *api.Explanation {
	to := &api.Explanation{Hosts: e.Hosts, Fit: e.Fit, Sentence: e.String()}
	for _, n := range e.Counts {
		to.Filters = append(to.Filters, api.FilterCount{Filter: n.Filter.String(), Rejects: n.Rejects, Alone: n.Alone, Note: n.Note})
	}
	for _, b := range e.Best {
		to.Best = append(to.Best, api.Candidate{Host: string(b.Host), Score: b.Score.Total()})
	}
	return to
}

// DryRun says where the sets would go that a service lacks, if it were stored now: all of
// one that is new, those that are more of one that is there.
func (c *Controller) DryRun(_ context.Context, s *api.Service) (*api.Forecast, error) {
	a, err := scheduler.Ask(s, &s.Spec.Set.Set)
	if err != nil {
		return nil, err
	}
	if err := c.cache.lock(); err != nil {
		return nil, err
	}
	defer c.cache.mu.Unlock()
	taken, have := map[int]bool{}, 0
	if of := c.cache.services[s.Name]; of != nil {
		for _, m := range of.sets {
			taken[m.Spec.Slot] = true
			if m.Deleted.IsZero() {
				have++
			}
		}
	}
	var names []place.SetID
	for slot := 1; have+len(names) < s.Spec.Replicas; slot++ {
		if !taken[slot] {
			names = append(names, id(s.Named(slot).Name))
		}
	}
	placed, err := c.cache.cluster.Place(a, names...)
	f := &api.Forecast{Unplaced: len(names) - len(placed)}
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
