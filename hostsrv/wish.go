package hostsrv

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/setmgr"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// Wish is what a cluster wants of one set.
type Wish struct {
	Set *spec.Set // nil is that the set is to be gone
	UID string
	// Generation is handed back when the set is as Set says.
	Generation int64
}

// Told is how a set of a cluster does here.
type Told struct {
	UID        string
	Generation int64 // of the last Wish that the set was as, or fails to be
	State      string
	Detail     string
	// Ready says that all its containers serve, and Gone that nothing is left of it.
	Ready, Gone bool
}

// gateLimit is how long sets wait for those that are to be gone first.
const gateLimit = 30 * time.Second

// wishes are those of the cluster that the host is of. The supervisor's mu guards them.
type wishes struct {
	cluster string // its mark, "" on a host that is of none
	known   bool   // the cluster was heard, or what it said is on disk
	all     map[string]Wish
	told    map[string]Told
	// doomed are sets of the cluster that are here and not to be, since when it is tried
	// to remove them; once that was tried, or took too long, others may be started.
	doomed  map[string]time.Time
	changed chan struct{} // of capacity 1
}

func newWishes() wishes {
	return wishes{all: map[string]Wish{}, told: map[string]Told{}, doomed: map[string]time.Time{}, changed: make(chan struct{}, 1)}
}

func (w *wishes) mark(uid string) string { return w.cluster + "/" + uid }

// has is the UID of a set that a cluster has here, by label.Cluster.
func (w *wishes) has(mark string) (uid string, ours bool) {
	if w.cluster == "" {
		return "", false
	}
	return strings.CutPrefix(mark, w.cluster+"/")
}

// Cluster says, before Run, that the host is of a cluster: its sets here are left alone
// until the first [Supervisor.Wish].
func (s *Supervisor) Cluster(mark string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wishes.cluster = mark
}

// Wish takes all that a cluster wants here in place of what it wanted before. Sets that
// it has here and does not want are removed before any of its sets is made or changed;
// their volumes stay. Sets of others are never touched: a wish for one is not met.
func (s *Supervisor) Wish(ctx context.Context, cluster string, all map[string]Wish) {
	s.mu.Lock()
	w := &s.wishes
	w.cluster, w.known = cluster, true
	before := w.all
	w.all = all
	for name, wish := range all {
		was, had := before[name]
		if had && (was.UID != wish.UID || was.Generation != wish.Generation) {
			s.held.tryAgain(name)
		}
		if x := s.sets[name]; x != nil && (!had || was.UID != wish.UID || was.Generation != wish.Generation || (was.Set == nil) != (wish.Set == nil)) {
			x.Failures, x.hold, x.healed = 0, time.Time{}, time.Time{} // what failed may be mended
		}
		if t, had := w.told[name]; had && t.UID != wish.UID {
			delete(w.told, name)
		}
	}
	for name := range w.told {
		if _, there := all[name]; !there && w.told[name].Gone {
			delete(w.told, name)
		}
	}
	e := s.e
	s.mu.Unlock()
	if e == nil {
		return // all are looked at when it is there
	}
	s.findDoomed(ctx, e)
	s.mu.Lock()
	names := slices.Concat(slices.Collect(maps.Keys(all)), slices.Collect(maps.Keys(w.doomed)))
	s.mu.Unlock()
	for _, name := range names {
		s.mark(name, 0)
	}
}

// Told is how the cluster's sets do here: those that it wants, and those that are here.
func (s *Supervisor) Told() map[string]Told {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.wishes.told)
}

// Trouble is why sets can be neither started nor changed right now, "" if they can.
func (s *Supervisor) Trouble() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.isKnown():
		return "the Engine gave no answer yet since mosd was started"
	case s.engine.State == api.Absent || s.engine.State == api.Hung:
		return s.engine.Error
	}
	return ""
}

// Known is closed when it is known whether there is [Supervisor.Trouble].
func (s *Supervisor) Known() <-chan struct{} { return s.known }

// Changed gives a value after a set of the cluster, or the Engine, does otherwise than before.
func (s *Supervisor) Changed() <-chan struct{} { return s.wishes.changed }

// findDoomed looks for sets of the cluster that it does not want here.
func (s *Supervisor) findDoomed(ctx context.Context, e Engine) {
	marks, err := e.Clustered(ctx)
	if err != nil {
		s.log.WarnContext(ctx, "cannot list the sets of the cluster", "err", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &s.wishes
	if !w.known {
		return
	}
	for name, mark := range marks {
		uid, ours := w.has(mark)
		if _, tried := w.doomed[name]; ours && !tried && w.unwanted(name, uid) {
			w.doomed[name] = time.Now()
		}
	}
	for name := range w.doomed { // it may be wanted again
		uid, ours := w.has(marks[name])
		if !ours || !w.unwanted(name, uid) {
			delete(w.doomed, name)
		}
	}
}

// unwanted says whether a set that the cluster has here is to be gone. The caller holds mu.
func (w *wishes) unwanted(name, uid string) bool {
	wish, there := w.all[name]
	return !there || wish.Set == nil || wish.UID != uid
}

// gated says whether sets that are to be gone keep others from being started.
func (s *Supervisor) gated() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, since := range s.wishes.doomed {
		if !since.IsZero() && time.Since(since) < gateLimit {
			return true
		}
	}
	return false
}

// tried opens the gate for a set that is to be gone; if it is, for good.
func (s *Supervisor) tried(name string, gone bool) {
	s.mu.Lock()
	if gone {
		delete(s.wishes.doomed, name)
	} else {
		s.wishes.doomed[name] = time.Time{}
	}
	s.mu.Unlock()
}

// about says whether a cluster has to do with a set. The caller holds mu.
func (w *wishes) about(name string) bool {
	_, wanted := w.all[name]
	_, doomed := w.doomed[name]
	return wanted || doomed
}

// tell keeps how a set of the cluster does. The caller holds mu.
func (w *wishes) tell(name string, t Told) {
	was, had := w.told[name]
	if t.Generation == 0 && was.UID == t.UID {
		t.Generation = was.Generation
	}
	w.told[name] = t
	if !had || was != t {
		w.news()
	}
}

func (w *wishes) news() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// tellState tells of a set that a cluster wants, when its state is known. The caller
// holds mu.
func (w *wishes) tellState(name string, x *set) {
	if x.wish.mark == "" {
		return
	}
	t := Told{UID: x.wish.wish.UID, State: x.State, Detail: x.Detail, Ready: x.ready && x.State == api.Right}
	switch x.State {
	case api.Right, api.Held, api.Waiting: // there was nothing to do
		t.Generation = x.wish.wish.Generation
	case api.Failing:
		if !x.away { // it is what is wished that fails
			t.Generation = x.wish.wish.Generation
		}
	case api.Healing:
		if was := w.told[name]; x.Failures > 0 && was.State == api.Failing && was.UID == t.UID && was.Generation == x.wish.wish.Generation {
			return // what it failed by stands until another try went well
		}
	}
	w.tell(name, t)
}

func (s *Supervisor) tell(name string, t Told) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wishes.tell(name, t)
}

