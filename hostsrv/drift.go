package hostsrv

import (
	"context"
	"fmt"

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

// drift tells of limits that somebody changed by docker update since the last look. They
// stay so, since an Engine has no other place for what docker set resize wrote; those of a
// declared set are healed, by its file.
func (s *Supervisor) drift(ctx context.Context, name string, d declared, o plan.Observed) {
	now := map[string]plan.Limits{}
	var said [][2]string
	s.mu.Lock()
	x := s.of(name)
	for _, c := range append(infraOf(o), o.Members...) {
		now[c.ID] = c.Limits
		if before, known := x.limits[c.ID]; known && before != c.Limits && x.touched[c.Member] {
			then := "they stay so until docker set resize gives others"
			if d.set != nil {
				then = "they are put back, as " + d.path + " declares them"
			}
			said = append(said, [2]string{c.Member, fmt.Sprintf("somebody changed the limits of %s by docker update, from %s to %s: %s", c.Name, before, c.Limits, then)})
		}
	}
	x.limits = now
	clear(x.touched)
	s.mu.Unlock()
	for _, e := range said {
		s.note(ctx, "drift", name, e[0], e[1])
	}
}
