package server

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/state"
)

type watchInput struct {
	Kinds []string `doc:"Those to tell of, such as services; all that the caller may see by default." query:"kind,explode"`
	From  int64    `doc:"Tell what changed after this revision, which is that of a list."                minimum:"1"              query:"from"`
	Last  int64    `doc:"As from, and wins: what clients of event streams send when they come back."   header:"Last-Event-ID"`
}

func (s *Server) watches() {
	register(s, operation{
		id: "watch", method: http.MethodGet, path: "/v1/watch",
		summary: "Tell each change as an event: added, modified, deleted; bookmark says how far nothing changed; gone says that the history is not there any more, so list again. The id is a revision to go on from; of changes that happened at once, the last has it.",
		verb:    look, kind: api.Services, out: reflect.TypeFor[api.Change[map[string]any]](), stream: true,
	}, func(ctx context.Context, in *watchInput) (*huma.StreamResponse, error) {
		kinds, err := watched(callOf(ctx), in.Kinds)
		if err != nil {
			return nil, err
		}
		from := max(in.From, 0)
		if in.Last > 0 {
			from = in.Last
		}
		if from == 0 {
			return nil, fault.Invalid("from: list first, and watch from the revision of the list")
		}
		return &huma.StreamResponse{Body: func(h huma.Context) { s.stream(h, callOf(ctx), from, kinds) }}, nil
	})
}

// watched are the kinds of a watch, all of which the caller may look at.
func watched(c *call, names []string) ([]api.Kind, error) {
	var kinds []api.Kind
	if len(names) == 0 {
		for _, k := range api.Kinds() {
			if c.may(look, k, "") == nil {
				kinds = append(kinds, k)
			}
		}
		return kinds, nil
	}
	for _, n := range names {
		k := api.Kind(n)
		if !slices.Contains(api.Kinds(), k) {
			return nil, fault.Invalid("kind: there is none named %.40q", n)
		}
		if err := c.may(look, k, ""); err != nil {
			return nil, err
		}
		kinds = append(kinds, k)
	}
	return kinds, nil
}

// heartbeat is how often a watch says that it lives.
const heartbeat = 15 * time.Second

// stream writes the changes after a revision until the client goes, the server ends or the
// history is gone.
func (s *Server) stream(h huma.Context, c *call, from int64, kinds []api.Kind) {
	s.metrics.streams.Inc()
	defer s.metrics.streams.Dec()
	_, w := humago.Unwrap(h)
	ctx, cancel := s.bearers.while(h.Context(), h.Header("Authorization"))
	defer cancel()
	defer s.atEnd(cancel)()
	h.SetHeader("Content-Type", "text/event-stream")
	h.SetHeader("Cache-Control", "no-store")
	h.SetStatus(http.StatusOK)
	e := &events{w: w, control: http.NewResponseController(w)}
	if e.comment("watching after revision "+strconv.FormatInt(from, 10)) != nil {
		return
	}
	steps := make(chan told)
	go func() { // ends with ctx, which this call ends
		defer close(steps)
		for step, err := range s.cfg.Store.Watch(ctx, from, kinds...) {
			select {
			case steps <- told{step, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case t, ok := <-steps:
			if !ok || e.tell(c, t) != nil {
				return
			}
		case <-beat.C:
			if e.comment("") != nil {
				return
			}
		}
	}
}

type told struct {
	step state.Step
	err  error
}

// events writes an event stream.
type events struct {
	w       http.ResponseWriter
	control *http.ResponseController
	buf     bytes.Buffer
	marked  time.Time // of the last id
}

// oftenEnough is between two marks of how far nothing changed.
const oftenEnough = time.Second

func (e *events) comment(text string) error {
	e.buf.WriteString(": " + text + "\n\n")
	return e.flush()
}

func (e *events) flush() error {
	const slow = 20 * time.Second
	_ = e.control.SetWriteDeadline(time.Now().Add(slow)) // where there is none, none is missed
	_, err := e.w.Write(e.buf.Bytes())
	e.buf.Reset()
	return errors.Join(err, e.control.Flush())
}

// event adds one; of no id, where more of its revision follow.
func (e *events) event(name string, id int64, data []byte) {
	e.buf.WriteString("event: " + name + "\n")
	if id > 0 {
		e.buf.WriteString("id: " + strconv.FormatInt(id, 10) + "\n")
	}
	e.buf.WriteString("data: ")
	e.buf.Write(data) // ends its line
	e.buf.WriteString("\n")
}

// tell writes a step. An error of the watch is told, and ends the stream.
func (e *events) tell(c *call, t told) error {
	if t.err != nil {
		name := "error"
		if _, gone := errors.AsType[*state.GoneError](t.err); gone {
			name = api.Gone
		}
		e.event(name, 0, encode(api.NewProblem(t.err)))
		return errors.Join(t.err, e.flush())
	}
	wrote := false
	for change, last := range seen(c, t.step) {
		if token, ok := change.Resource.(*api.Token); ok {
			token.Spec.Hash = ""
		}
		var id int64
		if last {
			id = t.step.Revision
		}
		e.event(nameOf(change), id, encode(api.Change[api.Resource]{Kind: change.Kind, Name: change.Name, Revision: change.Revision, Object: change.Resource}))
		wrote = true
	}
	if !wrote && time.Since(e.marked) < oftenEnough {
		return nil // other kinds may change a thousand times a second
	}
	e.marked = time.Now()
	if !wrote {
		e.event(api.Bookmark, t.step.Revision, encode(api.Change[api.Resource]{Revision: t.step.Revision}))
	}
	return e.flush()
}

// seen are the changes of a step that a caller may know of, and whether each is the last.
func seen(c *call, step state.Step) iter.Seq2[state.Change, bool] {
	all := slices.DeleteFunc(slices.Clone(step.Changes), func(ch state.Change) bool {
		if ch.Resource != nil {
			return !c.sees(ch.Resource)
		}
		return c.Role == api.Tenant && (ch.Kind == api.Events || !c.owns(ch.Kind, ch.Name))
	})
	return func(yield func(state.Change, bool) bool) {
		for i, ch := range all {
			if !yield(ch, i == len(all)-1) {
				return
			}
		}
	}
}

func nameOf(c state.Change) string {
	switch {
	case c.Gone:
		return api.Removed
	case c.New:
		return api.Added
	}
	return api.Modified
}
