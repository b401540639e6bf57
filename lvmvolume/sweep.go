package lvmvolume

import (
	"context"
	"maps"
	"time"

	"github.com/mosdocker/mosdocker/lvmvolume/api"
	"github.com/mosdocker/mosdocker/lvmvolume/filesystem"
	"github.com/mosdocker/mosdocker/lvmvolume/mounts"
	"github.com/mosdocker/mosdocker/lvmvolume/plan"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// hintKeep is how many lingers long a mount id keeps a volume mounted that no
// process has. Docker does not always take its ids back, and a container may be
// slow to start.
const hintKeep = 30

// detachBatch is how many idle volumes one command detaches: more would keep
// those who want one of them waiting for long.
const detachBatch = 16

// sweep takes volumes off the host that nobody has any more, and removes what
// could not be removed before. It says whether something is left to look at soon.
func (d *Driver) sweep(ctx context.Context) (again bool) {
	again = d.removeDoomed(ctx)
	devices, snap, err := d.see(ctx)
	if err != nil {
		d.log.WarnContext(ctx, "who uses which volume is not known", "err", err)
		return true
	}
	blind := d.blind(ctx, snap)
	idle := map[place][]spec.Volume{}
	for _, e := range d.idx.all(anything) {
		if devices[e.v.ID] == "" {
			continue
		}
		if d.keep(blind, e.v.ID) {
			again = again || !d.used(e.v.ID)
			continue
		}
		if at, err := d.idx.placeOf(e.v); err == nil && d.releaseIt(ctx, e.v) {
			idle[at] = append(idle[at], e.v)
		}
	}
	for at, vs := range idle {
		d.detachIdle(ctx, at, vs)
	}
	d.clearPoints(ctx)
	return again
}

// removeDoomed removes what could not be removed before. It says whether some stay.
func (d *Driver) removeDoomed(ctx context.Context) (stay bool) {
	for _, e := range d.idx.doomedOnes() {
		if err := d.unmake(ctx, e.v); err != nil {
			d.log.WarnContext(ctx, "half made volume cannot be removed yet", "volume", e.v.Title(), "lv", e.v.ID.Label(), "err", err)
			stay = true
		}
	}
	return stay
}

// see looks which volumes are attached and who has them, and notes it.
func (d *Driver) see(ctx context.Context) (devices map[spec.ID]string, snap *mounts.Snapshot, err error) {
	byPlace := map[place][]spec.Volume{}
	for _, e := range d.idx.all(anything) {
		if at, err := d.idx.placeOf(e.v); err == nil {
			byPlace[at] = append(byPlace[at], e.v)
		}
	}
	devices = map[spec.ID]string{}
	for at, vs := range byPlace {
		there, err := at.attachedAll(vs)
		if err != nil {
			return nil, nil, err
		}
		maps.Copy(devices, there)
	}
	if snap, err = mounts.Take(ctx); err != nil {
		return nil, nil, err
	}
	for _, vs := range byPlace {
		for _, v := range vs {
			users := d.usersOn(snap, v, devices[v.ID])
			d.idx.change(v.ID, func(e *entry) { e.users, e.active = users, devices[v.ID] != "" })
		}
	}
	return devices, snap, nil
}

// usersOn are the holders of a volume's device, none when it has no device.
func (d *Driver) usersOn(snap *mounts.Snapshot, v spec.Volume, dev string) []api.User {
	if dev == "" {
		return nil
	}
	n, err := mounts.DevOf(dev)
	if err != nil {
		return nil // it went away meanwhile
	}
	return usersOf(snap.Holders(n, d.dirOf(v)))
}

func (d *Driver) used(id spec.ID) bool {
	e, ok := d.idx.entry(id)
	return ok && len(e.users) > 0
}

// keep says whether an attached volume stays where it is.
func (d *Driver) keep(blind bool, id spec.ID) bool {
	linger := d.cfg.Linger.Duration
	if blind || d.used(id) {
		return true
	}
	if time.Since(d.started) < 6*linger {
		return true // a call of before our start may be on its way to a container
	}
	keep, now := false, time.Now()
	d.idx.change(id, func(e *entry) {
		for id, since := range e.hints {
			if now.Sub(since) >= hintKeep*linger {
				delete(e.hints, id)
			}
		}
		keep = e.pending || len(e.hints) > 0 || now.Sub(e.mounted) < linger || now.Sub(e.touched) < linger
	})
	return keep
}

func usersOf(hs []mounts.Holder) []api.User {
	var out []api.User
	for _, h := range hs {
		out = append(out, api.User{Container: h.Container, PID: h.PID, Command: h.Command, Mountpoint: h.Point})
	}
	return out
}

// releaseIt unmounts an idle volume. It says whether the volume is to be detached.
func (d *Driver) releaseIt(ctx context.Context, v spec.Volume) bool {
	unlock, ok := d.names.TryLock(v.Name)
	if !ok {
		return false // somebody is at it
	}
	defer unlock()
	e, ok := d.idx.entry(v.ID)
	if !ok || e.pending || time.Since(e.mounted) < d.cfg.Linger.Duration {
		return false
	}
	u, err := d.use(v)
	if !u.Attached || err != nil {
		return false
	}
	if u.Mounted {
		if err := d.free(ctx, v, "unmounted"); err != nil {
			return false
		}
		if err := d.run(ctx, plan.Plan{{Op: plan.Unmount, Volume: v, Cause: "no container has it"}}); err != nil {
			d.log.WarnContext(ctx, "idle volume stays mounted", "volume", v.Title(), "err", err)
			return false
		}
		d.log.DebugContext(ctx, "idle volume unmounted", "volume", v.Title())
	}
	return true
}

// detachIdle detaches volumes in batches. One that is open elsewhere, such as in
// a copy of our mounts, stays; so do the others of its batch until then.
func (d *Driver) detachIdle(ctx context.Context, at place, vs []spec.Volume) {
	for len(vs) > 0 {
		n := min(len(vs), detachBatch)
		d.detachSome(ctx, at, vs[:n])
		vs = vs[n:]
	}
}

// detachSome keeps those who want one of the volumes waiting meanwhile: they would
// find its device, and lose it again.
func (d *Driver) detachSome(ctx context.Context, at place, vs []spec.Volume) {
	var idle []spec.Volume
	locked := map[string]bool{} // a snapshot has the name of its volume
	for _, v := range vs {
		if !locked[v.Name] {
			unlock, ok := d.names.TryLock(v.Name)
			if !ok {
				continue // somebody is at it
			}
			defer unlock()
			locked[v.Name] = true
		}
		if d.stillIdle(v) {
			idle = append(idle, v)
		}
	}
	if len(idle) == 0 {
		return
	}
	if err := at.detach(ctx, idle); err != nil {
		d.log.DebugContext(ctx, "idle volumes stay attached", "place", at.name(), "err", err)
	}
}

// stillIdle says whether nobody wanted a volume meanwhile.
func (d *Driver) stillIdle(v spec.Volume) bool {
	linger := d.cfg.Linger.Duration
	e, ok := d.idx.entry(v.ID)
	u, err := d.use(v)
	return ok && !e.pending && time.Since(e.mounted) >= linger && time.Since(e.touched) >= linger && !u.Mounted && err == nil
}

// trim gives the unused space of mounted thin volumes back to their pool. An
// image of a loop volume must keep what it reserved.
func (d *Driver) trim(ctx context.Context) {
	for _, e := range d.idx.all(inService) {
		if e.v.Type != spec.Thin || !d.mounted(e.v) {
			continue
		}
		n, err := filesystem.Trim(ctx, d.dirOf(e.v))
		if err != nil {
			d.log.WarnContext(ctx, "volume is not trimmed", "volume", e.v.Name, "err", err)
			continue
		}
		d.metrics.trimmed.Add(float64(n))
		d.log.DebugContext(ctx, "volume trimmed", "volume", e.v.Name, "bytes", n)
	}
}
