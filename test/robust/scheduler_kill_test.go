package robust

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/client"
	"github.com/mosdocker/mosdocker/scheduler/state/statetest"
)

// goesOnIn is how long after a quorum is back a new set runs at the latest; where other tests
// run beside this one, it may take twice as long.
const goesOnIn = 10 * time.Second

// TestSchedulersSurviveKills has three mos-schedulers on an etcd of three servers over TLS,
// with their defaults, and hosts linked to them; and kills, by kill -9, who leads, servers of
// etcd, all mos-schedulers or everything at once, while services are changed by the API.
// Nothing that runs may end or begin anew but what was asked for, no address, volume or name
// have two holders, no change be lost that was acknowledged, and a new set runs within
// [goesOnIn] of a quorum. MOS_ROUNDS is the number of faults (10, or 100 with MOS_FULL),
// MOS_FROM the one to go on from.
func TestSchedulersSurviveKills(t *testing.T) {
	rounds := number(t, "MOS_ROUNDS", 10)
	if full() && os.Getenv("MOS_ROUNDS") == "" {
		rounds = 100
	}
	g := newGrind(t, seed(t))
	var took []time.Duration
	for n := number(t, "MOS_FROM", 1); n <= rounds; n++ {
		took = append(took, g.round(n, rounds))
		if t.Failed() {
			return
		}
	}
	g.end()
	slices.Sort(took)
	t.Logf("work went on after %s, %s at most; %d starts of sets", took[len(took)/2], took[len(took)-1], g.witness.starts)
}

// grind is a fleet on three servers of etcd, under load.
type grind struct {
	*fleet
	seed    uint64
	etcd    *statetest.Cluster
	etcdAPI *clientv3.Client
	ledger  *ledger
	thaw    sync.WaitGroup
	want    map[string]int // sets of each service
	probes  []string       // services of one set, the last ones of rounds
}

func newGrind(t *testing.T, seed uint64) *grind {
	t.Helper()
	etcd := statetest.Start(t, 3)
	addresses := []string{statetest.Address(t), statetest.Address(t), statetest.Address(t)}
	g := &grind{seed: seed, etcd: etcd, etcdAPI: etcd.Client(t), want: map[string]int{}}
	g.fleet = newFleet(t, addresses, "-etcd", strings.Join(etcd.Endpoints(), ","), "-etcd_ca", etcd.CAFile, "-etcd_cert", etcd.CertFile, "-etcd_key", etcd.KeyFile)
	t.Cleanup(g.witness.told)
	g.start()
	g.leader()
	for i := range 6 {
		g.host(fmt.Sprintf("h%d", i+1))
	}
	g.network()
	db := service("db", 3)
	db.Spec.Set.Volume = volume()
	vip := service("vip", 1)
	vip.Spec.Set.Network.IP, vip.Spec.OnHostLost = "10.20.0.250", api.ReplaceFenced
	for _, s := range []*api.Service{service("web", 4), service("still", 6), db, vip} {
		g.create(s)
		g.want[s.Name] = s.Spec.Replicas
	}
	for name := range g.want {
		g.ready(name)
	}
	g.ledger = g.load(seed)
	return g
}

