package statetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/state"
)

// Suite says whether a store on this etcd keeps its promises. It compacts the history.
func Suite(t *testing.T, etcd *clientv3.Client) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *state.Store)
	}{
		{"LifeOfAHost", lifeOfAHost},
		{"StaleChangesAreRefused", staleChanges},
		{"ListsAreOfOneRevision", listsAreOfOneRevision},
		{"EditsAreAllMade", editsAreAllMade},
		{"BatchesAreWhole", batchesAreWhole},
		{"ThingsHaveOneHolder", thingsHaveOneHolder},
		{"OnlyHoldersRelease", onlyHoldersRelease},
		{"NoWriteSkew", noWriteSkew},
		{"WatchMissesNothing", watchMissesNothing},
		{"WatchSaysWhatIsGone", func(t *testing.T, s *state.Store) { watchSaysWhatIsGone(t, s, etcd) }},
		{"FormerLeadersWriteNothing", formerLeadersWriteNothing},
		{"MembersExpire", membersExpire},
		{"HealthIsSeen", healthIsSeen},
		{"BadBatchesAreRefused", badBatches},
		{"BackupsAreWhole", backupsAreWhole},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t, etcd)) })
	}
}

// open opens a store with keys of its own.
func open(t *testing.T, etcd *clientv3.Client) *state.Store {
	t.Helper()
	s, err := state.Open(t.Context(), etcd, state.Options{Prefix: "/" + t.Name() + "/"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Host is a small resource.
func Host(name string) *api.Host {
	return &api.Host{Meta: api.Meta{Name: name}, Spec: api.HostSpec{Room: "r1"}}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func lifeOfAHost(t *testing.T, s *state.Store) {
	ctx := t.Context()
	h := Host("h1.example")
	h.Labels = map[string]string{"disk": "ssd"}
	must(t, s.Create(ctx, h))
	if h.UID == "" || h.Revision == 0 || h.Created.IsZero() || h.Generation != 1 {
		t.Errorf("a new host is not filled in: %+v", h.Meta)
	}
	got, err := state.Get[api.Host](ctx, s, "h1.example")
	must(t, err)
	if d := cmp.Diff(h, got); d != "" {
		t.Errorf("read back (-written +read):\n%s", d)
	}
	if err := s.Create(ctx, Host("h1.example")); !errdefs.IsAlreadyExists(err) {
		t.Errorf("a second one of the name: %v", err)
	}
	before := got.Revision
	got.Spec.Room = "r2"
	must(t, s.Update(ctx, got))
	if got.Revision <= before {
		t.Errorf("revision %d follows %d", got.Revision, before)
	}
	must(t, s.Delete(ctx, got))
	if _, err := state.Get[api.Host](ctx, s, "h1.example"); !errdefs.IsNotFound(err) {
		t.Errorf("deleted: %v", err)
	}
	if err := s.Update(ctx, got); !errdefs.IsNotFound(err) {
		t.Errorf("update of what is gone: %v", err)
	}
	again := Host("h1.example")
	must(t, s.Create(ctx, again))
	if again.UID == h.UID {
		t.Error("another host of the name has the same UID")
	}
}

func staleChanges(t *testing.T, s *state.Store) {
	ctx := t.Context()
	h := Host("h")
	must(t, s.Create(ctx, h))
	old := *h
	must(t, s.Update(ctx, h))
	for what, err := range map[string]error{"update": s.Update(ctx, &old), "delete": s.Delete(ctx, &old)} {
		if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), `host "h" was changed meanwhile`) {
			t.Errorf("%s of an old revision: %v", what, err)
		}
	}
	unread := Host("h")
	for what, err := range map[string]error{"update": s.Update(ctx, unread), "delete": s.Delete(ctx, unread)} {
		if !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s of what was not read: %v", what, err)
		}
	}
	b := s.Batch(nil)
	b.Require(&old)
	b.Create(Host("other"))
	if _, err := b.Commit(ctx); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("a batch that requires an old revision: %v", err)
	}
	if _, err := state.Get[api.Host](ctx, s, "other"); !errdefs.IsNotFound(err) {
		t.Errorf("it was made all the same: %v", err)
	}
}

