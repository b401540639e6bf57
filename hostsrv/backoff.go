package hostsrv

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/setmgr"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// backoffReset is how long a container runs until its next end counts as the first,
// unless its Backoff says.
const backoffReset = 10 * time.Minute

// ends counts those of one container in a row. A daemon that starts counts anew.
type ends struct {
	id   string
	last time.Time
	n    int
}

// due is a member with a Backoff that ended.
type due struct {
	c plan.Container
	n int // the how many-th end in a row
	// at is when it is started again, zero when it ended too often for that.
	at time.Time
}

// backoff is a container's own spec, if it has a Backoff, by which we start it again.
func backoff(c plan.Container) (o spec.Options, ok bool) {
	own, err := spec.DecodeContainer(c.Spec)
	if err != nil || own.Options.Backoff == nil {
		return o, false
	}
	return own.Options, true
}

// down says whether a container ended, and was not one that the Engine failed to start.
func down(c plan.Container) bool { return c.State == plan.Exited && c.Failed == "" }

// dues are the members that ended and that their Backoff starts again at some time.
func (s *Supervisor) dues(name string, o plan.Observed) []due {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.of(name)
	var out []due
	for _, c := range o.Members {
		own, ok := backoff(c)
		if !ok || !down(c) || !own.StartsAgain(c.ExitCode) {
			continue
		}
		e, reset := x.ends[c.Member], time.Duration(own.Backoff.Reset)
		if reset == 0 {
			reset = backoffReset
		}
		if e.id != c.ID || !e.last.Equal(c.Finished) {
			if e.id != c.ID || c.Finished.Sub(c.Started) >= reset {
				e.n = 0
			}
			e = ends{c.ID, c.Finished, e.n + 1}
			x.ends[c.Member] = e
		}
		d := due{c: c, n: e.n}
		if most := own.Most(); most == 0 || e.n <= most {
			p := own.Backoff.Pauses
			d.at = c.Finished.Add(time.Duration(p[min(e.n, len(p))-1]))
		}
		out = append(out, d)
	}
	return out
}

// startAgain starts the members that are due, but those that are held, and returns how
// the set does with the others.
func (s *Supervisor) startAgain(ctx context.Context, m *setmgr.Manager, name string, held []string, o plan.Observed) (state, detail string) {
	var waiting, over []string
	next := time.Time{}
	for _, d := range s.dues(name, o) {
		if slices.Contains(held, d.c.Member) {
			continue
		}
		ended := fmt.Sprintf("%s ended with %d, end %d in a row", d.c.Member, d.c.ExitCode, d.n)
		switch {
		case d.at.IsZero():
			over = append(over, ended+", and is not started again")
			continue
		case time.Until(d.at) > 0:
			waiting = append(waiting, fmt.Sprintf("%s, and is started again at %s", ended, d.at.UTC().Format(time.TimeOnly)))
		default:
			s.note(ctx, "restart", name, d.c.Member, ended)
			if err := s.startMember(ctx, m, name, o, d.c.Member); err != nil {
				s.note(ctx, "failed", name, d.c.Member, "restart: "+err.Error())
			}
			d.at = time.Now().Add(settle) // and look whether it is there
		}
		if next.IsZero() || d.at.Before(next) {
			next = d.at
		}
	}
	if !next.IsZero() {
		s.later(name, time.Until(next))
	}
	switch {
	case len(over) > 0:
		return api.Failing, strings.Join(append(over, waiting...), "; ")
	case len(waiting) > 0:
		return api.Waiting, strings.Join(waiting, "; ")
	}
	return api.Right, ""
}

// startMember starts a member that is down. The caller has the set's lock.
func (s *Supervisor) startMember(ctx context.Context, m *setmgr.Manager, name string, o plan.Observed, member string) error {
	p, err := m.Restart(name, member)(ctx, o)
	if err != nil {
		return err
	}
	if err := run(ctx, m, p); err != nil {
		return err
	}
	s.mu.Lock()
	s.of(name).Restarts++
	s.mu.Unlock()
	return nil
}