// round changes something, has one fault, and sees that work goes on.
func (g *grind) round(n, of int) time.Duration {
	g.t.Helper()
	dice := rand.New(rand.NewPCG(g.seed, uint64(n)))
	faults := []struct {
		name string
		do   func(*rand.Rand) time.Time // returns when a quorum was there
	}{
		{"kill who leads", func(*rand.Rand) time.Time { g.leader().kill(); return time.Now() }},
		{"stop who leads for a while", g.freeze},
		{"kill one of etcd", func(dice *rand.Rand) time.Time { g.etcd.Kill(dice.IntN(3)); return time.Now() }},
		{"kill the leader of etcd and who leads", g.killLeaders},
		{"kill two of etcd", g.killTwo},
		{"kill all mos-schedulers", func(dice *rand.Rand) time.Time {
			g.fleet.kill()
			hold(dice)
			g.start()
			return time.Now()
		}},
		{"kill everything", g.killAll},
		{"restart one", func(dice *rand.Rand) time.Time {
			s := g.schedulers[dice.IntN(3)]
			s.end(syscall.SIGTERM)
			s.start(g.t)
			return time.Now()
		}},
	}
	// Each fault once before any comes again.
	turn := uint64((n - 1) / len(faults))
	fault := faults[rand.New(rand.NewPCG(g.seed, 1<<32+turn)).Perm(len(faults))[(n-1)%len(faults)]]
	g.witness.note("round %d: %s", n, fault.name)
	g.change(n, dice)
	since := fault.do(dice)
	g.probe(n)
	took := time.Since(since)
	g.t.Logf("round %d of %d: %s: work goes on after %s", n, of, fault.name, took.Round(10*time.Millisecond))
	if took > goesOnIn && (full() || took > 2*goesOnIn) {
		g.t.Errorf("round %d: %s: a new set ran after %s", n, fault.name, took)
	}
	g.heal()
	g.settle()
	return took
}

// hold waits, one time in three for longer than the lease of hosts.
func hold(dice *rand.Rand) {
	wait := time.Duration(dice.IntN(3000)) * time.Millisecond
	if dice.IntN(3) == 0 {
		wait += 9 * time.Second
	}
	<-time.After(wait)
}

// change scales or updates, and does not wait for it.
func (g *grind) change(n int, dice *rand.Rand) {
	g.t.Helper()
	replicas := 1 + dice.IntN(8)
	if fewer := g.want["web"] - replicas; fewer > 0 {
		g.witness.may("web", fewer)
	}
	g.want["web"] = replicas
	g.patch("web", map[string]any{"replicas": replicas})
	if dice.IntN(2) == 0 {
		name := []string{"db", "still", "web"}[dice.IntN(3)]
		app := map[string]any{"Name": "app", "Image": fmt.Sprintf("shop/app:%d", n+1), "Options": map[string]any{"CPU": 80, "MEM": 70}}
		g.patch(name, map[string]any{"set": map[string]any{"Containers": []any{app}}})
	}
}

func (g *grind) patch(name string, spec map[string]any) {
	g.t.Helper()
	g.try(func(c *client.Client) error {
		_, err := client.Patch[api.Service](g.t.Context(), c, name, map[string]any{"spec": spec}, client.Change{})
		return err
	})
}

// freeze stops the leader for longer than its term, after which it wakes up and knows nothing
// of that.
func (g *grind) freeze(*rand.Rand) time.Time {
	g.t.Helper()
	s := g.leader()
	must(g.t, s.process.Load().Signal(syscall.SIGSTOP))
	s.frozen.Store(true)
	g.thaw.Go(func() {
		<-time.After(8 * time.Second)
		if err := s.process.Load().Signal(syscall.SIGCONT); err != nil {
			g.t.Error(err)
		}
		s.frozen.Store(false)
	})
	return time.Now()
}

func (g *grind) killLeaders(*rand.Rand) time.Time {
	g.t.Helper()
	i, err := g.etcd.Leader(g.t.Context(), g.etcdAPI)
	must(g.t, err)
	s := g.leader()
	g.etcd.Kill(i)
	s.kill()
	return time.Now()
}

// killTwo leaves no quorum, and sees that changes are refused.
func (g *grind) killTwo(dice *rand.Rand) time.Time {
	g.t.Helper()
	for _, s := range g.schedulers { // one that was just started answers nobody until it found a quorum
		testx.Eventually(g.t, patience, func() error {
			_, err := s.Status(g.t.Context())
			return err
		})
	}
	for _, i := range dice.Perm(3)[:2] {
		g.etcd.Kill(i)
	}
	refused := make(chan error)
	for _, s := range g.schedulers {
		go func() { refused <- refuses(g.t.Context(), s.socket) }() // ends in its client's time
	}
	hold(dice)
	for range g.schedulers {
		if err := <-refused; err != nil {
			g.t.Errorf("without a quorum: %v", err)
		}
	}
	g.startEtcd()
	return time.Now()
}

