package control_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/link"
	"github.com/mosdocker/mosdocker/scheduler/state"
)

// troubled has a host be in trouble, or not any more, and waits until the leader has heard it.
func (r *rig) troubled(host, why string) {
	r.t.Helper()
	r.hosts[host].Troubled(why)
	testx.Eventually(r.t, patience, func() error {
		h, err := r.controllers[0].Host(r.t.Context(), host)
		must(r.t, err)
		if is := h.Status; (is.Trouble == "") != (why == "") || is.TroubleSince.IsZero() != (why == "") {
			return fmt.Errorf("host %s is in trouble %q since %s", host, is.Trouble, is.TroubleSince)
		}
		return nil
	})
}

// unwritten sees that nothing is written for a while.
func (r *rig) unwritten(during func(beat int)) {
	r.t.Helper()
	revision := func() int64 {
		l, err := state.All[api.Service](r.t.Context(), r.store, state.Page{})
		must(r.t, err)
		return l.Revision
	}
	before, was := revision(), r.all()
	for beat := range 10 {
		during(beat)
		<-time.After(heartbeat)
	}
	if now := revision(); now != before {
		r.t.Errorf("%d changes, of %s to %s", now-before, was, r.all())
	}
}

// TestAnUpdateSaysForWhichHostItWaits: as its operation, as the service and once as an event; and
// what the host says of its trouble is written when that begins, not in all its words.
func TestAnUpdateSaysForWhichHostItWaits(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.lead("c1")
	s := service("web", 4)
	s.Spec.Placement.Strategy, s.Spec.Update.MaxUnavailable = api.Even, 4
	r.create(s)
	r.ready("web")
	r.troubled("h2", "the Engine is absent")
	r.edit("web", func(s *api.Service) { image(s, "shop/app:2") })
	const waits = "host h2 can start, change and stop no sets since 20"
	r.operation(api.Rollout, "web", func(o *api.Operation) bool {
		return o.Status.Done == 2 && strings.Contains(o.Status.Message, waits) && strings.HasSuffix(o.Status.Message, "Z: the Engine is absent")
	})
	r.unwritten(func(beat int) { r.hosts["h2"].Troubled(fmt.Sprintf("the Engine gave no answer within %ds", beat)) })
	got, err := state.Get[api.Service](t.Context(), r.store, "web")
	must(t, err)
	if ok, why := got.AsWished(); ok || !strings.HasPrefix(why, "2 of 4 sets are updated: "+waits) {
		t.Errorf("the service is as wished: %v, %s", ok, why)
	}
	events, err := state.All[api.Event](t.Context(), r.store, state.Page{})
	must(t, err)
	n := 0
	for _, e := range events.Items {
		if e.Spec.What == "waits" && strings.Contains(e.Spec.Text, waits) {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d events tell it", n)
	}
	r.troubled("h2", "")
	if o := r.ended(api.Rollout, "web"); o.Status.Outcome != api.Succeeded {
		t.Errorf("the rollout is %+v", o.Status)
	}
	if got := r.ready("web"); got.Status.Reason != "" {
		t.Errorf("the service waits still: %s", got.Status.Reason)
	}
}

// TestWhoWaitsForALostHostSaysSo where its sets are kept, also when it was in trouble before.
func TestWhoWaitsForALostHostSaysSo(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.config.EngineAway = 10 * heartbeat
	r.lead("c1")
	s := service("web", 4)
	s.Spec.Placement.Strategy, s.Spec.OnHostLost, s.Spec.Update.MaxUnavailable = api.Even, api.Keep, 4
	r.create(s)
	r.ready("web")
	r.troubled("h2", "the Engine is absent")
	r.edit("web", func(s *api.Service) { image(s, "shop/app:2") })
	for _, waits := range []string{"host h2 can start, change and stop no sets since 20", "host h2 is lost since 20"} {
		r.happened("waits", waits)
		r.operation(api.Rollout, "web", func(o *api.Operation) bool {
			return o.Status.Done == 2 && strings.HasPrefix(o.Status.Message, waits)
		})
	}
	r.unwritten(func(int) {})
	r.editHost("h2", func(h *api.Host) { h.Spec.Availability = api.Draining })
	r.operation(api.Drain, "h2", func(o *api.Operation) bool { return strings.HasPrefix(o.Status.Message, "host h2 is lost since 20") })
	r.editHost("h2", func(h *api.Host) { h.Spec.Availability = "" })
	r.hosts["h2"].Troubled("")
	if o := r.ended(api.Rollout, "web"); o.Status.Outcome != api.Succeeded {
		t.Errorf("the rollout is %+v", o.Status)
	}
	r.ready("web")
	r.settled()
}

// TestARolloutTellsOfOneSetThatFails: always of the same one, since each change of words is written.
func TestARolloutTellsOfOneSetThatFails(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	h := r.prepared("h1")
	h.ReadyAfter = func(a link.Assigned) time.Duration {
		if a.Set.Containers[0].Image == "shop/app:bad" {
			return -1
		}
		return 0
	}
	r.add(h)
	r.lead("c1")
	s := service("web", 4)
	s.Spec.Update = api.Update{MaxUnavailable: 4, KeepFailed: true}
	r.create(s)
	r.ready("web")
	r.edit("web", func(s *api.Service) { image(s, "shop/app:bad") })
	r.happened("waits", "nor do 3 more")
	r.operation(api.Rollout, "web", func(o *api.Operation) bool { return o.Status.Message == "web-1: it exits" })
	r.unwritten(func(int) {})
}

// TestADrainSaysWhatItWaitsFor: which set has nowhere to go, and that the host can stop none: those
// serve there until it can.
func TestADrainSaysWhatItWaitsFor(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.lead("c1")
	s := service("web", 4)
	s.Spec.Placement.Strategy = api.Even
	r.create(s)
	r.ready("web")
	r.editHost("h2", func(h *api.Host) { h.Spec.Availability = api.Cordoned })
	r.editHost("h1", func(h *api.Host) { h.Spec.Availability = api.Draining })
	says := func(text string) {
		t.Helper()
		r.operation(api.Drain, "h1", func(o *api.Operation) bool {
			return o.Status.Outcome == "" && o.Status.Done == 0 && strings.Contains(o.Status.Message, text)
		})
		r.unwritten(func(int) {})
	}
	says(" has nowhere to go: 0 of 2 hosts fit: state rejects 2 (as h1: the host is draining) (nor have 1 more)")
	r.troubled("h1", "the Engine is absent")
	says("host h1 can start, change and stop no sets since 20")
	r.editHost("h2", func(h *api.Host) { h.Spec.Availability = "" })
	testx.Eventually(t, patience, func() error {
		h, err := r.controllers[0].Host(t.Context(), "h2")
		if err == nil && h.Spec.Availability != "" {
			err = fmt.Errorf("h2 is %s", h.Spec.Availability)
		}
		return err
	})
	<-time.After(5 * heartbeat)
	says("host h1 can start, change and stop no sets since 20")
	if got := r.ready("web"); got.Status.Reason != "" || r.spread()["h1"] != 2 {
		t.Errorf("the service waits: %s; its sets are on %v", got.Status.Reason, r.spread())
	}
	r.troubled("h1", "")
	if o := r.ended(api.Drain, "h1"); o.Status.Outcome != api.Succeeded || o.Status.Done != 2 {
		t.Errorf("the drain is %+v", o.Status)
	}
	r.ready("web")
	r.settled()
}

// TestNoSetIsMovedOffAHostInTrouble, nor to one, by a plan that is made then or was made before.
func TestNoSetIsMovedOffAHostInTrouble(t *testing.T) {
	t.Parallel()
	web := service("web", 6)
	r := uneven(t, func(*rig) {}, web)
	o := r.plan(&api.Operation{Meta: api.Meta{Name: "rebalance.1"}})
	if !slices.ContainsFunc(o.Status.Moves, func(m api.Move) bool { return m.To == "h3" }) {
		t.Fatalf("the plan is %+v", o.Status.Moves)
	}
	r.troubled("h3", "the Engine is absent")
	for _, m := range r.plan(&api.Operation{}).Status.Moves {
		if m.To != "h2" {
			t.Errorf("a move is %+v", m)
		}
	}
	r.troubled("h1", "the Engine is absent")
	if again := r.plan(&api.Operation{}); len(again.Status.Moves) > 0 {
		t.Errorf("sets leave a host that cannot stop them: %+v", again.Status.Moves)
	}
	must(t, r.store.Create(t.Context(), o))
	if done := r.ended(api.Rebalance, "*"); done.Status.Outcome != api.Succeeded || done.Status.Done != 0 {
		t.Errorf("it is %+v", done.Status)
	}
	if on := r.spread(); on["h1"] != 6 {
		t.Errorf("sets are on %v", on)
	}
}

// TestNoSetYieldsOnAHostInTrouble: it could not be stopped there.
func TestNoSetYieldsOnAHostInTrouble(t *testing.T) {
	t.Parallel()
	r, _ := newFull(t, func(*rig, *api.Service) {})
	r.troubled("h1", "the Engine is absent")
	r.create(urgent(3))
	r.ready("urgent")
	r.waits("batch", 10)
	r.troubled("h2", "the Engine hangs")
	r.edit("urgent", func(s *api.Service) { s.Spec.Replicas = 4 })
	if why := r.waits("urgent", 3); !strings.Contains(why, "state rejects 2") {
		t.Errorf("it waits: %s", why)
	}
	if on := r.spread(); on["h1"] != 8 || on["h2"] != 5 {
		t.Errorf("sets are on %v", on)
	}
}
