package hostsrv

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mosdocker/mosdocker/setmgr"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// Values of Live that a spec may leave out, and the pauses between restarts.
const (
	liveInterval = 10 * time.Second
	liveTimeout  = 2 * time.Second
	liveFailures = 3
	liveFirst    = 10 * time.Second // after the first restart; doubled with each
	liveForgets  = 10 * time.Minute // without a restart all is well again
)

// probe asks one member whether it works, as long as its container runs.
type probe struct {
	id   string
	pid  int // the container may be started again, as another process
	stop context.CancelFunc
	// restarts is how often it was restarted in a row, and last when.
	restarts int
	last     time.Time
}

func (x *set) stopProbes() {
	for _, p := range x.probes {
		p.end()
	}
	clear(x.probes)
}

// probe asks just those members of a set that run and are to be asked.
func (s *Supervisor) probe(ctx context.Context, name string, o plan.Observed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.of(name)
	running := map[string]bool{}
	for _, c := range o.Members {
		own, err := spec.DecodeContainer(c.Spec)
		if err != nil || own.Options.Live == nil || c.State != plan.Running {
			continue
		}
		running[c.Member] = true
		p := x.probes[c.Member]
		if p == nil || !p.of(c) || p.stop == nil {
			next := &probe{id: c.ID, pid: c.PID}
			if p != nil {
				next.restarts, next.last = p.restarts, p.last
				p.end()
			}
			var pctx context.Context
			pctx, next.stop = context.WithCancel(ctx)
			x.probes[c.Member] = next
			if !own.Options.Live.Health {
				s.work.Go(func() { s.ask(pctx, name, c, *own.Options.Live) })
			}
		}
		if own.Options.Live.Health && c.Health == "unhealthy" {
			s.work.Go(func() { s.revive(ctx, name, c, errors.New("its health check says unhealthy")) })
		}
	}
	for member, p := range x.probes {
		if !running[member] {
			p.end()
		}
	}
}

// of says whether it asks the process that a container has.
func (p *probe) of(c plan.Container) bool { return p.id == c.ID && p.pid == c.PID }

// end ends the questions; what is known of restarts stays.
func (p *probe) end() {
	if p.stop != nil {
		p.stop()
		p.stop = nil
	}
}

// ask asks a container until ctx ends, and has it restarted when it fails too often.
func (s *Supervisor) ask(ctx context.Context, name string, c plan.Container, l spec.Live) {
	every, timeout, most := liveInterval, liveTimeout, liveFailures
	if l.Interval > 0 {
		every = time.Duration(l.Interval)
	}
	if l.Timeout > 0 {
		timeout = time.Duration(l.Timeout)
	}
	if l.Failures > 0 {
		most = l.Failures
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for bad := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.mu.Lock()
		m := s.m
		s.mu.Unlock()
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			return m.Ask(ctx, l.Probe(), c.ID)
		}()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			bad = 0
			continue
		case !s.there():
			continue // it is the Engine that does not answer
		}
		if bad++; bad >= most {
			s.revive(ctx, name, c, err)
			bad = 0
		}
	}
}

// revive restarts a container that does not work, later and later when that does not
// help. A container that took its place meanwhile is left alone.
func (s *Supervisor) revive(ctx context.Context, name string, c plan.Container, why error) {
	s.mu.Lock()
	m, p := s.m, s.of(name).probes[c.Member]
	if p == nil || !p.of(c) {
		s.mu.Unlock()
		return
	}
	if time.Since(p.last) > liveForgets {
		p.restarts = 0
	}
	if p.restarts > 0 && time.Since(p.last) < min(liveFirst<<min(p.restarts-1, 20), mostDelay) {
		s.mu.Unlock()
		return
	}
	p.restarts, p.last = p.restarts+1, time.Now()
	n := p.restarts
	s.mu.Unlock()
	text := fmt.Sprintf("it does not work and is restarted: %v", why)
	if n > 1 {
		text += fmt.Sprintf(" (restart %d in a row)", n)
	}
	s.note(ctx, "live", name, c.Member, text)
	if err := s.restart(context.WithoutCancel(ctx), m, name, c); err != nil {
		s.note(ctx, "failed", name, c.Member, "restart: "+err.Error())
	}
}

func (s *Supervisor) restart(ctx context.Context, m *setmgr.Manager, name string, c plan.Container) error {
	unlock, err := m.Lock(ctx, name)
	if err != nil {
		return err
	}
	defer unlock()
	o, err := m.Observe(ctx, name, nil)
	if err != nil {
		return err
	}
	for _, now := range o.Members {
		if now.ID == c.ID && now.State == plan.Running && now.PID == c.PID {
			p, err := m.Restart(name, c.Member)(ctx, o)
			if err != nil {
				return err
			}
			s.held.mend(name, true)
			if err := m.Run(ctx, p); err != nil {
				return err
			}
			s.mu.Lock()
			s.of(name).Restarts++
			s.mu.Unlock()
		}
	}
	return nil
}
