package control_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/link"
	"github.com/mosdocker/mosdocker/scheduler/simulate"
	"github.com/mosdocker/mosdocker/scheduler/state"
	"github.com/mosdocker/mosdocker/scheduler/state/statetest"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// TestFaults has chance silence and kill hosts, depose and stop leaders, kill etcd and
// compact its history, and delay and repeat what hosts say, while services are changed; and
// looks at the history of what was active: no set that must not run twice ever did, no
// address, volume or port had two users, no host more than it has, a set ran twice only
// beside a host that was out of reach; and in the end all is as it is wished. MOS_ROUNDS is the
// number of faults (30, or 1000 with MOS_FULL), MOS_SEED where chance begins.
func TestFaults(t *testing.T) {
	t.Parallel()
	short := 30
	if os.Getenv("MOS_FULL") != "" {
		short = 1000
	}
	seed, rounds := number("MOS_SEED", 1), number("MOS_ROUNDS", short)
	f := newFaults(t, uint64(seed))
	for n := range rounds {
		f.round(n)
		if t.Failed() {
			break
		}
	}
	f.heal()
	t.Logf("MOS_SEED=%d: %v, %d starts of sets", seed, f.did, len(f.history.lines))
}

func number(key string, otherwise int) int {
	n, err := strconv.Atoi(os.Getenv(key))
	if err != nil {
		return otherwise
	}
	return n
}

type faults struct {
	*rig
	cluster *statetest.Cluster
	chance  *rand.Rand
	history *history
	stops   map[string]func() // running controllers
	term    int
	fenced  map[string]bool // hosts that may not come back with what they ran
	did     map[string]int
}

func newFaults(t *testing.T, seed uint64) *faults {
	t.Helper()
	cluster := statetest.Start(t, 1)
	f := &faults{
		cluster: cluster, chance: rand.New(rand.NewPCG(seed, 0)),
		stops: map[string]func(){}, fenced: map[string]bool{}, did: map[string]int{},
	}
	f.rig = newRigOn(t, func() *clientv3.Client { return cluster.Client(t) }, 0)
	f.config.BrakeHold, f.config.BrakeWindow, f.config.Yield = time.Second, time.Second, heartbeat
	f.history = &history{t: t, began: time.Now(), active: map[string]map[string]link.Assigned{}, away: map[string]time.Time{}, rig: f.rig}
	var mu sync.Mutex // guards noise
	noise := rand.New(rand.NewPCG(seed, 1))
	f.speak = func(c link.Controller) link.Controller {
		return &crooked{Controller: c, to: f.rig, dice: func(n int) int {
			mu.Lock()
			defer mu.Unlock()
			return noise.IntN(n)
		}}
	}
	for i := range 8 {
		h := f.prepared(fmt.Sprintf("h%d", i+1))
		h.Status.Capacity = api.Amounts{CPU: 6000, Memory: 32 << 30, Disk: 1 << 40}
		h.Status.Networks["vlan"] = "10.20.0.0/27"
		h.Witness, h.StopAfter = f.history, 60*time.Millisecond
		h.ReadyAfter = func(a link.Assigned) time.Duration {
			if strings.HasSuffix(a.Set.Containers[0].Image, ":bad") {
				return -1
			}
			return 30 * time.Millisecond
		}
		f.add(h)
	}
	f.leadNext()
	f.leadNext()
	f.create(&api.Network{Meta: api.Meta{Name: "vlan"}, Spec: api.NetworkSpec{Pools: []api.AddressPool{{Subnet: "10.20.0.0/27", Gateway: "10.20.0.1"}}}})
	web := service("web", 8)
	web.Spec.Set.Network.Name = "vlan"
	web.Spec.Placement.Spread = []api.Spread{{Level: api.LevelHost, Weight: 10}}
	web.Spec.Update.MaxUnavailable, web.Spec.Update.ReadyWithin = 2, 3
	db := service("db", 4)
	db.Spec.Set.Volume = &spec.Volume{Size: 1 << 30, Path: "/data"}
	batch := service("batch", 20)
	batch.Spec.Placement = api.Placement{Priority: -1, Preemptible: true}
	batch.Spec.Update.MaxUnavailable = 20
	for _, s := range []*api.Service{web, db, edge(), sticky(), batch} {
		f.create(s)
	}
	for i := range vips {
		vip := service(fmt.Sprintf("vip%d", i), 1)
		vip.Spec.Set.Network.IP, vip.Spec.OnHostLost = fmt.Sprintf("10.9.0.2%d", i), api.ReplaceFenced
		f.create(vip)
	}
	for _, s := range f.names() {
		f.ready(s)
	}
	return f
}

const vips = 4 // services with a fixed address

