package state_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/state"
	"github.com/mosdocker/mosdocker/scheduler/state/statetest"
)

// TestKills kills servers of etcd, by kill -9, while sets take and give back addresses,
// and checks the history of all answers: addresses are linearizable registers with one
// holder at most, each acknowledged batch stands in the store's history whole and at its
// revision. MOS_ROUNDS is the number of kills (3), MOS_SEED where chance begins.
func TestKills(t *testing.T) {
	t.Parallel()
	seed, rounds := number(t, "MOS_SEED", 1), number(t, "MOS_ROUNDS", 3)
	for _, servers := range []int{1, 3} {
		t.Run(fmt.Sprintf("servers=%d", servers), func(t *testing.T) {
			t.Parallel()
			newSiege(t, servers, uint64(seed)).run(rounds)
		})
	}
}

func number(t *testing.T, key string, otherwise int) int {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv(key))
	if err != nil {
		return otherwise
	}
	return n
}

const (
	workers = 5
	things  = 6
)

type siege struct {
	t       *testing.T
	cluster *statetest.Cluster
	servers int
	store   *state.Store
	seed    uint64
	began   time.Time
	start   int64 // revision
	watched atomic.Int64
	told    []state.Change // by the store, at the end

	mu      sync.Mutex // guards all below
	history []porcupine.Operation
	acked   []acked
	unsure  map[string]bool // UIDs whose batches may have been made
}

// acked is a batch that was acknowledged.
type acked struct {
	revision int64
	uid      string
	thing    state.Thing
	gone     bool
}

// What is asked of a thing, and what is answered.
type (
	ask struct {
		thing int
		verb  string // claim, release, read
		uid   string
	}
	answer struct {
		verb string // done, refused, unknown
		by   string // who holds it, as far as the answer says
	}
)

func newSiege(t *testing.T, servers int, seed uint64) *siege {
	t.Helper()
	b := &siege{t: t, cluster: statetest.Start(t, servers), servers: servers, seed: seed, began: time.Now(), unsure: map[string]bool{}}
	var err error
	b.store, err = state.Open(t.Context(), b.cluster.Client(t), state.Options{Timeout: 4 * time.Second})
	must(t, err)
	t.Cleanup(b.store.Close)
	l, err := state.All[api.Host](t.Context(), b.store, state.Page{})
	must(t, err)
	b.start = l.Revision
	return b
}

func (b *siege) run(rounds int) {
	b.t.Helper()
	ctx, stop := context.WithCancel(b.t.Context())
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() { b.work(ctx, w) })
	}
	var live []state.Change
	through, end := context.WithCancel(b.t.Context())
	var watcher sync.WaitGroup
	watcher.Go(func() { live = b.watch(through) })
	b.kill(rounds)
	stop()
	all.Wait()
	b.checkHistory()
	last := b.checkStore()
	testx.Eventually(b.t, time.Minute, func() error {
		if r := b.watched.Load(); r < last {
			return fmt.Errorf("the watch is at revision %d of %d", r, last)
		}
		return nil
	})
	end()
	watcher.Wait()
	b.checkWatch(live)
}

// watch follows the store while its servers are killed, and goes on where it broke off.
func (b *siege) watch(ctx context.Context) (all []state.Change) {
	after := b.start
	for ctx.Err() == nil {
		for step, err := range b.store.Watch(ctx, after) {
			if err != nil {
				if !errdefs.IsUnavailable(err) && ctx.Err() == nil {
					b.t.Errorf("watch after %d: %v", after, err)
					return all
				}
				break
			}
			all = append(all, step.Changes...)
			after = step.Revision
			b.watched.Store(after)
		}
	}
	return all
}

// checkWatch compares what was seen while servers were killed with what the store says.
func (b *siege) checkWatch(live []state.Change) {
	b.t.Helper()
	if d := cmp.Diff(b.told, live[:min(len(live), len(b.told))]); d != "" {
		b.t.Errorf("a watch through the kills differs (-store +watch):\n%s", d)
	}
}

