package server

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/containerd/errdefs"
	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/logx"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/session"
	"github.com/mosdocker/mosdocker/scheduler/state"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// Sessions reaches hosts; [link.Server] does.
type Sessions interface {
	// Linked says whether a host is linked to this process.
	Linked(host string) bool
	// Open has a host come for a session of a user. It counts until done is called.
	Open(ctx context.Context, host, by string, o session.Offer) (rw io.ReadWriteCloser, done func(), err error)
}

const (
	mostRequest = 1 << 20
	pathSession = "/v1/" + string(api.SetInstances) + "/{name}/session"
)

// session joins who asks and the host of a set. It is outside of huma, which has no
// upgrades; rights and audit are as everywhere.
func (s *Server) session(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	c := &call{name: r.PathValue("name")}
	var in session.Request
	host, end, err := s.begin(w, r, c, &in)
	log := func(method string, more ...slog.Attr) {
		s.cfg.Log.LogAttrs(r.Context(), slog.LevelInfo, "audit", append([]slog.Attr{
			slog.String("by", c.Name), slog.String("role", string(c.Role)), slog.String("from", r.RemoteAddr),
			slog.String(logx.KeyMethod, method), slog.String("kind", string(api.SetInstances)), slog.String("name", clip(c.name)),
			slog.String("verb", clip(string(in.Verb))), slog.String("container", clip(in.Container)), slog.Any("command", clips(in.Command)),
		}, more...)...)
	}
	if err != nil {
		log("session", slog.Int("status", api.NewProblem(err).Status), slog.Duration(logx.KeyTook, time.Since(began)))
		refuse(w, err)
		return
	}
	defer end()
	user, err := session.Accept(w)
	if err != nil {
		_ = host.Close()
		refuse(w, err)
		return
	}
	log("session", slog.Int("status", http.StatusSwitchingProtocols), slog.Duration(logx.KeyTook, time.Since(began)))
	s.metrics.streams.Inc()
	defer s.metrics.streams.Dec()
	ctx, cancel := s.bearers.while(r.Context(), r.Header.Get("Authorization"))
	defer cancel()
	defer s.atEnd(cancel)()
	in64, out64 := session.Join(ctx, user, host)
	log("endSession", slog.Int64("sent", in64), slog.Int64("received", out64), slog.Duration(logx.KeyTook, time.Since(began)))
}

// begin judges a request and has the host come.
func (s *Server) begin(w http.ResponseWriter, r *http.Request, c *call, in *session.Request) (io.ReadWriteCloser, func(), error) {
	var err error
	if c.Caller, err = s.identify(r.Context(), r.Header.Get("Authorization"), r.TLS); err != nil {
		return nil, nil, err
	}
	if r.TLS != nil || r.Header.Get("Authorization") != "" { // as in guard
		if wait := s.pace.wait(c.Caller, time.Now()); wait > 0 {
			err, after := tooFast(c.Caller, wait)
			w.Header().Set("Retry-After", after)
			return nil, nil, err
		}
	}
	if err := session.Asks(r); err != nil {
		return nil, nil, err
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostRequest))
	if err == nil {
		err = json.Unmarshal(data, in, json.RejectUnknownMembers(true))
	}
	if err != nil {
		return nil, nil, fault.Invalid("read the request: %w", err)
	}
	v := look
	if in.Verb == session.Exec || in.Verb == session.Top && len(in.Command) > 0 { // ps shows environments, if it is told to
		v = change
	}
	if err := c.may(v, api.SetInstances, c.name); err != nil {
		return nil, nil, err
	}
	if err := in.Check(); err != nil {
		return nil, nil, err
	}
	set, err := state.Get[api.SetInstance](r.Context(), s.cfg.Store, c.name)
	if err != nil {
		return nil, nil, err
	}
	switch is := func(one spec.Container) bool { return one.Name == in.Container }; {
	case !c.sees(set):
		return nil, nil, fault.Of(errdefs.ErrPermissionDenied, "%s (%s) may not look at %s", c.Name, c.Role, c.name)
	case !slices.ContainsFunc(set.Spec.Set.Containers, is): // the infra is none of them
		return nil, nil, fault.NotFound("set %s has no container %.80q", c.name, in.Container)
	case set.Spec.Host == "":
		return nil, nil, fault.Conflict("set %s is on no host yet: docker set explain says why", c.name)
	case s.cfg.Sessions == nil:
		return nil, nil, fault.Later("this process has no link to hosts")
	}
	return s.reach(r.Context(), c, r.Header.Get(api.HeaderVia), set, in)
}

type sessionRequest session.Request // for its name in the document

// describeSession adds sessions to the API's document.
func (s *Server) describeSession() {
	o := operation{
		id: "session", method: http.MethodPost, path: pathSession,
		summary: "Begin a session with a container of a set: its logs, a command in it, or its processes. The request is upgraded (Connection: Upgrade, Upgrade: " + session.Protocol +
			", HTTP/1.1); then both sides send frames: one byte of what it is (1 stdin, 2 end of stdin, 3 size of the terminal as rows and columns of two bytes, 4 stdout, 5 stderr, 6 end), four of the length, big endian, and so many bytes." +
			" The last is an end, in JSON: code of the command, or error, which is a problem.",
		kind: api.SetInstances, in: reflect.TypeFor[sessionRequest](), status: http.StatusSwitchingProtocols,
	}
	plan := o.plan()
	plan.Parameters = []*huma.Param{{Name: "name", In: "path", Required: true, Schema: &huma.Schema{Type: "string"}, Description: "Of the set."}}
	plan.RequestBody = &huma.RequestBody{Required: true}
	plan.Responses = map[string]*huma.Response{strconv.Itoa(o.status): {Description: "The session has begun."}}
	s.api.OpenAPI().AddOperation(&plan)
	s.fill(o, plan)
}

// user is whose sessions are counted together: a tenant may have many tokens.
func (c *call) user() string {
	if c.Role == api.Tenant {
		return "tenant " + c.Tenant
	}
	return c.Name + " (" + string(c.Role) + ")"
}

// clips shortens a command for the audit.
func clips(command []string) []string {
	const most = 16
	out := make([]string, min(len(command), most))
	for i := range out {
		out[i] = clip(command[i])
	}
	return out
}
