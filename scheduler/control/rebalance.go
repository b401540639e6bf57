package control

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/place"
)

// What a rebalance does if nothing is said.
const (
	usualMoves  = 100
	usualAtOnce = 2
	usualGain   = 1.0 // points
)

// mover is a set that may go to another host.
type mover struct {
	id   place.SetID
	ask  *place.Ask
	from place.HostID // where it is
	at   place.HostID // where it is in the plan so far
	move api.Move
	last int // the step that moved it last
}

// Plan fills in the moves of a rebalance, and what they make better. Any process plans, as
// its cache is, on a copy of the cluster.
func (c *Controller) Plan(ctx context.Context, o *api.Operation) error {
	if err := c.cache.lock(); err != nil {
		return err
	}
	p := &planner{cluster: c.cache.cluster.Clone(), least: cmp.Or(o.Spec.Gain, usualGain)}
	movers := c.cache.movers(o.Spec.On.Name)
	hosts := make([]place.Host, 0, len(c.cache.hosts))
	for _, h := range named(c.cache.hosts) {
		hosts = append(hosts, scheduler.Host(h))
	}
	_, known := c.cache.services[o.Spec.On.Name]
	c.cache.mu.Unlock()
	if !known && o.Spec.On.Name != everyService {
		return fault.NotFound("service %q is not there", o.Spec.On.Name)
	}
	before := p.balance(movers, hosts)
	if err := p.plan(ctx, movers, cmp.Or(o.Spec.Most, usualMoves)); err != nil {
		return err
	}
	after := p.balance(movers, hosts)
	o.Status = api.OperationStatus{Phase: "planned", Before: &before, After: &after}
	slices.SortStableFunc(movers, func(a, b *mover) int { return cmp.Compare(a.last, b.last) })
	for _, m := range movers {
		if m.at != m.from {
			m.move.Set, m.move.From, m.move.To = string(m.id), string(m.from), string(m.at)
			o.Status.Moves = append(o.Status.Moves, m.move)
		}
	}
	o.Status.Of = len(o.Status.Moves)
	return nil
}

// everyService stands for all of them, as what an operation is on.
const everyService = "*"

// movers are the sets of a service, or of all, that may move: they serve, and have no volume.
func (c *cache) movers(service string) []*mover {
	var all []*mover
	for _, s := range named(c.sets) {
		if service != everyService && s.Spec.Service != service || c.mayMoveSet(s) != "" {
			continue
		}
		if a, err := c.pulling(c.service(s.Spec.Service), s.hash, &s.Spec.Set.Set); err == nil {
			host := place.HostID(s.Spec.Host)
			all = append(all, &mover{id: id(s.Name), ask: a, from: host, at: host})
		}
	}
	return all
}

// mayMoveSet says why a set is not moved, nothing if it may be.
func (c *cache) mayMoveSet(s *set) string {
	h, of := c.hosts[s.Spec.Host], c.services[s.Spec.Service]
	switch {
	case h == nil || !serves(h) || stops(s.SetInstance) || s.Status.Phase != api.Ready:
		return "it does not serve"
	case h.Spec.Availability == api.Draining || !h.Deleted.IsZero():
		return "its host is drained"
	case volume(s.Name, &s.Spec.Set.Set) != "":
		return "its volume cannot move"
	case of == nil || of.Service == nil || !of.Deleted.IsZero():
		return "its service is removed"
	case s.hash != of.hash:
		return "it is being updated"
	}
	return ""
}

type planner struct {
	cluster *place.Cluster
	least   float64 // points that a move gains
}

// better says where a set would be better off, by how many points, and which rule its host
// breaks; the same host if nowhere. It leaves the set out of the cluster.
func better(c *place.Cluster, a *place.Ask, id place.SetID, at place.HostID, least float64) (to place.HostID, gain float64, rule string) {
	c.Remove(id)
	now, err := c.Why(a, at)
	if err != nil {
		return at, 0, ""
	}
	for _, r := range now.Reasons {
		if r.Filter != place.FilterState { // a cordoned host keeps what it has
			rule = r.Filter.String()
		}
	}
	placed, err := c.Place(a, id)
	if err != nil {
		return at, 0, rule
	}
	c.Remove(id)
	gain = points(placed[0].Score.Total() - now.Score.Total())
	if rule == "" && gain < least {
		return at, 0, rule
	}
	return placed[0].Host, gain, rule
}

func points(n int64) float64 { return math.Round(float64(n)/place.Point*100) / 100 }

// rounds bounds how often all sets are looked at: what one move frees another may want.
const rounds = 3

// plan moves sets in the copy, until none is better off elsewhere.
func (p *planner) plan(ctx context.Context, all []*mover, most int) error {
	step := 0
	for range rounds {
		before := step
		for _, m := range all {
			if err := ctx.Err(); err != nil {
				return err
			}
			if step >= most {
				return nil
			}
			to, gain, rule := better(p.cluster, m.ask, m.id, m.at, p.least)
			if err := p.cluster.Add(m.id, m.ask, to); err != nil {
				return err
			}
			if to != m.at {
				step++
				m.at, m.last, m.move.Gain, m.move.Rule = to, step, gain, rule
			}
		}
		if step == before {
			return nil
		}
	}
	return nil
}

