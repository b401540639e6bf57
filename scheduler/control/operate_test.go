package control_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/link"
	"github.com/mosdocker/mosdocker/scheduler/state"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// ended waits for the end of the operation with this verb on this.
func (r *rig) ended(verb, on string) *api.Operation {
	r.t.Helper()
	return r.operation(verb, on, func(o *api.Operation) bool { return o.Status.Outcome != "" })
}

func (r *rig) operation(verb, on string, is func(*api.Operation) bool) *api.Operation {
	r.t.Helper()
	var found *api.Operation
	testx.Eventually(r.t, patience, func() error {
		l, err := state.All[api.Operation](r.t.Context(), r.store, state.Page{})
		must(r.t, err)
		var seen []string
		for _, o := range l.Items {
			if o.Spec.Verb == verb && o.Spec.On.Name == on {
				seen = append(seen, fmt.Sprintf("%s %+v", o.Name, o.Status))
				if is(o) {
					found = o
					return nil
				}
			}
		}
		return fmt.Errorf("not among %v", seen)
	})
	return found
}

func (r *rig) cancel(name string) {
	r.t.Helper()
	_, err := state.Edit(r.t.Context(), r.store, name, func(o *api.Operation) error { o.Spec.Cancel = true; return nil })
	must(r.t, err)
}

// plan makes a rebalance as the API does.
func (r *rig) plan(o *api.Operation) *api.Operation {
	r.t.Helper()
	o.Spec.Verb = api.Rebalance
	if o.Spec.On.Name == "" {
		o.Spec.On = api.Reference{Kind: api.Services, Name: "*"}
	}
	must(r.t, r.controllers[0].Plan(r.t.Context(), o))
	return o
}

// TestDrainsAndRolloutsAreOperations: leaders make them of what is changed, and tell how far
// they are.
func TestDrainsAndRolloutsAreOperations(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.config.History, r.config.Events = 4*time.Second, 2*time.Second // by which it is seen how often is swept
	r.lead("c1")
	s := service("web", 4)
	s.Spec.Placement.Strategy = api.Even
	r.create(s)
	r.ready("web")
	r.edit("web", func(s *api.Service) { image(s, "shop/app:2") })
	if o := r.ended(api.Rollout, "web"); o.Status.Outcome != api.Succeeded || o.Status.Done != 4 || o.Status.Of != 4 {
		t.Errorf("the rollout is %+v", o.Status)
	}
	r.editHost("h1", func(h *api.Host) { h.Spec.Availability = api.Draining })
	if o := r.ended(api.Drain, "h1"); o.Status.Outcome != api.Succeeded || o.Status.Done != 2 || o.Status.Of != 2 {
		t.Errorf("the drain is %+v", o.Status)
	}
	r.gone(func() error { // after History
		l, err := state.All[api.Operation](t.Context(), r.store, state.Page{})
		must(t, err)
		if len(l.Items) == 0 {
			return fmt.Errorf("none")
		}
		return nil
	})
}

// TestAServiceThatIsMadeAnewHasOperationsOfItsOwn: one of the same name and generation, whose
// rollouts are not those of the one before.
func TestAServiceThatIsMadeAnewHasOperationsOfItsOwn(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.lead("c1")
	for time := 1; time <= 2; time++ {
		r.create(service("web", 2))
		r.ready("web")
		r.edit("web", func(s *api.Service) { image(s, "shop/app:2") })
		testx.Eventually(t, patience, func() error {
			l, err := state.All[api.Operation](t.Context(), r.store, state.Page{})
			must(t, err)
			done := 0
			for _, o := range l.Items {
				if o.Status.Outcome == api.Succeeded && strings.HasPrefix(o.Name, "rollout.web.2") {
					done++
				}
			}
			if done != time {
				return fmt.Errorf("%d rollouts of %d succeeded", done, time)
			}
			return nil
		})
		r.remove("web")
		r.gone(func() error { _, err := state.Get[api.Service](t.Context(), r.store, "web"); return err })
	}
}

