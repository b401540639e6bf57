package dockertest

import (
	"context"
	"slices"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/render"
)

// Die kills a container's process behind the Engine's back. By its policy it comes
// back, an infra container in a new network namespace: those that shared the old one
// live on in that, stranded.
func (f *Fake) Die(id string) error { return f.End(id, killed) }

// Touch makes a file in a container that runs, as its program would.
func (f *Fake) Touch(id, path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if b := f.byID(id); b != nil && b.state == plan.Running {
		b.files[path] = []byte{}
	}
}

// End is Die with an exit code.
func (f *Fake) End(id string, code int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.wake()
	b, err := f.find(id)
	if err == nil && b.state == plan.Running {
		f.end(b, code)
	}
	return err
}

// StopLate is a docker stop of which nobody hears before tell is called: an Engine tells
// of a container's end first, and that it was stopped by hand a while later.
func (f *Fake) StopLate(id string) (tell func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.wake()
	b, err := f.find(id)
	if err != nil {
		return nil, err
	}
	b.byHand = true
	f.stop(b, terminated)
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.tell(b, "stop")
	}, nil
}

// RestartEngine ends all containers and starts those that their policy wants, in the
// order of names, then of their making. Before API 1.52 one that comes before the
// one whose network it shares fails, and stays down.
func (f *Fake) RestartEngine(names ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer f.wake()
	for _, b := range f.boxes {
		if b.live() {
			f.stop(b, killed)
		}
	}
	f.hangUp()
	var order []*box
	for _, n := range names {
		if b := f.byID(n); b != nil {
			order = append(order, b)
		}
	}
	order = append(order, f.boxes...)
	if f.facts.AtLeast("1.52") {
		slices.SortStableFunc(order, func(a, b *box) int { return min(len(a.netOf), 1) - min(len(b.netOf), 1) })
	}
	tried := map[*box]bool{}
	for _, b := range order {
		if tried[b] {
			continue
		}
		if tried[b] = true; boots(b) {
			f.again(b)
		}
	}
}

// Reboot is a start of the host: RestartEngine, with no cgroup left.
func (f *Fake) Reboot(names ...string) {
	f.mu.Lock()
	clear(f.caps)
	f.mu.Unlock()
	f.RestartEngine(names...)
}

// boots says whether a start of the Engine starts a container.
func boots(b *box) bool {
	if b.state == plan.Created || b.state == plan.Dead {
		return false
	}
	by := *b
	if b.policy() == "always" {
		by.byHand = false // that lasts only as long as the Engine runs
	}
	return restarts(&by)
}

// Cap is the cgroup parents of a [Fake]'s host. Its calls count as the Engine's do.
type Cap struct{ f *Fake }

// Cap returns the host's cgroup parents.
func (f *Fake) Cap() *Cap { return &Cap{f} }

// Set implements [setmgr.Cap].
func (c *Cap) Set(ctx context.Context, parent string, l plan.Limits) error {
	return c.f.call(ctx, "cap "+parent+" "+l.String(), func() error {
		for _, b := range c.f.boxes {
			if b.live() && b.host.CgroupParent == parent && above(b.limits(), l) {
				return fault.Conflict("cgroup %s: write cpu.cfs_quota_us: invalid argument: %s has %s", parent, b.name, b.limits())
			}
		}
		c.f.caps[parent] = l
		return nil
	})
}

// above says whether a cgroup of version 1 would have more processors than its parent,
// which the kernel refuses.
func above(child, parent plan.Limits) bool {
	return parent.CPU > 0 && child.CPU > parent.CPU+0.001
}

// fits refuses limits of a container that runs above those of its cgroup parent.
func (f *Fake) fits(b *box, l plan.Limits) error {
	if parent, capped := f.caps[b.host.CgroupParent]; capped && b.live() && above(l, parent) {
		return fault.Conflict("failed to write cpu.cfs_quota_us of container %s: invalid argument: %s above %s", b.name, l, parent)
	}
	return nil
}

// Read implements [setmgr.Cap].
func (c *Cap) Read(ctx context.Context, parent string) (l plan.Limits, there bool, err error) {
	err = c.f.ask(ctx, func() error {
		l, there = c.f.caps[parent]
		return nil
	})
	return l, there, err
}

// Drop implements [setmgr.Cap].
func (c *Cap) Drop(ctx context.Context, parent string) error {
	return c.f.call(ctx, "uncap "+parent, func() error {
		for _, b := range c.f.boxes {
			if b.live() && b.host.CgroupParent == parent {
				return fault.Conflict("cgroup %s cannot be removed: containers are in it, such as %s", parent, b.name)
			}
		}
		delete(c.f.caps, parent)
		return nil
	})
}

// ParentOf is the cgroup parent of a set on this host.
func (f *Fake) ParentOf(set string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return render.Parent(f.facts, set)
}
