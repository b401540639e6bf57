package pluginsrv

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(child())
	}
	goleak.VerifyTestMain(m)
}

// thing is the request and answer of the calls that tests add.
type thing struct {
	ID      string            `json:"ID"`
	N       int               `json:"N,omitempty"`
	Options map[string]string `json:"Options,omitempty"`
	Inner   *inner            `json:"Inner,omitempty"`
}

type inner struct {
	A string `json:"A"`
}

func (t thing) Validate() error {
	if t.ID == "" {
		return context.Canceled // any error
	}
	return nil
}

func (t thing) LogAttrs() []slog.Attr { return []slog.Attr{slog.String("thing", t.ID)} }

// server is a running server with a client.
type server struct {
	*Server
	path string
	log  *lines
	http *http.Client
	stop func() error // ends Run and returns its error; repeats give the same
}

// lines is a log that a test reads.
type lines struct {
	mu  sync.Mutex // guards all below
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// start serves what add adds, on a socket of its own, until the test ends.
func start(t *testing.T, cfg Config, add func(*Server)) *server {
	t.Helper()
	s := &server{path: filepath.Join(t.TempDir(), "p.sock"), log: &lines{}}
	cfg.Log = slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s.Server = New(cfg)
	add(s.Server)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, Socket{Path: s.path, Handler: s.Handler()}) }()
	s.stop = sync.OnceValue(func() error { cancel(); return <-done })
	s.http = client(s.path)
	t.Cleanup(func() {
		_ = s.stop()
		s.http.CloseIdleConnections()
	})
	waitFor(t, "the socket", func() bool { return strings.Contains(s.log.String(), "serving") || len(done) > 0 })
	return s
}

func client(path string) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}
}

// post calls a method and returns status and body.
func (s *server) post(t *testing.T, method, body string) (int, string) {
	t.Helper()
	resp, err := s.http.Post("http://plugin"+method, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// errOf returns the error in an answer, which must be there in both forms.
func errOf(t *testing.T, body string) string {
	t.Helper()
	var e map[string]string
	if err := json.Unmarshal([]byte(body), &e); err != nil || e["Err"] == "" || e["Err"] != e["Error"] || len(e) != 2 {
		t.Errorf("error answer %q", body)
	}
	return e["Err"]
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: waited too long", what)
		}
	}
}

func echo(_ context.Context, r thing) (thing, error) { return r, nil }
