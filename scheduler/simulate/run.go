package simulate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/client"
	"github.com/mosdocker/mosdocker/scheduler/control"
	"github.com/mosdocker/mosdocker/scheduler/link"
	"github.com/mosdocker/mosdocker/scheduler/server"
	"github.com/mosdocker/mosdocker/scheduler/state"
	"github.com/mosdocker/mosdocker/scheduler/state/embed"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// Config is what is simulated.
type Config struct {
	Hosts int
	Sets  int
	Lose  int // hosts that are killed at one time
	// NoBrake has sets of lost hosts replaced however many hosts are lost at a time.
	NoBrake bool
	Fill    float64 // part of all cores that the sets want
	Seed    uint64
	Dir     string // of the store; a new folder by default, which is removed at the end
	Log     *slog.Logger
}

// Check says what cannot be simulated. The error is of class InvalidArgument.
func (c *Config) Check() error {
	switch {
	case c.Hosts < 1 || c.Hosts > 50_000:
		return fault.Invalid("%d hosts cannot be simulated: take 1 to 50000", c.Hosts)
	case c.Sets < 1 || c.Sets > 1_000_000:
		return fault.Invalid("%d sets cannot be simulated: take 1 to 1000000", c.Sets)
	case c.Lose < 0 || c.Lose >= c.Hosts:
		return fault.Invalid("%d of %d hosts cannot be lost: leave one at least", c.Lose, c.Hosts)
	case c.Fill <= 0 || c.Fill > 1:
		return fault.Invalid("sets cannot want the part %v of all cores: take one above 0, and 1 at most", c.Fill)
	}
	return nil
}

// world is a simulation.
type world struct {
	Config
	out   io.Writer
	store *state.Store
	api   *client.Client
	fleet []*Host
	lead  atomic.Pointer[control.Controller]

	mu     sync.Mutex           // guards all below
	lags   []time.Duration      // from a change's acknowledgment to a watch
	probed map[string]time.Time // when changes that look at lag were seen
	made   map[string]time.Time // when services were acknowledged
	sets   map[string]*api.SetInstance
	placed int
	ready  int
	waits  []time.Duration // from a service's acknowledgment to a set's place
	moved  chan struct{}
}

// Run simulates a cluster: the real controllers on a real store, whose log is synced, and
// hosts that run nothing. It writes what it measured.
func Run(ctx context.Context, c Config, out io.Writer) error {
	if err := c.Check(); err != nil {
		return err
	}
	if c.Dir == "" {
		dir, err := os.MkdirTemp("", "mos-simulate")
		if err != nil {
			return fmt.Errorf("make a folder for the store: %w", err)
		}
		defer func() { _ = os.RemoveAll(dir) }() // what stays is in the folder for temporary files
		c.Dir = dir
	}
	etcd, err := embed.Start(ctx, embed.Config{Dir: c.Dir, Log: c.Log})
	if err != nil {
		return err
	}
	store, err := state.Open(ctx, etcd.Client(), state.Options{})
	if err != nil {
		return errors.Join(err, etcd.Close())
	}
	w := &world{
		Config: c, out: out, store: store, made: map[string]time.Time{}, sets: map[string]*api.SetInstance{},
		moved: make(chan struct{}, 1), probed: map[string]time.Time{},
	}
	err = w.serve(ctx, w.run)
	store.Close()
	return errors.Join(err, etcd.Close())
}

// serve has the API on a socket while do runs.
func (w *world) serve(ctx context.Context, do func(context.Context) error) error {
	until, end := context.WithCancel(ctx)
	defer end()
	handler, err := server.New(until, server.Config{Store: w.store, Log: w.Log})
	if err != nil {
		return err
	}
	at := filepath.Join(w.Dir, "api.sock")
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", at)
	if err != nil {
		return fmt.Errorf("serve the API: %w", err)
	}
	h := http.Server{Handler: handler, ConnContext: server.PeerContext, ReadHeaderTimeout: time.Minute}
	var serving sync.WaitGroup
	serving.Go(func() { _ = h.Serve(l) }) // it ends by Close
	defer serving.Wait()
	defer func() { _ = h.Close() }() // watches go on until then
	if w.api, err = client.New(at, client.Options{}); err != nil {
		return err
	}
	defer w.api.Close()
	return do(ctx)
}

func (w *world) say(format string, args ...any) { _, _ = fmt.Fprintf(w.out, format+"\n", args...) }

