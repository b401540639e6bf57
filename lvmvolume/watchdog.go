package lvmvolume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/mosdocker/mosdocker/internal/engine"
	"github.com/mosdocker/mosdocker/lvmvolume/lvm"
	"github.com/mosdocker/mosdocker/lvmvolume/plan"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// watchdog keeps thin pools from becoming full: a write into a full pool is lost
// after it was taken, and the writer may never hear of it. A file system cannot
// be frozen then, since that would flush into the pool; so the writers are.
type watchdog struct {
	mu     sync.Mutex          // guards all below
	paused map[string][]string // containers that we paused, by pool
}

// watchPools looks at the pools until ctx ends, more often when one is filling.
func (d *Driver) watchPools(ctx context.Context) {
	d.watch.load(d.pausedFile())
	for {
		wait := d.cfg.Thin.Interval.Duration
		if d.watchOnce(ctx) {
			wait /= 4
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// watchOnce looks at all pools. It says whether one is above the level warn.
func (d *Driver) watchOnce(ctx context.Context) (urgent bool) {
	var withPool []*group
	for _, g := range d.groups.all() {
		if g.read().pool.Name != "" {
			withPool = append(withPool, g)
		}
	}
	if len(withPool) == 0 {
		return false
	}
	stats, err := d.lvm.Pools(ctx)
	if err != nil {
		if ctx.Err() == nil {
			d.log.WarnContext(ctx, "thin pools cannot be watched", "err", err)
		}
		return true
	}
	for _, g := range withPool {
		i := slices.IndexFunc(stats, func(s lvm.PoolStatus) bool { return s.VG == g.vg && s.Pool == g.read().pool.Name })
		if i < 0 {
			d.asleep(ctx, g)
			continue
		}
		urgent = d.watchPool(ctx, g, stats[i]) || urgent
	}
	return urgent
}

// asleep is for a pool that is not active: nobody writes to it, and what it held
// when it last was may be gone.
func (d *Driver) asleep(ctx context.Context, g *group) {
	g.change(func(s *groupState) { s.status, s.level = lvm.PoolStatus{}, "" })
	d.resume(ctx, g.vg+"/"+g.read().pool.Name, plan.Fullness{})
}

func (d *Driver) watchPool(ctx context.Context, g *group, s lvm.PoolStatus) (urgent bool) {
	g.change(func(st *groupState) { *st = st.sampled(s, time.Now()) })
	if d.extend(ctx, g) {
		return true // the next look sees what it came to
	}
	st := g.read()
	fill := st.fill()
	level := d.cfg.levels().At(fill)
	if level != plan.Pause && (s.Failed || s.ReadOnly || s.NeedsCheck) {
		level = plan.Refuse // by what it is, not by what it holds
	}
	name := g.vg + "/" + st.pool.Name
	// Who is paused early is not let go on before there is room.
	if early := len(d.watch.of(name)) > 0 && !d.cfg.levels().Resume(fill); early || d.cfg.levels().Hurries(fill, st.rate(), pauseLead) {
		level = plan.Pause
	}
	if level != st.level {
		d.levelChanged(ctx, name, st.level, level, fill)
		g.change(func(st *groupState) { st.level = level })
	}
	switch {
	case level == plan.Pause:
		d.pause(ctx, g, name)
	case d.cfg.levels().Resume(fill):
		d.resume(ctx, name, fill)
	}
	return level != plan.OK
}

func (d *Driver) levelChanged(ctx context.Context, pool string, from, to plan.Level, f plan.Fullness) {
	detail := fmt.Sprintf("data %.1f%%, metadata %.1f%%: level %s, was %s", 100*f.Data, 100*f.Meta, to, from)
	switch {
	case to == plan.OK && from != "":
		d.log.InfoContext(ctx, "thin pool is well again", "pool", pool, "data", f.Data, "meta", f.Meta)
		d.event("info", "pool", pool, detail)
	case to == plan.OK:
	case to == plan.Warn:
		d.log.WarnContext(ctx, "thin pool fills up", "pool", pool, "data", f.Data, "meta", f.Meta)
		d.event("warn", "pool", pool, detail)
	default:
		d.log.ErrorContext(ctx, "thin pool is nearly full", "pool", pool, "state", string(to), "data", f.Data, "meta", f.Meta)
		d.event("error", "pool", pool, detail)
	}
}

// extend grows a pool that is due from its volume group.
func (d *Driver) extend(ctx context.Context, g *group) bool {
	s := g.read()
	data, meta := d.cfg.levels().ExtendBy(s.fill(), uint64(s.status.DataTotal), uint64(s.status.MetadataTotal), uint64(s.vg.Free))
	extent := uint64(max(s.vg.ExtentSize, 1))
	data, meta = data/extent*extent, meta/extent*extent
	if data == 0 && meta == 0 {
		return false
	}
	unlock := g.lock()
	var err error
	if meta > 0 {
		err = d.lvm.ExtendPoolMetadata(ctx, g.vg, s.pool.Name, s.status.MetadataTotal+int64(meta))
	}
	if err == nil && data > 0 {
		err = d.lvm.ExtendPool(ctx, g.vg, s.pool.Name, s.status.DataTotal+int64(data))
	}
	unlock()
	name := g.vg + "/" + s.pool.Name
	d.Nudge() // free space and sizes are others now
	if err != nil {
		d.log.ErrorContext(ctx, "thin pool cannot be extended", "pool", name, "err", err)
		d.event("error", "pool", name, "cannot be extended: "+err.Error())
		g.change(func(st *groupState) { st.vg.Free = 0 }) // until the next report
		return false
	}
	g.change(func(st *groupState) { st.vg.Free -= int64(data + meta); st.pool.Size += int64(data) })
	d.log.InfoContext(ctx, "thin pool extended", "pool", name, "data", spec.Bytes(data).String(), "meta", spec.Bytes(meta).String())
	d.event("info", "pool", name, fmt.Sprintf("extended by %s for data and %s for metadata", spec.Bytes(data), spec.Bytes(meta)))
	return true
}

// pause stops the containers that can write to a pool.
func (d *Driver) pause(ctx context.Context, g *group, pool string) {
	var names []string
	for _, e := range d.idx.all(inService) {
		if e.v.Place == g.vg && e.v.Type == spec.Thin {
			names = append(names, e.v.Name)
		}
	}
	cs, err := d.engine.Containers(ctx)
	if err != nil {
		d.log.ErrorContext(ctx, "thin pool is full and its writers cannot be paused", "pool", pool, "err", err)
		return
	}
	var all sync.WaitGroup
	for _, c := range cs {
		if c.State == "running" && writes(c, names) {
			all.Go(func() { d.pauseOne(ctx, pool, c) })
		}
	}
	all.Wait()
}

func (d *Driver) pauseOne(ctx context.Context, pool string, c engine.Container) {
	// Noted first: who was paused and is forgotten would stay so for ever.
	d.watch.add(d.pausedFile(), pool, c.ID)
	if err := d.engine.Pause(ctx, c.ID); err != nil {
		d.log.ErrorContext(ctx, "container cannot be paused", "container", c.Name, "pool", pool, "err", err)
		return
	}
	d.log.ErrorContext(ctx, "container paused, its writes would be lost", "container", c.Name, "pool", pool)
	d.event("error", "pool", pool, "container "+c.Name+" paused before its writes could be lost: make room, it goes on by itself")
}

func writes(c engine.Container, volumes []string) bool {
	return slices.ContainsFunc(c.Volumes, func(v engine.VolumeUse) bool { return v.Writable && slices.Contains(volumes, v.Name) })
}

// resume lets them go on.
func (d *Driver) resume(ctx context.Context, pool string, f plan.Fullness) {
	for _, id := range d.watch.of(pool) {
		if err := d.engine.Unpause(ctx, id); err != nil {
			d.log.WarnContext(ctx, "container cannot be unpaused", "container", id, "err", err)
			continue
		}
		d.watch.remove(d.pausedFile(), pool, id)
		d.log.InfoContext(ctx, "container goes on", "container", id, "pool", pool)
		d.event("info", "pool", pool, fmt.Sprintf("container %.12s goes on, the pool is %.1f%% full", id, 100*max(f.Data, f.Meta)))
	}
}

// pausedFile outlives the daemon: somebody must let the containers go on.
func (d *Driver) pausedFile() string { return filepath.Join(d.cfg.StateDir, "paused.json") }

func (w *watchdog) load(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.paused = map[string][]string{}
	data, err := os.ReadFile(path)
	if err == nil {
		_ = json.Unmarshal(data, &w.paused) // what cannot be read is nobody
	}
}

func (w *watchdog) of(pool string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.paused[pool])
}

func (w *watchdog) add(path, pool, id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.paused == nil {
		w.paused = map[string][]string{}
	}
	if !slices.Contains(w.paused[pool], id) {
		w.paused[pool] = append(w.paused[pool], id)
	}
	w.save(path)
}

func (w *watchdog) remove(path, pool, id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.paused[pool] = slices.DeleteFunc(slices.Clone(w.paused[pool]), func(s string) bool { return s == id })
	if len(w.paused[pool]) == 0 {
		delete(w.paused, pool)
	}
	w.save(path)
}

func (w *watchdog) save(path string) {
	if len(w.paused) == 0 {
		if err := os.Remove(path); err == nil || errors.Is(err, fs.ErrNotExist) {
			return
		}
	}
	data, err := json.Marshal(w.paused)
	if err == nil {
		err = replace(path, data)
	}
	_ = err // the file is for a restart; without it the operator unpauses
}
