package server

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/danielgtaylor/huma/v2"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/logx"
	"github.com/mosdocker/mosdocker/scheduler/api"
)

// verb is what is done to a resource.
type verb string

const (
	look   verb = "look at"
	create verb = "create"
	change verb = "change"
	remove verb = "remove"
)

// call is one request, for the handler and for the audit.
type call struct {
	Caller

	name string // of the resource
	via  string // the mos-scheduler that passed it on
}

type callKey struct{}

// callOf is the call that a handler works on.
func callOf(ctx context.Context) *call {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c
	}
	return &call{} // of no role, which may do nothing
}

// may says whether a caller has the right, as far as the resource's kind and name tell.
// The error is of class PermissionDenied.
func (c *call) may(v verb, kind api.Kind, name string) error {
	denied := func(format string, args ...any) error {
		return fault.Of(errdefs.ErrPermissionDenied, "%s (%s) may not %s "+format, append([]any{c.Name, c.Role, v}, args...)...)
	}
	switch c.Role {
	case api.Admin:
		return nil
	case api.Operator, api.ReadOnly:
		if kind == api.Tokens || kind == api.Revocations && v != look {
			return denied("%s: only an admin may", kind)
		}
		if v != look && c.Role == api.ReadOnly {
			return denied("%s: it only looks", kind)
		}
		return nil
	case api.Tenant:
		if c.Tenant == "" { // which would be all where sets are chosen by their tenant
			return denied("%s: it is of no tenant", kind)
		}
		if kind == api.Quotas && c.mayQuota(v, name) {
			return nil
		}
		if !slices.Contains([]api.Kind{api.Services, api.SetInstances, api.Events}, kind) {
			return denied("%s: it has services only", kind)
		}
		if name != "" && !c.owns(kind, name) {
			return denied("%s: the names of its own begin with %s-", name, c.Tenant)
		}
		return nil
	case api.OfHost:
	}
	return denied("%s", kind)
}

// owns says whether a service or set of this name is the caller's.
func (c *call) owns(kind api.Kind, name string) bool {
	of := api.TenantOf
	if kind == api.SetInstances {
		of = api.OwnerOf
	}
	return c.Role != api.Tenant || c.Tenant != "" && of(name) == c.Tenant
}

// names says whether a caller is told the name of a set.
func (c *call) names(set string) bool { return c.owns(api.SetInstances, set) }

// sees says whether a caller may know of a resource.
func (c *call) sees(r api.Resource) bool {
	if c.Role != api.Tenant {
		return true
	}
	switch r := r.(type) {
	case *api.Event:
		return r.Spec.On.Kind != api.Hosts && c.owns(r.Spec.On.Kind, r.Spec.On.Name)
	case *api.Quota:
		return r.Name == c.Tenant
	case *api.Service, *api.SetInstance:
		return c.owns(r.Kind(), r.Head().Name)
	}
	return false
}

// guard lets in whom it may, counts, and writes the audit.
func (s *Server) guard(ctx huma.Context, next func(huma.Context)) {
	o, _ := ctx.Operation().Metadata["operation"].(operation)
	began := time.Now()
	c := &call{name: ctx.Param("name"), via: ctx.Header(api.HeaderVia)}
	var err error
	c.Caller, err = s.identify(ctx.Context(), ctx.Header("Authorization"), ctx.TLS())
	if err == nil {
		err = c.may(o.verb, o.kind, c.name)
	}
	if err == nil && (ctx.TLS() != nil || ctx.Header("Authorization") != "") { // this host's own are not bounded
		if wait := s.pace.wait(c.Caller, time.Now()); wait > 0 {
			var after string
			err, after = tooFast(c.Caller, wait)
			ctx.SetHeader("Retry-After", after)
		}
	}
	if err != nil {
		p := api.NewProblem(err)
		_ = huma.WriteErr(s.api, ctx, p.Status, p.Detail) // the client may be gone
	} else {
		next(huma.WithValue(ctx, callKey{}, c))
	}
	took := time.Since(began)
	s.metrics.done(o, ctx.Status(), took)
	s.audit(ctx, o, c, took)
}

// audit writes a line for each change, and for each refusal of a right.
func (s *Server) audit(ctx huma.Context, o operation, c *call, took time.Duration) {
	status := ctx.Status()
	refused := status == 401 || status == 403
	level := slog.LevelInfo
	if o.verb == look && !refused {
		level = slog.LevelDebug
	}
	s.cfg.Log.LogAttrs(ctx.Context(), level, "audit",
		slog.String("by", c.Name), slog.String("role", string(c.Role)), slog.String("from", ctx.RemoteAddr()),
		slog.String(logx.KeyMethod, o.id), slog.String("kind", string(o.kind)), slog.String("name", clip(c.name)),
		slog.Int("status", status), slog.Duration(logx.KeyTook, took))
}

// clip shortens what a stranger sent.
func clip(s string) string {
	const most = 80
	return strings.ToValidUTF8(s[:min(len(s), most)], "?")
}