func (f *faults) names() []string {
	all := []string{"web", "db", "edge", "sticky"}
	for i := range vips {
		all = append(all, fmt.Sprintf("vip%d", i))
	}
	return append(all, "batch")
}

func (f *faults) one() string { return f.names()[f.chance.IntN(4+vips)] }

func (f *faults) leadNext() {
	f.term++
	name := fmt.Sprintf("c%d", f.term)
	f.stops[name] = f.lead(name)
}

func (f *faults) any() *simulate.Host {
	return f.hosts[fmt.Sprintf("h%d", 1+f.chance.IntN(len(f.hosts)))]
}

// oneAway is a host that is away, if there is one.
func (f *faults) oneAway() *simulate.Host {
	h := f.any()
	for i := 0; i < 20 && !h.Away(); i++ {
		h = f.any()
	}
	return h
}

// round does one thing, and waits a little.
func (f *faults) round(n int) {
	f.t.Helper()
	kinds := []struct {
		name   string
		weight int
		do     func()
	}{
		{"silence", 6, func() { f.silence(f.any()) }},
		{"speak", 8, func() { f.come(f.oneAway()) }},
		{"kill", 4, func() { f.kill(f.any()) }},
		{"fence", 3, f.fence},
		{"depose", 3, f.depose},
		{"stop a controller", 2, f.swap},
		{"kill etcd", 1, f.killEtcd},
		{"scale", 4, func() {
			f.change([]string{"web", "db", "edge", "sticky"}[f.chance.IntN(4)], func(s *api.Service) { s.Spec.Replicas = 1 + f.chance.IntN(6) })
		}},
		{"update", 4, func() { f.change(f.one(), func(s *api.Service) { image(s, fmt.Sprintf("shop/app:%d", n)) }) }},
		{"bad update", 1, func() { f.change("web", func(s *api.Service) { image(s, "shop/app:bad") }) }},
		{"drain", 3, func() { f.available(f.any(), api.Draining) }},
		{"activate", 3, func() { f.available(f.any(), api.Active) }},
		{"remove or make a service", 2, func() { f.recreate(edge()) }},
		{"remove or make a service that preempts", 3, func() { f.recreate(rush()) }},
	}
	sum := 0
	for _, k := range kinds {
		sum += k.weight
	}
	at := f.chance.IntN(sum)
	for _, k := range kinds {
		if at -= k.weight; at < 0 {
			f.history.note("%d: %s", n, k.name)
			f.did[k.name]++
			k.do()
			break
		}
	}
	<-time.After(time.Duration(50+f.chance.IntN(500)) * time.Millisecond)
}

func (f *faults) silence(h *simulate.Host) {
	f.history.note("%s is silent", h.Name)
	h.Silence(true)
}

// come has a host come back from whatever befell it.
func (f *faults) come(h *simulate.Host) {
	if !h.Away() {
		return
	}
	if f.fenced[h.Name] { // as operators are told: not with what it ran
		h.Wipe()
		delete(f.fenced, h.Name)
	}
	f.history.back(h.Name)
	h.Silence(false)
	h.Boot()
}

func (f *faults) kill(h *simulate.Host) {
	if h.Away() {
		return
	}
	f.history.note("%s is dead", h.Name)
	h.Kill()
}

// fence says of a lost host that it is silent, which is true of those that are dead.
func (f *faults) fence() {
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range f.hosts {
			if !yield(name) {
				return
			}
		}
	}) {
		h := f.hosts[name]
		if !h.Away() || len(h.Running()) > 0 || f.fenced[name] {
			continue
		}
		f.fenced[name] = true
		f.history.note("%s is fenced", name)
		f.try(func() error {
			_, err := state.Edit(f.t.Context(), f.store, name, func(h *api.Host) error { h.Spec.Fenced = true; return nil })
			return err
		})
		return
	}
}

// depose ends the leases of all controllers. They do not know at once.
func (f *faults) depose() {
	ctx, cancel := context.WithTimeout(f.t.Context(), 2*time.Second)
	defer cancel()
	etcd := f.client()
	defer etcd.Close()
	leases, err := etcd.Leases(ctx)
	if err != nil {
		return
	}
	for _, l := range leases.Leases {
		_, _ = etcd.Revoke(ctx, l.ID)
	}
}

func (f *faults) swap() {
	for name, stop := range f.stops {
		stop()
		delete(f.stops, name)
		break
	}
	f.leadNext()
}

// killEtcd kills etcd, and compacts what watches have not seen when it is back.
func (f *faults) killEtcd() {
	f.cluster.Kill(0)
	<-time.After(time.Duration(f.chance.IntN(800)) * time.Millisecond)
	must(f.t, f.cluster.Start(0))
	etcd := f.client()
	defer etcd.Close()
	f.try(func() error {
		r, err := etcd.Get(f.t.Context(), "/mos/schema")
		if err == nil {
			_, err = etcd.Compact(f.t.Context(), r.Header.Revision)
		}
		return err
	})
}