// refuses sends a change that must be answered by 503.
func refuses(ctx context.Context, socket string) error {
	const patience = 30 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	defer t.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, http.MethodPatch, "http://s/v1/services/vip", strings.NewReader(`{"labels":{"refused":"x"}}`))
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: t}).Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Content-Type") != "application/problem+json" {
		err = errors.Join(err, fmt.Errorf("a change is answered by %s: %s", resp.Status, text))
	}
	return err
}

// killAll is a power cut, as far as processes see one.
func (g *grind) killAll(dice *rand.Rand) time.Time {
	g.t.Helper()
	for i := range 3 {
		g.etcd.Kill(i)
	}
	g.fleet.kill()
	hold(dice)
	g.start() // they wait for etcd
	g.startEtcd()
	return time.Now()
}

// startEtcd starts all servers that do not run, at once: one alone waits for a quorum.
func (g *grind) startEtcd() {
	g.t.Helper()
	var all sync.WaitGroup
	for i := range 3 {
		all.Go(func() {
			if err := g.etcd.Start(i); err != nil {
				g.t.Error(err)
			}
		})
	}
	all.Wait()
}

// probe makes a service of one set and waits until that runs; and removes one of a while ago.
func (g *grind) probe(n int) {
	g.t.Helper()
	name := fmt.Sprintf("probe%d", n)
	g.create(service(name, 1))
	g.ready(name)
	g.want[name] = 1
	if g.probes = append(g.probes, name); len(g.probes) <= 3 {
		return
	}
	old := g.probes[0]
	g.probes = g.probes[1:]
	delete(g.want, old)
	g.witness.may(old, 1)
	g.try(func(c *client.Client) error {
		_, err := client.Delete[api.Service](g.t.Context(), c, old)
		if errdefs.IsNotFound(err) {
			return nil // a call that was not answered did it
		}
		return err
	})
}

// heal starts all that does not run.
func (g *grind) heal() {
	g.t.Helper()
	g.thaw.Wait()
	g.startEtcd()
	g.start()
}

// settle waits until all is as it is wished, and looks at both.
func (g *grind) settle() {
	g.t.Helper()
	for name := range g.want {
		g.ready(name)
	}
	g.settled(g.want)
	g.witness.mu.Lock()
	defer g.witness.mu.Unlock()
	for name, left := range g.witness.leave {
		if left > 0 { // a scale that was undone before it came about
			g.witness.leave[name] = 0
		}
	}
}

func (g *grind) end() {
	g.t.Helper()
	g.ledger.check()
}

// ledgers are services of which a label is written.
var ledgers = [...]string{"still", "db"}

// ledger is labels of services that are written and read through any mos-scheduler.
type ledger struct {
	t     *testing.T
	began time.Time
	end   func()

	mu      sync.Mutex // guards all below
	history []porcupine.Operation
}

// load works on a new ledger of services still and db until it is checked.
func (f *fleet) load(seed uint64) *ledger {
	f.t.Helper()
	l := &ledger{t: f.t, began: time.Now()}
	for _, of := range ledgers {
		f.try(func(c *client.Client) error { _, err := entry{of, first}.do(f.t.Context(), c); return err })
	}
	ctx, cancel := context.WithCancel(f.t.Context())
	var work sync.WaitGroup
	for w := range 3 {
		work.Go(func() { l.work(ctx, f, w, rand.New(rand.NewPCG(seed, uint64(w)))) })
	}
	l.end = func() { cancel(); work.Wait() }
	f.t.Cleanup(l.end)
	return l
}

// entry writes a value, or reads if it has none.
type entry struct{ of, value string }

const (
	first = "first" // value of each
	lost  = "?"     // an answer that did not come

	forever = 1 << 62
)

