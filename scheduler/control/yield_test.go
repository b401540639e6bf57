package control_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/link"
	"github.com/mosdocker/mosdocker/scheduler/state"
)

// load is a witness of how many cores are in use.
type load struct {
	mu    sync.Mutex // guards all below
	cores map[string]float64
	peak  float64
}

func (l *load) Starts(host string, a link.Assigned) { l.add(host, float64(a.Set.CPU)) }
func (l *load) Ends(host string, a link.Assigned)   { l.add(host, -float64(a.Set.CPU)) }

func (l *load) add(host string, cores float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cores[host] += cores
	l.peak = max(l.peak, l.cores[host])
}

// newFull makes a cluster of two hosts that batch fills, which yields if it is asked to.
func newFull(t *testing.T, set func(r *rig, batch *api.Service)) (*rig, *load) {
	t.Helper()
	r := newRig(t, 0)
	r.config.Yield = heartbeat
	l := &load{cores: map[string]float64{}}
	batch := service("batch", 16)
	batch.Spec.Placement.Preemptible = true
	batch.Spec.Update.MaxUnavailable = 16
	set(r, batch)
	for _, name := range []string{"h1", "h2"} {
		h := r.prepared(name)
		h.Witness, h.StopAfter = l, 50*time.Millisecond
		r.add(h)
	}
	r.lead("c1")
	r.create(batch)
	r.ready("batch")
	return r, l
}

// urgent is a service that takes the room of others.
func urgent(replicas int) *api.Service {
	s := service("urgent", replicas)
	s.Spec.Set.CPU = 2
	s.Spec.Placement.Priority, s.Spec.Placement.Preempts = 5, true
	return s
}

// waits looks for a time that a service stays without some of its sets, and says why.
func (r *rig) waits(name string, placed int) string {
	r.t.Helper()
	var got *api.Service
	look := func() (err error) {
		got, err = state.Get[api.Service](r.t.Context(), r.store, name)
		if err == nil && (got.Status.ObservedGeneration != got.Generation || got.Status.Placed != placed || got.Status.Reason == "") {
			err = fmt.Errorf("%s is %+v", name, got.Status)
		}
		return err
	}
	testx.Eventually(r.t, patience, look)
	for end := time.Now().Add(10 * heartbeat); time.Now().Before(end); <-time.After(heartbeat / 4) {
		must(r.t, look())
	}
	return got.Status.Reason
}

// TestSetsYieldToThoseOfAHigherPriority: room is made, told by events, never used twice, and
// given back.
func TestSetsYieldToThoseOfAHigherPriority(t *testing.T) {
	t.Parallel()
	r, l := newFull(t, func(*rig, *api.Service) {})
	r.create(urgent(3))
	r.ready("urgent")
	if why := r.waits("batch", 10); !strings.Contains(why, "CPU rejects 2") {
		t.Errorf("batch waits: %s", why)
	}
	if e := r.happened("yields", "of priority 5 needs room on host h"); e.Spec.On.Name != "batch" || !strings.Contains(e.Spec.Text, "batch-") {
		t.Errorf("the event is %+v", e.Spec)
	}
	if e := r.happened("preempts", "takes the room of batch-"); e.Spec.On.Name != "urgent" {
		t.Errorf("the event is %+v", e.Spec)
	}
	yielded := 0
	events, err := state.All[api.Event](t.Context(), r.store, state.Page{})
	must(t, err)
	for _, e := range events.Items {
		if e.Spec.What == "yields" {
			yielded += 1 + strings.Count(e.Spec.Text, ", ")
		}
	}
	if yielded != 6 {
		t.Errorf("%d sets yielded, where 6 cores were needed", yielded)
	}
	l.mu.Lock()
	if l.peak > 8 {
		t.Errorf("a host had %v of its 8 cores in use", l.peak)
	}
	l.mu.Unlock()

	r.remove("urgent")
	r.ready("batch")
	r.settled()
}

// TestWhoDoesNotYield: services below their minimum, those of an equal priority, those that do
// not say so, and all where it is turned off.
func TestWhoDoesNotYield(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		set    func(*rig, *api.Service)
		placed int // of the three that are urgent
	}{
		"minimum":   {func(_ *rig, b *api.Service) { b.Spec.Update.MaxUnavailable = 3 }, 1},
		"equal":     {func(_ *rig, b *api.Service) { b.Spec.Placement.Priority = 5 }, 0},
		"unwilling": {func(_ *rig, b *api.Service) { b.Spec.Placement.Preemptible = false }, 0},
		"off":       {func(r *rig, _ *api.Service) { r.config.NoPreemption = true }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, _ := newFull(t, c.set)
			r.create(urgent(3))
			r.waits("urgent", c.placed)
			got, err := state.Get[api.Service](t.Context(), r.store, "batch")
			must(t, err)
			if want := 16 - 2*c.placed; got.Status.Ready != want {
				t.Errorf("%d sets of batch are ready, want %d", got.Status.Ready, want)
			}
		})
	}
}

// TestALeaderThatComesInBetweenAsksNobodyMore: what is on its way counts.
func TestALeaderThatComesInBetweenAsksNobodyMore(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.config.Yield = heartbeat
	h := r.prepared("h1")
	h.StopAfter = 4 * time.Second // longer than it takes another to lead
	r.add(h)
	h = r.prepared("h2")
	h.StopAfter = 4 * time.Second
	r.add(h)
	stop := r.lead("c1")
	batch := service("batch", 16)
	batch.Spec.Placement.Preemptible = true
	batch.Spec.Update.MaxUnavailable = 16
	r.create(batch)
	r.ready("batch")
	r.create(urgent(1))
	r.happened("yields", "priority 5")
	r.lead("c2")
	stop()
	r.ready("urgent")
	r.waits("batch", 14)
}
