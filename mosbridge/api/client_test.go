package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mosdocker/mosdocker/mosbridge/api"
)

// serve answers on a unix socket and returns a client of it.
func serve(t *testing.T, h http.HandlerFunc) *api.Client {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: h}}
	s.Start()
	t.Cleanup(s.Close)
	return api.New(socket)
}

func TestErrorsKeepTheirClass(t *testing.T) {
	for _, tc := range []struct {
		status int
		code   string
		class  error
	}{
		{404, "not_found", errdefs.ErrNotFound},
		{400, "invalid_argument", errdefs.ErrInvalidArgument},
		{409, "already_exists", errdefs.ErrAlreadyExists},
		{409, "conflict", errdefs.ErrConflict},
		{412, "failed_precondition", errdefs.ErrFailedPrecondition},
		{403, "permission_denied", errdefs.ErrPermissionDenied},
		{429, "resource_exhausted", errdefs.ErrResourceExhausted},
		{501, "not_implemented", errdefs.ErrNotImplemented},
		{503, "unavailable", errdefs.ErrUnavailable},
		{504, "deadline_exceeded", context.DeadlineExceeded},
		{500, "internal", errdefs.ErrInternal},
	} {
		c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(tc.status)
			_ = json.NewEncoder(w).Encode(map[string]string{"error": "no such thing: make one", "code": tc.code})
		})
		_, err := c.Status(t.Context())
		if !errors.Is(err, tc.class) || err.Error() != "no such thing: make one" {
			t.Errorf("%d %s: got %v, want class %v", tc.status, tc.code, err, tc.class)
		}
	}
}

func TestAnswersThatAreNoAnswers(t *testing.T) {
	_, err := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }).Status(t.Context())
	if !errdefs.IsNotFound(err) {
		t.Errorf("empty 404: %v", err)
	}
	_, err = serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"version":`) }).Status(t.Context())
	if err == nil {
		t.Error("a cut answer is taken for an answer")
	}
}

func TestAbsentDaemonIsUnavailable(t *testing.T) {
	_, err := api.New(filepath.Join(t.TempDir(), "s")).Networks(t.Context())
	if !errdefs.IsUnavailable(err) || !errors.Is(err, syscall.ENOENT) {
		t.Errorf("got %v, want Unavailable and ENOENT", err)
	}
}

func TestRequestsAsTheyGoOut(t *testing.T) {
	var seen []string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		seen = append(seen, r.Method+" "+r.URL.EscapedPath()+" "+string(b))
		_, _ = io.WriteString(w, "{}")
	})
	ctx := t.Context()
	in := uint64(0)
	_, e1 := c.Network(ctx, "a/b c")
	_, e2 := c.Endpoint(ctx, "web")
	_, e3 := c.SetRates(ctx, api.RatesRequest{Network: "n", In: &in, DryRun: true})
	_, e4 := c.Trace(ctx, api.TraceRequest{From: "web", To: netip.MustParseAddr("10.0.0.1"), Proto: "tcp", Port: 80})
	_, e5 := c.GC(ctx, api.GCRequest{})
	e6 := c.Forget(ctx, api.ForgetRequest{Addr: netip.MustParseAddr("fd00::1")})
	e7 := c.SetLogLevel(ctx, api.LogLevel{Level: "debug"})
	if err := errors.Join(e1, e2, e3, e4, e5, e6, e7); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"GET /v1/networks/a%2Fb%20c ",
		"GET /v1/endpoints/web ",
		`POST /v1/rates {"network":"n","in":0,"dryRun":true}` + "\n",
		`POST /v1/trace {"from":"web","to":"10.0.0.1","proto":"tcp","port":80}` + "\n",
		"POST /v1/gc {}\n",
		`POST /v1/leases/forget {"address":"fd00::1"}` + "\n",
		`PUT /v1/loglevel {"level":"debug"}` + "\n",
	}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Error(diff)
	}
}

func TestTypesSurviveTheWire(t *testing.T) {
	in := api.Endpoint{ID: "e", Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.2")}, RateIn: 1 << 63, Stats: api.Stats{RxBytes: 7}}
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(in) })
	out, err := c.Endpoint(t.Context(), "e")
	if diff := cmp.Diff(in, out, cmpopts.EquateComparable(netip.Addr{})); err != nil || diff != "" {
		t.Error(err, diff)
	}
}