// TestOperationsAreCanceled: a rollout goes back, a drain leaves what is there.
func TestOperationsAreCanceled(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	h := r.prepared("h1")
	h.ReadyAfter = func(a link.Assigned) time.Duration {
		if a.Set.Containers[0].Image == "shop/app:slow" {
			return time.Hour
		}
		return 0
	}
	r.add(h)
	r.lead("c1")
	s := service("web", 4)
	r.create(s)
	r.ready("web")
	r.edit("web", func(s *api.Service) { image(s, "shop/app:slow") })
	o := r.operation(api.Rollout, "web", func(o *api.Operation) bool { return o.Status.Phase == "updating" })
	r.cancel(o.Name)
	if o := r.ended(api.Rollout, "web"); o.Status.Outcome != api.Canceled || !strings.Contains(o.Status.Message, "taken back to generation 1") {
		t.Errorf("the rollout is %+v", o.Status)
	}
	testx.Eventually(t, patience, func() error {
		for _, s := range r.sets() {
			if s.Spec.Set.Containers[0].Image != "shop/app:1" || s.Status.Phase != api.Ready {
				return fmt.Errorf("%s is %+v", s.Name, s.Status)
			}
		}
		return nil
	})
	r.editHost("h1", func(h *api.Host) { h.Spec.Availability = api.Draining })
	o = r.operation(api.Drain, "h1", func(o *api.Operation) bool { return o.Status.Phase == "emptying" })
	if o.Status.Of != 4 || o.Status.Done != 0 {
		t.Errorf("with nowhere to go the drain is %+v", o.Status)
	}
	r.cancel(o.Name)
	r.ended(api.Drain, "h1")
	if h, err := state.Get[api.Host](t.Context(), r.store, "h1"); err != nil || h.Spec.Availability != api.Cordoned {
		t.Errorf("after it the host is %+v: %v", h, err)
	}
}

// uneven makes a cluster whose one host has all sets, since the others came later.
func uneven(t *testing.T, more func(*rig), services ...*api.Service) *rig {
	t.Helper()
	r := newRig(t, 1)
	more(r)
	r.lead("c1")
	for _, s := range services {
		s.Spec.Placement.Strategy = api.Even
		r.create(s)
		r.ready(s.Name)
	}
	for i := range 2 {
		h := r.prepared(fmt.Sprintf("h%d", i+2))
		h.ReadyAfter = func(a link.Assigned) time.Duration {
			if a.Set.Containers[0].Image == "shop/app:home" {
				return -1 // it works on h1 only
			}
			return 50 * time.Millisecond
		}
		r.add(h)
	}
	testx.Eventually(t, patience, func() error {
		for _, name := range []string{"h2", "h3"} {
			if h, err := r.controllers[0].Host(t.Context(), name); err != nil || h.Status.Health != api.Healthy {
				return errors.New(name + " is not healthy yet")
			}
		}
		return nil
	})
	return r
}

func (r *rig) spread() map[string]int {
	on := map[string]int{}
	for _, s := range r.sets() {
		on[s.Spec.Host]++
	}
	return on
}

