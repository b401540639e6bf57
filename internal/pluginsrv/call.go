package pluginsrv

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"github.com/containerd/errdefs"
)

// contentType is what plugins send. Engines from 20.10 to 29 do not look at it.
const contentType = "application/vnd.docker.plugins.v1.1+json"

// Grace is how long after the end of its context a handler may take to give up.
// Then its caller is answered in its place.
const Grace = 3 * time.Second

// None is the request of calls that take nothing, and the answer of those that
// give nothing.
type None struct{}

// Validator is a request that knows what it needs. Validate is called before
// the handler.
type Validator interface {
	Validate() error
}

// Described is a request that tells, for the log line of its call, what it is
// about.
type Described interface {
	LogAttrs() []slog.Attr
}

// Fact is a request of a call where the Engine takes every answered error for a
// fact. When its body cannot be read its caller is hung up on: an Engine repeats
// a call that got no answer with an empty body, and would take the refusal of
// that for the answer.
type Fact interface {
	AskedForAFact()
}

// Handle adds a plugin call, at a path such as "/NetworkDriver.Join". With Req =
// [None] any body is taken, also none. The context that f gets ends at the
// call's deadline. A panic of f is an error of its call.
func Handle[Req, Resp any](s *Server, path string, f func(context.Context, Req) (Resp, error)) {
	s.mux.HandleFunc("POST "+path, handler(s, path, (*call).run, f))
}

// HandleBounded is [Handle] for an f that surely returns soon after its context ended: it
// runs on the connection's own goroutine, which spares the wake-up of another thread.
func HandleBounded[Req, Resp any](s *Server, path string, f func(context.Context, Req) (Resp, error)) {
	s.mux.HandleFunc("POST "+path, handler(s, path, (*call).runHere, f))
}

// runner is [call.run] or [call.runHere].
type runner func(*call, context.Context, func(context.Context) (any, error)) (any, error)

func handler[Req, Resp any](s *Server, path string, run runner, f func(context.Context, Req) (Resp, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c := &call{s: s, method: path[1:], start: time.Now(), number: s.number.Add(1)}
		s.metrics.open.Inc()
		defer s.metrics.open.Dec()
		var req Req
		c.err = c.guard(func() error { return readRequest(c, w, r, &req) })
		if c.err == nil {
			c.err = s.waitReady(r.Context())
		}
		var resp any
		if c.err == nil {
			resp, c.err = run(c, r.Context(), func(ctx context.Context) (any, error) { return f(ctx, req) })
		}
		_, c.fact = any(req).(Fact)
		if c.fact && c.err != nil && !errdefs.IsNotFound(c.err) && !errdefs.IsInvalidArgument(c.err) {
			c.err = fmt.Errorf("%w: %w", c.err, ErrHangUp) // late, cut or broken is no fact
		}
		c.end(w, resp)
	}
}

// headSize is how much of a request [Mostly] looks at.
const headSize = 1 << 10

// Mostly adds a plugin call with one answer to all but those whose body begins with
// something that f is to look at, as but says. Others are not read.
func Mostly[Req, Resp any](s *Server, path string, resp Resp, but func(head []byte) bool, f func(context.Context, Req) (Resp, error)) {
	counted := s.metrics.calls.WithLabelValues(path[1:], resultOK)
	rest := handler(s, path, (*call).run, f)
	s.mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		var head [headSize]byte
		n, err := io.ReadFull(r.Body, head[:])
		if but(head[:n]) || err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			body := r.Body
			r.Body = struct {
				io.Reader
				io.Closer
			}{io.MultiReader(bytes.NewReader(head[:n]), body), body}
			rest(w, r)
			return
		}
		counted.Inc()
		_ = answer(w, resp) // which was answered before
	})
}

// readRequest decodes and checks the body of a plugin call.
func readRequest[Req any](c *call, w http.ResponseWriter, r *http.Request, req *Req) error {
	if _, none := any(*req).(None); none {
		return nil
	}
	if err := decode(w, r, c.s.cfg.MaxBody, req, false); err != nil {
		if _, fact := any(*req).(Fact); fact {
			return fmt.Errorf("%w: %w", err, ErrHangUp)
		}
		return err
	}
	if d, ok := any(*req).(Described); ok {
		c.attrs = d.LogAttrs()
	}
	if v, ok := any(*req).(Validator); ok {
		if err := v.Validate(); err != nil {
			return &bodyError{err}
		}
	}
	return nil
}

// call is one call under way.
type call struct {
	s      *Server
	method string
	number uint64
	start  time.Time
	attrs  []slog.Attr
	fact   bool // see Fact
	err    error
}

// Errors that say why a call ended. The operator reads them in Docker's answer.
var (
	errLate    = errors.New("the time for this call is over")
	errStopped = errors.New("the daemon stops")
	errPanic   = fmt.Errorf("%w: see the daemon's log for the stack", errdefs.ErrInternal)
)

// lateError is errLate after a time. Most calls make one and need no words of it.
type lateError time.Duration

func (e lateError) Error() string {
	return fmt.Sprintf("%s after %s (%s)", errLate, time.Duration(e), context.DeadlineExceeded)
}

func (lateError) Unwrap() []error { return []error{errLate, context.DeadlineExceeded} }

// ErrHangUp closes the connection instead of answering, when it is wrapped in
// what a handler returns. It is for calls where the Engine takes every answered error for a
// fact, such as VolumeDriver.Get; a broken connection it tries again.
var ErrHangUp = fmt.Errorf("not answered: %w", errdefs.ErrUnavailable)

// errNotReady is the refusal of a gated server.
var errNotReady = fmt.Errorf("the daemon is not ready yet: look into its log, then try again: %w", errdefs.ErrUnavailable)

type requestKey struct{}

