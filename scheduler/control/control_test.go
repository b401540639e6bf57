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
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// TestLifeOfAService is all that becomes of one: it runs on several hosts, grows, shrinks,
// is updated and goes, and nothing is left of it.
func TestLifeOfAService(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3)
	r.lead("c1")
	s := service("web", 3)
	s.Spec.Set.Volume = &spec.Volume{Size: 1 << 30, Path: "/data"}
	s.Spec.Placement.Spread = []api.Spread{{Level: api.LevelHost, MaxSkew: 1}}
	r.create(s)
	got := r.ready("web")
	if got.Status.Stable == nil || got.Status.Stable.Generation != 1 {
		t.Errorf("what is ready is not stable: %+v", got.Status)
	}
	r.settled()
	hosts := map[string]int{}
	for _, s := range r.sets() {
		hosts[s.Spec.Host]++
	}
	if len(hosts) != 3 {
		t.Errorf("3 sets with a skew of 1 are on %v", hosts)
	}
	r.happened("placed", "web-1 on h")

	r.edit("web", func(s *api.Service) { s.Spec.Replicas = 6 })
	r.ready("web")
	r.edit("web", func(s *api.Service) { s.Spec.Replicas = 3 })
	r.ready("web")
	r.settled()
	hosts = map[string]int{}
	for _, s := range r.sets() {
		hosts[s.Spec.Host]++
	}
	if len(hosts) != 3 {
		t.Errorf("after 6, 3 sets with a skew of 1 are on %v", hosts)
	}

	r.edit("web", func(s *api.Service) { image(s, "shop/app:2") })
	got = r.ready("web")
	for _, s := range r.sets() {
		if s.Spec.Set.Containers[0].Image != "shop/app:2" || s.Spec.ServiceGeneration != got.Generation {
			t.Errorf("%s is not updated: %+v", s.Name, s.Spec)
		}
	}
	if v := got.Status.Previous; v == nil || v.Set.Containers[0].Image != "shop/app:1" {
		t.Errorf("the template before is %+v", v)
	}

	r.remove("web")
	r.settled()
	if n, c := len(r.sets()), r.claims(); n > 0 || len(c) > 0 {
		t.Errorf("%d sets and %d claims are left, such as %+v", n, len(c), c)
	}
}

// TestAFailedUpdateGoesBack shows the health gate, and that what does not get ready is taken
// back by itself.
func TestAFailedUpdateGoesBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	for i := range 3 {
		h := r.prepared(fmt.Sprintf("h%d", i+1))
		h.ReadyAfter = func(a link.Assigned) time.Duration {
			if a.Set.Containers[0].Image == "shop/app:bad" {
				return -1
			}
			return 0
		}
		r.add(h)
	}
	r.lead("c1")
	s := service("web", 6)
	s.Spec.Update.MaxUnavailable = 2
	r.create(s)
	r.ready("web")
	r.edit("web", func(s *api.Service) { image(s, "shop/app:bad") })
	bad := func() (n int) {
		for _, s := range r.sets() {
			if s.Spec.Set.Containers[0].Image == "shop/app:bad" {
				n++
			}
		}
		return n
	}
	testx.Eventually(t, patience, func() error {
		if n := bad(); n != 2 {
			return fmt.Errorf("%d sets were updated", n)
		}
		return nil
	})
	r.happened("rolled-back", "it exits")
	testx.Eventually(t, patience, func() error {
		got, err := state.Get[api.Service](t.Context(), r.store, "web")
		must(t, err)
		if is := got.Status; bad() != 0 || is.Ready != 6 || is.Failed == "" || is.Updated != 0 {
			return fmt.Errorf("%d bad sets, status %+v", bad(), got.Status)
		}
		return nil
	})
	r.edit("web", func(s *api.Service) { image(s, "shop/app:3") })
	if got := r.ready("web"); got.Status.Failed != "" {
		t.Errorf("a good template after a bad one: %+v", got.Status)
	}
	r.settled()
}

