package lvmvolume

import (
	"context"
	"fmt"
	"time"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/lvmvolume/plan"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// takeSnapshot takes a snapshot of a volume, mounted or not.
func (d *Driver) takeSnapshot(ctx context.Context, ref, name string, dry bool) (plan.Plan, spec.Volume, error) {
	src, err := d.idx.find(ref, inService)
	if err != nil {
		return nil, spec.Volume{}, err
	}
	unlock, err := d.lock(ctx, src.v.Name)
	if err != nil {
		return nil, spec.Volume{}, err
	}
	defer unlock()
	if src, err = d.still(src); err != nil {
		return nil, spec.Volume{}, err
	}
	now := time.Now()
	snap, err := d.wishSnapshot(src, name, now)
	if err != nil {
		return nil, snap, err
	}
	at, err := d.idx.placeOf(src.v)
	if err != nil {
		return nil, snap, err
	}
	if err := canCopy(at, src.v); err != nil {
		return nil, snap, err
	}
	purge, err := d.admit(ctx, at, snap, snap.Size, dry)
	if err != nil {
		return nil, snap, err
	}
	p := append(plan.Purge(purge, d.useAtWorst, time.Now(), "its space is needed"), plan.TakeSnapshot(snap, src.v, now)...)
	if dry {
		return p, snap, nil
	}
	return p, born(snap, p), d.bear(ctx, snap, p, purge, func(ctx context.Context) error { return d.run(ctx, p) })
}

// canCopy says why a volume can have no snapshots and no copies, and what can be done.
func canCopy(at place, v spec.Volume) error {
	if err := at.snapshots(v.Type); err != nil {
		return fmt.Errorf("%w: use a thin pool (mos-lvm init makes one), keep images on xfs or btrfs, or use docker mos volume export and import", err)
	}
	return nil
}

// wishSnapshot is what a snapshot of src comes to.
func (d *Driver) wishSnapshot(src entry, name string, now time.Time) (spec.Volume, error) {
	if name == "" {
		name = now.UTC().Format("20060102-150405")
	}
	snap := src.v
	snap.ID, snap.Of, snap.Snapshot, snap.From, snap.Created = newID(), src.v.ID, name, "", now
	if src.unfinished() {
		return snap, fault.Conflict("volume %s is not whole yet: try again in a moment", src.v.Name)
	}
	if err := spec.CheckSnapshotName(name); err != nil {
		return snap, err
	}
	if _, err := d.idx.find(snap.Title(), func(v spec.Volume) bool { return isSnapshot(v) && v.Of == src.v.ID }); err == nil {
		return snap, fault.Exists("volume %s has a snapshot %s already: choose another name", src.v.Name, name)
	}
	return snap, nil
}

// removeSnapshot removes a snapshot for good. Copies made of it go on.
func (d *Driver) removeSnapshot(ctx context.Context, volume, name string, dry bool) (plan.Plan, error) {
	e, err := d.idx.find(volume+"@"+name, d.idx.served)
	if err != nil {
		return nil, fault.NotFound("volume %.80s has no snapshot %.80s", volume, name)
	}
	unlock, err := d.lock(ctx, e.v.Name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return d.purge(ctx, []spec.Volume{e.v}, "asked for", dry, nil)
}
