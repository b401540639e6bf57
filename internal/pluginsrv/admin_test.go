package pluginsrv

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

func TestAdminAPI(t *testing.T) {
	s := New(Config{Log: discard(), Gated: true})
	a := s.NewAdmin()
	classes := map[string]error{
		"not_found": errdefs.ErrNotFound, "invalid_argument": errdefs.ErrInvalidArgument, "already_exists": errdefs.ErrAlreadyExists,
		"failed_precondition": errdefs.ErrFailedPrecondition, "unavailable": errdefs.ErrUnavailable, "resource_exhausted": errdefs.ErrResourceExhausted,
		"permission_denied": errdefs.ErrPermissionDenied, "not_implemented": errdefs.ErrNotImplemented, "conflict": errdefs.ErrConflict,
		"deadline_exceeded": context.DeadlineExceeded, "internal": fmt.Errorf("?"),
	}
	HandleAdmin(a, "GET /v1/things/{id}", func(_ context.Context, path func(string) string, _ None) (thing, error) {
		return thing{ID: path("id")}, nil
	})
	HandleAdmin(a, "POST /v1/things", func(_ context.Context, _ func(string) string, r thing) (thing, error) {
		if err := classes[r.ID]; err != nil {
			return thing{}, fmt.Errorf("thing: %w", err)
		}
		if r.ID == "panic" {
			panic(r.ID)
		}
		return r, nil
	})
	a.Raw("GET /metrics", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "raw") }))

	do := func(method, path, body string) (int, string) {
		w := httptest.NewRecorder()
		a.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
		return w.Code, strings.TrimSpace(w.Body.String())
	}
	for _, c := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"GET", "/v1/things/x", "", 200, `{"ID":"x"}`},
		{"GET", "/v1/things/x", "ignored", 200, `{"ID":"x"}`},
		{"POST", "/v1/things", `{"ID":"y","N":2}`, 200, `{"ID":"y","N":2}`},
		{"POST", "/v1/things", `{"ID":"y","M":2}`, 400, `"code":"invalid_argument"`},
		{"POST", "/v1/things", ``, 400, "body is empty"},
		{"POST", "/v1/things", `{}`, 400, `"code":"invalid_argument"`},
		{"POST", "/v1/things", `{"ID":"panic"}`, 500, `"code":"internal"`},
		{"GET", "/v1/nope", "", 404, `"code":"not_found"`},
		{"GET", "/metrics", "", 200, "raw"},
	} {
		if code, body := do(c.method, c.path, c.body); code != c.code || !strings.Contains(body, c.want) {
			t.Errorf("%s %s %s: got %d %s, want %d %s", c.method, c.path, c.body, code, body, c.code, c.want)
		}
	}
	for want := range classes {
		code, body := do("POST", "/v1/things", fmt.Sprintf(`{"ID":%q}`, want))
		var e map[string]string
		if err := json.Unmarshal([]byte(body), &e); err != nil || e["code"] != want || !strings.HasPrefix(e["error"], "thing: ") || code < 400 {
			t.Errorf("%s: got %d %s", want, code, body)
		}
	}
}