// TestAHostInTroubleFailsNoUpdate: what its Engine cannot do is not the template's fault, and it
// is given no sets meanwhile.
func TestAHostInTroubleFailsNoUpdate(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	h := r.prepared("h2")
	h.ReadyAfter = func(link.Assigned) time.Duration { return heartbeat }
	r.add(h)
	r.lead("c1")
	s := service("web", 4)
	s.Spec.Placement.Strategy, s.Spec.Update.MaxUnavailable = api.Even, 4
	r.create(s)
	r.ready("web")
	of := func(host string, phase api.Phase, n int) {
		t.Helper()
		testx.Eventually(t, patience, func() error {
			have := 0
			for _, s := range r.sets() {
				if s.Spec.Host == host && s.Spec.Set.Containers[0].Image == "shop/app:2" && (phase == "" || s.Status.Phase == phase) {
					have++
				}
			}
			if have != n {
				return fmt.Errorf("%d sets of %s are %q", have, host, phase)
			}
			return nil
		})
	}
	r.edit("web", func(s *api.Service) { image(s, "shop/app:2") })
	of("h2", "", 2)
	h.Troubled("the Engine is absent")
	of("h2", api.Failed, 2)
	r.edit("web", func(s *api.Service) { s.Spec.Replicas = 6 })
	of("h1", api.Ready, 4)
	r.operation(api.Rollout, "web", func(o *api.Operation) bool {
		return strings.HasPrefix(o.Status.Message, "host h2 can start, change and stop no sets")
	})
	time.Sleep(10 * heartbeat) // twice what a template's failure takes to be one
	h.Troubled("")
	if got := r.ready("web"); got.Status.Failed != "" || got.Status.Updated != 6 {
		t.Errorf("the update was taken back: %+v", got.Status)
	}
	r.settled()
}

// TestSetsOfAHostWhoseEngineStaysAway go elsewhere; what they were is off that host before
// anything of it counts again.
func TestSetsOfAHostWhoseEngineStaysAway(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.config.EngineAway = 10 * heartbeat
	h := r.host("h3")
	r.lead("c1")
	s := service("web", 6)
	s.Spec.Placement.Strategy = api.Even
	r.create(s)
	r.ready("web")
	on := func(host string) (n int) {
		for _, s := range r.sets() {
			if s.Spec.Host == host {
				n++
			}
		}
		return n
	}
	if on("h3") != 2 {
		t.Fatalf("%d sets are on h3", on("h3"))
	}
	h.Troubled("the Engine is absent")
	time.Sleep(5 * heartbeat)
	if on("h3") != 2 {
		t.Errorf("%d sets are on h3 before its time is over", on("h3"))
	}
	testx.Eventually(t, patience, func() error {
		if n := on("h3"); n != 0 {
			return fmt.Errorf("%d sets are on h3 still", n)
		}
		return nil
	})
	r.ready("web")
	if e := r.happened("lost", "in trouble: the Engine is absent"); e.Spec.On.Name != "h3" {
		t.Errorf("the event of its loss: %+v", e)
	}
	h.Troubled("")
	r.happened("healthy", "after it was lost")
	r.settled()
}

// TestUpdatesStopWhereTheyAreTold shows partition and pause.
func TestUpdatesStopWhereTheyAreTold(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.lead("c1")
	s := service("web", 5)
	s.Spec.Update = api.Update{Partition: 3}
	r.create(s)
	r.ready("web")
	updated := func(want string) {
		t.Helper()
		testx.Eventually(t, patience, func() error {
			got, err := state.Get[api.Service](t.Context(), r.store, "web")
			must(t, err)
			var names []string
			for _, s := range r.sets() {
				if s.Spec.Set.Containers[0].Image != "shop/app:1" {
					names = append(names, s.Name)
				}
			}
			if is := strings.Join(names, " "); is != want || got.Status.Ready != got.Spec.Replicas {
				return fmt.Errorf("updated are %q, want %q; status %+v", is, want, got.Status)
			}
			return nil
		})
	}
	r.edit("web", func(s *api.Service) { image(s, "shop/app:2") })
	updated("web-4 web-5")
	r.edit("web", func(s *api.Service) { s.Spec.Update.Paused, s.Spec.Update.Partition = true, 0 })
	r.edit("web", func(s *api.Service) { s.Spec.Replicas = 6 })
	updated("web-4 web-5") // the new one is as it was, too
	r.edit("web", func(s *api.Service) { s.Spec.Update.Paused = false })
	updated("web-1 web-2 web-3 web-4 web-5 web-6")
	r.ready("web")
	r.settled()
}

