package lvmvolume

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/lvmvolume/mounts"
	"github.com/mosdocker/mosdocker/lvmvolume/plan"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// lock waits for a volume's turn. A call that was given up meanwhile does nothing
// any more.
func (d *Driver) lock(ctx context.Context, name string) (unlock func(), err error) {
	if err := d.streaming(name); err != nil {
		return nil, err
	}
	unlock, err = d.names.LockContext(ctx, name)
	if err == nil && ctx.Err() != nil {
		unlock()
		err = context.Cause(ctx)
	}
	if err != nil {
		if why := d.longWorkOn(name); why != nil {
			return nil, why
		}
		return nil, fault.Unavailable("volume %.80s was busy until now: %w", name, err)
	}
	return unlock, nil
}

// streaming refuses what would have to wait for the other side of an export or an
// import.
func (d *Driver) streaming(name string) error {
	if _, yes := d.exporting.Load(name); yes {
		return fault.Conflict("volume %s is being exported: try again when that is over", name)
	}
	if _, yes := d.importing.Load(name); yes {
		return fault.Conflict("an import of volume %s is under way: try again when that is over", name)
	}
	return nil
}

// mount makes a volume ready for a container and returns the directory to give it.
func (d *Driver) mount(ctx context.Context, name, id string) (string, error) {
	unlock, err := d.lock(ctx, name)
	if err != nil {
		return "", err
	}
	e, err := d.usable(name)
	if err != nil {
		unlock()
		return "", err
	}
	// A file system may need hours to grow. Its volume stays locked until then, and the
	// stop of the daemon does not wait for it: the programs end by themselves.
	done := make(chan func() error, 1)
	go func() {
		var end func() error
		defer func() {
			if p := recover(); p != nil {
				d.log.ErrorContext(ctx, "a mount panics", "volume", name, "panic", p, "stack", string(debug.Stack()))
				end = func() error { panic(p) } // for who answers the call
			}
			unlock()
			done <- end
		}()
		err := d.mountFor(ctx, e, id)
		end = func() error { return err }
	}()
	var end func() error
	select {
	case end = <-done:
	case <-ctx.Done():
		if why := d.longWorkOn(name); why != nil {
			return "", why
		}
		end = <-done
	}
	if err := end(); err != nil {
		return "", err
	}
	poke(d.sweepSoon) // to see who it is
	return d.dataOf(e.v), nil
}

// mountFor mounts a volume and notes for whom.
func (d *Driver) mountFor(ctx context.Context, e entry, id string) error {
	if err := d.mountLocked(ctx, e); err != nil {
		return err
	}
	d.idx.change(e.v.ID, func(e *entry) {
		if e.hints == nil {
			e.hints = map[string]time.Time{}
		}
		e.mounted = time.Now()
		e.hints[id] = e.mounted
	})
	return nil
}

// usable returns a volume in service that nothing is wrong with.
func (d *Driver) usable(name string) (entry, error) {
	e, ok := d.idx.named(name)
	if !ok {
		if err := d.idx.whole(); err != nil {
			return e, err
		}
		return e, fault.NotFound("there is no volume %.80s", name)
	}
	return e, sound(e)
}

func sound(e entry) error {
	if e.fault != nil {
		return fault.Conflict("volume %s cannot be used: %w", e.v.Name, e.fault)
	}
	if e.v.State == spec.Filling {
		return fault.Conflict("volume %s cannot be used: its filling or its purge was cut off, and the next look removes it", e.v.Name)
	}
	return nil
}

// still returns what became of a volume in service that was found before its lock
// was had. It is asked by id: of two volumes with one name only one has it.
func (d *Driver) still(was entry) (entry, error) {
	e, ok := d.idx.entry(was.v.ID)
	if !ok || e.pending || !inService(e.v) || e.v.Name != was.v.Name { // the lock is by name
		return e, fault.NotFound("there is no volume %.80s any more", was.v.Name)
	}
	return e, sound(e)
}

