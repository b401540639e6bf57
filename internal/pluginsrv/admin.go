package pluginsrv

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/containerd/errdefs"
)

// Admin is the calls of an admin API: JSON both ways, HTTP status by the
// error's class, unknown fields refused.
type Admin struct {
	s   *Server
	mux *http.ServeMux
}

// NewAdmin makes an admin API whose calls are logged and bounded like the
// plugin's.
func (s *Server) NewAdmin() *Admin { return &Admin{s: s, mux: http.NewServeMux()} }

// ServeHTTP implements [http.Handler].
func (a *Admin) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

// Raw adds a handler that answers by itself, such as metrics.
func (a *Admin) Raw(pattern string, h http.Handler) { a.mux.Handle(pattern, h) }

// HandleAdmin adds a call at an [http.ServeMux] pattern such as "GET
// /v1/networks/{id}"; path gives its wildcards. With Req = [None] the body is
// not read.
func HandleAdmin[Req, Resp any](a *Admin, pattern string, f func(ctx context.Context, path func(string) string, req Req) (Resp, error)) {
	a.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), a.s.cfg.CallLimit)
		defer cancel()
		resp, err := a.s.guard(ctx, pattern, func(ctx context.Context) (any, error) {
			var req Req
			if _, none := any(req).(None); !none {
				if err := decode(http.MaxBytesReader(w, r.Body, a.s.cfg.MaxBody), &req, true); err != nil {
					return nil, err
				}
			}
			return f(ctx, r.PathValue, req)
		})
		w.Header().Set("Content-Type", "application/json")
		if err != nil {
			a.s.cfg.Log.Debug("admin call failed", "method", pattern, "err", err)
			status, code := statusOf(err)
			w.WriteHeader(status)
			resp = map[string]string{"error": err.Error(), "code": code}
		}
		_ = json.NewEncoder(w).Encode(resp) //nolint:errchkjson // the client may be gone
	})
}

// statusOf gives the HTTP status and the code word of an error's class.
func statusOf(err error) (int, string) {
	switch {
	case errdefs.IsNotFound(err):
		return http.StatusNotFound, "not_found"
	case errdefs.IsInvalidArgument(err):
		return http.StatusBadRequest, "invalid_argument"
	case errdefs.IsAlreadyExists(err):
		return http.StatusConflict, "already_exists"
	case errdefs.IsFailedPrecondition(err):
		return http.StatusPreconditionFailed, "failed_precondition"
	case errdefs.IsPermissionDenied(err):
		return http.StatusForbidden, "permission_denied"
	case errdefs.IsNotImplemented(err):
		return http.StatusNotImplemented, "not_implemented"
	case errdefs.IsUnavailable(err):
		return http.StatusServiceUnavailable, "unavailable"
	}
	return http.StatusInternalServerError, "internal"
}
