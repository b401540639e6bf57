package lvmvolume

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/lvmvolume/filesystem"
	"github.com/mosdocker/mosdocker/lvmvolume/loop"
	"github.com/mosdocker/mosdocker/lvmvolume/mounts"
	"github.com/mosdocker/mosdocker/lvmvolume/plan"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// lookLimit bounds one look with what it mends.
const lookLimit = 5 * time.Minute

// Run keeps the volumes as their records say until ctx ends: it looks at once
// and every interval, finishes or takes back what a cut left, takes idle volumes
// off the host, empties the recycle bin, and watches the thin pools.
func (d *Driver) Run(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	d.thaw()
	if err := loop.Sweep(); err != nil {
		d.log.WarnContext(ctx, "loop devices without an image stay", "err", err)
	}
	clearParts(d.cfg.StateDir, d.started)
	clearParts(d.loops.dir, d.started)
	d.openTrials(ctx)
	work.Go(func() { d.watchPools(ctx) })
	work.Go(func() { d.sweepIdle(ctx) })
	work.Go(func() { d.empty(ctx) })
	work.Go(func() { d.keepWiping(ctx) })
	tick := time.NewTicker(d.cfg.Interval.Duration)
	defer tick.Stop()
	trimmed := time.Now()
	for retry := time.Second; ; {
		again := time.NewTimer(retry)
		if d.reconcile(ctx) == nil {
			again.Stop()
			retry = time.Second
		}
		retry = min(2*retry, d.cfg.Interval.Duration)
		if every := d.cfg.Trim.Duration; every > 0 && time.Since(trimmed) >= every {
			trimmed = time.Now()
			d.trim(ctx)
		}
		select {
		case <-ctx.Done():
			again.Stop()
			d.closeTrials()
			if err := loop.Sweep(); err != nil {
				d.log.WarnContext(ctx, "loop devices without an image stay", "err", err)
			}
			return
		case <-tick.C:
		case <-again.C:
		case <-d.nudge:
		}
		again.Stop()
	}
}

// Nudge asks for a look soon; many requests at once make one.
func (d *Driver) Nudge() { poke(d.nudge) }

// reconcile looks and mends once.
func (d *Driver) reconcile(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	start := time.Now()
	err := d.look(ctx)
	err = errors.Join(err, d.mendDevices(ctx), d.repair(ctx))
	d.metrics.look(start, err)
	if err != nil && ctx.Err() == nil {
		d.log.WarnContext(ctx, "not all is as it should be", "err", err)
	}
	poke(d.sweepSoon)
	return err
}

