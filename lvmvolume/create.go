package lvmvolume

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/lvmvolume/filesystem"
	"github.com/mosdocker/mosdocker/lvmvolume/plan"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// undoLimit is how long taking back may go on after its call was given up.
const undoLimit = 30 * time.Second

// create makes a volume, empty or as a copy. A volume that is there and is what
// was asked for is well.
func (d *Driver) create(ctx context.Context, r spec.Request, dry bool) (plan.Plan, error) {
	unlock, err := d.lockBoth(ctx, r)
	if err != nil {
		return nil, err
	}
	defer unlock()
	v, src, at, err := d.wish(r)
	if err != nil || at == nil {
		return nil, err
	}
	defer d.ripe.begin()()
	if opts, err := filesystem.ParseOptions(filesystem.Type(v.FS), v.MountOpts); err == nil && opts.ReadOnly() && v.From == "" {
		return nil, fault.Invalid("option mountopts=ro: a new volume that is read-only would stay empty: make it a copy with from=, or let containers have it read-only (docker run -v %s:/data:ro)", v.Name)
	}
	for start := time.Now(); ; {
		purge, err := d.admit(ctx, at, v, v.Size, dry)
		if err != nil {
			return nil, err
		}
		p := plan.Create(v, v.Created)
		if v.From != "" {
			p = plan.Copy(v, src, v.Created)
		}
		p = append(plan.Purge(purge, d.useAtWorst, time.Now(), "its space is needed"), p...)
		if dry {
			return p, nil
		}
		err = d.bear(ctx, v, p, purge, func(ctx context.Context) error { return d.run(ctx, p) })
		if err == nil || ctx.Err() != nil || !d.idx.stick(purge, start) {
			return p, err
		}
		d.log.WarnContext(ctx, "a volume of the recycle bin cannot be purged, others are tried", "volume", purge[0].Title(), "err", err)
		v.ID = newID() // what could not be taken back is still to be removed
	}
}

// oddName warns of names for volumes to come that `docker run -v NAME:/data` does not take
// for one: of a single letter docker believes that it is a drive of Windows, and the
// container gets an anonymous volume elsewhere.
func (d *Driver) oddName(ctx context.Context, name string) {
	if _, there := d.idx.named(name); !there && spec.Drive(name) {
		d.log.WarnContext(ctx, "docker run -v takes a name of one letter for a drive of Windows, and gives the container another volume; --mount does not", "volume", name)
	}
}

// lockBoth locks the volume of a request and the one that it is a copy of: a
// source that is unmounted meanwhile could not be held still.
func (d *Driver) lockBoth(ctx context.Context, r spec.Request) (unlock func(), err error) {
	names := []string{r.Name}
	if from := r.Options["from"]; from != "" {
		if src, err := d.idx.find(from, d.isSource); err == nil { // else wish tells
			names = append(names, src.v.Name)
		}
	}
	slices.Sort(names) // all who take two take them in this order
	var locked []func()
	unlock = func() {
		for _, u := range locked {
			u()
		}
	}
	for _, name := range slices.Compact(names) {
		u, err := d.lock(ctx, name)
		if err != nil {
			unlock()
			return nil, err
		}
		locked = append(locked, u)
	}
	return unlock, nil
}

// isSource says whether a volume or snapshot can be copied or exported. It is for
// find and all.
func (d *Driver) isSource(v spec.Volume) bool { return inService(v) || d.idx.served(v) }

// admitWait is how long a call waits for space that is given back just now: most
// volumes are removed in less, and Docker gives a call little more.
const admitWait = 20 * time.Second

