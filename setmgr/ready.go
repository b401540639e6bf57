package setmgr

import (
	"context"
	"fmt"
	"time"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// Times of probes that name none.
const (
	probeDeadline = time.Minute
	probeInterval = 200 * time.Millisecond
	probeTimeout  = 2 * time.Second
)

// wait waits until a container is ready, or has ended well.
func (r *run) wait(ctx context.Context, s plan.Step, id string) error {
	if s.Once {
		code, err := r.m.Engine.WaitEnd(ctx, id)
		if err == nil && code != 0 {
			err = fault.Conflict("it ended with code %d: docker logs %s says why", code, s.Name)
		}
		return err
	}
	limit := probeDeadline
	if s.Within > 0 {
		limit = time.Duration(s.Within)
	}
	if s.Probe != nil && s.Probe.Deadline > 0 {
		limit = time.Duration(s.Probe.Deadline)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var err error
	if s.Health {
		err = r.m.Engine.WaitHealthy(ctx, id)
	}
	if err == nil && s.Probe != nil {
		err = r.probe(ctx, *s.Probe, id)
	}
	if err != nil && ctx.Err() != nil {
		return fault.Unavailable("it is not ready after %v: %w", limit, err)
	}
	return err
}

// probe asks until the answer is yes, or ctx ends.
func (r *run) probe(ctx context.Context, p spec.Probe, id string) error {
	every, timeout := probeInterval, probeTimeout
	if p.Interval > 0 {
		every = time.Duration(p.Interval)
	}
	if p.Timeout > 0 {
		timeout = time.Duration(p.Timeout)
	}
	for {
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			return r.ask(ctx, p, id)
		}()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(every):
		}
	}
}

// ask asks once.
func (r *run) ask(ctx context.Context, p spec.Probe, id string) error {
	if len(p.Exec) > 0 {
		return hook(ctx, r.m.Engine, id, p.Exec)
	}
	pid, err := r.m.Engine.PID(ctx, id)
	if err != nil {
		return err
	}
	if pid == 0 {
		return fault.Conflict("it does not run: docker logs says why")
	}
	if r.m.Dial == nil {
		return fault.Later("probes by tcp and http reach into the set's network, which needs docker set to run as root on the Engine's host: use Ready.Exec or Health")
	}
	return dialProbe(ctx, p, pid, r.m.Dial)
}

// settle looks that a container stays what it is for a while.
func (r *run) settle(ctx context.Context, s plan.Step, id string) error {
	end := time.Now().Add(time.Duration(s.For))
	first, err := r.m.Engine.PID(ctx, id)
	for err == nil && time.Now().Before(end) {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(min(time.Until(end), 500*time.Millisecond)):
		}
		var pid int
		if pid, err = r.m.Engine.PID(ctx, id); err == nil && (pid == 0 || pid != first) {
			err = fault.Conflict("it did not stay up for %v", time.Duration(s.For))
		}
	}
	if err != nil {
		return fmt.Errorf("it was ready: %w", err)
	}
	return nil
}
