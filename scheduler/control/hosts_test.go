package control_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/link"
	"github.com/mosdocker/mosdocker/scheduler/state"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// TestHostsJoinByAnyController: one that does not lead makes them too, once each; the name of a
// lost one is given by the leader only.
func TestHostsJoinByAnyController(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.lead("c1")
	leader := r.controllers[0]
	testx.Eventually(t, patience, func() error {
		_, err := leader.Host(t.Context(), "h9")
		if errdefs.IsNotFound(err) && leader.Leads() {
			return nil
		}
		return err
	})
	r.lead("c2")
	other := r.controllers[1]
	testx.Eventually(t, patience, func() error { return other.Join(t.Context(), "h9", api.HostStatus{Machine: "m9"}) })
	if other.Leads() {
		t.Fatal("the second leads")
	}
	h, err := state.Get[api.Host](t.Context(), r.store, "h9")
	must(t, err)
	if h.Status.Machine != "m9" {
		t.Errorf("it is %+v", h)
	}
	must(t, other.Join(t.Context(), "h9", api.HostStatus{Machine: "m9"}))
	_, err = state.Edit(t.Context(), r.store, "h9", func(h *api.Host) error { h.Status.Health = api.Lost; return nil })
	must(t, err)
	if err := other.Join(t.Context(), "h9", api.HostStatus{Machine: "m10"}); !errdefs.IsUnavailable(err) {
		t.Errorf("the name of a lost host, of one that does not lead: %v", err)
	}
	must(t, leader.Join(t.Context(), "h9", api.HostStatus{Machine: "m10"}))
	_, err = state.Edit(t.Context(), r.store, "h9", func(h *api.Host) error { h.Status.Health = api.Healthy; return nil })
	must(t, err)
	for _, c := range r.controllers {
		if err := c.Join(t.Context(), "h9", api.HostStatus{Machine: "m11"}); !errdefs.IsAlreadyExists(err) {
			t.Errorf("the name of a live host: %v", err)
		}
	}
}

// TestAHostThatIsHeardKeepsItsName also where it is lost because its Engine does not answer; why it is
// lost is to be seen there, too.
func TestAHostThatIsHeardKeepsItsName(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.config.EngineAway = 5 * heartbeat
	h := r.host("h1")
	r.lead("c1")
	lost := func(why string) {
		t.Helper()
		testx.Eventually(t, patience, func() error {
			h, err := r.controllers[0].Host(t.Context(), "h1")
			if err == nil && (h.Status.Health != api.Lost || h.Status.Trouble != why) {
				err = fmt.Errorf("it is %s, in trouble %q", h.Status.Health, h.Status.Trouble)
			}
			return err
		})
	}
	testx.Eventually(t, patience, func() error {
		h, err := r.controllers[0].Host(t.Context(), "h1")
		if err == nil && h.Status.Health != api.Healthy {
			err = fmt.Errorf("it is %s", h.Status.Health)
		}
		return err
	})
	h.Troubled("the Engine is absent")
	lost("the Engine is absent")
	join := func() error { return r.controllers[0].Join(t.Context(), "h1", api.HostStatus{Machine: "another"}) }
	if err := join(); !errdefs.IsAlreadyExists(err) {
		t.Errorf("the name of a host that is heard: %v", err)
	}
	h.Silence(true)
	lost("")
	h.Troubled("the Engine hangs")
	h.Silence(false)
	lost("the Engine hangs")
	h.Silence(true)
	testx.Eventually(t, patience, join)
}

