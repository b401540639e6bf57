package statetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/scheduler/state"
)

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
	m, err := s.Join(process, "a", 2*time.Second, "https://a:7443", "https://10.0.0.1:7443")
	must(t, err)
	term, err := m.Lead(ctx)
	must(t, err)
	members, revision, err := s.Members(ctx)
	must(t, err)
	if fmt.Sprint(members) != "[{a [https://a:7443 https://10.0.0.1:7443]}]" {
		t.Errorf("members: %v", members)
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
