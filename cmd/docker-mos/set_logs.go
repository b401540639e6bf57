package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/setmgr"
	"github.com/mosdocker/mosdocker/setmgr/docker"
	"github.com/mosdocker/mosdocker/setmgr/plan"
)

func (s *sets) logs() *cobra.Command {
	var o docker.LogOptions
	cmd := &cobra.Command{
		Use:   "logs [OPTIONS] SET [CONTAINER...]",
		Short: "Show what the containers of a set write", Args: between(1, "SET", "CONTAINER..."), ValidArgsFunction: s.setThenMembers,
		Long: "Show what the containers of a set write. --follow goes on with containers that are restarted or replaced, until the set is stopped or removed.",
	}
	cmd.Flags().BoolVarP(&o.Follow, "follow", "f", false, "Go on with what they write from now on")
	cmd.Flags().StringVarP(&o.Tail, "tail", "n", "all", "So many lines from the end")
	cmd.Flags().StringVar(&o.Since, "since", "", "What was written since then: a time, or 10m")
	cmd.Flags().StringVar(&o.Until, "until", "", "What was written until then")
	cmd.Flags().BoolVarP(&o.Timestamps, "timestamps", "t", false, "With times")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		m, obs, err := s.observe(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		e, ok := m.Engine.(*docker.Engine)
		if !ok {
			return errors.New("the Engine has no logs")
		}
		cs, width, err := chosen(obs, args[0], args[1:])
		if err != nil {
			return err
		}
		ctx, cancel := context.WithCancelCause(cmd.Context())
		defer cancel(nil)
		f := &follower{cmd: cmd, engine: e, set: args[0], options: o, wake: map[string]chan struct{}{}}
		for _, c := range cs {
			f.wake[c.Member] = make(chan struct{}, 1)
		}
		if o.Follow && o.Until == "" {
			if err := f.watch(ctx, cancel); err != nil {
				return err
			}
		}
		var wg sync.WaitGroup
		errs := make([]error, len(cs))
		for i, c := range cs {
			wg.Go(func() {
				prefix := fmt.Sprintf("%-*s | ", width, c.Member)
				if len(args) == 2 {
					prefix = "" // of one only, as docker logs has it
				}
				errs[i] = f.follow(ctx, c, prefix)
			})
		}
		wg.Wait()
		if cmd.Context().Err() != nil {
			return exitError(codeOf(os.Interrupt)) // docker was told to end
		}
		return once(errs)
	}
	return cmd
}

// once joins errors, each sentence once: many containers may err for one reason.
func once(errs []error) error {
	var out []error
	for _, err := range errs {
		if err != nil && !slices.ContainsFunc(out, func(e error) bool { return e.Error() == err.Error() }) {
			out = append(out, err)
		}
	}
	return errors.Join(out...)
}

// follower copies what the members of a set write, over their restarts and
// replacements.
type follower struct {
	cmd     *cobra.Command
	engine  *docker.Engine
	set     string
	options docker.LogOptions
	wake    map[string]chan struct{} // by member: something happened to its set; nil is never

	mu sync.Mutex // guards the output, line by line
}

// watch lets followers know of what happens to the set. It is no more when ctx is over,
// which ends also when the Engine goes away.
func (f *follower) watch(ctx context.Context, cancel context.CancelCauseFunc) error {
	ready := make(chan struct{})
	go func() {
		err := f.engine.Events(ctx, func() { close(ready) }, func(h setmgr.Happened) {
			if h.Set != f.set {
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
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// follow copies what a member writes, from its container c on.
func (f *follower) follow(ctx context.Context, c plan.Container, prefix string) error {
	o := f.options
	for {
		if err := f.copy(ctx, c, o, prefix); err != nil || !o.Follow || o.Until != "" {
			return err
		}
		for {
			obs, err := f.engine.Observe(ctx, f.set, nil)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil {
				return err
			}
			next, goesOn := after(c, obs)
			if !goesOn {
				return nil
			}
			if next != nil {
				o.Tail, o.Since = "all", ""
				if next.ID == c.ID {
					o.Since = next.Finished.Format(time.RFC3339Nano)
				}
				c = *next
				break
			}
			select {
			case <-f.wake[c.Member]:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
}

// after is the container of a member that was started last, if that was after c was;
// goesOn says whether there may be one later.
func after(c plan.Container, o plan.Observed) (next *plan.Container, goesOn bool) {
	all := slices.DeleteFunc(slices.Clone(o.Members), func(x plan.Container) bool { return x.Member != c.Member })
	if o.Infra == nil || len(all) == 0 {
		return nil, false
	}
	last := slices.MaxFunc(all, func(x, y plan.Container) int { return cmp.Compare(x.Started.UnixNano(), y.Started.UnixNano()) })
	if last.Started.After(c.Started) {
		return &last, true
	}
	return nil, !o.Stopped() && (last.State != plan.Exited || !last.Serves())
}

// copy copies lines, whole ones, each with the prefix.
func (f *follower) copy(ctx context.Context, c plan.Container, o docker.LogOptions, prefix string) error {
	in, tty, err := f.engine.Logs(ctx, c.ID, o)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out := &prefixed{w: f.cmd.OutOrStdout(), prefix: prefix, mu: &f.mu}
	errOut := &prefixed{w: f.cmd.ErrOrStderr(), prefix: prefix, mu: &f.mu}
	defer out.flush()
	defer errOut.flush()
	if tty {
		_, err = io.Copy(out, in)
	} else {
		_, err = stdcopy.StdCopy(out, errOut, in)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// prefixed writes whole lines with a prefix.
type prefixed struct {
	w      io.Writer
	prefix string
	mu     *sync.Mutex
	rest   []byte
}

func (p *prefixed) Write(b []byte) (int, error) {
	if p.prefix == "" {
		return p.w.Write(b)
	}
	p.rest = append(p.rest, b...)
	for {
		i := slices.Index(p.rest, '\n')
		if i < 0 {
			return len(b), nil
		}
		if err := p.line(p.rest[:i+1]); err != nil {
			return len(b), err
		}
		p.rest = p.rest[i+1:]
	}
}

func (p *prefixed) line(b []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := fmt.Fprintf(p.w, "%s%s", p.prefix, b)
	return err
}

func (p *prefixed) flush() {
	if len(p.rest) > 0 {
		_ = p.line(append(p.rest, '\n')) // the end of a log that breaks off
	}
}
