package state

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// fake sends groups to nowhere, and keeps what it was given.
type fake struct {
	hold   chan struct{} // each group waits for one
	broken func(all []guard) []guardError

	mu   sync.Mutex // guards all below
	sent [][]string
}

func (f *fake) send(_ context.Context, _ *receipt, all []guard, group []*waiting) (int64, []guardError, error) {
	var keys []string
	for _, w := range group {
		keys = append(keys, strings.Join(w.touched, "+"))
	}
	f.mu.Lock()
	f.sent = append(f.sent, keys)
	n := len(f.sent)
	f.mu.Unlock()
	<-f.hold
	if f.broken != nil {
		if b := f.broken(all); len(b) > 0 {
			return 0, b, nil
		}
	}
	return int64(n), nil, nil
}

// batch changes some keys and looks at others, which are written KEY=REVISION.
func batch(changes ...string) *Batch {
	b := &Batch{}
	for _, c := range changes {
		var g guard
		if _, err := fmt.Sscanf(c, "%1s=%d", &g.key, &g.want); err == nil {
			b.guards = append(b.guards, g)
			continue
		}
		b.guards = append(b.guards, guard{key: c})
		b.touched = append(b.touched, c)
		b.size += 100
	}
	return b
}

// groups sends batches while a first one is under way in each lane, and returns what went
// together afterwards, and how each ended.
func groups(t *testing.T, f *fake, most int, batches ...*Batch) (sent [][]string, errs []error) {
	t.Helper()
	f.hold = make(chan struct{})
	g := &grouper{most: most, send: f.send, receipts: receipts(keys{}, "")}
	errs = make([]error, len(batches))
	synctest.Test(t, func(t *testing.T) {
		f.hold = make(chan struct{})
		var all sync.WaitGroup
		for i := range mostFlying {
			all.Go(func() { g.commit(t.Context(), batch(fmt.Sprintf("first%d", i))) })
			synctest.Wait()
		}
		for i, b := range batches {
			all.Go(func() { _, errs[i] = g.commit(t.Context(), b) })
			synctest.Wait()
		}
		f.hold <- struct{}{} // one lane goes on alone
		synctest.Wait()
		for len(g.queue) > 0 {
			f.hold <- struct{}{}
			synctest.Wait()
		}
		close(f.hold)
		all.Wait()
		g.wait()
	})
	for _, s := range f.sent {
		if !strings.HasPrefix(s[0], "first") {
			sent = append(sent, s)
		}
	}
	return sent, errs
}

func TestWhatWaitsGoesTogether(t *testing.T) {
	cases := []struct {
		name    string
		most    int
		batches []*Batch
		want    string
	}{
		{"apart", 10, []*Batch{batch("a"), batch("b", "c"), batch("d")}, "[[a b+c d]]"},
		{"shared", 10, []*Batch{batch("a", "f=5"), batch("b", "f=5")}, "[[a b]]"},
		{"other-wish", 10, []*Batch{batch("a", "f=5"), batch("b", "f=6")}, "[[a] [b]]"},
		{"same-key", 10, []*Batch{batch("a"), batch("a"), batch("b")}, "[[a] [a b]]"},
		{"looked-at", 10, []*Batch{batch("a", "b=5"), batch("b")}, "[[a] [b]]"},
		{"looks-at", 10, []*Batch{batch("b"), batch("a", "b=5")}, "[[b] [a]]"},
		{"full", 5, []*Batch{batch("a"), batch("b"), batch("c"), batch("d"), batch("e")}, "[[a b c] [d e]]"},
		{"alone-at-most", 5, []*Batch{batch("a", "b", "c"), batch("d")}, "[[a+b+c] [d]]"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			sent, errs := groups(t, &fake{}, c.most, c.batches...)
			if got := fmt.Sprint(sent); got != c.want || errors.Join(errs...) != nil {
				t.Errorf("got %s, %v, want %s", got, errs, c.want)
			}
		})
	}
}

func TestABatchThatFailsTakesNoneWithIt(t *testing.T) {
	no := errors.New("no")
	f := &fake{broken: func(all []guard) []guardError {
		if i := slices.IndexFunc(all, func(g guard) bool { return g.key == "b" || g.key == "s" }); i >= 0 {
			return []guardError{{all[i].key, no}}
		}
		return nil
	}}
	sent, errs := groups(t, f, 10, batch("a"), batch("b"), batch("c"))
	if got := fmt.Sprint(sent, errs); got != "[[a b c] [a c]] [<nil> no <nil>]" {
		t.Error(got)
	}
	f = &fake{broken: func([]guard) []guardError { return []guardError{{"schema", no}} }}
	if sent, errs := groups(t, f, 10, batch("a"), batch("b")); fmt.Sprint(sent, errs) != "[[a b]] [no no]" {
		t.Errorf("a condition of all: %v, %v", sent, errs)
	}
}

func TestWhoGivesUpIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{hold: make(chan struct{})}
		g := &grouper{most: 10, send: f.send, receipts: receipts(keys{}, "")}
		ctx, cancel := context.WithCancel(t.Context())
		errs := make([]error, mostFlying+1)
		var all sync.WaitGroup
		for i := range errs {
			all.Go(func() { _, errs[i] = g.commit(ctx, batch(fmt.Sprintf("k%d", i))) })
			synctest.Wait()
		}
		cancel()
		all.Wait()
		close(f.hold)
		g.wait()
		if len(f.sent) != mostFlying {
			t.Errorf("sent: %v", f.sent)
		}
		for i, err := range errs {
			if maybe := strings.Contains(err.Error(), "may have been made"); !errors.Is(err, context.Canceled) || maybe != (i < mostFlying) {
				t.Errorf("%d: %v", i, err)
			}
		}
	})
}
