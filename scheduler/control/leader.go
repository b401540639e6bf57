package control

import (
	"cmp"
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

	flights []*flight            // what was written and is not seen yet
	quiet   bool                 // the next pass waits until all is seen
	ticked  time.Time            // when silence was last looked at
	timely  bool                 // the brake is to be looked at
	swept   time.Time            // when events were
	worked  time.Time            // when operations were last looked at
	grace   time.Time            // until when silence does not count
	waiting map[string]bool      // services of which a set finds no host
	late    map[string]bool      // services of which a set is not ready
	unready map[string]unready   // by UID
	hungry  map[string]time.Time // since when services that may preempt find no room
	braked  map[string]bool      // rooms; "" for all
	reasons map[string]string    // why services do not get on, to tell it once
	short   map[string]bool      // hosts for which no block is left
	stays   map[string]string    // why sets of drained hosts have nowhere to go
}

// unready is since when a set of a template is not ready, and when it was first said to fail.
type unready struct {
	generation    int64
	since, failed time.Time
}

func newLeader(c *Controller, l *lead, term *state.Term) *leader {
	c.cache.mu.Lock()
	defer c.cache.mu.Unlock()
	for name := range c.cache.services {
		c.cache.dirty[name] = true
	}
	c.cache.reblockAll()
	return &leader{
		Controller: c, own: l, term: term, ticked: l.since, swept: l.since, grace: l.since.Add(c.Grace),
		waiting: map[string]bool{}, late: map[string]bool{}, unready: map[string]unready{}, hungry: map[string]time.Time{},
		braked: map[string]bool{}, reasons: map[string]string{}, short: map[string]bool{}, stays: map[string]string{},
	}
}

// run makes passes until the term ends.
func (l *leader) run(ctx context.Context) error {
	tick := time.NewTicker(l.Heartbeat / 2)
	defer tick.Stop()
	landed := make(chan *flight)
	flying := 0
	defer func() {
		for range flying {
			<-landed
		}
	}()
	l.tick(time.Now())
	for {
		if f := l.pass(time.Now()); f != nil {
			flying++
			go func() {
				l.fly(ctx, f)
				landed <- f
			}()
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
		case f := <-landed:
			flying--
			f.landed = true
			if errors.Is(f.err, state.ErrDeposed) {
				return f.err
			}
			if f.err != nil {
				l.Log.WarnContext(ctx, "a change was not written", "err", f.err)
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
	if err := l.sweepOperations(ctx, now.Add(-l.History)); err != nil {
		return err
	}
	return sweep(ctx, l.store, l.term, now.Add(-l.Events))
}

// batchOps bounds the changes of one batch: an etcd of others takes 128 of them, and a batch
// fails as a whole.
const (
	batchOps    = 60
	mostBatches = 64 // of a flight at a time, which the store puts into common transactions
)

// fly writes changes. What was not written is looked at again.
func (l *leader) fly(ctx context.Context, f *flight) {
	var mu sync.Mutex // guards what became of it
	var all sync.WaitGroup
	slots := make(chan struct{}, mostBatches)
	for len(f.changes) > 0 || len(f.notes) > 0 {
		group, told := take(&f.changes, f.notes)
		slots <- struct{}{}
		all.Go(func() {
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
			f.revision = max(f.revision, revision)
			if err != nil {
				f.err = err
				l.again(group)
			}
		})
	}
	all.Wait()
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

// pass looks at all that may be otherwise than it is to be, but for what is on its way.
func (l *leader) pass(now time.Time) *flight {
	c := l.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	if !l.mayDecide() {
		return nil
	}
	d := newDraft(c, now.UTC().Round(0))
	l.hear(d)
	if c.roomier || d.freed {
		maps.Copy(c.dirty, l.waiting)
		c.roomier = false
	}
	d.settleHosts()
	l.lookAtBlocks(d)
	for _, s := range l.turn(d) {
		l.look(d, s)
	}
	l.operate(d)
	l.end(d)
	d.endNetworks()
	f := newFlight(d)
	if len(f.changes)+len(f.notes) == 0 {
		return nil
	}
	l.flights = append(l.flights, f)
	return f
}

// turn gives the services to look at, those of the highest priority first.
func (l *leader) turn(d *draft) []*service {
	var all []*service
	for name := range d.dirty {
		if l.inFlight(name) != nil {
			continue // it stays dirty
		}
		delete(d.dirty, name)
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
	slices.SortFunc(all, func(a, b *service) int { return cmp.Or(priority(b)-priority(a), cmp.Compare(a.name, b.name)) })
	return all
}

// end takes hosts away that were asked to go, when no set is on them.
func (l *leader) end(d *draft) {
	for _, name := range slices.Sorted(maps.Keys(d.ended)) {
		if h := d.cache.hosts[name]; h != nil && len(d.onHost[name]) == 0 && d.hosts[name] == nil && !l.approached(d, name) && !keepsBlocks(h) {
			d.ends = append(d.ends, h)
		}
	}
}
