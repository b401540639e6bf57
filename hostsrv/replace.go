package hostsrv

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/setmgr"
	"github.com/mosdocker/mosdocker/setmgr/label"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// refusal is of a member whose new container did not get ready: the old one serves, and the
// new one is not tried for a while, since each try takes the old one down.
type refusal struct {
	Hash  string    `json:"hash"` // of what was tried with its limits, see [spec.Hash]
	Old   []string  `json:"old"`  // the containers that were there before it, by id
	Why   string    `json:"why"`
	Until time.Time `json:"until"`
}

// refuse keeps why the new containers of members are not tried.
func (h *held) refuse(set string, why map[string]refusal) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refused[set] == nil {
		h.refused[set] = map[string]refusal{}
	}
	maps.Copy(h.refused[set], why)
	h.save()
}

// refusals are those that count for what a set is to be now, and while an old container is
// there; others are forgotten.
func (h *held) refusals(set string, want *spec.Set, o plan.Observed) map[string]refusal {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.refused[set]) == 0 || want == nil {
		return nil
	}
	out := map[string]refusal{}
	for _, c := range want.Containers {
		r, there := h.refused[set][c.Name]
		old := slices.ContainsFunc(o.Members, func(x plan.Container) bool { return slices.Contains(r.Old, x.ID) })
		if there && old && r.Hash == spec.Hash(c) && time.Now().Before(r.Until) {
			out[c.Name] = r
		}
	}
	if len(out) == len(h.refused[set]) {
		return out
	}
	h.refused[set] = maps.Clone(out)
	if len(out) == 0 {
		delete(h.refused, set)
	}
	h.save()
	return out
}

// tryAgain forgets what was refused of a set.
func (h *held) tryAgain(set string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.refused[set]) > 0 {
		delete(h.refused, set)
		h.save()
	}
}

// keepReplaced keeps which new containers are ours, by member and revision, before they are made:
// the daemon that comes after one that died goes on with them at once, and leaves those of
// others alone for a while. A plan that touches nobody forgets them.
func (h *held) keepReplaced(set string, o plan.Observed, p plan.Plan) {
	ours := map[string]int{}
	for _, st := range p.Steps {
		if st.Op == plan.Create && newest(o, st.Member) > 0 {
			ours[st.Member], _ = strconv.Atoi(st.Create.Config.Labels[label.Rev])
		}
	}
	for _, member := range p.Beside {
		ours[member] = max(ours[member], newest(o, member))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(p.Steps) > 0 {
		for member, rev := range h.ours[set] {
			ours[member] = max(ours[member], rev)
		}
	}
	if maps.Equal(h.ours[set], ours) {
		return
	}
	h.ours[set] = ours
	if len(ours) == 0 {
		delete(h.ours, set)
	}
	h.save()
}

// replaces says whether a member is being replaced by us, and made is the revision of its
// new container then.
func (h *held) replaces(set, member string) bool { return h.made(set, member) > 0 }

func (h *held) made(set, member string) (rev int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ours[set][member]
}

// newest is the last revision of a member, 0 without one.
func newest(o plan.Observed, member string) (rev int) {
	for _, c := range o.Members {
		if c.Member == member {
			rev = max(rev, c.Rev)
		}
	}
	return rev
}

// How long two containers of a member are left alone that are not of ours: somebody from
// afar, who cannot lock, may be replacing one by the other.
const (
	whileOneServes = 5 * time.Minute
	whileNoneDoes  = 15 * time.Second
)

// replacements are the members that have two containers, and how long the set is still
// to be left alone for those of others. Ours are gone on with by what the set is to be: a
// daemon that has just started may not have read that yet.
func (s *Supervisor) replacements(set string, d declared, o plan.Observed) (members []string, wait time.Duration) {
	by := map[string][]plan.Container{}
	for _, c := range o.Members {
		by[c.Member] = append(by[c.Member], c)
	}
	for name, have := range by {
		if len(have) < 2 {
			continue
		}
		members = append(members, name)
		if d.set != nil && s.held.made(set, name) == newest(o, name) {
			continue
		}
		alone, last := whileNoneDoes, time.Time{}
		for _, c := range have {
			if c.State == plan.Running {
				alone = whileOneServes
			}
			for _, at := range []time.Time{c.Created, c.Started} {
				if at.After(last) {
					last = at
				}
			}
		}
		wait = max(wait, alone-time.Since(last))
	}
	return members, wait
}

// giveUp keeps that new containers did not get ready, so that the plans to come have the
// old ones serve.
func (s *Supervisor) giveUp(ctx context.Context, m *setmgr.Manager, name string, d declared, o plan.Observed, lost map[string]string) error {
	refused, errs := map[string]refusal{}, []error(nil)
	for _, member := range slices.Sorted(maps.Keys(lost)) {
		i := slices.IndexFunc(d.set.Containers, func(c spec.Container) bool { return c.Name == member })
		fresh := slices.IndexFunc(o.Members, func(c plan.Container) bool { return c.Member == member && c.Rev == newest(o, member) })
		if i < 0 || fresh < 0 {
			continue
		}
		c := o.Members[fresh]
		err := m.Told(ctx, fmt.Errorf("container %s: %s", c.Name, lost[member]), c.ID)
		r := refusal{Hash: spec.Hash(d.set.Containers[i]), Why: err.Error(), Until: time.Now().Add(mostDelay)}
		for _, x := range o.Members {
			if x.Member == member && x.ID != c.ID {
				r.Old = append(r.Old, x.ID)
			}
		}
		refused[member] = r
		errs = append(errs, err)
	}
	s.held.refuse(name, refused)
	return errors.Join(append(errs, fault.Conflict("the old container serves again"))...)
}

// refusedNow says what is not tried of a set, and why, "" when all is.
func refusedNow(refused map[string]refusal) (detail string, until time.Time) {
	var text []string
	for _, member := range slices.Sorted(maps.Keys(refused)) {
		r := refused[member]
		text = append(text, r.Why)
		if until.IsZero() || r.Until.Before(until) {
			until = r.Until
		}
	}
	if len(text) == 0 {
		return "", until
	}
	return strings.Join(text, "; ") + "; the old container serves, and the new one is tried again at " + until.UTC().Format(time.TimeOnly), until
}

// members are the names of what is refused, as a plan takes them.
func members(refused map[string]refusal) map[string]bool {
	out := map[string]bool{}
	for m := range refused {
		out[m] = true
	}
	return out
}
