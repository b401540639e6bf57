package lvmvolume

import (
	"context"
	"time"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/lvmvolume/api"
	"github.com/mosdocker/mosdocker/lvmvolume/filesystem"
	"github.com/mosdocker/mosdocker/lvmvolume/plan"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// resize grows a volume to a size, absolute or with + more than it has, and its
// file system with it: at once, or at the next mount where it is not mounted. The
// note says what is left for then.
func (d *Driver) resize(ctx context.Context, r api.ResizeRequest) (p plan.Plan, note string, err error) {
	e, err := d.idx.find(r.Volume, inService)
	if err != nil {
		return nil, "", err
	}
	name := e.v.Name
	unlock, err := d.lock(ctx, name)
	if err != nil {
		return nil, "", err
	}
	defer unlock()
	if e, err = d.still(e); err != nil {
		return nil, "", err
	}
	at, err := d.idx.placeOf(e.v)
	if err != nil {
		return nil, "", err
	}
	want, err := d.wanted(e.v, at, r.Size)
	if err != nil {
		return nil, "", err
	}
	u, err := d.use(e.v)
	if err != nil {
		return nil, "", err
	}
	later := d.growLater(e.v, u)
	if u.FSShort, err = d.short(ctx, at, e.v, r.DryRun); err != nil {
		return nil, "", err
	}
	var off plan.Plan
	if u.Mounted && later != "" && d.idle(ctx, e.v) {
		if !r.AtNextMount && d.idx.starting(e.v.ID, d.cfg.Linger.Duration) {
			return nil, "", fault.Conflict("volume %s was just given to a container that starts, and %s: try again in %v, or let its file system grow at the next mount (--at-next-mount)", name, later, d.cfg.Linger)
		}
		off = plan.Release(e.v, plan.Use{Mounted: true}, "no container has it, and it grows at its next mount")
		u.Mounted = false
		later = d.growLater(e.v, u)
	}
	p = plan.Resize(e.v, want, u, later)
	if len(p) == 0 {
		return p, "", nil
	}
	p = append(off, p...)
	if later != "" {
		if u.Mounted && !r.AtNextMount {
			return nil, "", fault.Conflict("volume %s is mounted, and %s: stop its containers first, or let its file system grow at the next mount (--at-next-mount)", name, later)
		}
		note = "volume " + name + " has its new size from the next mount on: " + later
	}
	return d.growTo(ctx, at, e.v, want, p, note, r.DryRun)
}

// short says whether the file system of an attached volume is smaller than its
// blocks. It ends a growth that was cut off between the blocks and their device.
func (d *Driver) short(ctx context.Context, at place, v spec.Volume, dry bool) (bool, error) {
	dev, err := at.attached(v)
	if dev == "" {
		return false, err
	}
	if n, err := filesystem.DeviceSize(dev); err == nil && uint64(n) < v.Size && !dry {
		if err := at.grow(ctx, v, v.Size); err != nil {
			return false, err
		}
	}
	short, _ := d.disk.needsGrow(dev) // a file system that cannot be read is the mount's to tell
	return short, nil
}

// wanted is the size to grow to.
func (d *Driver) wanted(v spec.Volume, at place, size string) (uint64, error) {
	want, err := spec.ParseGrowth(size, v.Size)
	if err != nil {
		return 0, err
	}
	want = at.round(v.Type, want)
	if want < v.Size {
		return 0, fault.Invalid("volume %s has %s and cannot shrink to %s: file systems are not cut while data may be behind the cut; make a smaller volume and copy", v.Name, spec.Bytes(v.Size), spec.Bytes(want))
	}
	return want, v.FS.CheckSize(want)
}

// growLater says why the file system cannot grow at this moment, "" when it can.
func (d *Driver) growLater(v spec.Volume, u plan.Use) string {
	if !u.Mounted {
		if v.FS == spec.XFS {
			return "xfs can grow only while it is mounted, and it is not"
		}
		return "it is not mounted"
	}
	if err := filesystem.CanGrowOnline(filesystem.Type(v.FS)); err != nil {
		return "ext4 cannot grow while mounted here, since mos-lvm runs without CAP_SYS_RESOURCE"
	}
	return ""
}

func (d *Driver) growTo(ctx context.Context, at place, v spec.Volume, want uint64, p plan.Plan, note string, dry bool) (plan.Plan, string, error) {
	more := want - v.Size
	purge, err := d.admit(ctx, at, v, more, dry)
	if err != nil {
		return nil, "", err
	}
	p = append(plan.Purge(purge, d.useAtWorst, time.Now(), "its space is needed"), p...)
	if dry {
		return p, note, nil
	}
	err = d.run(ctx, p)
	d.idx.release(purge...)
	if err != nil {
		d.Nudge()
		// Whether the blocks grew is seen at the next look, not by one that began
		// before. A repeated call must not take them for grown, and nobody else gets
		// what they may have.
		d.idx.change(v.ID, func(e *entry) {
			e.v.Size, e.touched, e.growing, e.held = v.Size, time.Now(), 0, e.held+more
		})
		return p, "", err
	}
	d.idx.change(v.ID, func(e *entry) {
		e.v.Size, e.growing, e.held, e.touched = want, 0, 0, time.Now() // a look may have come between
		if v.Type != spec.Thin {
			e.allocated = want
		}
	})
	if more == 0 {
		return p, note, nil // only its file system had to
	}
	d.log.InfoContext(ctx, "volume grown", "volume", v.Name, "from", spec.Bytes(v.Size).String(), "to", spec.Bytes(want).String())
	return p, note, nil
}
