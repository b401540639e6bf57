package pluginsrv

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errhttp"
)

// Admin is the calls of an admin API: JSON both ways, unknown fields refused. An
// error is {"error": SENTENCE, "code": CLASS} with the HTTP status of its
// [errdefs] class, so that clients get the class back by errhttp.ToNative.
type Admin struct {
	s   *Server
	mux *http.ServeMux
}

// NewAdmin makes an admin API whose calls are logged, numbered and bounded like
// the plugin's. They do not wait for [Server.Ready].
func (s *Server) NewAdmin() *Admin {
	a := &Admin{s: s, mux: http.NewServeMux()}
	a.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		adminAnswer(w, http.StatusNotFound, adminError{"there is no " + r.Method + " " + clip(r.URL.Path), "not_found"})
	})
	return a
}

// ServeHTTP implements [http.Handler].
func (a *Admin) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

// Raw adds a handler that answers by itself, such as metrics.
func (a *Admin) Raw(pattern string, h http.Handler) { a.mux.Handle(pattern, h) }

// adminError is the body of a failed call.
type adminError struct {
	Error string `json:"error"`
	Code  string `json:"code"`
}

// HandleAdmin adds a call at an [http.ServeMux] pattern such as "GET
// /v1/networks/{id}"; path gives its wildcards. With Req = [None] the body is
// not read. A request that is a [Validator] is checked before f.
func HandleAdmin[Req, Resp any](a *Admin, pattern string, f func(ctx context.Context, path func(string) string, req Req) (Resp, error)) {
	a.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		c := &call{s: a.s, method: pattern, start: time.Now(), number: a.s.number.Add(1)}
		var req Req
		c.err = c.guard(func() error { return readAdmin(c, w, r, &req) })
		var resp any
		if c.err == nil {
			resp, c.err = c.run(r.Context(), func(ctx context.Context) (any, error) { return f(ctx, r.PathValue, req) })
		}
		if c.err != nil {
			// The caller erred, or is told; a warning would be noise.
			a.s.cfg.Log.DebugContext(r.Context(), "admin call failed", "method", pattern, "request", c.number, "took", time.Since(c.start), "err", c.err)
			status, code := Class(c.err)
			adminAnswer(w, status, adminError{c.err.Error(), code})
			return
		}
		a.s.cfg.Log.DebugContext(r.Context(), "admin call done", "method", pattern, "request", c.number, "took", time.Since(c.start))
		adminAnswer(w, http.StatusOK, resp)
	})
}

func readAdmin[Req any](c *call, w http.ResponseWriter, r *http.Request, req *Req) error {
	if _, none := any(*req).(None); none {
		return nil
	}
	if err := decode(w, r, c.s.cfg.MaxBody, req, true); err != nil {
		return err
	}
	if v, ok := any(*req).(Validator); ok {
		if err := v.Validate(); err != nil {
			return &bodyError{err}
		}
	}
	return nil
}

// Refuse answers a call of [Admin.Raw] with an error, as the other calls do.
func Refuse(w http.ResponseWriter, err error) {
	status, code := Class(err)
	adminAnswer(w, status, adminError{err.Error(), code})
}

func adminAnswer(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status = http.StatusInternalServerError
		body, _ = json.Marshal(adminError{"encode the answer: " + err.Error(), "internal"}) //nolint:errchkjson // strings can be encoded
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the caller may be gone
}

// Class gives the HTTP status and the code word of an error's class.
func Class(err error) (status int, code string) {
	status = errhttp.ToHTTP(err)
	switch {
	case errdefs.IsAlreadyExists(err):
		return http.StatusConflict, "already_exists"
	case errdefs.IsDeadlineExceeded(err):
		return http.StatusGatewayTimeout, "deadline_exceeded"
	}
	switch status {
	case http.StatusNotFound:
		return status, "not_found"
	case http.StatusBadRequest:
		return status, "invalid_argument"
	case http.StatusConflict:
		return status, "conflict"
	case http.StatusPreconditionFailed:
		return status, "failed_precondition"
	case http.StatusForbidden:
		return status, "permission_denied"
	case http.StatusTooManyRequests:
		return status, "resource_exhausted"
	case http.StatusNotImplemented:
		return status, "not_implemented"
	case http.StatusServiceUnavailable:
		return status, "unavailable"
	}
	return http.StatusInternalServerError, "internal"
}
