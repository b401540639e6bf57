package docker

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/setmgr"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// Logs is what a [Follower] reads; an [Engine] has it.
type Logs interface {
	Observe(ctx context.Context, set string, want *spec.Set) (plan.Observed, error)
	Logs(ctx context.Context, id string, o LogOptions) (out io.ReadCloser, tty bool, err error)
	Events(ctx context.Context, ready func(), each func(setmgr.Happened)) error
}

// lookAgain is how long a follower waits for an event at most: what it waits for may be
// no container's.
const lookAgain = 5 * time.Second

// Follower copies what members of a set write, over their restarts and replacements if the
// options say to follow. Its methods may be called at once after Watch.
type Follower struct {
	Engine  Logs
	Set     string
	Options LogOptions
	// Kept says whether the set is to be there even while nothing of it is, and when it is
	// stopped. Nil is never.
	Kept func() bool

	wake map[string]chan struct{} // by member: something happened to its set; nil is never
}

// Watch has the follower hear what happens to the set, if it is to follow; it comes before
// [Follower.Copy]. The context is that of the copies, and ends also when the Engine goes away,
// which is its cause. The caller calls stop.
func (f *Follower) Watch(ctx context.Context, members ...string) (watched context.Context, stop func(), err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop = func() { cancel(nil) }
	f.wake = map[string]chan struct{}{}
	for _, m := range members {
		f.wake[m] = make(chan struct{}, 1)
	}
	if !f.follows() {
		return ctx, stop, nil
	}
	ready := make(chan struct{})
	go func() { // ends with ctx
		err := f.Engine.Events(ctx, func() { close(ready) }, func(h setmgr.Happened) {
			if h.Set != f.Set {
				return
			}
			for _, w := range f.wake {
				select {
				case w <- struct{}{}:
				default:
				}
			}
		})
		if errors.Is(err, io.EOF) {
			err = fault.Unavailable("the Docker Engine went away")
		}
		cancel(err)
	}()
	select {
	case <-ready:
		return ctx, stop, nil
	case <-ctx.Done():
		stop()
		return nil, nil, context.Cause(ctx)
	}
}

func (f *Follower) follows() bool { return f.Options.Follow && f.Options.Until == "" }

// Copy copies what a member writes, from its container c on. One without an ID is waited for.
// A writer that has a method Flush is flushed when a container's log ends.
func (f *Follower) Copy(ctx context.Context, c plan.Container, stdout, stderr io.Writer) error {
	o := f.Options
	for {
		if c.ID != "" {
			err := f.copy(ctx, c, o, stdout, stderr)
			gone := f.follows() && errdefs.IsNotFound(err) // another takes its place, or none
			if err != nil && !gone || !f.follows() {
				return err
			}
		}
		next, err := f.next(ctx, c)
		if next == nil || err != nil {
			return err
		}
		if c.ID != "" {
			o.Tail, o.Since = "all", ""
		}
		if next.ID == c.ID {
			o.Since = next.Finished.Format(time.RFC3339Nano)
		}
		c = *next
	}
}

// next waits for the container that goes on after c; nil if none does.
func (f *Follower) next(ctx context.Context, c plan.Container) (*plan.Container, error) {
	for {
		seen, err := f.Engine.Observe(ctx, f.Set, nil)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			return nil, err
		}
		next, goesOn := after(c, seen, f.Kept != nil && f.Kept())
		if next != nil || !goesOn {
			return next, nil
		}
		select {
		case <-f.wake[c.Member]:
		case <-time.After(lookAgain):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// after is the container of a member that was started last, if that was after c was;
// goesOn says whether there may be one later.
func after(c plan.Container, o plan.Observed, kept bool) (next *plan.Container, goesOn bool) {
	all := slices.DeleteFunc(slices.Clone(o.Members), func(x plan.Container) bool { return x.Member != c.Member })
	if len(all) == 0 || o.Infra == nil && !kept {
		return nil, kept
	}
	last := slices.MaxFunc(all, func(x, y plan.Container) int { return cmp.Compare(x.Started.UnixNano(), y.Started.UnixNano()) })
	if last.Started.After(c.Started) {
		return &last, true
	}
	return nil, (kept || !o.Stopped()) && (last.State != plan.Exited || !last.Serves())
}

func (f *Follower) copy(ctx context.Context, c plan.Container, o LogOptions, stdout, stderr io.Writer) error {
	in, tty, err := f.Engine.Logs(ctx, c.ID, o)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	if tty {
		_, err = io.Copy(stdout, in)
	} else {
		_, err = stdcopy.StdCopy(stdout, stderr, in)
	}
	for _, w := range []io.Writer{stdout, stderr} {
		if lines, is := w.(interface{ Flush() }); is {
			lines.Flush() // the next container's begin anew
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