func listsAreOfOneRevision(t *testing.T, s *state.Store) {
	ctx := t.Context()
	b := s.Batch(nil)
	for i := range 7 {
		b.Create(Host(fmt.Sprintf("h%d", i)))
	}
	revision, err := b.Commit(ctx)
	must(t, err)
	must(t, s.Create(ctx, &api.Operation{Meta: api.Meta{Name: "h9"}})) // of another kind
	var names []string
	page := state.Page{Limit: 3}
	for range 3 {
		l, err := state.All[api.Host](ctx, s, page)
		must(t, err)
		for _, h := range l.Items {
			names = append(names, h.Name)
			if h.Revision != revision {
				t.Errorf("%s is of revision %d, want %d", h.Name, h.Revision, revision)
			}
		}
		must(t, s.Create(ctx, Host(fmt.Sprintf("h%d-later", len(names)))))
		page.More = l.More
	}
	if got := strings.Join(names, " "); got != "h0 h1 h2 h3 h4 h5 h6" || page.More != "" {
		t.Errorf("three pages have %s, and more is %q", got, page.More)
	}
	whole, err := state.All[api.Host](ctx, s, state.Page{})
	must(t, err)
	if len(whole.Items) != 10 || whole.More != "" {
		t.Errorf("there are %d hosts, more is %q", len(whole.Items), whole.More)
	}
	past, err := state.All[api.Host](ctx, s, state.Page{At: revision})
	must(t, err)
	if len(past.Items) != 7 || past.Revision != revision {
		t.Errorf("at revision %d there were %d hosts", past.Revision, len(past.Items))
	}
	first, err := state.All[api.Host](ctx, s, state.Page{Limit: 1})
	must(t, err)
	for _, bad := range []string{"x", "e30", first.More[1:]} {
		if _, err := state.All[api.Host](ctx, s, state.Page{More: bad}); !errdefs.IsInvalidArgument(err) {
			t.Errorf("page %q: %v", bad, err)
		}
	}
	if _, err := state.All[api.Service](ctx, s, state.Page{More: first.More}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("a page of another kind: %v", err)
	}
}

