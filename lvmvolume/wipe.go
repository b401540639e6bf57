package lvmvolume

import (
	"context"
	"time"

	"github.com/mosdocker/mosdocker/lvmvolume/plan"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// keepWiping runs wipeAll again and again.
func (d *Driver) keepWiping(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		d.wipeAll(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// wipeAll overwrites and removes the volumes that nobody gets any more and whose
// blocks would show what was in them, one after the other: it may take hours, so it
// is nobody's call that waits for it. One that fails is tried again later.
func (d *Driver) wipeAll(ctx context.Context) {
	for _, e := range d.idx.all(toWipe) {
		if time.Since(e.stuck) >= d.cfg.Interval.Duration {
			d.wipe(ctx, e.v)
		}
	}
}

func (d *Driver) wipe(ctx context.Context, v spec.Volume) {
	v, ok := d.idx.claimToFree(v.ID, toWipe)
	if !ok || ctx.Err() != nil {
		return
	}
	defer d.idx.release(v)
	start := time.Now()
	err := d.run(ctx, plan.Repair([]spec.Volume{v}, start))
	if err == nil {
		d.log.InfoContext(ctx, "removed volume overwritten", "volume", v.Title(), "lv", v.ID.Label(), "size", spec.Bytes(v.Size).String(), "took", time.Since(start))
	} else if ctx.Err() == nil {
		d.log.WarnContext(ctx, "removed volume is not overwritten yet", "volume", v.Title(), "lv", v.ID.Label(), "err", err)
		d.idx.change(v.ID, func(e *entry) { e.stuck = time.Now() })
	}
}

// toWipe are volumes that have to be overwritten, when nobody is at them.
func toWipe(v spec.Volume) bool { return v.State == spec.Filling && plan.Readable(v) }
