package lvmvolume

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/mosdocker/mosdocker/lvmvolume/lvm"
)

// resume lets go on what a killed command of LVM left suspended: all who write
// to such a volume wait for ever. No command of ours runs meanwhile, and LVM's
// lock keeps those of others apart.
func (d *Driver) resumeSuspended(ctx context.Context) error {
	var errs []error
	for _, g := range d.groups.all() {
		if len(lvm.Suspended(g.vg)) > 0 {
			errs = append(errs, d.resumeGroup(ctx, g))
		}
	}
	return errors.Join(errs...)
}

func (d *Driver) resumeGroup(ctx context.Context, g *group) error {
	defer g.lock()()
	lvs := lvm.Suspended(g.vg)
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
