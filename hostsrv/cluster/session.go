package cluster

import (
	"context"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/session"
	"github.com/mosdocker/mosdocker/setmgr/docker"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// lastWord is how long a session's end may take to reach the user.
const lastWord = 5 * time.Second

// Sessions lets them reach containers. Without it there are none.
func (h *Host) Sessions(open func() (*docker.Engine, error)) { h.reach = open }

// Session serves one, of a container of a set that the cluster has on this host.
func (h *Host) Session(ctx context.Context, o session.Offer, c *session.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	user := make(chan heard)
	gone := make(chan struct{})
	go func() { // ends with the connection, which the caller closes
		defer close(gone)
		defer cancel()
		for {
			k, data, err := c.Read()
			if err != nil {
				return
			}
			select {
			case user <- heard{k, slices.Clone(data)}:
			case <-ctx.Done(): // it comes late: the user hears the end, and goes
			}
		}
	}()
	began := time.Now()
	code, err := h.session(ctx, o, c, user)
	log := h.log.With("verb", o.Verb, "set", o.Set, "container", o.Container, "took", time.Since(began))
	if err != nil {
		log = log.With("err", err)
	}
	log.InfoContext(ctx, "session ended", "code", code)
	if ctx.Err() == nil {
		_ = c.End(code, err) // the user may be gone
	}
	cancel()
	select { // who closes first, with something unread, takes back what it said last
	case <-gone:
	case <-time.After(lastWord):
	}
}

// heard is a frame of the user.
type heard struct {
	kind session.Kind
	data []byte
}

func (h *Host) session(ctx context.Context, o session.Offer, c *session.Conn, user <-chan heard) (code int, err error) {
	if err := h.has(o); err != nil {
		return 0, err
	}
	if h.reach == nil {
		return 0, fault.Later("mosd of this host has no Engine for sessions")
	}
	e, err := h.reach()
	if err != nil {
		return 0, err
	}
	seen, err := e.Observe(ctx, o.Set, nil)
	if err != nil {
		return 0, err
	}
	var is *plan.Container
	for i, m := range seen.Members {
		if m.Member == o.Container && (is == nil || m.Started.After(is.Started)) {
			is = &seen.Members[i]
		}
	}
	if is == nil && o.Verb == session.Logs && o.Follow && o.Until == "" {
		is = &plan.Container{Member: o.Container} // it is waited for
	}
	if is == nil {
		return 0, fault.NotFound("container %s of set %s is not made yet", o.Container, o.Set)
	}
	switch o.Verb {
	case session.Logs:
		return 0, h.logs(ctx, e, *is, o, c)
	case session.Top:
		return 0, top(ctx, e, is.ID, o, c)
	case session.Exec:
		mine := *e
		mine.Local = e.SharesHost(ctx) // else nobody could end the command of a user who goes
		return execute(ctx, &mine, is.ID, o, c, user)
	}
	return 0, fault.Later("mosd of this host knows no session for %.40q", o.Verb)
}

// has says whether a session is of a container that is assigned to this host: the rest of
// the host is nobody's in the cluster.
func (h *Host) has(o session.Offer) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.rec.Assignment.Sets {
		if s.Name == o.Set && s.UID == o.UID && !s.Stop {
			if slices.ContainsFunc(s.Set.Containers, func(one spec.Container) bool { return one.Name == o.Container }) {
				return nil
			}
			return fault.NotFound("set %s has no container %.80q", o.Set, o.Container)
		}
	}
	return fault.NotFound("set %.80q is not on this host any more", o.Set)
}

// follow copies what a container or command writes.
func follow(ctx context.Context, c *session.Conn, in io.Reader, tty bool) (err error) {
	if tty {
		_, err = io.Copy(c.To(session.Stdout), in)
	} else {
		_, err = stdcopy.StdCopy(c.To(session.Stdout), c.To(session.Stderr), in)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// logs copies what a container writes; one that follows goes on with what takes its place
// for as long as its set is this host's.
func (h *Host) logs(ctx context.Context, e docker.Logs, is plan.Container, o session.Offer, c *session.Conn) error {
	f := &docker.Follower{
		Engine: e, Set: o.Set, Kept: func() bool { return h.has(o) == nil },
		Options: docker.LogOptions{Follow: o.Follow, Timestamps: o.Timestamps, Tail: o.Tail, Since: o.Since, Until: o.Until},
	}
	ctx, stop, err := f.Watch(ctx, o.Container)
	if err != nil {
		return err
	}
	defer stop()
	return f.Copy(ctx, is, c.To(session.Stdout), c.To(session.Stderr))
}

func top(ctx context.Context, e *docker.Engine, id string, o session.Offer, c *session.Conn) error {
	titles, rows, err := e.Top(ctx, id, o.Command)
	if err != nil {
		return err
	}
	const between = 3
	w := tabwriter.NewWriter(c.To(session.Stdout), 0, 0, between, ' ', 0)
	for _, row := range append([][]string{titles}, rows...) {
		if _, err := io.WriteString(w, strings.Join(row, "\t")+"\n"); err != nil {
			return err
		}
	}
	return w.Flush()
}

// execute runs a command for a user, and kills it when the user goes.
func execute(ctx context.Context, e *docker.Engine, id string, o session.Offer, c *session.Conn, user <-chan heard) (code int, err error) {
	x, err := e.Execute(ctx, id, docker.ExecOptions{
		Command: o.Command, Env: o.Env, User: o.User, Dir: o.Dir, TTY: o.TTY, Stdin: o.Stdin, Rows: o.Rows, Columns: o.Columns,
	})
	if err != nil {
		return 0, err
	}
	defer x.Close(ctx) // whatever came first: a user who is gone, or what is written to him
	end := context.AfterFunc(ctx, func() { x.Close(ctx) })
	defer end()
	done := make(chan error, 1)
	go func() { done <- follow(ctx, c, x.Out, o.TTY) }() // ends with the command
	for {
		select {
		case err := <-done:
			if err != nil {
				return 0, err
			}
			return x.Code(ctx)
		case f := <-user:
			_ = typed(ctx, x, f) // it may read no more; that it ended is told by its output
		}
	}
}

// typed hands on what the user sent.
func typed(ctx context.Context, x *docker.Execution, f heard) error {
	switch f.kind {
	case session.Stdin:
		_, err := x.Write(f.data)
		return err
	case session.StdinEnd:
		return x.CloseWrite()
	case session.Resize:
		if rows, columns, ok := session.SizeOf(f.data); ok {
			return x.Resize(ctx, rows, columns)
		}
	case session.Stdout, session.Stderr, session.End: // are not of a user
	}
	return nil
}