func (f *faults) change(name string, do func(*api.Service)) {
	f.try(func() error {
		_, err := state.Edit(f.t.Context(), f.store, name, func(s *api.Service) error {
			if s.Deleted.IsZero() {
				do(s)
			}
			return nil
		})
		if errdefs.IsNotFound(err) {
			return nil
		}
		return err
	})
}

func (f *faults) available(h *simulate.Host, is api.Availability) {
	f.try(func() error {
		_, err := state.Edit(f.t.Context(), f.store, h.Name, func(h *api.Host) error { h.Spec.Availability = is; return nil })
		return err
	})
}

// recreate removes a service, or makes it again when nothing is left of it.
func (f *faults) recreate(s *api.Service) {
	if _, err := state.Get[api.Service](f.t.Context(), f.store, s.Name); errdefs.IsNotFound(err) {
		_ = f.store.Create(f.t.Context(), s)
		return
	}
	f.change(s.Name, func(s *api.Service) { s.Deleted = time.Now() })
}

// rush finds no room before others yield.
func rush() *api.Service {
	s := service("rush", 3)
	s.Spec.Set.CPU = 4
	s.Spec.Placement.Priority, s.Spec.Placement.Preempts = 5, true
	return s
}

func edge() *api.Service {
	s := service("edge", 3)
	s.Spec.Set.Ports = []string{"8080:80"}
	s.Spec.Set.Network.Name = "vlan"
	return s
}

func sticky() *api.Service {
	s := service("sticky", 2)
	s.Spec.Set.Network.Name, s.Spec.StickyAddresses, s.Spec.OnHostLost = "vlan", true, api.ReplaceFenced
	return s
}

func (f *faults) try(do func() error) {
	f.t.Helper()
	testx.Eventually(f.t, patience, do)
}

// heal ends all faults and looks whether all is as it is wished.
func (f *faults) heal() {
	f.t.Helper()
	f.history.note("heal")
	for _, h := range f.hosts {
		f.come(h)
		f.available(h, api.Active)
	}
	f.change("rush", func(s *api.Service) { s.Deleted = time.Now() })
	f.gone(func() error { _, err := state.Get[api.Service](f.t.Context(), f.store, "rush"); return err })
	for _, name := range f.names() {
		got, err := state.Get[api.Service](f.t.Context(), f.store, name)
		if err != nil || !got.Deleted.IsZero() {
			f.gone(func() error { _, err := state.Get[api.Service](f.t.Context(), f.store, name); return err })
			continue
		}
		f.change(name, func(s *api.Service) { image(s, "shop/app:end") })
		f.ready(name)
	}
	f.settled()
	f.history.mu.Lock()
	defer f.history.mu.Unlock()
	if f.t.Failed() {
		f.t.Logf("history:\n%s", strings.Join(f.history.lines, "\n"))
	}
	want := map[string]string{}
	f.nothingLeft()
	for _, s := range f.sets() {
		for _, a := range s.Spec.Addresses {
			want[state.Address(a.Network, netip.MustParseAddr(a.Address)).String()] = s.UID
		}
		for _, t := range held(s.Name, s.Spec.Host, &s.Spec.Set.Set) {
			want[t.String()] = s.UID
		}
	}
	for _, c := range f.claims() {
		if want[c.Thing.String()] != c.By.UID {
			f.t.Errorf("%s is held by %+v, wanted %q", c.Thing, c.By, want[c.Thing.String()])
		}
		delete(want, c.Thing.String())
	}
	if len(want) > 0 {
		f.t.Errorf("held by nobody: %v", want)
	}
}

// nothingLeft waits until all hosts said that they have nothing of sets that left them.
func (f *faults) nothingLeft() {
	f.t.Helper()
	testx.Eventually(f.t, patience, func() error {
		if l := f.leftovers(); len(l) > 0 {
			return fmt.Errorf("%d leftovers, such as %+v", len(l), l[0].Spec)
		}
		return nil
	})
}

// held is what one set at most may have, as these services have it.
func held(name, host string, s *spec.Set) (all []state.Thing) {
	if s.Network.IP != "" {
		all = append(all, state.Address(s.Network.Name, netip.MustParseAddr(s.Network.IP)))
	}
	if s.Volume != nil {
		all = append(all, state.Volume(name+"-data"))
	}
	if len(s.Ports) > 0 {
		all = append(all, state.Port(host, "tcp", 8080))
	}
	return all
}