// repair finishes or takes back what was cut off in an earlier life, but for what
// takes long, see wipeAll.
func (d *Driver) repair(ctx context.Context) error {
	var errs []error
	for _, e := range d.idx.all(func(v spec.Volume) bool { return v.State == spec.Creating || v.State == spec.Filling }) {
		if !toWipe(e.v) {
			errs = append(errs, d.repairOne(ctx, e.v))
		}
	}
	for _, e := range d.idx.all(isExport) {
		if _, live := d.exporting.Load(e.v.Snapshot); !live {
			_, err := d.purge(ctx, []spec.Volume{e.v}, "the export that it was for was cut off", false, nil)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (d *Driver) repairOne(ctx context.Context, v spec.Volume) error {
	unlock, free := d.names.TryLock(v.Name)
	if !free {
		return nil // somebody is at it, perhaps for long; the next look comes
	}
	defer unlock()
	e, ok := d.idx.entry(v.ID)
	if !ok || e.pending || !e.unfinished() || toWipe(e.v) {
		return nil // it was finished meanwhile, or is being made
	}
	p := plan.Repair([]spec.Volume{e.v}, time.Now())
	if other, taken := d.idx.named(v.Name); taken && other.v.ID != v.ID && e.v.State == spec.Creating {
		p = plan.Plan{{Op: plan.Remove, Volume: e.v, Cause: "its making was cut off, and it was made again under its name"}}
	}
	for _, s := range p {
		d.log.InfoContext(ctx, "repair", "op", string(s.Op), "volume", s.Object(), "cause", s.Cause)
	}
	if len(p) > 0 {
		d.event("info", "repair", e.v.Title(), p[0].Cause+": "+string(p[0].Op))
	}
	err := d.run(ctx, p)
	if e.v.State != spec.Creating || e.v.Type != spec.Thin || !errdefs.IsDataLoss(err) {
		return err
	}
	// LVM writes a new volume down before its pool has a device for it. When the power
	// goes in between, the device never comes; nobody had it.
	d.event("info", "repair", e.v.Title(), "its pool never had it: remove")
	return d.run(ctx, plan.Plan{{Op: plan.Remove, Volume: e.v, Cause: "its pool never had it"}})
}

// sweepIdle runs sweeps: soon after a volume may have become idle, and while one is.
func (d *Driver) sweepIdle(ctx context.Context) {
	step := max(d.cfg.Linger.Duration/4, 200*time.Millisecond)
	tick := time.NewTicker(d.cfg.Interval.Duration)
	defer tick.Stop()
	ready := time.NewTicker(time.Second)
	defer ready.Stop()
	again := time.NewTimer(step)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ready.C:
			d.recordReady(ctx, 2*time.Second)
			continue
		case <-tick.C:
		case <-again.C:
		case <-d.sweepSoon:
			again.Reset(step) // what calls this is just under way
			continue
		}
		if d.idx.readable() == nil && d.sweep(ctx) {
			again.Reset(step)
		}
	}
}

// empty purges the recycle bin of what is too old.
func (d *Driver) empty(ctx context.Context) {
	tick := time.NewTicker(min(d.cfg.Interval.Duration, time.Minute))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, v := range d.expired(time.Now()) {
			if _, err := d.purge(ctx, []spec.Volume{v}, "its time in the recycle bin is over", false, nil); err != nil {
				d.log.WarnContext(ctx, "volume stays in the recycle bin", "volume", v.Title(), "err", err)
			} else {
				d.event("info", "trash", v.Title(), "purged, its time in the recycle bin was over")
			}
		}
	}
}

// expired are the volumes whose time in the recycle bin is over, and was so an hour
// ago: a clock that is wrong after a start of the host is often put right soon.
func (d *Driver) expired(now time.Time) []spec.Volume {
	keep := d.cfg.Trash.Keep.Duration
	over := map[spec.ID]bool{}
	for _, v := range plan.Expired(volumesOf(d.idx.all(inTrash)), keep, now) {
		over[v.ID] = true
	}
	var out []spec.Volume
	for _, e := range d.idx.all(inTrash) {
		overdue := false
		d.idx.change(e.v.ID, func(e *entry) {
			if !over[e.v.ID] {
				e.over = time.Time{}
			} else if e.over.IsZero() {
				e.over = now
			}
			overdue = !e.over.IsZero() && now.Sub(e.over) >= min(keep, time.Hour)
		})
		if overdue {
			out = append(out, e.v)
		}
	}
	return out
}

// thaw ends what a cut during a snapshot may have left: a file system that is
// held still. It does nothing to others.
func (d *Driver) thaw() {
	ms, err := mounts.Own()
	if err != nil {
		d.log.Warn("mounts cannot be read", "err", err)
		return
	}
	for _, m := range ms {
		if filepath.Dir(m.Point) == d.cfg.mountDir() {
			if err := filesystem.Thaw(m.Point); err != nil {
				d.log.Warn("file system may be held still", "path", m.Point, "err", err)
			}
		}
	}
}

// openTrials attaches the disks of trial groups, which are files.
func (d *Driver) openTrials(ctx context.Context) {
	entries, err := os.ReadDir(d.cfg.trialDir())
	if err != nil {
		return // there is none
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), imageExt) {
			continue
		}
		if err := d.openTrial(ctx, filepath.Join(d.cfg.trialDir(), e.Name())); err != nil {
			d.log.ErrorContext(ctx, "disk of a trial group cannot be attached", "file", e.Name(), "err", err)
		}
	}
}

// openTrial attaches one that is not held yet.
func (d *Driver) openTrial(ctx context.Context, path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.trial[path] != nil {
		return nil
	}
	h, err := loop.Attach(ctx, path, false)
	if err == nil {
		d.trial[path] = h
	}
	return err
}

// closeTrials lets go of them; while volumes on them are active they stay.
func (d *Driver) closeTrials() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, h := range d.trial {
		_ = h.Close() // it was only held
	}
	clear(d.trial)
}
