package lvmvolume

import (
	"context"
	"time"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// record replaces records, at their place and in the index. LVM replaces single
// tags, so that one must know which there are: when a command fails it may have
// been done all the same, and the place is looked at before the next.
func (d *Driver) record(ctx context.Context, at place, was, now []spec.Volume) error {
	for i, v := range was {
		sure, err := d.sure(ctx, v)
		if err != nil {
			return err
		}
		was[i] = sure
	}
	err := at.record(ctx, was, now)
	if err == nil {
		for _, v := range now {
			d.idx.put(v)
		}
		return nil
	}
	for _, v := range was {
		d.idx.change(v.ID, func(e *entry) { e.doubt = time.Now() })
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
	defer cancel()
	if d.look(ctx) != nil {
		d.Nudge()
	}
	return err
}

// sure returns a volume with the record that it has. The index knows that better than
// a caller who may have read it while it was in doubt, but for a volume that is made.
func (d *Driver) sure(ctx context.Context, v spec.Volume) (spec.Volume, error) {
	e, ok := d.idx.entry(v.ID)
	if !ok || e.doubt.IsZero() && e.v.State == "" {
		return v, nil
	}
	if e.doubt.IsZero() {
		return e.v, nil
	}
	if err := d.look(ctx); err != nil {
		return v, fault.Unavailable("what became of the last change of volume %s is not known: %w", v.Title(), err)
	}
	if e, ok = d.idx.entry(v.ID); !ok {
		return v, fault.NotFound("volume %s is gone", v.Title())
	}
	return e.v, nil
}
