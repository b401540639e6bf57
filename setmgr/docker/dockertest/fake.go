package dockertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/setmgr"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/render"
)

// The errors of calls that [Fake.FailAt] makes fail.
var (
	ErrKilled  = errors.New("the caller was killed")
	ErrRefused = fmt.Errorf("the engine is on fire: %w", errdefs.ErrInternal)
)

// Failure says how a call fails.
type Failure int

// The ways to fail. After a kill all calls fail until [Fake.Revive]: who made them
// is no more.
const (
	Refuse     Failure = iota // the Engine gives an error, nothing is done
	KillBefore                // the caller is killed, nothing is done
	KillAfter                 // the caller is killed, what it asked for is done
)

// Fake is a host with an Engine in memory. It is a [setmgr.Engine], and Cap is the
// host's cgroup parents. All methods may be called at once.
type Fake struct {
	mu       sync.Mutex // guards all below
	facts    render.Facts
	boxes    []*box // in the order in which they were made
	networks map[string]bool
	volumes  map[string]string // the set that each was made for
	store    map[string]Image  // images by name
	registry map[string]Image
	caps     map[string]plan.Limits
	numbers  int // given out
	calls    []string
	fails    map[int]Failure
	killed   bool
	changed  chan struct{} // closed at the next change
	watch    func([]plan.Container)
	heard    map[chan setmgr.Happened]bool
	hangs    bool // Ping is not answered
	restores bool
}

// Watch shows all containers to see after each call, also one that fails. It must
// not call the fake.
func (f *Fake) Watch(see func([]plan.Container)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watch = see
}

func (f *Fake) show() {
	if f.watch == nil {
		return
	}
	var all []plan.Container
	for _, b := range f.boxes {
		all = append(all, f.seen(b))
	}
	f.watch(all)
}

// New is a host of API 1.41 with cgroups of version 1, the networks of every
// Engine, and images in its store.
func New(images ...Image) *Fake {
	f := &Fake{
		facts:    render.Facts{API: "1.41", CgroupDriver: "cgroupfs", CgroupVersion: 1, CPUs: 8, Memory: 32 << 30},
		networks: map[string]bool{"bridge": true, "host": true, "none": true},
		volumes:  map[string]string{}, store: map[string]Image{}, registry: map[string]Image{},
		heard: map[chan setmgr.Happened]bool{}, caps: map[string]plan.Limits{}, fails: map[int]Failure{}, changed: make(chan struct{}),
	}
	for _, i := range images {
		f.store[i.Ref] = i.known()
	}
	return f
}

// SetFacts makes it another Engine. From API 1.52 on, containers wait at a start of
// the Engine for the one whose network they share.
func (f *Fake) SetFacts(facts render.Facts) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.facts = facts
}

// AddNetwork makes a network.
func (f *Fake) AddNetwork(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.networks[name] = true
}

// Publish puts an image into the registry, for Pull.
func (f *Fake) Publish(i Image) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.registry[i.Ref] = i.known()
}

// FailAt makes the n-th call from here on fail, 1 being the next. Observe, Sets, PID
// and the reading of a cap are questions, and do not count.
func (f *Fake) FailAt(n int, how Failure) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fails[len(f.calls)+n] = how
}

// Revive ends what a kill began, and forgets failures that did not come.
func (f *Fake) Revive() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.killed = false
	clear(f.fails)
}

// Calls are the calls that were made so far, as text.
func (f *Fake) Calls() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// ask runs a question.
func (f *Fake) ask(ctx context.Context, question func() error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.killed {
		return ErrKilled
	}
	return question()
}

// call runs a call that counts.
func (f *Fake) call(ctx context.Context, what string, do func() error) error {
	return f.ask(ctx, func() error {
		f.calls = append(f.calls, what)
		how, fails := f.fails[len(f.calls)]
		delete(f.fails, len(f.calls))
		f.killed = fails && how != Refuse
		defer f.wake()
		defer f.show()
		switch {
		case fails && how == Refuse:
			return fmt.Errorf("%s: %w", what, ErrRefused)
		case fails && how == KillBefore:
			return ErrKilled
		}
		err := do()
		if fails {
			return ErrKilled
		}
		return err
	})
}

// wait asks after each change, until the answer is there.
func (f *Fake) wait(ctx context.Context, question func() (done bool, err error)) error {
	for {
		var done bool
		var changed chan struct{}
		err := f.ask(ctx, func() (err error) {
			changed = f.changed
			done, err = question()
			return err
		})
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
}

func (f *Fake) wake() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// number gives out ids, processes and network namespaces.
func (f *Fake) number() int {
	f.numbers++
	return f.numbers
}

// String is all that there is, a line each.
func (f *Fake) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var lines []string
	for _, b := range f.boxes {
		lines = append(lines, "container "+b.line(f))
	}
	for n := range f.networks {
		if n != "bridge" && n != "host" && n != "none" {
			lines = append(lines, "network "+n)
		}
	}
	for v, set := range f.volumes {
		lines = append(lines, strings.TrimSuffix("volume "+v+" of "+set, " of "))
	}
	for ref, i := range f.store {
		lines = append(lines, "image "+ref+" "+i.ID)
	}
	for parent, l := range f.caps {
		lines = append(lines, "cap "+parent+": "+l.String())
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

// Check returns an error for what no Engine could be in.
func (f *Fake) Check() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	names, ns := map[string]bool{}, map[int]string{}
	for _, b := range f.boxes {
		if names[b.name] {
			return fmt.Errorf("two containers have the name %s", b.name)
		}
		names[b.name] = true
		if b.state != plan.Running || b.netOf != "" {
			continue
		}
		if other := ns[b.ns]; other != "" {
			return fmt.Errorf("%s and %s have one network namespace", b.name, other)
		}
		ns[b.ns] = b.name
	}
	if _, unnamed := f.volumes[""]; unnamed {
		return errors.New("a volume has no name")
	}
	return nil
}