// TestANewLeaderDisturbsNothing shows the grace.
func TestANewLeaderDisturbsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3)
	stop := r.lead("c1")
	r.create(service("web", 9))
	r.ready("web")
	r.settled()
	before := r.sets()
	stop()
	r.edit("web", func(s *api.Service) { s.Spec.Replicas = 10 })
	time.Sleep(2 * r.config.Lease)
	r.lead("c2")
	r.ready("web")
	r.settled()
	for _, was := range before {
		is, err := state.Get[api.SetInstance](t.Context(), r.store, was.Name)
		must(t, err)
		if is.Spec.Host != was.Spec.Host || is.UID != was.UID || is.Status.Since != was.Status.Since {
			t.Errorf("%s was %+v, is %+v", was.Name, was, is)
		}
	}
}

// TestWhatDoesNotFitSaysWhy also shows that a set finds its host when there is room.
func TestWhatDoesNotFitSaysWhy(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.lead("c1")
	s := service("big", 2)
	s.Spec.Set.CPU = 5
	r.create(s)
	r.happened("waits", "5 needed, at most 3 free")
	testx.Eventually(t, patience, func() error {
		got, err := state.Get[api.Service](t.Context(), r.store, "big")
		must(t, err)
		if is := got.Status; is.Replicas != 2 || is.Placed != 1 || is.Ready != 1 || !strings.Contains(is.Reason, "0 of 1 hosts fit") {
			return fmt.Errorf("status %+v", is)
		}
		return nil
	})
	c := r.controllers[0]
	e, err := c.Explain(t.Context(), s, "h1", nil)
	must(t, err)
	if e.Fit != 0 || len(e.Filters) != 1 || e.Filters[0].Filter != "CPU" || e.Host == nil || len(e.Host.Reasons) != 1 {
		t.Errorf("explained as %+v", e)
	}
	small := service("small", 4)
	f, err := c.DryRun(t.Context(), small, nil)
	must(t, err)
	if len(f.Placed) != 3 || f.Unplaced != 1 || f.Why == nil || f.Why.Fit != 0 {
		t.Errorf("forecast %+v", f)
	}
	r.host("h2")
	r.ready("big")
	if f, err = c.DryRun(t.Context(), small, nil); err != nil || len(f.Placed) != 4 || f.Unplaced != 0 {
		t.Errorf("forecast %+v, %v", f, err)
	}
	r.settled()
}

// TestAnUpdateIsForetold shows the sets that a template would come to, the one whose host
// cannot hold it, and that nothing of it is done or kept.
func TestAnUpdateIsForetold(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.lead("c1")
	s := service("web", 3)
	s.Spec.Set.CPU = 2 // of 8
	r.create(s)
	r.ready("web")
	c := r.controllers[0]
	tell := func(change func(*api.Service)) string {
		t.Helper()
		s, err := state.Get[api.Service](t.Context(), r.store, "web")
		must(t, err)
		change(s)
		f, err := c.DryRun(t.Context(), s, nil)
		must(t, err)
		var b strings.Builder
		for _, u := range f.Updates {
			fmt.Fprintf(&b, "%s %s %q, ", u.Set, u.Host, u.Leaves)
		}
		return fmt.Sprint(b.String(), len(f.Placed), " more, ", f.Unplaced, " nowhere")
	}
	for range 2 {
		for _, row := range []struct {
			want   string
			change func(*api.Service)
		}{
			{`0 more, 0 nowhere`, func(*api.Service) {}},
			{`web-3 h1 "", web-2 h1 "", web-1 h1 "", 0 more, 0 nowhere`, func(s *api.Service) { image(s, "shop/app:2") }},
			{`web-3 h1 "", 0 more, 0 nowhere`, func(s *api.Service) { image(s, "shop/app:2"); s.Spec.Update.Partition = 2 }},
			{`web-3 h1 "", web-2 h1 "", web-1 h1 "3 needed, 2 of 8 free", 0 more, 0 nowhere`, func(s *api.Service) { s.Spec.Set.CPU = 3 }},
			{`web-3 h1 "", web-2 h1 "", web-1 h1 "", 0 more, 1 nowhere`, func(s *api.Service) { s.Spec.Set.CPU = 2.5; s.Spec.Replicas = 4 }},
			// Nothing of the one before is kept: there is room for one.
			{`1 more, 1 nowhere`, func(s *api.Service) { image(s, "shop/app:2"); s.Spec.Update.Paused = true; s.Spec.Replicas = 5 }},
		} {
			if got := tell(row.change); got != row.want {
				t.Errorf("got %s\nwant %s", got, row.want)
			}
		}
	}
	r.settled()
}

