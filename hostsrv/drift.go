package hostsrv

import (
	"context"
	"fmt"
	"slices"

	"github.com/mosdocker/mosdocker/setmgr/plan"
)

// touch notes that the limits of a container, "" for the infra, were changed, if it was
// by nobody who changes sets, as this daemon does.
func (s *Supervisor) touch(ctx context.Context, set, member string) {
	byHand := s.byHand(ctx, set)
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.sets[set]; x != nil && !x.locked && byHand {
		x.touched[member] = true
	}
}

// drift tells of limits that somebody changed by docker update since the last look, also
// since that of an earlier daemon. They stay so, since an Engine has no other place for
// what docker set resize wrote; those of a declared set are healed, by its file.
func (s *Supervisor) drift(ctx context.Context, name string, d declared, o plan.Observed) {
	now := map[string]string{}
	all := append(infraOf(o), o.Members...)
	for _, c := range all {
		now[c.ID] = c.Limits.String()
	}
	s.mu.Lock()
	x := s.of(name)
	before, touched, by := x.limits, x.touched, "by docker update"
	x.limits, x.touched = now, map[string]bool{}
	away := !x.seen
	s.mu.Unlock()
	if away {
		before, by = s.held.limitsOf(name), "while mosd did not run"
	}
	s.held.keepLimits(name, now)
	changed := slices.DeleteFunc(all, func(c plan.Container) bool {
		was, known := before[c.ID]
		return !known || was == now[c.ID] || !away && !touched[c.Member]
	})
	if len(changed) > 1 && changed[0].Member == "" {
		return // the set's total with members: docker set resize, which may have ended before its event was heard
	}
	then := "they stay so until docker set resize gives others"
	if d.set != nil {
		then = "they are put back, as " + d.path + " declares them"
	}
	for _, c := range changed {
		s.note(ctx, "drift", name, c.Member, fmt.Sprintf("somebody changed the limits of %s %s, from %s to %s: %s", c.Name, by, before[c.ID], now[c.ID], then))
	}
}
