package control_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/control"
	"github.com/mosdocker/mosdocker/scheduler/link"
	"github.com/mosdocker/mosdocker/scheduler/simulate"
	"github.com/mosdocker/mosdocker/scheduler/state"
	"github.com/mosdocker/mosdocker/scheduler/state/embed"
	"github.com/mosdocker/mosdocker/scheduler/state/statetest"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

func TestMain(m *testing.M) { os.Exit(statetest.Main(m)) }

const heartbeat = 200 * time.Millisecond

// rig is a cluster on an embedded etcd.
type rig struct {
	t      *testing.T
	client func() *clientv3.Client
	store  *state.Store
	config control.Config
	speak  func(link.Controller) link.Controller // what is between hosts and a controller

	mu          sync.Mutex // guards all below
	controllers []*control.Controller
	hosts       map[string]*simulate.Host
	next        int
}

func newRig(t *testing.T, hosts int) *rig {
	t.Helper()
	server, err := embed.Start(t.Context(), embed.Config{Dir: t.TempDir(), Log: testx.Logger(t)})
	must(t, err)
	t.Cleanup(func() { _ = server.Close() })
	return newRigOn(t, server.Client, hosts)
}

// newRigOn makes one on an etcd that there is.
func newRigOn(t *testing.T, client func() *clientv3.Client, hosts int) *rig {
	t.Helper()
	r := &rig{t: t, client: client, hosts: map[string]*simulate.Host{}, speak: func(c link.Controller) link.Controller { return c }}
	r.config = control.Config{Log: testx.Logger(t), Heartbeat: heartbeat, Lease: 4 * heartbeat, Term: 2 * time.Second}
	r.store = r.open()
	for i := range hosts {
		r.host(fmt.Sprintf("h%d", i+1))
	}
	return r
}

func (r *rig) open() *state.Store {
	r.t.Helper()
	s, err := state.Open(r.t.Context(), r.client(), state.Options{Timeout: 4 * time.Second})
	must(r.t, err)
	r.t.Cleanup(s.Close)
	return s
}

// lead starts a controller, which ends with the test or by stop.
func (r *rig) lead(name string) (stop func()) {
	r.t.Helper()
	c := r.config
	c.Name = name
	of := control.New(r.open(), c)
	ctx, cancel := context.WithCancel(r.t.Context())
	var wait sync.WaitGroup
	wait.Go(func() {
		if err := of.Run(ctx); err != nil {
			r.t.Error(err)
		}
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.controllers = append(r.controllers, of)
	stop = sync.OnceFunc(func() { cancel(); wait.Wait() })
	r.t.Cleanup(stop)
	return stop
}

// to is the controller that a host speaks with: each in turn.
func (r *rig) to() link.Controller {
	r.mu.Lock()
	defer r.mu.Unlock()
	for range r.controllers {
		r.next++
		if c := r.controllers[r.next%len(r.controllers)]; c.Leads() {
			return r.speak(c)
		}
	}
	return r.speak(r.controllers[0])
}

func (r *rig) host(name string) *simulate.Host { return r.add(r.prepared(name)) }

func (r *rig) prepared(name string) *simulate.Host {
	return &simulate.Host{Name: name, Status: api.HostStatus{
		Capacity: api.Amounts{CPU: 8000, Memory: 32 << 30, Disk: 1 << 40},
		Networks: map[string]string{"prod": "pool"}, Machine: name, Engine: "29.7.2",
		Labels: map[string]string{"room": "r" + name[len(name)-1:]},
	}}
}

func (r *rig) add(h *simulate.Host) *simulate.Host {
	r.mu.Lock()
	r.hosts[h.Name] = h
	r.mu.Unlock()
	ctx, cancel := context.WithCancel(r.t.Context())
	var wait sync.WaitGroup
	wait.Go(func() {
		for !r.started() {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Millisecond):
			}
		}
		h.Run(ctx, r.to)
	})
	r.t.Cleanup(func() { cancel(); wait.Wait() })
	return h
}

func (r *rig) started() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.controllers) > 0
}

func service(name string, replicas int) *api.Service {
	return &api.Service{
		Meta: api.Meta{Name: name},
		Spec: api.ServiceSpec{Replicas: replicas, Set: api.Template{Set: spec.Set{
			CPU: 1, MEM: 1 << 30, Network: spec.Network{Name: "prod"},
			Containers: []spec.Container{{Name: "app", Image: "shop/app:1", Options: spec.Options{CPU: 80, MEM: 70}}},
		}}},
	}
}

func image(s *api.Service, name string) {
	s.Spec.Set.Containers = []spec.Container{{Name: "app", Image: name, Options: spec.Options{CPU: 80, MEM: 70}}}
}

