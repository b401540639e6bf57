package lvmvolume

import (
	"context"
	"slices"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/lvmvolume/plan"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// trash moves a volume to the recycle bin, or removes it for good where the bin
// keeps nothing. One that is absent is well.
func (d *Driver) trash(ctx context.Context, name string) error {
	unlock, err := d.lock(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	e, ok := d.idx.named(name)
	if !ok {
		return d.idx.whole()
	}
	_, err = d.trashIt(ctx, e, false)
	return err
}

// trashRef is trash for a name or an id.
func (d *Driver) trashRef(ctx context.Context, ref string, dry bool) (plan.Plan, error) {
	e, err := d.idx.find(ref, inService)
	if err != nil {
		return nil, err
	}
	unlock, err := d.lock(ctx, e.v.Name)
	if err != nil {
		return nil, err
	}
	defer unlock()
	// What is wrong with it is no matter.
	if e, err = d.still(e); errdefs.IsNotFound(err) || err != nil && e.fault == nil {
		return nil, err
	}
	return d.trashIt(ctx, e, dry)
}

func (d *Driver) trashIt(ctx context.Context, e entry, dry bool) (plan.Plan, error) {
	name := e.v.Name
	if err := d.free(ctx, e.v, "removed"); err != nil {
		return nil, err
	}
	if d.idx.starting(e.v.ID, d.cfg.Linger.Duration) {
		return nil, fault.Conflict("volume %s was just given to a container that starts: try again in %v", name, d.cfg.Linger)
	}
	u := d.useAtWorst(e.v)
	u.Attached = false // the sweep detaches it, nobody has to wait for that
	p := plan.Trash(e.v, u, time.Now())
	switch {
	case e.unfinished():
		p = plan.InBackground(plan.Purge([]spec.Volume{e.v}, d.useAtWorst, time.Now(), "asked for, and its making was cut off"))
	case d.cfg.Trash.Keep.Duration == 0:
		p = plan.InBackground(plan.Purge(d.withSnapshots([]spec.Volume{e.v}), d.useAtWorst, time.Now(), "asked for, and the recycle bin keeps nothing"))
	}
	if dry {
		return p, nil
	}
	err := d.run(ctx, p)
	if err == nil {
		d.log.InfoContext(ctx, "volume removed", "volume", name, "lv", e.v.ID.Label())
		poke(d.sweepSoon)
	}
	return p, err
}

// withSnapshots adds their snapshots to volumes: these go where their volume goes.
func (d *Driver) withSnapshots(vs []spec.Volume) []spec.Volume {
	out := vs
	for _, s := range d.idx.all(isSnapshot) {
		for _, v := range vs {
			if s.v.Of == v.ID {
				out = append(out, s.v)
			}
		}
	}
	return out
}

// restore brings a volume back from the recycle bin.
func (d *Driver) restore(ctx context.Context, ref, as string, dry bool) (plan.Plan, spec.Volume, error) {
	e, err := d.inBin(ref)
	if err != nil {
		return nil, spec.Volume{}, err
	}
	name := e.v.Name
	if as != "" {
		name = as
	}
	if err := spec.CheckName(name); err != nil {
		return nil, e.v, err
	}
	if err := d.shadowed(ctx, name); err != nil {
		return nil, e.v, err
	}
	unlock, err := d.lock(ctx, name)
	if err != nil {
		return nil, e.v, err
	}
	defer unlock()
	if _, taken := d.idx.named(name); taken {
		return nil, e.v, fault.Exists("there is a volume %s already: restore this one under another name, with --as", name)
	}
	if dry {
		return plan.Restore(e.v, name, time.Now()), e.v, nil
	}
	// The bin may have been purged while we waited.
	v, ok := d.idx.claim(e.v.ID, inTrash)
	if !ok {
		return nil, e.v, fault.NotFound("volume %s is not in the recycle bin any more: it was purged or restored meanwhile", ref)
	}
	defer d.idx.release(v)
	p := plan.Restore(v, name, time.Now())
	return p, p[0].Volume, d.run(ctx, p)
}

// inBin finds a volume in the recycle bin: of several with one name the caller
// must say which.
func (d *Driver) inBin(ref string) (entry, error) {
	e, err := d.idx.find(ref, inTrash)
	if err != nil {
		return e, notInBin(ref, err)
	}
	if e.fault != nil {
		return e, fault.Conflict("volume %s cannot be used: %w", ref, e.fault)
	}
	return e, nil
}

// notInBin is the error of a look into the recycle bin: a volume of that name may be in
// service.
func notInBin(ref string, err error) error {
	if errdefs.IsNotFound(err) {
		return fault.NotFound("the recycle bin has no volume %.80s", ref)
	}
	return err
}

// purge removes volumes of the recycle bin for good.
func (d *Driver) purge(ctx context.Context, vs []spec.Volume, cause string, dry bool, said func(string, uint64, uint64)) (plan.Plan, error) {
	vs = d.withSnapshots(vs)
	p := plan.Purge(vs, d.useAtWorst, time.Now(), cause)
	if dry || len(p) == 0 {
		return p, nil
	}
	for _, v := range vs {
		if err := d.free(ctx, v, "purged"); err != nil {
			return nil, err
		}
	}
	vs = d.claimAll(vs)
	defer d.idx.release(vs...)
	if len(vs) == 0 {
		return nil, fault.NotFound("nothing is there to purge any more: it was restored or purged meanwhile")
	}
	p = plan.Purge(vs, d.useAtWorst, time.Now(), cause)
	r := newRunner(d)
	defer r.close()
	r.said = said
	err := r.run(ctx, p)
	if err == nil {
		for _, v := range vs {
			d.log.InfoContext(ctx, "volume purged", "volume", v.Title(), "lv", v.ID.Label(), "cause", cause)
		}
	}
	return p, err
}

// claimAll takes what is to be purged: volumes that are in the bin still, their
// snapshots, and snapshots that go by themselves.
func (d *Driver) claimAll(vs []spec.Volume) (taken []spec.Volume) {
	mine, listed := map[spec.ID]bool{}, map[spec.ID]bool{}
	claim := func(v spec.Volume, among func(spec.Volume) bool) {
		if now, ok := d.idx.claimToFree(v.ID, among); ok {
			mine[v.ID] = true
			taken = append(taken, now)
		}
	}
	for _, v := range vs {
		listed[v.ID] = true
		if !isSnapshot(v) {
			claim(v, inTrash)
		}
	}
	for _, v := range vs {
		if isSnapshot(v) && (mine[v.Of] || !listed[v.Of]) {
			claim(v, isSnapshot)
		}
	}
	return taken
}

// trashOf resolves what a request to purge names; a name means all that had it.
func (d *Driver) trashOf(refs []string, all bool) ([]spec.Volume, error) {
	bin := d.idx.all(inTrash)
	if all {
		return volumesOf(bin), nil
	}
	if len(refs) == 0 {
		return nil, fault.Invalid("nothing to purge: name volumes of the recycle bin, or all")
	}
	wanted := map[spec.ID]bool{}
	for _, ref := range refs {
		named := false
		for _, e := range bin {
			if e.v.Name == ref {
				wanted[e.v.ID], named = true, true
			}
		}
		if named {
			continue
		}
		e, err := d.idx.find(ref, inTrash)
		if err != nil {
			return nil, notInBin(ref, err)
		}
		wanted[e.v.ID] = true
	}
	return volumesOf(slices.DeleteFunc(bin, func(e entry) bool { return !wanted[e.v.ID] })), nil
}