// wished is what becomes of a set that is looked at, as far as a cluster has to do with it:
// d is what it is made of, if the cluster wants it, and over says that there is nothing
// more to do.
func (s *Supervisor) wished(ctx context.Context, m *setmgr.Manager, name string, o plan.Observed, d declared) (_ declared, over bool) {
	s.mu.Lock()
	w := &s.wishes
	wish, wanted := w.all[name]
	known, here := w.known, o.Infra != nil || len(o.Members) > 0
	uid, ours := w.has(o.Cluster())
	doomed := ours && known && w.unwanted(name, uid)
	s.mu.Unlock()
	switch {
	case ours && !known:
		s.state(name, api.Waiting, "the cluster that has it here was not asked yet")
		return d, true
	case doomed:
		s.removeUnwanted(ctx, m, name, uid)
		return d, true
	case !wanted:
		return d, false
	case wish.Set == nil:
		if !here || !ours {
			s.tell(name, Told{UID: wish.UID, State: api.Stopped, Gone: true})
		}
		return d, false
	case here && !ours, d.set != nil:
		s.tell(name, Told{UID: wish.UID, Generation: wish.Generation, State: api.Failing, Detail: "a set of that name is on the host, and is not of the cluster: docker set rm -f " + name + " there removes it"})
		return d, false
	case s.gated():
		s.later(name, settle)
		return d, true
	}
	return declared{set: wish.Set, mark: w.mark(wish.UID), wish: wish}, false
}

// removeUnwanted removes a set that the cluster does not want here.
func (s *Supervisor) removeUnwanted(ctx context.Context, m *setmgr.Manager, name, uid string) {
	s.state(name, api.Removing, "")
	s.tell(name, Told{UID: uid, State: api.Removing})
	s.held.mend(name, true) // whoever is stopped is by us
	p, err := m.Plan(ctx, name, nil, m.Remove(name, true, false))
	if err == nil {
		err = run(ctx, m, p)
	}
	if err != nil {
		s.tried(name, false)
		s.failed(ctx, name, fmt.Errorf("remove, as the cluster wants: %w", err))
		s.tell(name, Told{UID: uid, State: api.Failing, Detail: "it cannot be removed: " + err.Error()})
		return
	}
	s.note(ctx, "cluster", name, "", "removed, as the cluster wants")
	s.tell(name, Told{UID: uid, State: api.Stopped, Gone: true})
	s.tried(name, true)
	s.forget(name)
	s.mu.Lock()
	wish, wanted := s.wishes.all[name]
	waiting := slices.Collect(maps.Keys(s.wishes.all))
	if !wanted {
		delete(s.wishes.told, name)
	}
	s.mu.Unlock()
	if wanted && wish.Set != nil {
		s.mark(name, 0)
	}
	if !s.gated() {
		for _, other := range waiting {
			s.mark(other, 0)
		}
	}
}

// unreadyAgain is how soon a set that is not ready yet is looked at again.
const unreadyAgain = 500 * time.Millisecond

// whetherReady looks whether a cluster's set, in which there is nothing to heal, serves,
// and returns what is to be said of it.
func (s *Supervisor) whetherReady(ctx context.Context, m *setmgr.Manager, name string, o plan.Observed, detail string) string {
	s.mu.Lock()
	wish := s.of(name).wish
	s.mu.Unlock()
	if wish.mark == "" {
		return detail
	}
	not := s.allReady(ctx, m, wish.set, o)
	s.mu.Lock()
	s.of(name).ready = not == ""
	s.mu.Unlock()
	if not == "" || detail != "" {
		return detail
	}
	s.later(name, unreadyAgain)
	return not
}

// allReady says whether all containers of a set serve, asking those with a probe once.
func (s *Supervisor) allReady(ctx context.Context, m *setmgr.Manager, set *spec.Set, o plan.Observed) (not string) {
	for _, c := range set.Containers {
		i := slices.IndexFunc(o.Members, func(x plan.Container) bool { return x.Member == c.Name && x.Serves() })
		switch {
		case i < 0:
			return c.Name + " does not serve"
		case c.Options.Ready == nil || o.Members[i].State != plan.Running:
		case !s.isReady(ctx, m, o, c.Name):
			return c.Name + " is not ready"
		}
	}
	return ""
}