// kill ends servers and starts them again: of three, one or two at once.
func (b *siege) kill(rounds int) {
	b.t.Helper()
	chance := rand.New(rand.NewPCG(b.seed, 0))
	pause := func(ms int) { <-time.After(time.Duration(ms) * time.Millisecond) }
	for range rounds {
		pause(300 + chance.IntN(500))
		victims := chance.Perm(b.servers)[:1+chance.IntN(max(1, b.servers-1))]
		for _, v := range victims {
			b.cluster.Kill(v)
		}
		pause(chance.IntN(500))
		var all sync.WaitGroup
		for _, v := range victims { // at once: one alone waits for a quorum
			all.Go(func() {
				if err := b.cluster.Start(v); err != nil {
					b.t.Error(err)
				}
			})
		}
		all.Wait()
	}
	before := len(b.done())
	testx.Eventually(b.t, time.Minute, func() error { // it goes on
		if n := len(b.done()); n < before+50 {
			return fmt.Errorf("%d of 50 acknowledged batches after the last kill", n-before)
		}
		return nil
	})
}

func (b *siege) done() []acked {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.acked)
}

func (b *siege) thing(i int) state.Thing { return state.Port(fmt.Sprintf("h%d", i), "tcp", 80) }

// work takes, gives back and looks at things, as chance has it.
func (b *siege) work(ctx context.Context, worker int) {
	chance := rand.New(rand.NewPCG(b.seed, uint64(worker)+1))
	mine := map[int]*api.SetInstance{}
	for n := 0; ctx.Err() == nil; n++ {
		i := chance.IntN(things)
		held, ok := mine[i]
		switch {
		case chance.IntN(4) == 0:
			b.read(i)
		case ok:
			delete(mine, i)
			b.release(i, held)
		default:
			s := &api.SetInstance{Meta: api.Meta{Name: fmt.Sprintf("w%d-%d", worker, n), UID: fmt.Sprintf("u%d-%d", worker, n)}}
			switch by := b.claim(i, s); {
			case by == s.UID:
				mine[i] = s
			case b.left(by):
				b.adopt(ctx, i, by)
			}
		}
		<-time.After(time.Millisecond)
	}
}

// note keeps an operation. What is unknown may happen at any time later.
func (b *siege) note(call int64, in ask, out answer) {
	end := time.Since(b.began).Nanoseconds()
	if out.verb == "unknown" {
		end = 1 << 62
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if out.verb == "unknown" {
		b.unsure[in.uid] = true
	}
	b.history = append(b.history, porcupine.Operation{Input: in, Call: call, Output: out, Return: end})
}

func (b *siege) claim(i int, s *api.SetInstance) (by string) {
	call := time.Since(b.began).Nanoseconds()
	batch := b.store.Batch(nil)
	batch.Create(s)
	batch.Claim(b.thing(i), state.Holder{Name: s.Name, UID: s.UID})
	revision, err := batch.Commit(b.t.Context())
	out := answer{"unknown", ""}
	var held *state.HeldError
	switch {
	case err == nil:
		out = answer{"done", s.UID}
		b.ack(acked{revision, s.UID, b.thing(i), false})
	case errors.As(err, &held):
		out = answer{"refused", held.By.UID}
	case !errdefs.IsUnavailable(err):
		b.t.Errorf("claim: %v", err)
	}
	b.note(call, ask{i, "claim", s.UID}, out)
	return out.by
}

func (b *siege) release(i int, s *api.SetInstance) {
	call := time.Since(b.began).Nanoseconds()
	batch := b.store.Batch(nil)
	batch.Delete(s)
	batch.Release(b.thing(i), state.Holder{Name: s.Name, UID: s.UID})
	revision, err := batch.Commit(b.t.Context())
	out := answer{"unknown", ""}
	switch {
	case err == nil:
		out = answer{"done", ""}
		b.ack(acked{revision, s.UID, b.thing(i), true})
	case errdefs.IsNotFound(err), errdefs.IsFailedPrecondition(err):
		out = answer{"refused", ""}
	case !errdefs.IsUnavailable(err):
		b.t.Errorf("release: %v", err)
	}
	b.note(call, ask{i, "release", s.UID}, out)
}

func (b *siege) read(i int) {
	call := time.Since(b.began).Nanoseconds()
	t := b.thing(i)
	l, err := b.store.Holders(b.t.Context(), t.Class, t.Within, state.Page{})
	switch {
	case errdefs.IsUnavailable(err):
		return // says nothing
	case err != nil || len(l.Items) > 1:
		b.t.Errorf("read: %d holders, %v", len(l.Items), err)
		return
	}
	out := answer{verb: "done"}
	if len(l.Items) == 1 {
		out.by = l.Items[0].By.UID
	}
	b.note(call, ask{i, "read", ""}, out)
}

// left says whether somebody is a holder whose worker does not know it.
func (b *siege) left(uid string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.unsure[uid]
}

// adopt gives back what such a holder holds.
func (b *siege) adopt(ctx context.Context, i int, uid string) {
	s, err := state.Get[api.SetInstance](ctx, b.store, "w"+uid[1:])
	switch {
	case err == nil:
		b.release(i, s)
	case !errdefs.IsNotFound(err) && !errdefs.IsUnavailable(err) && ctx.Err() == nil:
		b.t.Errorf("adopt: %v", err)
	}
}

func (b *siege) ack(a acked) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.acked = append(b.acked, a)
}