// TestARebalanceDoesWhatItsPlanShows: moves are planned before, made as services can spare
// sets, and sets with a volume stay.
func TestARebalanceDoesWhatItsPlanShows(t *testing.T) {
	t.Parallel()
	web, db := service("web", 6), service("db", 1)
	web.Spec.Update.MaxUnavailable = 2
	web.Spec.Placement.Spread = []api.Spread{{Level: api.LevelHost, Weight: 10}}
	db.Spec.Set.Volume = &spec.Volume{Size: 1 << 30, Path: "/data"}
	r := uneven(t, func(*rig) {}, web, db)
	o := r.plan(&api.Operation{Meta: api.Meta{Name: "rebalance.1"}})
	if len(o.Status.Moves) != 4 || o.Status.Before.Score >= o.Status.After.Score || o.Status.Before.Hosts != 1 || o.Status.After.Hosts != 3 {
		t.Fatalf("the plan is %+v, before %+v, after %+v", o.Status.Moves, o.Status.Before, o.Status.After)
	}
	for _, m := range o.Status.Moves {
		if !strings.HasPrefix(m.Set, "web-") || m.From != "h1" || m.Gain < 1 {
			t.Errorf("a move is %+v", m)
		}
	}
	if on := r.spread(); on["h1"] != 7 {
		t.Errorf("a plan moved sets: %v", on)
	}
	least := 6
	stop := make(chan struct{})
	watched := make(chan int)
	go func() {
		for {
			select {
			case <-stop:
				watched <- least
				return
			case <-time.After(5 * time.Millisecond):
				ready := 0
				for _, h := range []string{"h1", "h2", "h3"} {
					r.mu.Lock()
					of := r.hosts[h]
					r.mu.Unlock()
					for name := range of.Running() {
						if strings.HasPrefix(name, "web-") {
							ready++
						}
					}
				}
				least = min(least, ready)
			}
		}
	}()
	must(t, r.store.Create(t.Context(), o))
	done := r.ended(api.Rebalance, "*")
	close(stop)
	if n := <-watched; n < 4 {
		t.Errorf("only %d of 6 sets ran, where 2 may be away", n)
	}
	if done.Status.Outcome != api.Succeeded || done.Status.Done != 4 {
		t.Errorf("it is %+v", done.Status)
	}
	if on := r.spread(); on["h1"] != 3 || on["h2"] != 2 || on["h3"] != 2 {
		t.Errorf("sets are on %v", on)
	}
	if again := r.plan(&api.Operation{}); len(again.Status.Moves) != 0 {
		t.Errorf("a second plan moves %+v", again.Status.Moves)
	}
	r.settled()
}

// TestARebalanceStops where a set does not get ready at its new place, and when it is told to.
func TestARebalanceStops(t *testing.T) {
	t.Parallel()
	home := service("home", 6)
	image(home, "shop/app:home")
	r := uneven(t, func(*rig) {}, home)
	o := r.plan(&api.Operation{Meta: api.Meta{Name: "rebalance.1"}, Spec: api.OperationSpec{AtOnce: 1}})
	if len(o.Status.Moves) < 2 {
		t.Fatalf("the plan is %+v", o.Status.Moves)
	}
	must(t, r.store.Create(t.Context(), o))
	done := r.ended(api.Rebalance, "*")
	if done.Status.Outcome != api.Broken || !strings.Contains(done.Status.Message, "does not get ready on host h") {
		t.Errorf("it is %+v", done.Status)
	}
	if on := r.spread(); on["h1"] != 5 {
		t.Errorf("more than one set was moved: %v", on)
	}
}

// TestARebalanceIsCanceled between two moves.
func TestARebalanceIsCanceled(t *testing.T) {
	t.Parallel()
	web := service("web", 6)
	r := uneven(t, func(r *rig) { r.hosts["h1"].StopAfter = 700 * time.Millisecond }, web)
	o := r.plan(&api.Operation{Meta: api.Meta{Name: "rebalance.1"}, Spec: api.OperationSpec{AtOnce: 1}})
	must(t, r.store.Create(t.Context(), o))
	r.operation(api.Rebalance, "*", func(o *api.Operation) bool { return o.Status.Moves[0].State == api.Moving })
	r.cancel(o.Name)
	if done := r.ended(api.Rebalance, "*"); done.Status.Outcome != api.Canceled {
		t.Errorf("it is %+v", done.Status)
	}
	r.ready("web")
	if on := r.spread(); on["h1"] != 5 {
		t.Errorf("after one move sets are on %v", on)
	}
}