func (w *world) run(ctx context.Context) error {
	if l, err := state.All[api.Host](ctx, w.store, state.Page{Limit: 1}); err != nil {
		return err
	} else if len(l.Items) > 0 {
		return fault.Conflict("the store in %s has hosts already: simulate in a folder that is empty", w.Dir)
	}
	ctx, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	end := w.control(ctx, "first")
	defer func() { end() }()
	began := time.Now()
	w.fleet = fleet(w.Hosts)
	for _, h := range w.fleet {
		all.Go(func() { h.Run(ctx, w.to) })
	}
	if err := w.until(ctx, 10*time.Minute, "all hosts are healthy", w.healthy); err != nil {
		return err
	}
	w.say("%d hosts joined in %.1f s", w.Hosts, time.Since(began).Seconds())
	all.Go(func() { w.follow(ctx) })
	all.Go(func() { w.probe(ctx) })
	for _, step := range []func(context.Context) error{
		w.fill, w.alone, w.packing, w.idle,
		func(ctx context.Context) error { return w.change(ctx, &end) },
		w.lose,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// control starts a controller, which ends by end.
func (w *world) control(ctx context.Context, name string) (end func()) {
	cfg := control.Config{Name: name, Log: w.Log, Seed: w.Seed}
	if w.NoBrake {
		cfg.BrakeHold = -1
	}
	c := control.New(w.store, cfg)
	w.lead.Store(c)
	ctx, cancel := context.WithCancel(ctx)
	var run sync.WaitGroup
	run.Go(func() { _ = c.Run(ctx) }) // it ends with ctx only
	return sync.OnceFunc(func() { cancel(); run.Wait() })
}

func (w *world) to() link.Controller { return w.lead.Load() }

// until asks again until something is so.
func (w *world) until(ctx context.Context, limit time.Duration, what string, is func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		if ok, err := is(ctx); err != nil || ok {
			return err
		}
		select {
		case <-ctx.Done():
			return fault.Unavailable("it is not so after %s that %s: %w", limit, what, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		case <-w.moved:
		}
	}
}

func (w *world) healthy(ctx context.Context) (bool, error) {
	l, err := state.All[api.Host](ctx, w.store, state.Page{})
	n := 0
	for _, h := range l.Items {
		if h.Status.Health == api.Healthy {
			n++
		}
	}
	return n == w.Hosts, err
}

// probe makes an event now and then, and looks when the watch of all shows it.
func (w *world) probe(ctx context.Context) {
	for ctx.Err() == nil {
		e := &api.Event{Meta: api.Meta{Name: uuid.NewString()}, Spec: api.EventSpec{On: api.Reference{Kind: api.Operations, Name: "probe"}, What: "probe"}}
		if w.store.Create(ctx, e) == nil {
			acked := time.Now()
			w.mu.Lock()
			w.lag(e.Name, acked)
			w.mu.Unlock()
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// lag notes one end of a probe, the second time with what lay between. Who calls has mu.
func (w *world) lag(name string, at time.Time) {
	other, both := w.probed[name]
	if !both {
		w.probed[name] = at
		return
	}
	delete(w.probed, name)
	w.lags = append(w.lags, at.Sub(other).Abs())
}

// lagged says how late a watch was since it was asked last.
func (w *world) lagged() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	lags := w.lags
	w.lags = nil
	return fmt.Sprintf("a watch shows a change after its answer: p50 %s, p99 %s of %d", quantile(lags, 0.5), quantile(lags, 0.99), len(lags))
}

// follow keeps what the store has of sets, and when it became so.
func (w *world) follow(ctx context.Context) {
	l, err := state.All[api.SetInstance](ctx, w.store, state.Page{})
	for after := l.Revision; err == nil && ctx.Err() == nil; {
		for step, broken := range w.store.Watch(ctx, after, api.SetInstances, api.Events) {
			if broken != nil {
				w.Log.WarnContext(ctx, "the simulation does not see sets any more", "err", broken)
				return
			}
			after = step.Revision
			w.see(step.Changes)
		}
	}
}

func (w *world) see(changes []state.Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	for _, c := range changes {
		if e, ok := c.Resource.(*api.Event); ok || c.Kind == api.Events {
			if ok && e.Spec.What == "probe" {
				w.lag(c.Name, now)
			}
			continue
		}
		was := w.sets[c.Name]
		is, _ := c.Resource.(*api.SetInstance)
		w.placed += truth(is != nil && is.Spec.Host != "") - truth(was != nil && was.Spec.Host != "")
		w.ready += truth(is != nil && is.Status.Phase == api.Ready) - truth(was != nil && was.Status.Phase == api.Ready)
		if is == nil {
			delete(w.sets, c.Name)
			continue
		}
		w.sets[c.Name] = is
		if is.Spec.Host != "" && (was == nil || was.Spec.Host != is.Spec.Host) {
			if made, ok := w.made[is.Spec.Service]; ok && was == nil {
				w.waits = append(w.waits, max(0, now.Sub(made)))
			}
		}
	}
	select {
	case w.moved <- struct{}{}:
	default:
	}
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// fill creates all services and waits for their sets.
func (w *world) fill(ctx context.Context) error {
	services := workload(rand.New(rand.NewPCG(w.Seed, 0)), w.Sets, w.fleet, w.Fill) //nolint:gosec // the same seed gives the same services
	const callers = 8
	began, cpu := time.Now(), processor()
	var next atomic.Int64
	errs := make([]error, callers)
	var all sync.WaitGroup
	for k := range callers {
		all.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(services) && errs[k] == nil; i = next.Add(1) - 1 {
				errs[k] = w.create(ctx, services[i])
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := w.until(ctx, 20*time.Minute, "all sets are placed", w.allPlaced()); err != nil {
		return err
	}
	took, cpu := time.Since(began), processor()-cpu
	w.say("%d sets of %d services are placed in %.1f s: %.0f sets/s, %.0f for each second of processor",
		w.Sets, len(services), took.Seconds(), float64(w.Sets)/took.Seconds(), float64(w.Sets)/cpu.Seconds())
	w.mu.Lock()
	w.say("from the service's acknowledgment to a set's place, all at once: p50 %s, p99 %s", quantile(w.waits, 0.5), quantile(w.waits, 0.99))
	w.mu.Unlock()
	if err := w.until(ctx, 20*time.Minute, "all sets are ready", w.allReady); err != nil {
		return err
	}
	w.say("all are ready, as their hosts told, after %.1f s", time.Since(began).Seconds())
	w.say("meanwhile %s", w.lagged())
	return nil
}

// stalls is how long no set finds a place before none will.
const stalls = 20 * time.Second

// allPlaced says whether all sets have their places; an error says why no more get one.
func (w *world) allPlaced() func(context.Context) (bool, error) {
	placed, last := 0, time.Now()
	return func(ctx context.Context) (bool, error) {
		w.mu.Lock()
		is := w.placed
		w.mu.Unlock()
		if is != placed {
			placed, last = is, time.Now()
		}
		if is == w.Sets || time.Since(last) < stalls {
			return is == w.Sets, nil
		}
		l, err := state.All[api.Service](ctx, w.store, state.Page{})
		if err != nil {
			return false, err
		}
		why := ""
		for _, s := range l.Items {
			if s.Status.Placed < s.Spec.Replicas && why == "" {
				why = ": " + s.Name + ": " + s.Status.Reason
			}
		}
		return false, fault.Exhausted("%d of %d sets are placed, and no more for %s: take more hosts, or give a smaller part of them%s", is, w.Sets, stalls, why)
	}
}

func (w *world) allReady(context.Context) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ready == len(w.sets), nil
}

func (w *world) create(ctx context.Context, s *api.Service) error {
	if err := s.Check(); err != nil {
		return err
	}
	w.mu.Lock()
	w.made[s.Name] = time.Now() // the watch may be faster than the answer
	w.mu.Unlock()
	_, err := client.Create(ctx, w.api, s, client.Change{})
	return err
}

// alone measures sets that come one at a time.
func (w *world) alone(ctx context.Context) error {
	w.mu.Lock()
	w.waits = nil
	w.mu.Unlock()
	const rounds = 200
	for i := range rounds {
		s := &api.Service{Meta: api.Meta{Name: fmt.Sprintf("lone%d", i)}, Spec: api.ServiceSpec{Replicas: 1, Set: api.Template{Set: spec.Set{
			CPU: 0.1, MEM: 64 << 20, Containers: []spec.Container{{Name: "app", Image: "registry.example/shop/app:41", Options: spec.Options{CPU: 80, MEM: 70}}},
		}}}}
		if err := w.create(ctx, s); err != nil {
			return err
		}
		there := func(context.Context) (bool, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			i := w.sets[s.Name+"-1"]
			return i != nil && i.Spec.Host != "", nil
		}
		if err := w.until(ctx, time.Minute, "a lone set is placed", there); err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.say("a lone service, from the call to the place that a watch shows: p50 %s, p99 %s", quantile(w.waits, 0.5), quantile(w.waits, 0.99))
	return nil
}

func quantile(of []time.Duration, part float64) time.Duration {
	if len(of) == 0 {
		return 0
	}
	of = slices.Sorted(slices.Values(of))
	return of[int(part*float64(len(of)-1))].Round(10 * time.Microsecond)
}

// packing says how full hosts are, what still fits, and how services are spread.
func (w *world) packing(ctx context.Context) error {
	large := &api.Service{Meta: api.Meta{Name: "large"}, Spec: api.ServiceSpec{Replicas: 99_999, Set: api.Template{Set: spec.Set{
		CPU: 32, MEM: 128 << 30, Containers: []spec.Container{{Name: "app", Image: "a"}},
	}}}}
	f, err := w.lead.Load().DryRun(ctx, large, nil)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var used, have float64
	hosts := map[string]bool{}
	racks := map[string]map[string]int{}
	replicas := map[string]int{}
	rack := map[string]string{}
	for _, h := range w.fleet {
		have += float64(h.Status.Capacity.CPU) / 1000
		rack[h.Name] = h.Status.Labels["rack"]
	}
	for _, s := range w.sets {
		used += float64(s.Spec.Set.CPU)
		hosts[s.Spec.Host] = true
		if racks[s.Spec.Service] == nil {
			racks[s.Spec.Service] = map[string]int{}
		}
		racks[s.Spec.Service][rack[s.Spec.Host]]++
		replicas[s.Spec.Service]++
	}
	w.say("%.1f %% of all cores are given, on %.1f %% of the hosts; %d more sets of 32 cores and 128 GiB fit",
		100*used/have, 100*float64(len(hosts))/float64(w.Hosts), len(f.Placed))
	var shares []float64
	for name, parts := range racks {
		most := 0
		for _, n := range parts {
			most = max(most, n)
		}
		if replicas[name] > 1 {
			shares = append(shares, 100*float64(most)/float64(replicas[name]))
		}
	}
	slices.Sort(shares)
	if n := len(shares); n > 0 {
		w.say("of services with several sets, one rack has at most: p50 %.0f %%, p99 %.0f %% of the sets", shares[n/2], shares[n*99/100])
	}
	return nil
}

// idle measures a cluster in which nothing happens.
func (w *world) idle(ctx context.Context) error {
	const long = 10 * time.Second
	_ = w.lagged() // of what was before
	cpu := processor()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(long):
	}
	cpu = processor() - cpu
	runtime.GC()
	w.say("nothing happens: %.0f %% of a processor, %s resident, hosts and etcd included", 100*cpu.Seconds()/long.Seconds(), resident())
	w.say("meanwhile %s", w.lagged())
	return nil
}

// change has another controller lead.
func (w *world) change(ctx context.Context, end *func()) error {
	began := time.Now()
	(*end)()
	*end = w.control(ctx, "second")
	if err := w.until(ctx, time.Minute, "another leads", func(context.Context) (bool, error) { return w.lead.Load().Leads(), nil }); err != nil {
		return err
	}
	w.say("another process leads, with its cache filled, after %.2f s", time.Since(began).Seconds())
	// Hosts must have spoken with it before some are lost.
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(20 * time.Second):
		return nil
	}
}

// lose kills hosts, of all racks in turn, and waits until what may be replaced is ready elsewhere.
func (w *world) lose(ctx context.Context) error {
	if w.Lose == 0 {
		return nil
	}
	dead := map[string]bool{}
	for i := range w.Lose {
		h := w.fleet[i*w.Hosts/w.Lose]
		h.Kill()
		dead[h.Name] = true
	}
	began := time.Now()
	var first time.Duration
	look := func(context.Context) (bool, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		stay := 0
		for _, s := range w.sets {
			if dead[s.Spec.Host] && s.Spec.Set.Volume == nil {
				stay++
			} else if s.Spec.Set.Volume == nil && s.Status.Phase != api.Ready {
				stay++
				if first == 0 {
					first = time.Since(began)
				}
			}
		}
		return stay == 0, nil
	}
	sets := 0
	w.mu.Lock()
	for _, s := range w.sets {
		sets += truth(dead[s.Spec.Host] && s.Spec.Set.Volume == nil)
	}
	w.mu.Unlock()
	err := w.until(ctx, time.Minute, "all sets of dead hosts run elsewhere", look)
	if err == nil {
		w.say("%d hosts are killed: the first of %d sets that may be replaced are so after %.1f s, all are ready after %.1f s", w.Lose, sets, first.Seconds(), time.Since(began).Seconds())
		return nil
	}
	l, listed := state.All[api.Event](ctx, w.store, state.Page{})
	for _, e := range l.Items {
		if e.Spec.What == "brake" {
			w.say("%d hosts are killed: the brake holds, their %d sets that may be replaced wait", w.Lose, sets)
			return listed
		}
	}
	return errors.Join(err, listed)
}

func processor() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// resident is the memory of this process.
func resident() string {
	data, _ := os.ReadFile("/proc/self/status") // without, nothing is known
	for line := range strings.Lines(string(data)) {
		if kb, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			return strings.TrimSpace(kb)
		}
	}
	return "unknown"
}