// balance measures the copy.
func (p *planner) balance(all []*mover, hosts []place.Host) api.Balance {
	var b api.Balance
	var score int64
	for _, m := range all {
		p.cluster.Remove(m.id)
		if v, err := p.cluster.Why(m.ask, m.at); err == nil {
			score += v.Score.Total()
			if slices.ContainsFunc(v.Reasons, func(r place.Reason) bool { return r.Filter != place.FilterState }) {
				b.Broken++
			}
		}
		_ = p.cluster.Add(m.id, m.ask, m.at) // it was there
	}
	if len(all) > 0 {
		b.Score = points(score / int64(len(all)))
	}
	b.Emptiest = 100
	for _, h := range hosts {
		if h.State != place.Ready {
			continue
		}
		used, sets := p.cluster.Used(h.ID)
		if sets > 0 {
			b.Hosts++
		}
		part := int64(0)
		for _, r := range []place.Resource{place.CPU, place.Memory} {
			if h.Capacity[r] > 0 {
				part = max(part, used[r]*100/h.Capacity[r])
			}
		}
		b.Fullest, b.Emptiest = max(b.Fullest, int(part)), min(b.Emptiest, int(part))
	}
	b.Emptiest = min(b.Emptiest, b.Fullest)
	return b
}

// rebalance drafts the next moves of an operation: a few at a time, as many as services can
// spare, none after one failed.
func (l *leader) rebalance(d *draft, o *api.Operation) {
	if o.Spec.Cancel {
		end(o, api.Canceled, d.now, "%d of %d moves were made", o.Status.Done, o.Status.Of)
		return
	}
	o.Status.Phase, o.Status.Message = "moving", ""
	o.Status.Moves = slices.Clone(o.Status.Moves)
	moving, failed := 0, ""
	for i := range o.Status.Moves {
		m := &o.Status.Moves[i]
		if m.State == api.Moving {
			failed = cmp.Or(l.underway(d, m), failed)
		}
		if m.State == api.Moving {
			moving++
		}
	}
	if failed != "" {
		end(o, api.Broken, d.now, "%s: no more sets are moved", failed)
		return
	}
	atOnce, waits := cmp.Or(o.Spec.AtOnce, usualAtOnce), 0
	for i := range o.Status.Moves {
		m := &o.Status.Moves[i]
		if m.State != "" {
			continue
		}
		if moving >= atOnce {
			waits++
			continue
		}
		if why := l.move(d, o, m); why != "" {
			waits++
			o.Status.Message = why
		}
		if m.State == api.Moving {
			moving++
		}
	}
	o.Status.Done = 0
	skipped := 0
	for _, m := range o.Status.Moves {
		switch m.State { //nolint:exhaustive // the others are not over
		case api.Moved:
			o.Status.Done++
		case api.Skipped:
			skipped++
		}
	}
	if moving+waits == 0 {
		end(o, api.Succeeded, d.now, "%d sets moved, %d did not need to any more", o.Status.Done, skipped)
	}
}

// underway looks how far a set is that moves, and says if it does not arrive.
func (l *leader) underway(d *draft, m *api.Move) string {
	s := d.sets[m.Set]
	var of *service
	if s != nil {
		of = d.services[s.Spec.Service]
	}
	if s == nil || !s.Deleted.IsZero() || of == nil || of.Service == nil {
		m.State = api.Skipped
		return ""
	}
	k := &look{leader: l, draft: d, of: of}
	ready := cmp.Or(time.Duration(of.Spec.Update.ReadyWithin)*time.Second, readyWithin)
	here := s.Spec.Host != "" && !s.Spec.Leaving
	switch {
	case here && s.Spec.Host == m.From: // it came back, or was never told to leave
		m.State = api.Skipped
	case here && k.available(d.member(s)):
		m.State, m.To = api.Moved, s.Spec.Host
	case here && s.Status.Phase == api.Failed && d.now.Sub(s.Status.Since) >= failedFor*l.Heartbeat,
		d.now.Sub(m.Since) >= 2*ready: // to stop, and to get ready
		m.State = api.Stuck
		if s.Spec.Host == "" {
			return m.Set + " finds no host"
		}
		return fmt.Sprintf("%s does not get ready on host %s: %s", m.Set, s.Spec.Host, cmp.Or(s.Status.Message, "it says nothing"))
	}
	return ""
}

// move asks a set to leave if it is better off elsewhere still. It says what has to be waited
// for.
func (l *leader) move(d *draft, o *api.Operation, m *api.Move) string {
	s := d.sets[m.Set]
	if s == nil || s.Spec.Host != m.From || d.mayMoveSet(s) != "" || d.members[m.Set] != nil && d.members[m.Set].edited {
		m.State = api.Skipped
		return ""
	}
	k := &look{leader: l, draft: d, of: d.services[s.Spec.Service]}
	if k.spare(k.of) <= 0 {
		return fmt.Sprintf("service %s can spare no set now", k.of.name)
	}
	of := d.member(s)
	a, err := k.ask(of)
	if err != nil {
		m.State = api.Skipped
		return ""
	}
	to, gain, rule := better(d.cluster, a, id(s.Name), place.HostID(m.From), cmp.Or(o.Spec.Gain, usualGain))
	d.book(s)
	if string(to) == m.From {
		m.State = api.Skipped
		return ""
	}
	m.State, m.Since, m.To, m.Gain, m.Rule = api.Moving, d.now, string(to), gain, rule
	of.edit().Spec.Leaving = true
	k.say("leaves", "rebalance "+o.Name, s.Name)
	return ""
}
