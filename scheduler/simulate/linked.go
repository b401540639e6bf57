package simulate

import (
	"context"
	"sync"
	"time"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/link"
)

// RunLinked lives as [Host.Run] does, over the real link.
func (h *Host) RunLinked(ctx context.Context, c *link.Client) {
	h.live(ctx, func(cut <-chan struct{}) bool { h.linked(ctx, c, cut); return true })
}

func (h *Host) linked(ctx context.Context, c *link.Client, cut <-chan struct{}) {
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	e := &end{host: h, assigned: make(chan struct{}, 1), changed: make(chan struct{}, 1)}
	work.Go(func() { c.Run(ctx, e) })
	const idle = time.Hour
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		told := false
		select {
		case <-ctx.Done():
			return
		case <-cut:
			return
		case <-e.assigned:
			told = true
		case <-timer.C:
		}
		changed, next := h.progress(time.Now())
		if changed || told {
			say(e.changed)
		}
		wait := idle
		if !next.IsZero() {
			wait = time.Until(next)
		}
		timer.Reset(max(wait, 0))
	}
}

// end is the host's end of the link.
type end struct {
	host              *Host
	assigned, changed chan struct{}
}

func say(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // it was said before, and not heard yet
	}
}

// Name is for [link.Host].
func (e *end) Name() string { return e.host.Name }

// Report is for [link.Host].
func (e *end) Report(context.Context) link.Report { return e.host.report() }

// Assign is for [link.Host].
func (e *end) Assign(_ context.Context, a link.Assignment) error {
	if !e.host.take(a) {
		return fault.Conflict("it is of epoch %d, revision %d, and the host has a later one, or is away", a.Epoch, a.Revision)
	}
	say(e.assigned)
	return nil
}

// Changed is for [link.Host].
func (e *end) Changed() <-chan struct{} { return e.changed }

// Linked is for [link.Host].
func (*end) Linked(string, link.Lease, error) {}