func (d *Driver) mountLocked(ctx context.Context, e entry) error {
	if e.unfinished() {
		// Its making was cut off, and the repair did not get here yet.
		if err := d.run(ctx, plan.Repair([]spec.Volume{e.v}, time.Now())); err != nil {
			return err
		}
		e, _ = d.idx.entry(e.v.ID)
	}
	r := newRunner(d)
	defer r.close()
	u, err := d.use(e.v)
	if err != nil {
		return err
	}
	if u.Mounted && d.waitsToGrow(ctx, e.v) {
		if err := r.run(ctx, plan.Plan{{Op: plan.Unmount, Volume: e.v, Cause: "its blocks were grown, and nobody has it"}}); err != nil {
			d.log.WarnContext(ctx, "volume cannot grow yet", "volume", e.v.Name, "err", err)
		}
		if u, err = d.use(e.v); err != nil {
			return err
		}
	}
	p := plan.MountIt(e.v, u, time.Now())
	if u.Mounted {
		// A cut, or an error, may have come between the mount and its directory.
		if err := d.makeData(e.v); err != nil {
			return fmt.Errorf("directory of volume %s: %w", e.v.Name, err)
		}
	} else {
		at, err := d.idx.placeOf(e.v)
		if err != nil {
			return err
		}
		// Only the device tells whether its file system fills it.
		dev, err := r.hold(ctx, at, e.v)
		if err != nil {
			return fmt.Errorf("attach volume %s: %w", e.v.Name, err)
		}
		u.Attached = true
		if u.FSShort, err = d.disk.needsGrow(dev); err == nil {
			u.Sick, err = d.disk.needsCheck(dev)
		}
		if err != nil {
			return fmt.Errorf("look at volume %s: %w", e.v.Name, err)
		}
		p = plan.MountIt(e.v, u, time.Now())
	}
	return r.run(ctx, p)
}

// waitsToGrow says that a volume is mounted by nobody's wish but ours, and that
// its file system grows when it is not: a container that restarts comes back before
// its volume is taken off.
func (d *Driver) waitsToGrow(ctx context.Context, v spec.Volume) bool {
	if v.FS != spec.Ext4 { // xfs grows while it is mounted
		return false
	}
	at, err := d.idx.placeOf(v)
	if err != nil {
		return false
	}
	dev, err := at.attached(v)
	if dev == "" || err != nil {
		return false
	}
	short, err := d.disk.needsGrow(dev)
	return err == nil && short && !d.idx.starting(v.ID, d.cfg.Linger.Duration) && d.idle(ctx, v)
}

// idle says that surely nobody has a volume that may be mounted.
func (d *Driver) idle(ctx context.Context, v spec.Volume) bool {
	snap, err := mounts.Take(ctx)
	if err != nil || d.blind(ctx, snap) {
		return false
	}
	hs, err := d.holders(ctx, v)
	return err == nil && len(hs) == 0
}

// use is what is true of a volume at this moment, by the kernel.
func (d *Driver) use(v spec.Volume) (plan.Use, error) {
	at, err := d.idx.placeOf(v)
	if err != nil {
		return plan.Use{}, err
	}
	dev, err := at.attached(v)
	if err != nil {
		return plan.Use{}, err
	}
	mounted, err := mountedFrom(d.dirOf(v), dev)
	return plan.Use{Attached: dev != "", Mounted: mounted}, err
}

// useAtWorst takes what cannot be seen for mounted: the step that is to end it tells.
func (d *Driver) useAtWorst(v spec.Volume) plan.Use {
	u, err := d.use(v)
	if err != nil {
		u = plan.Use{Attached: true, Mounted: true}
	}
	return u
}

// mounted says whether a volume is surely mounted, for what may as well be left.
func (d *Driver) mounted(v spec.Volume) bool {
	u, err := d.use(v)
	return err == nil && u.Mounted
}

// unmount notes that a container is done with a volume. The kernel is asked a
// little later whether that is true of all.
func (d *Driver) unmount(name, id string) error {
	e, ok := d.idx.named(name)
	if !ok {
		return d.idx.whole() // gone is as good as unmounted
	}
	d.idx.change(e.v.ID, func(e *entry) { delete(e.hints, id) })
	poke(d.sweepSoon)
	return nil
}

// holders asks the kernel who has a volume mounted.
func (d *Driver) holders(ctx context.Context, v spec.Volume) ([]mounts.Holder, error) {
	at, err := d.idx.placeOf(v)
	if err != nil {
		return nil, err
	}
	dev, err := at.attached(v)
	if dev == "" {
		return nil, err
	}
	return d.disk.holders(ctx, dev, d.dirOf(v))
}

// free refuses when somebody has the volume mounted.
func (d *Driver) free(ctx context.Context, v spec.Volume, what string) error {
	hs, err := d.holders(ctx, v)
	if err != nil {
		return fmt.Errorf("who uses volume %s is not known: %w", v.Title(), err)
	}
	if len(hs) == 0 {
		return nil
	}
	more := ""
	if len(hs) > 1 {
		more = fmt.Sprintf(" and %d more", len(hs)-1)
	}
	return fault.Conflict("volume %s is in use by %s%s: stop that before it can be %s", v.Title(), hs[0], more, what)
}

// readUsage notes how full the file system of a mounted volume is.
func (d *Driver) readUsage(v spec.Volume) {
	if !d.mounted(v) {
		return
	}
	if u, err := usageOf(d.dirOf(v)); err == nil {
		d.idx.change(v.ID, func(e *entry) { e.usage = &u })
	}
}