// RequestID returns the number of the call that ctx belongs to, counted from
// the daemon's start; 0 when it belongs to none.
func RequestID(ctx context.Context) uint64 {
	n, _ := ctx.Value(requestKey{}).(uint64)
	return n
}

// run runs a handler under its deadline. The handler's context lives on when the
// caller hangs up, and ends when the server must stop. When the handler does not
// return soon after its context ended, run does without it.
func (c *call) run(ctx context.Context, f func(context.Context) (any, error)) (any, error) {
	limit := c.s.limit(c.method)
	ctx = context.WithValue(context.WithoutCancel(ctx), requestKey{}, c.number)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ctx, stop := context.WithTimeoutCause(ctx, limit, lateError(limit))
	defer stop()

	type outcome struct {
		resp any
		err  error
	}
	done := make(chan outcome, 1)
	c.s.open.add(1)
	go func() {
		var o outcome
		o.err = c.guard(func() (err error) {
			o.resp, err = f(ctx)
			return err
		})
		c.s.open.add(-1) // before its answer is out: a stop then counts it no more
		done <- o
	}()
	late := time.NewTimer(limit + Grace)
	defer late.Stop()
	for cut := c.s.cut; ; {
		select {
		case o := <-done:
			return o.resp, because(ctx, o.err)
		case <-cut:
			cancel(errStopped)
			late.Reset(Grace)
			cut = nil
		case <-late.C:
			return nil, fmt.Errorf("%w, and what it does still runs: look at the daemon's log before you try again", context.Cause(ctx))
		}
	}
}

// runHere is [call.run] without a way to do without f. That the server must stop does not
// end the context: its limit does.
func (c *call) runHere(ctx context.Context, f func(context.Context) (any, error)) (resp any, err error) {
	limit := c.s.limit(c.method)
	ctx = context.WithValue(context.WithoutCancel(ctx), requestKey{}, c.number)
	ctx, stop := context.WithTimeoutCause(ctx, limit, lateError(limit))
	defer stop()
	c.s.open.add(1)
	defer c.s.open.add(-1)
	err = c.guard(func() (err error) {
		resp, err = f(ctx)
		return err
	})
	return resp, because(ctx, err)
}

// because adds why the context ended to an error that only says that it did.
func because(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if err == nil || cause == nil || errors.Is(err, cause) {
		return err
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return err
}

// guard turns a panic into an error, with the stack in the log.
func (c *call) guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.log(slog.LevelError, "call panicked", slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
			err = fmt.Errorf("%s broke inside: %v: %w", c.method, p, errPanic)
		}
	}()
	return f()
}

// waitReady waits until the server is ready, for a while.
func (s *Server) waitReady(ctx context.Context) error {
	select {
	case <-s.ready: // a select of several ready cases chooses by chance
		return nil
	default:
	}
	t := time.NewTimer(s.cfg.ReadyLimit)
	defer t.Stop()
	select {
	case <-s.ready:
		return nil
	case <-t.C:
	case <-s.cut:
	case <-ctx.Done():
	}
	return errNotReady
}

// end answers, logs and counts.
func (c *call) end(w http.ResponseWriter, resp any) {
	took := time.Since(c.start)
	result := resultOf(c.err)
	hangUp := errors.Is(c.err, ErrHangUp)
	switch {
	case hangUp:
	case result == resultOK:
		c.err = answer(w, resp)
	default:
		status := http.StatusInternalServerError
		if result == resultBadRequest {
			status = http.StatusBadRequest
		}
		fail(w, status, c.err.Error())
	}
	c.s.metrics.calls.WithLabelValues(c.method, result).Inc()
	c.s.metrics.took.WithLabelValues(c.method, result).Observe(took.Seconds())
	if c.err == nil {
		c.log(slog.LevelDebug, "call done", slog.Duration("took", took))
	} else if c.fact && errdefs.IsNotFound(c.err) {
		c.log(slog.LevelDebug, "call done, it is not there", slog.Duration("took", took))
	} else {
		c.log(slog.LevelWarn, "call failed", slog.Duration("took", took), slog.String("result", result), slog.Any("err", c.err))
	}
	if hangUp {
		panic(http.ErrAbortHandler) // net/http's way to drop a connection
	}
}

// log writes a line about the call. It makes its own copy of the attributes: a
// handler that is late may log beside its answer.
func (c *call) log(level slog.Level, msg string, more ...slog.Attr) {
	//nolint:forbidigo // as below
	if !c.s.cfg.Log.Enabled(context.Background(), level) {
		return
	}
	about := []slog.Attr{slog.String("method", c.method), slog.Uint64("request", c.number)}
	//nolint:forbidigo,sloglint // the call's context may have ended; all messages are constants, above
	c.s.cfg.Log.LogAttrs(context.Background(), level, msg, slices.Concat(about, c.attrs, more)...)
}

func resultOf(err error) string {
	var bad *bodyError
	switch {
	case err == nil:
		return resultOK
	case errors.As(err, &bad):
		return resultBadRequest
	case errors.Is(err, errPanic):
		return resultPanic
	case errors.Is(err, errNotReady):
		return resultNotReady
	case errors.Is(err, errLate):
		return resultDeadline
	}
	return resultError
}

// answer writes v. What cannot be encoded is answered as an error.
func answer(w http.ResponseWriter, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		err = fmt.Errorf("encode the answer: %w", err)
		fail(w, http.StatusInternalServerError, err.Error())
		return err
	}
	write(w, http.StatusOK, body)
	return nil
}

// fail writes an error in both forms that Engines read.
func fail(w http.ResponseWriter, status int, msg string) {
	body, _ := json.Marshal(map[string]string{"Err": msg, "Error": msg}) //nolint:errchkjson // strings can be encoded
	write(w, status, body)
}

func write(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the caller may be gone
}