// register says what may become of the holder of a thing by an operation that was
// answered so.
func register(is, input, output any) []any {
	by, in, out := is.(string), input.(ask), output.(answer)
	after := map[string]func() (string, bool){
		"claim":   func() (string, bool) { return in.uid, by == "" },
		"release": func() (string, bool) { return "", by == in.uid },
		"read":    func() (string, bool) { return by, by == out.by },
	}
	then, can := after[in.verb]()
	switch {
	case out.verb == "unknown" && can:
		return []any{by, then}
	case out.verb == "unknown":
		return []any{by}
	case out.verb == "done" && can:
		return []any{then}
	case out.verb == "refused" && !can && (in.verb != "claim" || by == out.by):
		return []any{by}
	}
	return nil
}

func (b *siege) checkHistory() {
	b.t.Helper()
	if len(b.history) == 0 {
		b.t.Fatal("nothing happened")
	}
	counts := map[answer]int{}
	for _, o := range b.history {
		counts[answer{verb: o.Input.(ask).verb, by: o.Output.(answer).verb}]++
	}
	b.t.Logf("MOS_SEED=%d: %v", b.seed, counts)
	nm := porcupine.NondeterministicModel{
		Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
			parts := make([][]porcupine.Operation, things)
			for _, o := range all {
				i := o.Input.(ask).thing
				parts[i] = append(parts[i], o)
			}
			return parts
		},
		Init:              func() []any { return []any{""} },
		Step:              register,
		DescribeOperation: func(in, out any) string { return fmt.Sprintf("%v: %v", in, out) },
	}
	model := nm.ToModel()
	result, info := porcupine.CheckOperationsVerbose(model, b.history, time.Minute)
	if result != porcupine.Ok {
		path := filepath.Join(testx.Artifacts(b.t), "history.html")
		b.t.Errorf("the answers are %s as of things with one holder: see %s (%v)", result, path, porcupine.VisualizePath(model, info, path))
	}
}

// checkStore reads the store's history from its start and compares it with what was
// acknowledged. It returns how far.
func (b *siege) checkStore() int64 {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	end, err := state.All[api.SetInstance](ctx, b.store, state.Page{})
	must(b.t, err)
	seen := map[acked]bool{}
	holder := map[state.Thing]string{}
	last := b.start
	for step, err := range b.store.Watch(ctx, b.start) {
		must(b.t, err)
		b.told = append(b.told, step.Changes...)
		b.replay(step, seen, holder)
		last = step.Revision
		if step.Revision >= end.Revision {
			break
		}
	}
	for _, a := range b.acked {
		if !seen[a] {
			b.t.Errorf("acknowledged, and not in the history: %+v", a)
		}
	}
	for _, s := range end.Items {
		if !slices.Contains(slices.Collect(maps.Values(holder)), s.UID) {
			b.t.Errorf("set %s is there without what it claimed", s.Name)
		}
	}
	if len(end.Items) != len(holder) {
		b.t.Errorf("%d sets hold %d things", len(end.Items), len(holder))
	}
	return last
}

// replay follows who holds what. Batches of several workers may be of one revision.
func (b *siege) replay(step state.Step, seen map[acked]bool, holder map[state.Thing]string) {
	for _, c := range step.Changes {
		switch {
		case c.Held == nil:
		case c.Gone:
			seen[acked{c.Revision, holder[c.Held.Thing], c.Held.Thing, true}] = true
			delete(holder, c.Held.Thing)
		default:
			if by, ok := holder[c.Held.Thing]; ok {
				b.t.Errorf("revision %d: %s went from %s to %s", c.Revision, c.Held.Thing, by, c.Held.By.UID)
			}
			holder[c.Held.Thing] = c.Held.By.UID
			seen[acked{c.Revision, c.Held.By.UID, c.Held.Thing, false}] = true
		}
	}
}