// TestSetsStayReadyOnAHostWithoutItsEngine where they wait for it: they run, and who asks for their
// service's name is to find them. Of a host that is silent nobody knows.
func TestSetsStayReadyOnAHostWithoutItsEngine(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.config.EngineAway = 5 * heartbeat
	h := r.host("h1")
	r.lead("c1")
	s := service("db", 1)
	s.Spec.Set.Volume = &spec.Volume{Size: 1 << 30, Path: "/data"}
	r.create(s)
	r.ready("db")
	h.Troubled("the Engine is absent")
	r.happened("lost", "in trouble: the Engine is absent")
	time.Sleep(3 * heartbeat)
	if s := r.sets()[0]; s.Status.Phase != api.Ready {
		t.Errorf("its set is %+v", s.Status)
	}
	h.Silence(true)
	testx.Eventually(t, patience, func() error {
		if s := r.sets()[0]; s.Status.Phase != "" {
			return fmt.Errorf("of a silent host, its set is %+v", s.Status)
		}
		return nil
	})
	h.Silence(false)
	h.Troubled("")
	r.ready("db")
}

// TestAHostThatIsToGoWaitsForItsEngine: it is heard, and nothing says that what it has is silent. One
// that is not heard is given up.
func TestAHostThatIsToGoWaitsForItsEngine(t *testing.T) {
	t.Parallel()
	r := newRig(t, 0)
	r.config.EngineAway = 4 * heartbeat
	r.speak = func(c link.Controller) link.Controller { return noStops{c} }
	h := r.host("h1")
	r.lead("c1")
	s := service("db", 1)
	s.Spec.Set.Volume = &spec.Volume{Size: 1 << 30, Path: "/data"}
	r.create(s)
	r.ready("db")
	r.host("h2")
	h.Troubled("the Engine is absent")
	time.Sleep(heartbeat)
	r.editHost("h1", func(h *api.Host) { h.Deleted = time.Now() })
	time.Sleep(10 * heartbeat)
	if s := r.sets()[0]; s.Spec.Host != "h1" {
		t.Errorf("its set is on %s", s.Spec.Host)
	}
	h.Silence(true)
	testx.Eventually(t, patience, func() error {
		if s := r.sets()[0]; s.Spec.Host != "h2" {
			return fmt.Errorf("its set is on %q", s.Spec.Host)
		}
		return nil
	})
}

// noStops has hosts in trouble end nothing.
type noStops struct{ link.Controller }

func (c noStops) Report(ctx context.Context, r link.Report) (link.Lease, error) {
	if r.Status.Trouble != "" {
		r.Sets = slices.DeleteFunc(r.Sets, func(s link.SetReport) bool { return s.Gone })
	}
	return c.Controller.Report(ctx, r)
}

// TestDrainedHostsGetEmpty shows that sets leave one at a time, never run on two hosts, and
// that those with a volume stay until the host is removed.
func TestDrainedHostsGetEmpty(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.lead("c1")
	r.create(service("web", 4))
	db := service("db", 1)
	db.Spec.Set.Volume = &spec.Volume{Size: 1 << 30, Path: "/data"}
	r.create(db)
	r.ready("web")
	r.ready("db")
	r.settled()
	home := r.sets()[0].Spec.Host
	r.editHost(home, func(h *api.Host) { h.Spec.Availability = api.Draining })
	on := func(names string) {
		t.Helper()
		testx.Eventually(t, patience, func() error {
			var left []string
			for _, s := range r.sets() {
				if s.Spec.Host == home || s.Spec.Leaving || s.Status.Phase != api.Ready {
					left = append(left, s.Name)
				}
			}
			if is := strings.Join(left, " "); is != names {
				return fmt.Errorf("on %s or not ready are %q, want %q", home, is, names)
			}
			return nil
		})
	}
	on("db-1")
	r.happened("waits", "its volume cannot move")
	r.editHost(home, func(h *api.Host) { h.Deleted = time.Now() })
	on("")
	r.gone(func() error {
		h, err := state.Get[api.Host](t.Context(), r.store, home)
		if err == nil && h.Deleted.IsZero() {
			return errors.New("it joined again")
		}
		return err
	})
	r.ready("web")
	r.ready("db")
	r.settled()
}

