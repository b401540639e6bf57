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

// all is where everything is, for who reads why a test failed.
func (r *rig) all() string {
	var b strings.Builder
	for _, s := range r.sets() {
		fmt.Fprintf(&b, "%s on %q is %s since %s, leaving %v, with %v; ", s.Name, s.Spec.Host, s.Status.Phase, s.Status.Since, s.Spec.Leaving, s.Spec.Addresses)
	}
	hosts, err := state.All[api.Host](r.t.Context(), r.store, state.Page{})
	must(r.t, err)
	for _, h := range hosts.Items {
		fmt.Fprintf(&b, "host %s is %s since %s; ", h.Name, h.Status.Health, h.Status.Since)
	}
	for _, l := range r.leftovers() {
		fmt.Fprintf(&b, "left: %s with %v; ", l.Name, l.Spec.Addresses)
	}
	return b.String()
}

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
			return fmt.Errorf("%s at generation %d is %+v; %s", name, got.Generation, is, r.all())
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
