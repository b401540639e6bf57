package lvmvolume

import (
	"context"
	"sync"
	"time"

	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// later is the volumes that are whole, but whose record says creating still.
// Writing them one by one would make each create cost LVM two commits.
type later struct {
	mu     sync.Mutex // guards all below
	ids    map[spec.ID]time.Time
	making int // calls that make a volume and would wait for the group meanwhile
}

// begin says that a volume is being made, until end is called.
func (l *later) begin() (end func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.making++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.making--
	}
}

func (l *later) add(id spec.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ids == nil {
		l.ids = map[spec.ID]time.Time{}
	}
	l.ids[id] = time.Now()
}

// due takes out all when none is being made and the last was added at least age
// ago, or many wait.
func (l *later) due(age time.Duration) []spec.ID {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, at := range l.ids {
		if (l.making > 0 || time.Since(at) < age) && len(l.ids) < 200 {
			return nil
		}
	}
	var out []spec.ID
	for id := range l.ids {
		out = append(out, id)
	}
	l.ids = nil
	return out
}

// recordReady writes the records that are due.
func (d *Driver) recordReady(ctx context.Context, age time.Duration) {
	byPlace, now := map[place][][2]spec.Volume{}, time.Now() // one time for all makes one command
	for _, id := range d.ripe.due(age) {
		e, ok := d.idx.entry(id)
		if !ok || e.pending || e.v.State != spec.Creating {
			continue
		}
		if at, err := d.idx.placeOf(e.v); err == nil {
			byPlace[at] = append(byPlace[at], [2]spec.Volume{e.v, e.v.In(spec.Ready, now)})
		}
	}
	for at, pairs := range byPlace {
		d.recordAll(ctx, at, pairs)
	}
}

// recordAll writes those of one place, in one command. The volumes are locked
// meanwhile, in the order of nobody's but this loop's: it is the only one that
// holds several, and it does not wait for those that somebody is at.
func (d *Driver) recordAll(ctx context.Context, at place, pairs [][2]spec.Volume) {
	var was, now []spec.Volume
	for _, p := range pairs {
		unlock, ok := d.names.TryLock(p[0].Name)
		if !ok {
			d.ripe.add(p[0].ID)
			continue
		}
		defer unlock()
		if e, ok := d.idx.entry(p[0].ID); ok && !e.pending && e.v.State == spec.Creating {
			was, now = append(was, e.v), append(now, e.v.In(spec.Ready, p[1].Since))
		}
	}
	if len(was) == 0 {
		return
	}
	if err := d.record(ctx, at, was, now); err != nil {
		d.log.WarnContext(ctx, "volumes are not recorded as ready yet", "count", len(was), "err", err)
		for _, v := range was {
			d.ripe.add(v.ID)
		}
	}
}
