package control

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/place"
	"github.com/mosdocker/mosdocker/scheduler/state"
)

// leader is one term at work. All but the flight is done by one goroutine.
type leader struct {
	*Controller
	own  *lead
	term *state.Term

	need    int64                // the revision that the next pass waits for
	ticked  time.Time            // when silence was last looked at
	timely  bool                 // the brake is to be looked at
	swept   time.Time            // when events were
	grace   time.Time            // until when silence does not count
	waiting map[string]bool      // services of which a set finds no host
	late    map[string]bool      // services of which a set is not ready
	unready map[string]unready   // by UID
	hungry  map[string]time.Time // since when services that may preempt find no room
	braked  map[string]bool      // rooms; "" for all
	reasons map[string]string    // why services do not get on, to tell it once
}

// unready is since when a set of a template is not ready.
type unready struct {
	generation int64
	since      time.Time
}

func newLeader(c *Controller, l *lead, term *state.Term) *leader {
	c.cache.mu.Lock()
	defer c.cache.mu.Unlock()
	for name := range c.cache.services {
		c.cache.dirty[name] = true
	}
	return &leader{
		Controller: c, own: l, term: term, ticked: l.since, swept: l.since, grace: l.since.Add(c.Grace),
		waiting: map[string]bool{}, late: map[string]bool{}, unready: map[string]unready{}, hungry: map[string]time.Time{},
		braked: map[string]bool{}, reasons: map[string]string{},
	}
}

// run makes passes until the term ends.
func (l *leader) run(ctx context.Context) error {
	tick := time.NewTicker(l.Heartbeat / 2)
	defer tick.Stop()
	landed := make(chan landing, 1)
	flying := false
	defer func() {
		if flying {
			<-landed
		}
	}()
	l.tick(time.Now())
	for {
		if !flying {
			if changes, notes := l.pass(time.Now()); len(changes)+len(notes) > 0 {
				flying = true
				go func() { landed <- l.fly(ctx, changes, notes) }()
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.cache.changed:
		case <-l.own.news:
		case now := <-tick.C:
			l.tick(now)
			if err := l.sweep(ctx, now); err != nil {
				l.Log.WarnContext(ctx, "old events are not deleted", "err", err)
			}
		case r := <-landed:
			flying = false
			l.need = max(l.need, r.revision)
			if errors.Is(r.err, state.ErrDeposed) {
				return r.err
			}
			if r.err != nil {
				l.Log.WarnContext(ctx, "a change was not written", "err", r.err)
				pause(ctx, min(l.Heartbeat/8, 100*time.Millisecond))
			}
		}
	}
}

func (l *leader) sweep(ctx context.Context, now time.Time) error {
	if now.Sub(l.swept) < min(time.Minute, l.Events/4) {
		return nil
	}
	l.swept = now
	return sweep(ctx, l.store, l.term, now.Add(-l.Events))
}

// landing is what became of the changes of a pass.
type landing struct {
	revision int64
	err      error
}

// batchOps bounds the changes of one batch: an etcd of others takes 128 of them, and a batch
// fails as a whole.
const (
	batchOps   = 60
	mostFlight = 64 // batches at a time, which the store puts into common transactions
)

// fly writes changes. What was not written is looked at again.
func (l *leader) fly(ctx context.Context, changes []change, notes map[string][]note) landing {
	var mu sync.Mutex // guards the landing
	var all landing
	var flight sync.WaitGroup
	slots := make(chan struct{}, mostFlight)
	for len(changes) > 0 || len(notes) > 0 {
		group, told := take(&changes, notes)
		slots <- struct{}{}
		flight.Go(func() {
			defer func() { <-slots }()
			b := l.store.Batch(l.term)
			for _, c := range group {
				c.fill(b)
			}
			for _, e := range told {
				b.Create(e)
			}
			revision, err := b.Commit(ctx)
			mu.Lock()
			defer mu.Unlock()
			all.revision = max(all.revision, revision)
			if err != nil {
				all.err = err
				l.again(group)
			}
		})
	}
	flight.Wait()
	return all
}

// take takes the next batch: sets of one service, or one other resource, with what is told
// of it. What is told of nothing that changes comes last.
func take(changes *[]change, notes map[string][]note) ([]change, []*api.Event) {
	if len(*changes) == 0 {
		var rest []note
		for of := range notes {
			rest = append(rest, notes[of]...)
			if delete(notes, of); len(rest) >= batchOps/2 {
				break
			}
		}
		return nil, events(rest)
	}
	first := (*changes)[0]
	n, ops := 1, first.ops
	for first.set != "" && n < len(*changes) && (*changes)[n].set != "" && (*changes)[n].of == first.of && ops+(*changes)[n].ops <= batchOps {
		ops += (*changes)[n].ops
		n++
	}
	group := (*changes)[:n]
	*changes = (*changes)[n:]
	of := first.of
	if of == "" {
		of = "/" + first.host
	}
	told := events(notes[of])
	delete(notes, of)
	return group, told
}

// again has what was not written looked at anew, and booked as it is.
func (l *leader) again(group []change) {
	l.cache.mu.Lock()
	defer l.cache.mu.Unlock()
	for _, c := range group {
		if s := l.cache.sets[c.set]; s != nil {
			l.cache.book(s)
		} else if c.set != "" {
			l.cache.cluster.Remove(place.SetID(c.set))
		}
		if l.cache.services[c.of] != nil {
			l.cache.dirty[c.of] = true
		}
		if c.host != "" {
			l.mu.Lock()
			l.own.fresh[c.host] = true
			l.mu.Unlock()
			l.cache.settling[c.host] = true
		}
	}
	l.cache.roomier = true
}

// pass looks at all that may be otherwise than it is to be. It waits until the cache has
// what was written last.
func (l *leader) pass(now time.Time) ([]change, map[string][]note) {
	c := l.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.revision < l.need {
		return nil, nil
	}
	d := newDraft(c, now.UTC().Round(0))
	l.hear(d)
	if c.roomier || d.freed {
		maps.Copy(c.dirty, l.waiting)
		c.roomier = false
	}
	d.settleHosts()
	for _, s := range l.turn(d) {
		l.look(d, s)
	}
	clear(c.dirty)
	l.end(d)
	d.endNetworks()
	changes := d.changes()
	return changes, d.notes
}

// turn gives the services to look at, those of the highest priority first.
func (l *leader) turn(d *draft) []*service {
	all := make([]*service, 0, len(d.dirty))
	for _, name := range slices.Sorted(maps.Keys(d.dirty)) {
		if s := d.services[name]; s != nil {
			all = append(all, s)
		}
	}
	priority := func(s *service) int {
		if s.Service == nil {
			return 0
		}
		return s.Spec.Placement.Priority
	}
	slices.SortStableFunc(all, func(a, b *service) int { return priority(b) - priority(a) })
	return all
}

// end takes hosts away that were asked to go, when no set is on them.
func (l *leader) end(d *draft) {
	for _, name := range slices.Sorted(maps.Keys(d.ended)) {
		if h := d.cache.hosts[name]; h != nil && len(d.onHost[name]) == 0 && d.hosts[name] == nil {
			d.ends = append(d.ends, h)
		}
	}
}
