package setmgr

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// Times of probes that name none.
const (
	probeInterval = 200 * time.Millisecond
	firstInterval = 20 * time.Millisecond // doubled up to probeInterval: most are ready at once
	probeTimeout  = 2 * time.Second
)

// wait waits until a container is ready, or has ended well.
func (r *run) wait(ctx context.Context, s plan.Step, id string) error {
	if s.Once {
		if limit := s.Limit(); limit > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeoutCause(ctx, limit, fault.Unavailable("it did not end within %v", limit))
			defer cancel()
		}
		code, err := r.m.Engine.WaitEnd(ctx, id)
		if err == nil && code != 0 {
			err = fault.Conflict("it ended with code %d", code)
		}
		return err
	}
	limit := s.Limit()
	begun := ctx
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ctx, give := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	if s.Back {
		wg.Go(func() { give(r.down(ctx, id)) })
	}
	var err error
	if s.Health {
		if err = r.m.Engine.WaitHealthy(ctx, id); s.Maybe && errdefs.IsInvalidArgument(err) {
			err = nil // it has no health check
		}
	}
	if err == nil && s.Probe != nil {
		err = r.probe(ctx, *s.Probe, id)
	}
	cause := context.Cause(ctx)
	give(nil)
	wg.Wait()
	switch {
	case err == nil || cause == nil:
		return err
	case begun.Err() != nil:
		return context.Cause(begun)
	case errdefs.IsFailedPrecondition(cause):
		return cause
	}
	return fault.Unavailable("it is not ready after %v: %w", limit, err)
}

// down waits until a container is down for too long, which is of class
// FailedPrecondition, or ctx ends.
func (r *run) down(ctx context.Context, id string) error {
	for since := time.Now(); ; {
		if pid, err := r.m.Engine.PID(ctx, id); err != nil || pid != 0 {
			since = time.Now()
		}
		if time.Since(since) > plan.DownLimit {
			return fault.Conflict("it does not stay up")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(probeInterval):
		}
	}
}

// Told adds to an error what a container wrote last: it may be gone when somebody
// reads that.
func (m *Manager) Told(ctx context.Context, err error, id string) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	text, terr := m.Engine.Tail(ctx, id)
	if text = strings.TrimSpace(text); terr != nil || text == "" {
		return err
	}
	// It must not write to a terminal what it likes.
	text = strings.Map(func(c rune) rune {
		if c != '\n' && !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, text)
	return fmt.Errorf("%w; it wrote last:\n  %s", err, strings.ReplaceAll(text, "\n", "\n  "))
}

// probe asks until the answer is yes, or ctx ends.
func (r *run) probe(ctx context.Context, p spec.Probe, id string) error {
	every, most, timeout := firstInterval, probeInterval, probeTimeout
	if p.Interval > 0 {
		every, most = time.Duration(p.Interval), time.Duration(p.Interval)
	}
	if p.Timeout > 0 {
		timeout = time.Duration(p.Timeout)
	}
	for {
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			return r.m.Ask(ctx, p, id)
		}()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(every):
		}
		every = min(2*every, most)
	}
}

// Ask asks a container once, until ctx ends. No error is yes.
func (m *Manager) Ask(ctx context.Context, p spec.Probe, id string) error {
	if len(p.Exec) > 0 {
		return hook(ctx, m.Engine, id, p.Exec)
	}
	pid, err := m.Engine.PID(ctx, id)
	if err != nil {
		return err
	}
	if pid == 0 {
		return fault.Conflict("it does not run")
	}
	return dialProbe(ctx, p, pid, m.Dial)
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