// admit takes space in a place, and waits for some that is coming.
func (d *Driver) admit(ctx context.Context, at place, v spec.Volume, more uint64, dry bool) ([]spec.Volume, error) {
	for start := time.Now(); ; {
		purge, err := d.idx.admit(at, v, more, dry)
		if !plan.Freeing(err) || dry || time.Since(start) > admitWait {
			return purge, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// wish is what a request comes to on this host. Without a place the volume is
// there already.
func (d *Driver) wish(r spec.Request) (v, src spec.Volume, at place, err error) {
	if v, err = spec.Parse(r); err != nil {
		return v, src, nil, err
	}
	if of, _, _ := strings.Cut(v.From, "@"); of == r.Name {
		return v, src, nil, fault.Invalid("volume %s cannot be a copy of itself: give the copy another name", r.Name)
	}
	if have, ok := d.idx.named(r.Name); ok {
		return v, src, nil, cmp.Or(spec.Same(r, v, have.v), sound(have))
	}
	if err := d.idx.whole(); err != nil {
		return v, src, nil, fault.Unavailable("volume %s cannot be made while not all volumes are known: %w", r.Name, err)
	}
	if v.From != "" {
		v, src, err = d.inherit(r, v)
	} else {
		v, err = d.settle(v)
	}
	if err != nil {
		return v, src, nil, err
	}
	opts, err := filesystem.ParseOptions(filesystem.Type(v.FS), v.MountOpts)
	if err != nil {
		return v, src, nil, fault.Invalid("option mountopts: %w", err)
	}
	if opts.ReadOnly() && v.Chown != "" {
		return v, src, nil, fault.Invalid("option mountopts=ro: uid, gid and mode cannot be set in a copy that is read-only")
	}
	if at, err = d.idx.placeOf(v); err != nil {
		return v, src, nil, err
	}
	v.ID, v.Created = newID(), time.Now()
	v.Size = at.round(v.Type, v.Size)
	return v, src, at, nil
}

// inherit makes v a copy of what it names.
func (d *Driver) inherit(r spec.Request, v spec.Volume) (out, src spec.Volume, err error) {
	from, err := d.idx.find(v.From, d.isSource)
	if err != nil {
		return v, src, fmt.Errorf("option from: %w: docker mos volume ls and docker mos volume snapshot ls list what can be copied", err)
	}
	if from.fault != nil {
		return v, src, fault.Conflict("%s cannot be copied: %w", v.From, from.fault)
	}
	src = from.v
	if from.unfinished() {
		return v, src, fault.Conflict("%s is not whole yet: try again in a moment", v.From)
	}
	if v, err = spec.Inherit(r, v, src); err != nil {
		return v, src, err
	}
	at, err := d.idx.placeOf(src)
	if err != nil {
		return v, src, err
	}
	return v, src, canCopy(at, src)
}

// settle chooses type and place of an empty volume.
func (d *Driver) settle(v spec.Volume) (spec.Volume, error) {
	if v.Type == "" && v.Place == "" {
		v.Type = d.defaultType()
	}
	if v.Type == spec.Loop {
		v.Place = d.loops.dir
		return v, nil
	}
	g, err := d.chooseGroup(v)
	if err != nil {
		return v, err
	}
	v.Place = g.vg
	can := g.types()
	if v.Type == "" {
		v.Type = can[0]
	}
	if v.Type == spec.Striped && !slices.Contains(can, v.Type) {
		return v, fault.Conflict("volume group %s has one disk: striped volumes need two at least", g.vg)
	}
	if disks := g.read().disks; v.Type == spec.Striped && v.Stripes == 0 {
		v.Stripes = disks
	} else if v.Stripes > disks {
		return v, fault.Invalid("stripes=%d: volume group %s has %d disks", v.Stripes, g.vg, disks)
	}
	if !slices.Contains(can, v.Type) {
		return v, fault.Conflict("volume group %s has no thin pool: make one with mos-lvm init -pool, or use type=linear", g.vg)
	}
	return v, nil
}

// defaultType is the type of volumes that name neither type nor group, "" when the
// configured group is not there: to put them elsewhere would surprise.
func (d *Driver) defaultType() spec.Type {
	if d.cfg.Type != "auto" {
		return spec.Type(d.cfg.Type)
	}
	g, err := d.chooseGroup(spec.Volume{})
	switch {
	case err == nil:
		return g.types()[0]
	case d.cfg.VG != "":
		return ""
	}
	return spec.Loop
}

// chooseGroup finds the volume group that v names, or the host's.
func (d *Driver) chooseGroup(v spec.Volume) (*group, error) {
	want := v.Place
	if want == "" {
		want = d.cfg.VG
	}
	known, err := d.groups.expected.names()
	switch {
	case err != nil:
		return nil, err
	case len(known) == 0 && want == "":
		return nil, fault.Conflict("this host has no volume group of ours: make one with mos-lvm init, or use type=loop")
	case want == "":
		want = known[0]
	case !slices.Contains(known, want):
		return nil, fault.Conflict("volume group %s is not ours: mos-lvm init -adopt -vg %s makes it ours", want, want)
	}
	return d.groups.group(want), nil
}

// bear runs what makes a new volume, and takes it back when that fails. The
// volumes of the recycle bin that had to go first may have gone for nothing;
// those that did not stay in the bin.
func (d *Driver) bear(ctx context.Context, v spec.Volume, p plan.Plan, purge []spec.Volume, run func(context.Context) error) error {
	err := run(ctx)
	if err != nil {
		d.Nudge() // the place is not what we took it for, or needs mending
	}
	d.idx.release(purge...)
	for _, old := range purge {
		if err == nil {
			d.event("info", "trash", old.Title(), "purged from the recycle bin, its space was needed for "+v.Title())
		}
	}
	if err == nil {
		d.idx.put(born(v, p))
		d.idx.change(v.ID, func(e *entry) {
			e.whole, e.active = true, true
			if v.Type != spec.Thin {
				e.allocated = e.v.Size
			}
		})
		return nil
	}
	if d.leaveToWipe(v, p) {
		return err
	}
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
	defer cancel()
	if uerr := d.unmake(undo, v); uerr != nil {
		// The sweep tries again; until then its space stays taken.
		d.idx.change(v.ID, func(e *entry) { e.doomed = true })
		poke(d.sweepSoon)
		return errors.Join(err, fault.Unavailable("and what is half made could not be removed yet: %w", uerr))
	}
	return err
}

// leaveToWipe leaves a volume whose filling broke off to be overwritten, if its
// blocks are there and would show what came already. When it is whole all the same,
// since only the answer of its last command is missing, it stays.
func (d *Driver) leaveToWipe(v spec.Volume, p plan.Plan) (left bool) {
	first := p[slices.IndexFunc(p, func(s plan.Step) bool { return s.Volume.ID == v.ID })].Volume
	d.idx.change(v.ID, func(e *entry) {
		if left = e.made && toWipe(first); left && e.v.State != spec.Ready {
			e.v = first
		}
	})
	if left {
		d.idx.release(v)
	}
	return left
}

// unmake removes what there is of a volume that was never whole.
func (d *Driver) unmake(ctx context.Context, v spec.Volume) error {
	at, err := d.idx.placeOf(v)
	if err == nil {
		err = at.remove(ctx, []spec.Volume{v})
	}
	if err == nil || errdefs.IsNotFound(err) {
		d.idx.drop(v.ID)
		return nil
	}
	return err
}

// born is the volume as its making left it.
func born(v spec.Volume, p plan.Plan) spec.Volume {
	for _, s := range p {
		if s.Volume.ID == v.ID && !s.Later {
			v = s.Volume
		}
	}
	return v
}