// history is what was active, and judges it as it happens.
type history struct {
	t     *testing.T
	rig   *rig
	began time.Time

	mu     sync.Mutex                          // guards all below
	active map[string]map[string]link.Assigned // by host and name
	away   map[string]time.Time                // when a host last came back
	lines  []string
}

func (h *history) note(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.line(format, args...)
}

func (h *history) line(format string, args ...any) {
	h.lines = append(h.lines, fmt.Sprintf("%7.3f ", time.Since(h.began).Seconds())+fmt.Sprintf(format, args...))
}

func (h *history) back(host string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.away[host] = time.Now()
	h.line("%s comes back", host)
}

// Starts judges what becomes active beside what is so.
func (h *history) Starts(host string, a link.Assigned) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.line("%s starts %s %s at %d", host, a.Name, a.UID[len(a.UID)-4:], a.Generation)
	if h.active[host] == nil {
		h.active[host] = map[string]link.Assigned{}
	}
	h.active[host][a.Name] = a
	var cpu float64
	for _, of := range h.active[host] {
		cpu += float64(of.Set.CPU)
	}
	if cpu > 6 {
		h.wrong("%s has %v cores in use of 6", host, cpu)
	}
	mine := held(a.Name, host, &a.Set.Set)
	for other, sets := range h.active {
		for _, b := range sets {
			if other == host && b.Name == a.Name {
				continue
			}
			for _, thing := range held(b.Name, other, &b.Set.Set) {
				if slices.Contains(mine, thing) {
					h.wrong("%s is used by %s on %s and by %s on %s", thing, a.Name, host, b.Name, other)
				}
			}
			if b.Name == a.Name && !h.outOfReach(host) && !h.outOfReach(other) {
				h.wrong("%s runs on %s and on %s, which both are in reach", a.Name, host, other)
			}
		}
	}
}

// outOfReach says whether a host is cut off, or was so until a moment ago. It is asked by
// that host itself, too, so it asks no host.
func (h *history) outOfReach(host string) bool {
	back, ever := h.away[host]
	return h.isAway(host) || ever && time.Since(back) < 3*time.Second || h.unheard(host)
}

// unheard says whether a leader counted a host as lost lately, which one whose reports come late
// on a busy machine is, too.
func (h *history) unheard(host string) bool {
	l, err := state.All[api.Event](context.Background(), h.rig.store, state.Page{})
	if err != nil {
		h.line("events are not known: %v", err)
		return false
	}
	return slices.ContainsFunc(l.Items, func(e *api.Event) bool {
		return e.Spec.What == string(api.Lost) && e.Spec.On.Name == host && time.Since(e.Created) < 3*time.Second
	})
}

func (h *history) isAway(host string) bool {
	for _, l := range slices.Backward(h.lines) {
		if strings.HasSuffix(l, " "+host+" comes back") {
			return false
		}
		if strings.HasSuffix(l, " "+host+" is silent") || strings.HasSuffix(l, " "+host+" is dead") {
			return true
		}
	}
	return false
}

func (h *history) wrong(format string, args ...any) {
	h.line("WRONG: "+format, args...)
	h.t.Errorf(format, args...)
}

// Ends notes it.
func (h *history) Ends(host string, a link.Assigned) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.line("%s ends %s %s", host, a.Name, a.UID[len(a.UID)-4:])
	delete(h.active[host], a.Name)
}

// crooked is a line to a controller that is slow, breaks, and says things again.
type crooked struct {
	link.Controller
	to   *rig
	dice func(int) int
}

var errBroken = errors.New("the line broke")

// Report may be late, lost on the way there or back, and told again later, to whoever leads then.
func (c *crooked) Report(ctx context.Context, r link.Report) (link.Lease, error) {
	switch c.dice(30) {
	case 0:
		return link.Lease{}, errBroken
	case 1:
		<-time.After(time.Duration(c.dice(300)) * time.Millisecond)
	case 2:
		after := time.Duration(c.dice(2000)) * time.Millisecond
		time.AfterFunc(after, func() {
			if again, ok := c.to.to().(*crooked); ok {
				_, _ = again.Controller.Report(context.WithoutCancel(ctx), r)
			}
		})
	case 3:
		_, _ = c.Controller.Report(ctx, r)
		return link.Lease{}, errBroken
	}
	return c.Controller.Report(ctx, r)
}

// Assignments may come late, or end.
func (c *crooked) Assignments(ctx context.Context, host string) iter.Seq2[link.Assignment, error] {
	return func(yield func(link.Assignment, error) bool) {
		for a, err := range c.Controller.Assignments(ctx, host) {
			switch c.dice(10) {
			case 0:
				yield(link.Assignment{}, errBroken)
				return
			case 1:
				<-time.After(time.Duration(c.dice(500)) * time.Millisecond)
			}
			if !yield(a, err) {
				return
			}
		}
	}
}
