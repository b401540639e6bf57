package lvmvolume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/lvmvolume/filesystem"
	"github.com/mosdocker/mosdocker/lvmvolume/lvm"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// mendDevices mends what a killed command of LVM left: suspended devices, since
// all who write to them wait for ever, and the parts of a pool without the pool,
// since it cannot become active then. No command of ours runs meanwhile, and
// LVM's lock keeps those of others apart.
func (d *Driver) mendDevices(ctx context.Context) error {
	var errs []error
	for _, g := range d.groups.all() {
		if len(g.suspended()) > 0 {
			errs = append(errs, d.resumeDevices(ctx, g))
		}
		if len(lvm.LooseParts(g.vg)) > 0 {
			errs = append(errs, d.dropParts(ctx, g))
		}
	}
	return errors.Join(errs...)
}

func (d *Driver) dropParts(ctx context.Context, g *group) error {
	defer g.lock()()
	parts := lvm.LooseParts(g.vg)
	if len(parts) == 0 {
		return nil
	}
	if err := d.lvm.DeactivateParts(ctx, g.vg, parts...); err != nil {
		return fmt.Errorf("parts of a pool of volume group %s are active without it: %w", g.vg, err)
	}
	names := strings.Join(parts, ", ")
	d.log.WarnContext(ctx, "parts of a pool deactivated, a killed command left them", "vg", g.vg, "lv", names)
	d.event("warn", "repair", g.vg, "parts of a pool deactivated: "+names)
	return nil
}

// suspended are the logical volumes of ours, and the pool, whose device is
// suspended. Those of others in an adopted group may be so by their will.
func (g *group) suspended() []string {
	pool := g.read().pool.Name
	return slices.DeleteFunc(lvm.Suspended(g.vg), func(lv string) bool {
		_, ours := spec.ParseLabel(lv)
		return !ours && lv != pool
	})
}

func (d *Driver) resumeDevices(ctx context.Context, g *group) error {
	defer g.lock()()
	lvs := g.suspended()
	if len(lvs) == 0 {
		return nil // a command was under way
	}
	if err := d.lvm.Resume(ctx, g.vg, lvs...); err != nil {
		return fmt.Errorf("devices of volume group %s are suspended: %w", g.vg, err)
	}
	names := strings.Join(lvs, ", ")
	d.log.WarnContext(ctx, "suspended devices resumed, a killed command left them", "vg", g.vg, "lv", names)
	d.event("warn", "repair", g.vg, "suspended devices of "+names+" resumed")
	return nil
}

// mendFS checks and mends the file system of a volume that is not mounted. Who
// waits for it may give up: it goes on, since half a check is none.
func (d *Driver) mendFS(ctx context.Context, v spec.Volume, dev, why string) error {
	start := time.Now()
	defer d.longWork(v, "checked and mended")()
	said, err := d.disk.mend(context.WithoutCancel(ctx), filesystem.Type(v.FS), dev)
	if err != nil {
		d.event("error", "volume", v.Title(), "its file system could not be mended: "+err.Error())
		return err
	}
	d.log.WarnContext(ctx, "file system checked and mended", "volume", v.Title(), "lv", v.ID.Label(), "cause", why, "took", time.Since(start), "said", said)
	d.event("warn", "volume", v.Title(), "its file system was checked and mended: "+why)
	return nil
}

// growFS grows the file system of a volume that is not mounted. As with mendFS it
// goes on when nobody waits any more: half grown is worse than not.
func (d *Driver) growFS(ctx context.Context, v spec.Volume, dev string) error {
	defer d.longWork(v, "grown")()
	return d.disk.growOffline(context.WithoutCancel(ctx), filesystem.Type(v.FS), dev)
}

// longWork notes what is done to a volume's file system, for those who wait too
// long for it, until end is called.
func (d *Driver) longWork(v spec.Volume, what string) (end func()) {
	d.long.Store(v.Name, fault.Unavailable("the file system of volume %s is being %s since %s, which goes on: try again later", v.Name, what, time.Now().Format(time.TimeOnly)))
	return func() { d.long.Delete(v.Name) }
}

// longWorkOn is what is done to the file system of a volume, nil when it is nothing.
func (d *Driver) longWorkOn(name string) error {
	why, _ := d.long.Load(name)
	err, _ := why.(error)
	return err
}

// busy says whether a device is mounted, in whatever mount namespace, or held in
// another way. lvm would find out by trying for five seconds, and all others of
// the group wait meanwhile.
func busy(dev string) bool {
	f, err := os.OpenFile(dev, os.O_RDONLY|unix.O_EXCL, 0)
	if err == nil {
		err = f.Close()
	}
	return errors.Is(err, unix.EBUSY)
}