func (r *rig) create(s api.Resource) {
	r.t.Helper()
	must(r.t, s.Check())
	testx.Eventually(r.t, patience, func() error {
		l, err := state.All[api.Host](r.t.Context(), r.store, state.Page{})
		must(r.t, err)
		for _, h := range l.Items {
			if h.Status.Health == api.Healthy {
				continue
			}
			return fmt.Errorf("host %s is %q", h.Name, h.Status.Health)
		}
		if len(l.Items) != len(r.hosts) {
			return fmt.Errorf("%d hosts joined", len(l.Items))
		}
		return nil
	})
	must(r.t, r.store.Create(r.t.Context(), s))
}

func (r *rig) edit(name string, change func(*api.Service)) {
	r.t.Helper()
	_, err := state.Edit(r.t.Context(), r.store, name, func(s *api.Service) error { change(s); return nil })
	must(r.t, err)
}

func (r *rig) editHost(name string, change func(*api.Host)) {
	r.t.Helper()
	_, err := state.Edit(r.t.Context(), r.store, name, func(h *api.Host) error { change(h); return nil })
	must(r.t, err)
}

func (r *rig) sets() []*api.SetInstance {
	l, err := state.All[api.SetInstance](r.t.Context(), r.store, state.Page{})
	must(r.t, err)
	return l.Items
}

const patience = 30 * time.Second

// ready waits until a service is as it is wished.
func (r *rig) ready(name string) *api.Service {
	r.t.Helper()
	var got *api.Service
	testx.Eventually(r.t, patience, func() (err error) {
		got, err = state.Get[api.Service](r.t.Context(), r.store, name)
		if err != nil {
			return err
		}
		is := got.Status
		if is.ObservedGeneration != got.Generation || is.Replicas != got.Spec.Replicas || is.Ready != is.Replicas || is.Updated != is.Replicas {
			return fmt.Errorf("%s at generation %d is %+v", name, got.Generation, is)
		}
		return nil
	})
	return got
}

// settled waits until hosts run what the store says, and nothing else.
func (r *rig) settled() {
	r.t.Helper()
	testx.Eventually(r.t, patience, func() error {
		want := map[string]string{}
		for _, s := range r.sets() {
			want[s.Name] = s.Spec.Host + " " + s.UID
		}
		for name, h := range r.hosts {
			for set, uid := range h.Running() {
				if want[set] != name+" "+uid {
					return fmt.Errorf("%s runs on %s, wanted %q", set, name, want[set])
				}
				delete(want, set)
			}
		}
		if len(want) > 0 {
			return fmt.Errorf("not running: %v", want)
		}
		return nil
	})
}

func (r *rig) gone(get func() error) {
	r.t.Helper()
	testx.Eventually(r.t, patience, func() error {
		if err := get(); err == nil {
			return errors.New("it is there still")
		}
		return nil
	})
}

// remove asks a service to go and waits until nothing is left of it.
func (r *rig) remove(name string) {
	r.t.Helper()
	r.edit(name, func(s *api.Service) { s.Deleted = time.Now() })
	r.gone(func() error { _, err := state.Get[api.Service](r.t.Context(), r.store, name); return err })
}

func (r *rig) claims() []*state.Held {
	l, err := r.store.Holders(r.t.Context(), "", "", state.Page{})
	must(r.t, err)
	return l.Items
}

// happened waits for an event.
func (r *rig) happened(what, text string) *api.Event {
	r.t.Helper()
	var found *api.Event
	testx.Eventually(r.t, patience, func() error {
		l, err := state.All[api.Event](r.t.Context(), r.store, state.Page{})
		if err != nil {
			return err
		}
		for _, e := range l.Items {
			if e.Spec.What == what && strings.Contains(e.Spec.Cause+e.Spec.Text, text) {
				found = e
				return nil
			}
		}
		return fmt.Errorf("no event %s with %q", what, text)
	})
	return found
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

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
		if is := got.Status; bad() != 0 || is.Ready != 6 || is.Failed == "" || is.Updated != 6 {
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
	e, err := c.Explain(t.Context(), s, "h1")
	must(t, err)
	if e.Fit != 0 || len(e.Filters) != 1 || e.Filters[0].Filter != "CPU" || e.Host == nil || len(e.Host.Reasons) != 1 {
		t.Errorf("explained as %+v", e)
	}
	small := service("small", 4)
	f, err := c.DryRun(t.Context(), small)
	must(t, err)
	if len(f.Placed) != 3 || f.Unplaced != 1 || f.Why == nil || f.Why.Fit != 0 {
		t.Errorf("forecast %+v", f)
	}
	r.host("h2")
	r.ready("big")
	if f, err = c.DryRun(t.Context(), small); err != nil || len(f.Placed) != 4 || f.Unplaced != 0 {
		t.Errorf("forecast %+v, %v", f, err)
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