// TestEventsExpire shows that old events go.
func TestEventsExpire(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.config.Events = 2 * time.Second
	r.lead("c1")
	r.create(service("web", 1))
	r.ready("web")
	testx.Eventually(t, patience, func() error {
		l, err := state.All[api.Event](t.Context(), r.store, state.Page{})
		must(t, err)
		if len(l.Items) > 0 {
			return fmt.Errorf("%d events are left", len(l.Items))
		}
		return nil
	})
}

// TestWhoHoldsWhatATenantLacks: a tenant is told of sets of its own, who looks after all of
// any.
func TestWhoHoldsWhatATenantLacks(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.lead("c1")
	holder := service("bank-x", 1)
	holder.Spec.Set.Ports = []string{"8080:80"}
	r.create(holder)
	r.ready("bank-x")
	asks := service("shop-web", 1)
	asks.Spec.Set.Ports = []string{"8080:80"}
	tell := func(set string) bool { return api.OwnerOf(set) == "shop" }
	for who, c := range map[string]struct {
		tell func(string) bool
		want string
	}{
		"a tenant":    {tell, "port 8080/tcp is held by another's set"},
		"an operator": {nil, "port 8080/tcp is held by set bank-x-1"},
	} {
		e, err := r.controllers[0].Explain(t.Context(), asks, "h1", c.tell)
		must(t, err)
		if len(e.Host.Reasons) != 1 || e.Host.Reasons[0].Text != c.want {
			t.Errorf("%s: %+v", who, e.Host.Reasons)
		}
	}

	// An update, too: its forecast, and the event that says why a set moves.
	mine := service("shop-web", 1)
	mine.Spec.Set.Network = spec.Network{Name: "prod"}
	r.create(mine)
	r.ready("shop-web")
	f, err := r.controllers[0].DryRun(t.Context(), asks, tell)
	must(t, err)
	if len(f.Updates) != 1 || f.Updates[0].Leaves != "port 8080/tcp is held by another's set" {
		t.Errorf("a forecast: %+v", f.Updates)
	}
	now, err := state.Get[api.Service](t.Context(), r.store, "shop-web")
	must(t, err)
	now.Spec.Set.Ports = []string{"8080:80"}
	now.Generation++
	must(t, r.store.Update(t.Context(), now))
	r.happened("leaves", "held by another's set")
}

// TestASetWithAVolumeComesAgainByItsName: one that goes is waited for, so that a service that is
// scaled down and up has the data of before, and no set of a further name with an empty volume.
func TestASetWithAVolumeComesAgainByItsName(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	for _, name := range []string{"h1", "h2"} {
		h := r.prepared(name)
		h.StopAfter = time.Second
		r.add(h)
	}
	r.lead("c1")
	s := service("db", 2)
	s.Spec.Set.Volume = &spec.Volume{Size: 1 << 30, Path: "/data"}
	s.Spec.Placement.Spread = []api.Spread{{Level: api.LevelHost, MaxSkew: 1}}
	r.create(s)
	r.ready("db")
	scale := func(to int) { r.edit("db", func(s *api.Service) { s.Spec.Replicas = to }) }
	going := func() (n int) {
		for _, s := range r.sets() {
			if !s.Deleted.IsZero() {
				n++
			}
		}
		return n
	}
	names := func(want ...string) {
		t.Helper()
		r.ready("db")
		r.settled()
		var got []string
		for _, s := range r.sets() {
			if s.Deleted.IsZero() {
				got = append(got, s.Name)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("the sets are %v, want %v", got, want)
		}
	}
	scale(0)
	testx.Eventually(t, patience, func() error {
		if n := going(); n != 2 {
			return fmt.Errorf("%d sets go", n)
		}
		return nil
	})
	scale(2)
	names("db-1", "db-2")
}
