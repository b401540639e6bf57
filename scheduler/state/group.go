package state

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// grouper puts batches that wait at the same time into common transactions.
type grouper struct {
	most int // conditions, and changes, in a transaction
	send func(ctx context.Context, r *receipt, all []guard, group []*waiting) (int64, []guardError, error)

	running sync.WaitGroup

	mu       sync.Mutex // guards all below
	queue    []*waiting
	receipts []*receipt // of those that do not fly
}

// Measured with an embedded server on two processors: one transaction at a time commits a
// quarter less of batches of ten; more than these, and larger ones, commit no more.
const (
	mostFlying = 4
	groupOps   = 240
)

// waiting is a batch on its way.
type waiting struct {
	*Batch
	done     chan struct{} // closed when the two below are set
	revision int64
	err      error
}

// guardError is a condition that did not hold.
type guardError struct {
	key string
	err error
}

// commit waits for the result of a batch, or for the end of ctx: then the batch is
// written or not.
func (g *grouper) commit(ctx context.Context, b *Batch) (int64, error) {
	w := &waiting{Batch: b, done: make(chan struct{})}
	g.mu.Lock()
	g.queue = append(g.queue, w)
	if last := len(g.receipts) - 1; last >= 0 {
		r := g.receipts[last]
		g.receipts = g.receipts[:last]
		// Others may come to depend on this transaction, so it does not end with ctx.
		apart := context.WithoutCancel(ctx)
		g.running.Go(func() { g.fly(apart, r) })
	}
	g.mu.Unlock()
	select {
	case <-w.done:
		return w.revision, w.err
	case <-ctx.Done():
	}
	if g.withdraw(w) {
		return 0, ctx.Err()
	}
	select {
	case <-w.done:
		return w.revision, w.err
	default:
		return 0, fault.Unavailable("a change was under way and may have been made: %w", ctx.Err())
	}
}

func (g *grouper) wait() { g.running.Wait() }

// withdraw takes a batch back that nobody sends yet.
func (g *grouper) withdraw(w *waiting) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.queue, w)
	if i < 0 {
		return false
	}
	g.queue = slices.Delete(g.queue, i, i+1)
	return true
}

// fly sends groups until none waits.
func (g *grouper) fly(ctx context.Context, r *receipt) {
	for {
		g.mu.Lock()
		group, all := g.take()
		if len(group) == 0 {
			g.receipts = append(g.receipts, r)
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
		for len(group) > 0 {
			group, all = g.once(ctx, r, group, all)
		}
	}
}

// once sends a group. Where conditions did not hold, their batches have failed, and the
// others are to be sent again.
func (g *grouper) once(ctx context.Context, r *receipt, group []*waiting, all []guard) ([]*waiting, []guard) {
	revision, broken, err := g.send(ctx, r, all, group)
	if err != nil || len(broken) == 0 {
		for _, w := range group {
			w.end(revision, err)
		}
		return nil, nil
	}
	why := make(map[string]error, len(broken))
	for _, b := range broken {
		why[b.key] = b.err
	}
	var rest []*waiting
	var guards []guard
	for _, w := range group {
		if err := w.broken(why); err != nil {
			w.end(0, err)
			continue
		}
		rest = append(rest, w)
	}
	if len(rest) == len(group) { // a condition of all: there are others than those of batches
		for _, w := range rest {
			w.end(0, broken[0].err)
		}
		return nil, nil
	}
	var m merger
	for _, w := range rest {
		guards = m.add(w, guards)
	}
	return rest, guards
}

func (w *waiting) broken(why map[string]error) error {
	var errs []error
	for _, g := range w.guards {
		errs = append(errs, why[g.key])
	}
	return errors.Join(errs...)
}

func (w *waiting) end(revision int64, err error) {
	w.revision, w.err = revision, err
	close(w.done)
}

// take removes from the queue what goes together, the first one in any case.
func (g *grouper) take() (group []*waiting, all []guard) {
	var m merger
	n := 0
	for ; n < len(g.queue); n++ {
		w := g.queue[n]
		if n > 0 && (len(all)+len(w.guards) > min(g.most-everyTxn, groupOps) || m.size+w.size > mostBatch || m.clashes(w)) {
			break
		}
		all = m.add(w, all)
		group = append(group, w)
	}
	g.queue = slices.Delete(g.queue, 0, n)
	return group, all
}

// merger keeps together what is in a group. Two batches of which one looks at what the
// other changes stay apart: together, neither would see the other. So do those that want
// different things of one key.
type merger struct {
	size    int
	touched map[string]bool
	guarded map[string]int64 // what is wanted
}

func (m *merger) clashes(w *waiting) bool {
	for _, g := range w.guards {
		if want, ok := m.guarded[g.key]; m.touched[g.key] || ok && want != g.want {
			return true
		}
	}
	for _, key := range w.touched {
		if _, ok := m.guarded[key]; ok {
			return true
		}
	}
	return false
}

// add appends the conditions of a batch, those that many share once.
func (m *merger) add(w *waiting, all []guard) []guard {
	if m.touched == nil {
		m.touched, m.guarded = map[string]bool{}, map[string]int64{}
	}
	m.size += w.size
	for _, g := range w.guards {
		if _, ok := m.guarded[g.key]; !ok {
			all = append(all, g)
		}
		m.guarded[g.key] = g.want
	}
	for _, key := range w.touched {
		m.touched[key] = true
	}
	return all
}
