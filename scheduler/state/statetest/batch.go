package statetest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/state"
)

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