func (l *ledger) work(ctx context.Context, f *fleet, worker int, dice *rand.Rand) {
	for n := 0; ctx.Err() == nil; n++ {
		in := entry{of: ledgers[dice.IntN(len(ledgers))]}
		if dice.IntN(2) == 0 {
			in.value = fmt.Sprintf("w%d-%d", worker, n)
		}
		call := time.Since(l.began).Nanoseconds()
		out, err := in.do(ctx, f.one().Client)
		end := time.Since(l.began).Nanoseconds()
		switch {
		case err == nil:
		case !unanswered(err) && ctx.Err() == nil:
			l.t.Errorf("%+v: %v", in, err)
		case in.value == "":
			out = lost
		default:
			out, end = lost, forever // it may be made at any time later
		}
		if out != lost || in.value != "" {
			l.mu.Lock()
			l.history = append(l.history, porcupine.Operation{ClientId: worker, Input: in, Call: call, Output: out, Return: end})
			l.mu.Unlock()
		}
		<-time.After(time.Duration(20+dice.IntN(80)) * time.Millisecond)
	}
}

func (e entry) do(ctx context.Context, c *client.Client) (string, error) {
	const patience = 15 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if e.value == "" {
		s, err := client.Get[api.Service](ctx, c, e.of)
		if err != nil {
			return "", err
		}
		return s.Labels["n"], nil
	}
	_, err := client.Patch[api.Service](ctx, c, e.of, map[string]any{"labels": map[string]any{"n": e.value}}, client.Change{})
	return "", err
}

// check sees that each label was a register that everybody saw alike.
func (l *ledger) check() {
	l.t.Helper()
	l.end()
	answered := 0
	for _, o := range l.history {
		if o.Output.(string) != lost {
			answered++
		}
	}
	l.t.Logf("%d of %d calls were answered", answered, len(l.history))
	if answered < len(l.history)/10 || answered == 0 {
		l.t.Errorf("too few calls were answered to tell anything")
	}
	model := porcupine.Model{
		Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
			parts := make([][]porcupine.Operation, len(ledgers))
			for _, o := range all {
				i := slices.Index(ledgers[:], o.Input.(entry).of)
				parts[i] = append(parts[i], o)
			}
			return parts
		},
		Init: func() any { return first },
		Step: func(is, input, output any) (bool, any) {
			in := input.(entry)
			if in.value == "" {
				return is == output, is
			}
			return true, in.value
		},
		DescribeOperation: func(in, out any) string { return fmt.Sprintf("%v: %v", in, out) },
	}
	result, info := porcupine.CheckOperationsVerbose(model, certain(l.history), 2*time.Minute)
	if result != porcupine.Ok {
		path := filepath.Join(testx.Artifacts(l.t), "history.html")
		l.t.Errorf("the labels are %s as registers: see %s (%v)", result, path, porcupine.VisualizePath(model, info, path))
	}
}

// certain takes the doubt out of writes that were not answered, which else makes a check of
// many take forever. Values are unique: who read one saw that it was made, and when at the
// latest; one that nobody read may as well not have been made.
func certain(history []porcupine.Operation) []porcupine.Operation {
	seen := map[entry]int64{} // when the first read of it ended
	for _, o := range history {
		in, out := o.Input.(entry), o.Output.(string)
		if in.value != "" {
			continue
		}
		read := entry{in.of, out}
		if at, ok := seen[read]; !ok || o.Return < at {
			seen[read] = o.Return
		}
	}
	var sure []porcupine.Operation
	for _, o := range history {
		if o.Output == lost {
			at, ok := seen[o.Input.(entry)]
			if !ok {
				continue
			}
			o.Return = max(at, o.Call)
		}
		sure = append(sure, o)
	}
	return sure
}

// TestDoubtIsTakenOut has writes without an answer, of which one was read and one was not.
func TestDoubtIsTakenOut(t *testing.T) {
	at := func(value, output string, call, end int64) porcupine.Operation {
		return porcupine.Operation{Input: entry{"db", value}, Output: output, Call: call, Return: end}
	}
	got := certain([]porcupine.Operation{
		at("unread", lost, 1, forever), at("read", lost, 2, forever), at("", "read", 5, 9), at("", "read", 3, 7), at("answered", "", 4, 6),
	})
	want := []porcupine.Operation{at("read", lost, 2, 7), at("", "read", 5, 9), at("", "read", 3, 7), at("answered", "", 4, 6)}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(entry{})); diff != "" {
		t.Error(diff)
	}
}
