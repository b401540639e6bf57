package adminapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"go.uber.org/goleak"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/pluginsrv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve answers on a unix socket until the test ends.
func serve(t *testing.T, h http.Handler) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "admin.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	_ = s.Listener.Close()
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	return New("mos-test", path)
}

type thing struct {
	Name string `json:"name"`
}

func TestCallsCarryWhatIsAsked(t *testing.T) {
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		_ = json.NewEncoder(w).Encode(thing{r.Method + " " + r.URL.String() + " " + string(b)})
	}))
	got, err := Send[thing](t.Context(), c, http.MethodPut, "/v1/things/a%2Fb?x=1", thing{"in"})
	if want := `PUT /v1/things/a%2Fb?x=1 {"name":"in"}` + "\n"; err != nil || got.Name != want {
		t.Errorf("got %q, %v, want %q", got.Name, err, want)
	}
	got, err = Get[thing](t.Context(), c, "/v1/things")
	if err != nil || got.Name != "GET /v1/things " {
		t.Errorf("got %q, %v", got.Name, err)
	}
	resp, err := c.Do(t.Context(), http.MethodPost, "/stream", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(b), "POST /stream body") {
		t.Errorf("got %s, %v", b, err)
	}
}

// TestErrorsKeepTheirClass goes through the daemon's half: what it answers has
// the same class and the same sentence here.
func TestErrorsKeepTheirClass(t *testing.T) {
	classes := map[string]error{
		"already_exists": errdefs.ErrAlreadyExists, "failed_precondition": errdefs.ErrFailedPrecondition, "invalid_argument": errdefs.ErrInvalidArgument,
		"not_found": errdefs.ErrNotFound, "not_implemented": errdefs.ErrNotImplemented, "resource_exhausted": errdefs.ErrResourceExhausted,
		"unavailable": errdefs.ErrUnavailable, "conflict": errdefs.ErrConflict, "permission_denied": errdefs.ErrPermissionDenied,
		"deadline_exceeded": context.DeadlineExceeded,
	}
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pluginsrv.Refuse(w, fault.Of(classes[r.URL.Path[1:]], "the pool is on fire: add a disk"))
	}))
	for code, class := range classes {
		_, err := Get[thing](t.Context(), c, "/"+code)
		e, ok := errors.AsType[*Error](err)
		if !errors.Is(err, class) || !ok || e.Sentence != "the pool is on fire: add a disk" {
			t.Errorf("%s: got %v", code, err)
		}
		if e := NewError("x", code); !errors.Is(e, class) || e.Error() != "x" {
			t.Errorf("%s: got %v", code, e)
		}
	}
	if e := NewError("x", "odd"); !errdefs.IsInternal(e) {
		t.Errorf("an odd class is %v", errors.Unwrap(e))
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/cut":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"name":`)
		case "/text":
			_, _ = io.WriteString(w, "hello")
		case "/page":
			http.Error(w, "<html>", http.StatusNotFound)
		case "/empty":
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	for path, want := range map[string]string{
		"/cut": "answer of mos-test to GET /cut", "/text": "answer of mos-test to GET /text",
		"/page": "mos-test answered 404 Not Found", "/empty": "mos-test answered 503 Service Unavailable",
	} {
		if _, err := Get[thing](t.Context(), c, path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
	if _, err := Get[thing](t.Context(), c, "/page"); !errdefs.IsNotFound(err) {
		t.Errorf("a page that is not there: %v", err)
	}
	if _, err := Send[thing](t.Context(), c, http.MethodPost, "/text", func() {}); err == nil {
		t.Error("what has no JSON is sent")
	}
	if _, err := Send[thing](t.Context(), c, "BAD METHOD", "/", nil); err == nil {
		t.Error("an odd method is sent")
	}
}

func TestDaemonThatIsNotThere(t *testing.T) {
	c := New("mos-test", filepath.Join(t.TempDir(), "none.sock"))
	_, err := Get[thing](t.Context(), c, "/")
	if !errdefs.IsUnavailable(err) || !strings.HasPrefix(err.Error(), "mos-test does not answer: ") {
		t.Errorf("got %v", err)
	}
	if _, answered := errors.AsType[*Error](err); answered {
		t.Error("it is told as an answer")
	}
}

func TestCallsEndWithTheirContext(t *testing.T) {
	free := make(chan struct{})
	c := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-free }))
	defer close(free)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Get[thing](ctx, c, "/"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
