package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/client"
	"github.com/mosdocker/mosdocker/scheduler/session"
)

// follower reads what the sets of a service write, as they come, move and go.
type follower struct {
	cmd  *cobra.Command
	cl   *client.Client
	in   session.Request
	of   string   // the service, or one set
	only []string // of its containers; empty is all

	read map[logged]*reading
	line sync.Mutex // one after the other
	work sync.WaitGroup
	end  context.CancelCauseFunc

	mu     sync.Mutex // guards all below
	lives  int        // containers that are read
	failed []error
}

// reading is a container of which is read where it is.
type reading struct {
	where string // of what set, on what host
	end   context.CancelFunc
}

// again is how long to wait for what was away, at least; and at most.
const (
	again  = 500 * time.Millisecond
	seldom = 4 * time.Second
)

// run ends with ctx, when what is followed is removed, or when none of its containers can be
// read.
func (f *follower) run(ctx context.Context) error {
	defer f.work.Wait()
	ctx, f.end = context.WithCancelCause(ctx)
	defer f.end(nil)
	f.read = map[logged]*reading{}
	for first := true; ctx.Err() == nil; first = false {
		sets, revision, err := setsOf(ctx, f.cl, f.of)
		switch {
		case err == nil:
			all := containersOf(sets, f.only)
			if first && len(all) == 0 && len(f.only) > 0 {
				return nothingOf(f.of, f.only)
			}
			f.keep(ctx, all, first)
			f.changed(ctx, revision, len(all) == 0)
		case ctx.Err() != nil: // the cause says why
		case errdefs.IsNotFound(err) && !first: // it was removed
			return nil
		case first || !errdefs.IsUnavailable(err):
			return err
		}
		pause(ctx, again) // much may change at once
	}
	return context.Cause(ctx)
}

// changed waits until a set of what is followed did, and not long where there is none: a
// service is removed after its last.
func (f *follower) changed(ctx context.Context, after int64, none bool) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if none {
		pause(ctx, again)
		return
	}
	for told, err := range client.Watch[api.SetInstance](ctx, f.cl, after) {
		if err != nil || told.Name == f.of || strings.HasPrefix(told.Name, f.of+"-") {
			return
		}
	}
}

// keep has these containers read, and no others.
func (f *follower) keep(ctx context.Context, all map[logged]string, first bool) {
	width := 0
	for one := range all {
		width = max(width, len(one.String()))
	}
	for one, r := range f.read {
		if all[one] != r.where {
			r.end()
			delete(f.read, one)
		}
	}
	for one, where := range all {
		if f.read[one] != nil {
			continue
		}
		r := &reading{where: where}
		f.read[one] = r
		var mine context.Context
		mine, r.end = context.WithCancel(ctx)
		in, prefix := f.in, fmt.Sprintf("%-*s | ", width, one)
		if !first { // all of it is new
			in.Tail, in.Since = "all", ""
		}
		if first && len(all) == 1 && one.set == f.of {
			prefix = ""
		}
		f.mu.Lock()
		f.lives++
		f.mu.Unlock()
		f.work.Go(func() { f.copy(mine, one, in, prefix) })
	}
}

// copy writes what a container does until ctx ends, over sessions that break off.
func (f *follower) copy(ctx context.Context, of logged, in session.Request, prefix string) {
	lines := &prefixed{w: f.cmd.OutOrStdout(), prefix: prefix, mu: &f.line}
	errLines := &prefixed{w: f.cmd.ErrOrStderr(), prefix: prefix, mu: &f.line}
	defer lines.Flush()
	defer errLines.Flush()
	out, errOut := &stamped{w: lines, shown: in.Timestamps}, &stamped{w: errLines, shown: in.Timestamps}
	in.Container, in.Timestamps = of.container, true // by which it is gone on with
	var err error
	for wait := again; ctx.Err() == nil; wait = min(2*wait, seldom) {
		before := later(out.last, errOut.last)
		out.begin()
		errOut.begin()
		var conn *session.Conn
		if conn, err = f.cl.Session(ctx, of.set, in); err == nil {
			_, err = conn.Copy(out, errOut)
			_ = conn.Close()
		}
		if err == nil { // the log ended there: a line without an end is whole
			out.end()
			errOut.end()
		}
		last := later(out.last, errOut.last)
		if last.After(before) {
			in.Tail, in.Since, wait = "all", last.Add(1).Format(time.RFC3339Nano), again
		}
		switch {
		case ctx.Err() != nil:
		case err != nil && !errdefs.IsUnavailable(err) && !errdefs.IsNotFound(err):
			f.fail(fmt.Errorf("%s: %w", of, err))
			return
		case err != nil && wait == again:
			f.say(fmt.Errorf("%s: %w; trying again", of, err))
		}
		pause(ctx, wait)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lives--
}

// fail gives a container up.
func (f *follower) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = append(f.failed, err)
	if f.lives--; f.lives == 0 {
		f.end(once(f.failed))
		return
	}
	f.say(err)
}

func (f *follower) say(err error) {
	f.line.Lock()
	defer f.line.Unlock()
	_, _ = fmt.Fprintln(f.cmd.ErrOrStderr(), err) // who reads may be gone
}

// containersOf are those of sets, by name if any are named, and where each is.
func containersOf(sets []*api.SetInstance, only []string) map[logged]string {
	all := map[logged]string{}
	for _, s := range sets {
		for _, one := range s.Spec.Set.Containers {
			if len(only) == 0 || slices.Contains(only, one.Name) {
				all[logged{s.Name, one.Name}] = s.UID + " " + s.Spec.Host
			}
		}
	}
	return all
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// stamped reads the times that an Engine writes before each line, and before each further
// piece of a long one, and takes them off unless they are to be shown.
type stamped struct {
	w     io.Writer
	shown bool
	last  time.Time // of what was written whole
	next  time.Time // of the piece that is being written

	rest []byte // the beginning of a time
	left int    // of a piece, before the next time
}

// begin is at a new stream: the one before may have ended within a line.
func (s *stamped) begin() {
	if s.left > 0 {
		_, _ = io.WriteString(s.w, "\n") // who reads may be gone, which the next write tells
	}
	s.rest, s.left, s.next = nil, 0, time.Time{}
}

// end is at the end of a stream that ended well.
func (s *stamped) end() { s.last = later(s.last, s.next) }

const (
	longestPiece = 16 << 10
	longestStamp = len("2006-01-02T15:04:05.999999999+07:00 ")
)

func (s *stamped) Write(b []byte) (int, error) {
	var err error
	for text := append(s.rest, b...); ; {
		if s.rest = nil; len(text) == 0 || err != nil {
			return len(b), err
		}
		if s.left == 0 && text[0] != '\n' {
			i := bytes.IndexByte(text, ' ')
			if i < 0 && len(text) < longestStamp { // the rest of it is to come
				s.rest = bytes.Clone(text)
				return len(b), nil
			}
			s.left = longestPiece
			if at, bad := time.Parse(time.RFC3339Nano, string(text[:max(i, 0)])); bad == nil {
				s.next = at
				if s.shown {
					_, err = s.w.Write(text[:i+1])
				}
				text = text[i+1:]
			}
			continue
		}
		n := min(len(text), s.left)
		if i := bytes.IndexByte(text[:n], '\n'); i >= 0 || n == 0 {
			n, s.left = max(i, 0)+1, 0
		} else {
			s.left -= n
		}
		_, werr := s.w.Write(text[:n])
		if err = errors.Join(err, werr); s.left == 0 && err == nil {
			s.end()
		}
		text = text[n:]
	}
}
