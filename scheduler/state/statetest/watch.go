package statetest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/state"
)

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