func editsAreAllMade(t *testing.T, s *state.Store) {
	ctx := t.Context()
	must(t, s.Create(ctx, Host("h")))
	const editors, each = 8, 5
	var all sync.WaitGroup
	for range editors {
		all.Go(func() {
			for range each {
				if _, err := state.Edit(ctx, s, "h", func(h *api.Host) error {
					h.Spec.Overcommit.CPU++
					return nil
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	h, err := state.Edit(ctx, s, "h", func(h *api.Host) error {
		h.Status.Health, h.UID, h.Generation = api.Healthy, "other", 99
		return nil
	})
	must(t, err)
	if h.Spec.Overcommit.CPU != editors*each || h.Generation != editors*each+1 || h.UID == "other" {
		t.Errorf("after %d edits: %+v", editors*each, h)
	}
	same, err := state.Edit(ctx, s, "h", func(*api.Host) error { return nil })
	must(t, err)
	if same.Revision != h.Revision {
		t.Error("an edit of nothing was written")
	}
	no := errors.New("no")
	if _, err := state.Edit(ctx, s, "h", func(*api.Host) error { return no }); !errors.Is(err, no) {
		t.Errorf("an edit that gives up: %v", err)
	}
}

func address(i int) state.Thing {
	return state.Address("prod", netip.AddrFrom4([4]byte{10, 9, 0, byte(i)}))
}

func batchesAreWhole(t *testing.T, s *state.Store) {
	ctx := t.Context()
	first := state.Holder{Name: "web-0", UID: "u0"}
	b := s.Batch(nil)
	b.Claim(address(1), first)
	b.Claim(state.Volume("data"), first)
	b.Create(Host("h1"))
	revision, err := b.Commit(ctx)
	must(t, err)

	second := state.Holder{Name: "web-1", UID: "u1"}
	b = s.Batch(nil)
	b.Create(Host("h2"))
	b.Claim(address(2), second)
	b.Claim(state.Volume("data"), second)
	_, err = b.Commit(ctx)
	var held *state.HeldError
	if !errors.As(err, &held) || held.Thing != state.Volume("data") || held.By != first || !errdefs.IsAlreadyExists(err) {
		t.Errorf("a volume twice: %v", err)
	}
	if _, err := state.Get[api.Host](ctx, s, "h2"); !errdefs.IsNotFound(err) {
		t.Errorf("half of a batch was written: %v", err)
	}
	l, err := s.Holders(ctx, "", "", state.Page{})
	must(t, err)
	want := []*state.Held{{Thing: address(1), By: first, Revision: revision}, {Thing: state.Volume("data"), By: first, Revision: revision}}
	if d := cmp.Diff(want, l.Items); d != "" {
		t.Errorf("claims (-want +got):\n%s", d)
	}
	for within, n := range map[string]int{"prod": 1, "pro": 0, "": 1} {
		l, err := s.Holders(ctx, "address", within, state.Page{})
		must(t, err)
		if len(l.Items) != n {
			t.Errorf("%d addresses within %q, want %d", len(l.Items), within, n)
		}
	}
}

func thingsHaveOneHolder(t *testing.T, s *state.Store) {
	ctx := t.Context()
	const takers, things = 12, 6
	var won [things]atomic.Int32
	var all sync.WaitGroup
	for i := range takers {
		all.Go(func() {
			me := state.Holder{Name: fmt.Sprintf("web-%d", i), UID: "u"}
			for k := range things {
				b := s.Batch(nil)
				b.Claim(address((i+k)%things), me)
				b.Create(Host(fmt.Sprintf("h%d-%d", i, (i+k)%things)))
				_, err := b.Commit(ctx)
				var held *state.HeldError
				switch {
				case err == nil:
					won[(i+k)%things].Add(1)
				case !errors.As(err, &held):
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	hosts, err := state.All[api.Host](ctx, s, state.Page{})
	must(t, err)
	if len(hosts.Items) != things {
		t.Errorf("%d batches of one claim each were made for %d things", len(hosts.Items), things)
	}
	for k := range won {
		if n := won[k].Load(); n != 1 {
			t.Errorf("%s has %d holders", address(k), n)
		}
	}
}

func onlyHoldersRelease(t *testing.T, s *state.Store) {
	ctx := t.Context()
	me, former := state.Holder{Name: "web-0", UID: "u1"}, state.Holder{Name: "web-0", UID: "u0"}
	release := func(by state.Holder) error {
		b := s.Batch(nil)
		b.Release(address(1), by)
		_, err := b.Commit(ctx)
		return err
	}
	if err := release(me); !errdefs.IsNotFound(err) {
		t.Errorf("release of what nobody holds: %v", err)
	}
	b := s.Batch(nil)
	b.Claim(address(1), me)
	_, err := b.Commit(ctx)
	must(t, err)
	if err := release(former); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "u1") {
		t.Errorf("release by a former set of the name: %v", err)
	}
	must(t, release(me))
	b = s.Batch(nil)
	b.Claim(address(1), former)
	if _, err := b.Commit(ctx); err != nil {
		t.Errorf("what was released is not free: %v", err)
	}
}

// noWriteSkew has pairs of batches of which each forbids the other.
func noWriteSkew(t *testing.T, s *state.Store) {
	ctx := t.Context()
	for i := range 50 {
		x, y := Host(fmt.Sprintf("x%d", i)), Host(fmt.Sprintf("y%d", i))
		b := s.Batch(nil)
		b.Create(x)
		b.Create(y)
		_, err := b.Commit(ctx)
		must(t, err)
		var done atomic.Int32
		var all sync.WaitGroup
		try := func(require, change api.Host) {
			b := s.Batch(nil)
			b.Require(&require)
			b.Update(&change)
			switch _, err := b.Commit(ctx); {
			case err == nil:
				done.Add(1)
			case !errdefs.IsFailedPrecondition(err):
				t.Error(err)
			}
		}
		all.Go(func() { try(*x, *y) })
		all.Go(func() { try(*y, *x) })
		all.Wait()
		if done.Load() != 1 {
			t.Fatalf("round %d: %d of two batches were made, of which each forbids the other", i, done.Load())
		}
	}
}

func watchMissesNothing(t *testing.T, s *state.Store) {
	ctx := t.Context()
	must(t, s.Create(ctx, Host("before")))
	list, err := state.All[api.Host](ctx, s, state.Page{})
	must(t, err)
	b := s.Batch(nil)
	b.Create(Host("a"))
	b.Create(Host("b"))
	b.Claim(state.Volume("v"), state.Holder{Name: "n", UID: "u"})
	together, err := b.Commit(ctx)
	must(t, err)
	const writes = 100
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() {
		for range writes {
			if _, err := state.Edit(ctx, s, "a", func(h *api.Host) error { h.Spec.Overcommit.CPU++; return nil }); err != nil {
				t.Error(err)
			}
		}
		b, err := state.Get[api.Host](ctx, s, "b")
		if err == nil {
			err = s.Delete(ctx, b)
		}
		if err != nil {
			t.Error(err)
		}
	})

	var seen []string
	var cpu, last int64
	bounded, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	watch := func(after int64, most int, kinds ...api.Kind) (gone bool) {
		n := 0
		for step, err := range s.Watch(bounded, after, kinds...) {
			must(t, err)
			last = step.Revision
			for _, c := range step.Changes {
				if c.Revision <= after || c.Revision > step.Revision {
					t.Fatalf("a change of revision %d in a step of %d after %d", c.Revision, step.Revision, after)
				}
				h, ok := c.Resource.(*api.Host)
				switch {
				case c.Gone:
					return c.Name == "b" && c.Kind == api.Hosts && c.Resource == nil
				case c.New:
					if c.Revision != together {
						t.Errorf("%s came at revision %d, want %d", c.Name, c.Revision, together)
					}
					seen = append(seen, string(c.Kind)+" "+c.Name)
				case ok && c.Name == "a":
					if h.Spec.Overcommit.CPU != cpu+1 || h.Revision != c.Revision {
						t.Fatalf("write %d follows %d, of revision %d in a change of %d", h.Spec.Overcommit.CPU, cpu, h.Revision, c.Revision)
					}
					cpu++
				}
			}
			if n++; n == most {
				break
			}
		}
		return false
	}
	gone := watch(list.Revision, 3)
	for i := 0; !gone && i < 200; i++ { // taken up again and again
		gone = watch(last, 5, api.Hosts, state.Claims)
	}
	if !gone || cpu != writes {
		t.Errorf("saw %d writes of %d, and whether b is gone: %t", cpu, writes, gone)
	}
	if d := cmp.Diff([]string{"hosts a", "hosts b", "claims volume//v"}, seen); d != "" {
		t.Errorf("what was new (-want +got):\n%s", d)
	}
}

func watchSaysWhatIsGone(t *testing.T, s *state.Store, etcd *clientv3.Client) {
	ctx := t.Context()
	h := Host("h")
	must(t, s.Create(ctx, h))
	first := h.Revision
	must(t, s.Update(ctx, h))
	l, err := state.All[api.Host](ctx, s, state.Page{Limit: 1, At: first})
	must(t, err)
	if _, err := etcd.Compact(ctx, h.Revision); err != nil {
		t.Fatal(err)
	}
	var gone *state.GoneError
	fails := func(what string, after int64) {
		for _, err := range s.Watch(ctx, after) {
			if !errors.As(err, &gone) || gone.Asked != after || !errdefs.IsOutOfRange(err) {
				t.Errorf("%s: %v", what, err)
			}
			return
		}
		t.Errorf("%s: it ended without an error", what)
	}
	fails("a watch of what is compacted", first-1)
	fails("a watch of what is to come", h.Revision+1_000_000)
	if _, err := state.All[api.Host](ctx, s, state.Page{At: l.Revision}); !errors.As(err, &gone) {
		t.Errorf("a list of what is compacted: %v", err)
	}
	for _, err := range s.Watch(ctx, 0) {
		if !errdefs.IsInvalidArgument(err) {
			t.Errorf("a watch without a list: %v", err)
		}
	}
}

func formerLeadersWriteNothing(t *testing.T, s *state.Store) {
	ctx := t.Context()
	if _, _, err := s.Leader(ctx); !errdefs.IsNotFound(err) {
		t.Errorf("without candidates: %v", err)
	}
	join := func(name string) *state.Member {
		m, err := s.Join(ctx, name, 5*time.Second)
		must(t, err)
		t.Cleanup(func() { m.Leave(context.Background()) })
		return m
	}
	a, b := join("a"), join("b")
	if _, err := s.Join(ctx, "a", 5*time.Second); !errdefs.IsAlreadyExists(err) {
		t.Errorf("a second member of the name: %v", err)
	}
	first, err := a.Lead(ctx)
	must(t, err)
	write := func(under *state.Term, name string) error {
		b := s.Batch(under)
		b.Create(Host(name))
		_, err := b.Commit(ctx)
		return err
	}
	must(t, write(first, "h1"))
	if name, epoch, err := s.Leader(ctx); err != nil || name != "a" || epoch != first.Epoch {
		t.Errorf("%s leads in epoch %d: %v", name, epoch, err)
	}
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if _, err := b.Lead(short); err == nil {
		t.Error("two lead")
	}
	elected := make(chan *state.Term)
	go func() {
		term, err := b.Lead(ctx)
		if err != nil {
			t.Error(err)
		}
		elected <- term
	}()
	must(t, a.Leave(ctx))
	second := <-elected
	if second == nil {
		return
	}
	select {
	case <-first.Lost():
	default:
		t.Error("who left does not know")
	}
	if second.Epoch <= first.Epoch {
		t.Errorf("epoch %d follows %d", second.Epoch, first.Epoch)
	}
	var all sync.WaitGroup
	for i := range 20 { // in common transactions, too
		all.Go(func() {
			if err := write(first, fmt.Sprintf("old%d", i)); !errors.Is(err, state.ErrDeposed) {
				t.Errorf("a former leader wrote: %v", err)
			}
		})
		all.Go(func() {
			if err := write(second, fmt.Sprintf("new%d", i)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	must(t, second.Resign(ctx))
	if err := write(second, "late"); !errors.Is(err, state.ErrDeposed) {
		t.Errorf("who resigned wrote: %v", err)
	}
	third, err := b.Lead(ctx)
	must(t, err)
	if err := errors.Join(write(third, "h2")); err != nil || third.Epoch <= second.Epoch {
		t.Errorf("leading again, in epoch %d: %v", third.Epoch, err)
	}
	if err := write(second, "late"); !errors.Is(err, state.ErrDeposed) {
		t.Errorf("a former term of a leader wrote: %v", err)
	}
}

func membersExpire(t *testing.T, s *state.Store) {
	ctx := t.Context()
	process, end := context.WithCancel(ctx)
	m, err := s.Join(process, "a", 2*time.Second)
	must(t, err)
	term, err := m.Lead(ctx)
	must(t, err)
	names, revision, err := s.Members(ctx)
	must(t, err)
	if strings.Join(names, " ") != "a" {
		t.Errorf("members: %q", names)
	}
	watch, stop := context.WithTimeout(ctx, 30*time.Second)
	defer stop()
	end() // as if the process were gone
	began := time.Now()
	gone := false
	for step, err := range s.Watch(watch, revision, state.Members) {
		must(t, err)
		for _, c := range step.Changes {
			gone = gone || c.Gone && c.Name == "a"
		}
		if gone {
			break
		}
	}
	if !gone {
		t.Fatal("a member without a process stays")
	}
	if took := time.Since(began); took < time.Second {
		t.Errorf("its lease ended after %s already", took)
	}
	<-m.Lost()
	b := s.Batch(term)
	b.Create(Host("h"))
	if _, err := b.Commit(ctx); !errors.Is(err, state.ErrDeposed) {
		t.Errorf("a leader without a lease wrote: %v", err)
	}
	if _, err := m.Lead(ctx); !errdefs.IsUnavailable(err) {
		t.Errorf("a former member leads: %v", err)
	}
	again, err := s.Join(ctx, "a", 2*time.Second)
	must(t, err)
	must(t, again.Leave(ctx))
}

func healthIsSeen(t *testing.T, s *state.Store) {
	h, err := s.Health(t.Context())
	must(t, err)
	leaders := 0
	for _, server := range h.Servers {
		if server.Err != nil || server.Size <= 0 || server.InUse <= 0 || server.Quota != 8<<30 || server.Version == "" {
			t.Errorf("%+v", server)
		}
		if server.Leader {
			leaders++
		}
	}
	if leaders != 1 || len(h.Alarms) > 0 {
		t.Errorf("%d of %d lead, alarms: %q", leaders, len(h.Servers), h.Alarms)
	}
}

func backupsAreWhole(t *testing.T, s *state.Store) {
	must(t, s.Create(t.Context(), Host("just-now")))
	path := filepath.Join(t.TempDir(), "backup")
	b, err := s.Backup(t.Context(), path)
	must(t, err)
	again, err := state.Verify(path)
	if err != nil || again != b {
		t.Errorf("made %+v, read %+v: %v", b, again, err)
	}
	data, err := os.ReadFile(path)
	must(t, err)
	if !bytes.Contains(data, []byte("/"+t.Name()+"/v1/hosts/just-now")) {
		t.Error("what was acknowledged before is not in it")
	}
}

func badBatches(t *testing.T, s *state.Store) {
	me := state.Holder{Name: "n", UID: "u"}
	for name, fill := range map[string]func(b *state.Batch){
		"empty":        func(*state.Batch) {},
		"twice":        func(b *state.Batch) { b.Create(Host("h")); b.Create(Host("h")) },
		"nameless":     func(b *state.Batch) { b.Create(Host("")) },
		"slash":        func(b *state.Batch) { b.Create(Host("h/x")) },
		"stored":       func(b *state.Batch) { h := Host("h"); h.Revision = 3; b.Create(h) },
		"no-holder":    func(b *state.Batch) { b.Claim(state.Volume("v"), state.Holder{Name: "n"}) },
		"no-thing":     func(b *state.Batch) { b.Claim(state.Volume(""), me) },
		"large":        func(b *state.Batch) { h := Host("h"); h.Spec.Rack = strings.Repeat("x", 300<<10); b.Create(h) },
		"many":         func(b *state.Batch) { many(b, state.MaxOps-1, 1) },
		"many-bytes":   func(b *state.Batch) { many(b, 10, 200<<10) },
		"read-nothing": func(b *state.Batch) { b.Create(Host("h")); b.Require(Host("g")) },
	} {
		t.Run(name, func(t *testing.T) {
			b := s.Batch(nil)
			fill(b)
			if _, err := b.Commit(t.Context()); !errdefs.IsInvalidArgument(err) {
				t.Errorf("got %v", err)
			}
		})
	}
	b := s.Batch(nil)
	many(b, state.MaxOps-2, 1000)
	if _, err := b.Commit(t.Context()); err != nil {
		t.Errorf("the largest batch: %v", err)
	}
	l, err := state.All[api.Host](t.Context(), s, state.Page{})
	must(t, err)
	if len(l.Items) != state.MaxOps-2 {
		t.Errorf("%d hosts are there", len(l.Items))
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Create(ended, Host("late")); err == nil {
		if _, err := state.Get[api.Host](t.Context(), s, "late"); err != nil {
			t.Errorf("it was said to be made: %v", err)
		}
	}
}

func many(b *state.Batch, n, bytes int) {
	for i := range n {
		h := Host(fmt.Sprintf("h%d", i))
		h.Spec.Rack = strings.Repeat("x", bytes)
		b.Create(h)
	}
}