// TestLostHosts shows the policies.
func TestLostHosts(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3)
	r.lead("c1")
	web := service("web", 3)
	web.Spec.Placement.Spread = []api.Spread{{Level: api.LevelHost, MaxSkew: 1}}
	r.create(web)
	db := service("db", 3)
	db.Spec.Set.Volume = &spec.Volume{Size: 1 << 30, Path: "/data"}
	db.Spec.Placement.Spread = web.Spec.Placement.Spread
	r.create(db)
	vip := service("vip", 1)
	vip.Spec.Set.Network.IP, vip.Spec.OnHostLost = "10.9.0.21", api.ReplaceFenced
	r.create(vip)
	for _, name := range []string{"web", "db", "vip"} {
		r.ready(name)
	}
	r.settled()
	place := func(name string) string {
		s, err := state.Get[api.SetInstance](t.Context(), r.store, name)
		must(t, err)
		return s.Spec.Host
	}
	lost := place("vip-1")
	h := r.hosts[lost]
	r.edit("web", func(s *api.Service) { s.Spec.Placement.Spread = nil })
	began := time.Now()
	h.Kill()
	r.happened(string(api.Suspect), "")
	r.happened("replaced", lost)
	took := time.Since(began)
	t.Logf("replaced after %s with a lease of %s", took, r.config.Lease)
	r.ready("web")
	r.happened(string(api.Lost), "")
	for _, s := range r.sets() {
		switch moved := s.Spec.Host != lost; {
		case s.Spec.Service == "web" && !moved:
			t.Errorf("%s waits on the lost host", s.Name)
		case s.Spec.Service == "db" && !moved && (s.Status.Phase != "" || !strings.Contains(s.Status.Message, lost)):
			t.Errorf("%s is told to be %+v", s.Name, s.Status)
		}
	}
	if at := place("vip-1"); at != lost {
		t.Fatalf("the set with an address went to %s unfenced", at)
	}
	// A word that it is silent frees the address, not the volume.
	r.editHost(lost, func(h *api.Host) { h.Spec.Fenced = true })
	r.ready("vip")
	if at := place("vip-1"); at == lost {
		t.Fatal("the set with an address waits on a fenced host")
	}
	if c := r.claims(); len(c) != 4 {
		t.Errorf("the claims are %+v", c)
	}
	// It comes back with what it ran: its volume serves again, what was replaced ends.
	h.Boot()
	r.ready("db")
	r.settled()
	if got, err := state.Get[api.Host](t.Context(), r.store, lost); err != nil || got.Spec.Fenced || got.Status.Health != api.Healthy {
		t.Errorf("the host that came back is %+v, %v", got, err)
	}
}

// TestManyLostHostsAreNotReplaced shows the brake, and that it is released when hosts are back.
func TestManyLostHostsAreNotReplaced(t *testing.T) {
	t.Parallel()
	r := newRig(t, 8)
	r.lead("c1")
	s := service("web", 8)
	s.Spec.Placement.Spread = []api.Spread{{Level: api.LevelHost, Weight: 100}}
	r.create(s)
	r.ready("web")
	before := map[string]string{}
	for _, s := range r.sets() {
		before[s.Name] = s.Spec.Host
	}
	for i := range 4 {
		r.hosts[fmt.Sprintf("h%d", i+1)].Silence(true)
	}
	r.happened("brake", "")
	testx.Eventually(t, patience, func() error {
		got, err := state.Get[api.Service](t.Context(), r.store, "web")
		must(t, err)
		if got.Status.Ready != 4 || !strings.Contains(got.Status.Reason, "too many hosts") {
			return fmt.Errorf("status %+v", got.Status)
		}
		return nil
	})
	for _, s := range r.sets() {
		if s.Spec.Host != before[s.Name] {
			t.Errorf("%s went from %s to %s", s.Name, before[s.Name], s.Spec.Host)
		}
	}
	for i := range 4 {
		r.hosts[fmt.Sprintf("h%d", i+1)].Silence(false)
	}
	r.happened("brake-released", "")
	r.ready("web")
	r.settled()
}
