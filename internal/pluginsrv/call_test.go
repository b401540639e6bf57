package pluginsrv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/prometheus/client_golang/prometheus"
)

func TestActivateTellsTheProtocols(t *testing.T) {
	s := start(t, Config{Gated: true}, func(s *Server) { s.Implements("NetworkDriver", "IpamDriver") })
	code, body := s.post(t, "/Plugin.Activate", "")
	if code != 200 || body != `{"Implements":["NetworkDriver","IpamDriver"]}` {
		t.Errorf("got %d %s", code, body)
	}
}

func TestUnknownCallIs404(t *testing.T) {
	s := start(t, Config{}, func(s *Server) { Handle(s, "/X.Echo", echo) })
	for _, path := range []string{"/X.Nope", "/X.Echo/more", "/" + strings.Repeat("x", 5000)} {
		code, body := s.post(t, path, "{}")
		if msg := errOf(t, body); code != 404 || !strings.Contains(msg, "does not implement") || len(msg) > 200 {
			t.Errorf("%.20s: got %d %s", path, code, body)
		}
	}
	resp, err := s.http.Get("http://plugin/X.Echo")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 404 {
		t.Errorf("GET: got %d", resp.StatusCode)
	}
}

func TestGoodCall(t *testing.T) {
	s := start(t, Config{}, func(s *Server) { Handle(s, "/X.Echo", echo) })
	code, body := s.post(t, "/X.Echo", `{"ID":"a","N":3,"New":{"of":["newer engines"]},"Options":{"k":"v","K":"w"}}`)
	if want := `{"ID":"a","N":3,"Options":{"K":"w","k":"v"}}`; code != 200 || body != want {
		t.Errorf("got %d %s, want %s", code, body, want)
	}
	if got := s.log.String(); strings.Count(got, "call done") != 1 || !strings.Contains(got, "level=DEBUG msg=\"call done\" method=X.Echo request=1 thing=a took=") {
		t.Errorf("log: %s", got)
	}
}

func TestBadBodiesAreNeverAZeroValue(t *testing.T) {
	called := false
	s := start(t, Config{MaxBody: 200}, func(s *Server) {
		Handle(s, "/X.Do", func(context.Context, thing) (None, error) { called = true; return None{}, nil })
	})
	for body, want := range map[string]string{
		"":                                   "empty",
		" \n":                                "empty",
		"null":                               "no JSON object",
		"[]":                                 "no JSON object",
		`"x"`:                                "no JSON object",
		`{"ID":"a"`:                          "cut off",
		`{"ID":"a`:                           "cut off",
		`{`:                                  "cut off",
		`{"ID":"a"}x`:                        "goes on",
		`{"ID":"a"}{"ID":"b"}`:               "goes on",
		`{"ID":"a","N":"3"}`:                 "field N: want int, got string",
		`{"ID":"a","N":1.5}`:                 "field N",
		`{"ID":["a"]}`:                       "field ID",
		`{"ID":"a","Options":{"k":1}}`:       "field Options",
		`{"ID":"a","ID":"b"}`:                `key "ID" is there twice`,
		`{"ID":"a","id":"b"}`:                "is there twice",
		`{"ID":"a","Options":{"":"","":""}}`: "is there twice",
		`{"ID":"a","New":[{"x":1,"x":2}]}`:   "is there twice",
		`{"ID":"` + "\xff" + `"}`:            "not in UTF-8",
		`{"ID":"a" "N":1}`:                   "cannot be read",
		`{}`:                                 "request: ",
		`{"ID":"` + strings.Repeat("a", 300) + `"}`: "larger than 200 bytes",
	} {
		code, answer := s.post(t, "/X.Do", body)
		if msg := errOf(t, answer); code != 400 || !strings.Contains(msg, want) {
			t.Errorf("%q: got %d %s, want %q in it", body, code, answer, want)
		}
	}
	if called {
		t.Error("the handler was called")
	}
}

func TestTruncatedTransferIsAnError(t *testing.T) {
	called := make(chan struct{}, 1)
	s := start(t, Config{}, func(s *Server) {
		Handle(s, "/X.Do", func(context.Context, thing) (None, error) { called <- struct{}{}; return None{}, nil })
	})
	c, err := net.Dial("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// The body is whole JSON, but shorter than announced.
	fmt.Fprintf(c, "POST /X.Do HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{\"ID\":\"a\"}")
	if err := c.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the log line", func() bool { return strings.Contains(s.log.String(), "cut off after 10 bytes") })
	if len(called) > 0 {
		t.Error("the handler was called")
	}
}

func TestCallsWithoutRequestTakeAnything(t *testing.T) {
	s := start(t, Config{MaxBody: 10}, func(s *Server) {
		Handle(s, "/X.Caps", func(context.Context, None) (thing, error) { return thing{ID: "caps"}, nil })
	})
	for _, body := range []string{"", "null", "{}", "{", strings.Repeat("x", 100)} {
		if code, answer := s.post(t, "/X.Caps", body); code != 200 || answer != `{"ID":"caps"}` {
			t.Errorf("%q: got %d %s", body, code, answer)
		}
	}
}

func TestErrorsAreInBothForms(t *testing.T) {
	s := start(t, Config{}, func(s *Server) {
		Handle(s, "/X.Do", func(context.Context, thing) (None, error) {
			return None{}, fmt.Errorf("network 7: %w", errdefs.ErrNotFound)
		})
		Handle(s, "/X.Bad", func(context.Context, thing) (any, error) { return func() {}, nil })
	})
	// Not 404: the Engine would take that for a call that does not exist.
	code, body := s.post(t, "/X.Do", `{"ID":"a"}`)
	if code != 500 || errOf(t, body) != "network 7: not found" {
		t.Errorf("got %d %s", code, body)
	}
	if got := s.log.String(); strings.Count(got, "level=WARN") != 1 || !strings.Contains(got, "took=") || !strings.Contains(got, "thing=a") {
		t.Errorf("log: %s", got)
	}
	if code, body = s.post(t, "/X.Bad", `{"ID":"a"}`); code != 500 || !strings.Contains(errOf(t, body), "encode") {
		t.Errorf("answer that cannot be encoded: got %d %s", code, body)
	}
}

func TestPanicIsAnError(t *testing.T) {
	s := start(t, Config{}, func(s *Server) {
		Handle(s, "/X.Do", func(_ context.Context, r thing) (None, error) {
			return None{}, errors.New(r.Inner.A) // nil
		})
	})
	for range 2 { // the server goes on
		code, body := s.post(t, "/X.Do", `{"ID":"a"}`)
		if msg := errOf(t, body); code != 500 || !strings.Contains(msg, "X.Do broke inside") || strings.Contains(msg, "goroutine") {
			t.Errorf("got %d %s", code, body)
		}
	}
	if got := s.log.String(); !strings.Contains(got, "level=ERROR") || !strings.Contains(got, "call_test.go") {
		t.Errorf("no stack in the log: %s", got)
	}
}

func TestDeadlineEndsTheContext(t *testing.T) {
	s := start(t, Config{CallLimits: map[string]time.Duration{"X.Do": 20 * time.Millisecond}}, func(s *Server) {
		Handle(s, "/X.Do", func(ctx context.Context, _ thing) (None, error) {
			<-ctx.Done()
			return None{}, fmt.Errorf("add port: %w", ctx.Err())
		})
	})
	code, body := s.post(t, "/X.Do", `{"ID":"a"}`)
	if msg := errOf(t, body); code != 500 || !strings.Contains(msg, "add port: ") || !strings.Contains(msg, "over after 20ms") {
		t.Errorf("got %d %s", code, body)
	}
}

func TestDeafHandlerIsAnsweredFor(t *testing.T) {
	release := make(chan struct{})
	s := start(t, Config{CallLimit: time.Millisecond}, func(s *Server) {
		Handle(s, "/X.Do", func(context.Context, thing) (None, error) { <-release; return None{}, nil })
	})
	begin := time.Now()
	code, body := s.post(t, "/X.Do", `{"ID":"a"}`)
	if msg := errOf(t, body); code != 500 || !strings.Contains(msg, "still runs") {
		t.Errorf("got %d %s", code, body)
	}
	if took := time.Since(begin); took > 3*Grace {
		t.Errorf("answered after %s", took)
	}
	close(release)
}

func TestLimitsByMethod(t *testing.T) {
	s := New(Config{CallLimits: map[string]time.Duration{"VolumeDriver.Path": time.Hour}})
	for method, want := range map[string]time.Duration{
		"NetworkDriver.Join": 110 * time.Second, "VolumeDriver.Create": 110 * time.Second, "VolumeDriver.Mount": 110 * time.Second,
		"VolumeDriver.Get": 50 * time.Second, "VolumeDriver.Path": time.Hour,
	} {
		if got := s.limit(method); got != want {
			t.Errorf("%s: %s, want %s", method, got, want)
		}
	}
}

func TestCallGoesOnWhenDockerHangsUp(t *testing.T) {
	begun, finish, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	s := start(t, Config{}, func(s *Server) {
		Handle(s, "/X.Do", func(ctx context.Context, _ thing) (None, error) {
			close(begun)
			<-finish
			select { // the server notices in its own time
			case <-ctx.Done():
			case <-time.After(300 * time.Millisecond):
			}
			ended <- ctx.Err()
			return None{}, nil
		})
	})
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://plugin/X.Do", strings.NewReader(`{"ID":"a"}`))
	if err != nil {
		t.Fatal(err)
	}
	go func() { <-begun; cancel() }()
	resp, err := s.http.Do(req)
	if err == nil {
		resp.Body.Close()
	}
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	close(finish)
	if err := <-ended; err != nil {
		t.Errorf("the handler's context: %v", err)
	}
}

func TestGateHoldsCallsUntilReady(t *testing.T) {
	s := start(t, Config{Gated: true, ReadyLimit: time.Minute}, func(s *Server) { Handle(s, "/X.Echo", echo) })
	done := make(chan int)
	go func() {
		code, _ := s.post(t, "/X.Echo", `{"ID":"a"}`)
		done <- code
	}()
	select {
	case code := <-done:
		t.Fatalf("answered %d before it was ready", code)
	case <-time.After(50 * time.Millisecond):
	}
	s.Ready()
	s.Ready()
	if code := <-done; code != 200 {
		t.Errorf("got %d", code)
	}
}

func TestNotReadyIsSaid(t *testing.T) {
	s := start(t, Config{Gated: true, ReadyLimit: time.Millisecond}, func(s *Server) { Handle(s, "/X.Echo", echo) })
	code, body := s.post(t, "/X.Echo", `{"ID":"a"}`)
	if code != 500 || !strings.Contains(errOf(t, body), "not ready") {
		t.Errorf("got %d %s", code, body)
	}
}

func TestRequestsAreNumbered(t *testing.T) {
	var mu sync.Mutex
	seen := map[uint64]bool{}
	s := start(t, Config{}, func(s *Server) {
		Handle(s, "/X.Do", func(ctx context.Context, _ thing) (None, error) {
			mu.Lock()
			defer mu.Unlock()
			seen[RequestID(ctx)] = true
			return None{}, nil
		})
	})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { s.post(t, "/X.Do", `{"ID":"a"}`) })
	}
	wg.Wait()
	if len(seen) != 20 || seen[0] || !seen[20] {
		t.Errorf("numbers: %v", seen)
	}
	if RequestID(t.Context()) != 0 {
		t.Error("a number outside of a call")
	}
}

func TestCallsAreCounted(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := start(t, Config{Registry: reg}, func(s *Server) {
		Handle(s, "/X.Echo", echo)
		Handle(s, "/X.Panic", func(context.Context, thing) (None, error) { panic("x") })
		Handle(s, "/X.Fail", func(context.Context, thing) (None, error) { return None{}, errdefs.ErrNotFound })
	})
	for _, call := range []string{"/X.Echo", "/X.Echo", "/X.Panic", "/X.Fail", "/X.Nope1", "/X.Nope2"} {
		s.post(t, call, `{"ID":"a"}`)
	}
	s.post(t, "/X.Echo", "")
	got := map[string]float64{}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			parts := []string{f.GetName()}
			for _, l := range m.GetLabel() {
				parts = append(parts, l.GetValue())
			}
			got[strings.Join(parts, " ")] = m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount()) + m.GetGauge().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"mos_plugin_calls_total X.Echo ok": 2, "mos_plugin_calls_total X.Echo bad_request": 1,
		"mos_plugin_calls_total X.Panic panic": 1, "mos_plugin_calls_total X.Fail error": 1,
		strings.Join([]string{"mos_plugin_calls_total", "unknown", resultUnknown}, " "): 2, "mos_plugin_call_seconds X.Echo ok": 2, "mos_plugin_calls_open": 0,
	} {
		if v, ok := got[name]; !ok || v != want {
			t.Errorf("%s is %v, want %v", name, v, want)
		}
	}
}

func BenchmarkCall(b *testing.B) {
	path := b.TempDir() + "/p.sock"
	s := New(Config{Log: discard(), Registry: prometheus.NewRegistry()})
	Handle(s, "/X.Echo", echo)
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, Socket{Path: path, Handler: s.Handler()}) }()
	c := client(path)
	body := `{"ID":"a","Options":{"k":"v"}}`
	call := func() error {
		resp, err := c.Post("http://plugin/X.Echo", "application/json", strings.NewReader(body))
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	for call() != nil {
	}
	for b.Loop() {
		if err := call(); err != nil {
			b.Fatal(err)
		}
	}
	c.CloseIdleConnections()
	cancel()
	<-done
}

// TestHangUpIsABrokenConnection: an Engine must not read an answer where there is none.
func TestHangUpIsABrokenConnection(t *testing.T) {
	s := start(t, Config{}, func(s *Server) {
		Handle(s, "/X.Get", func(context.Context, thing) (thing, error) {
			return thing{}, fmt.Errorf("state of a is not known: %w", ErrHangUp)
		})
	})
	resp, err := s.http.Post("http://plugin/X.Get", "application/json", strings.NewReader(`{"ID":"a"}`))
	if err == nil {
		resp.Body.Close()
		t.Fatalf("got an answer: %s", resp.Status)
	}
	if _, transport := errors.AsType[net.Error](err); !transport { // what Engines take for "ask again"
		t.Errorf("%T %v is no error of the connection", err, err)
	}
	waitFor(t, "the log line", func() bool { return strings.Contains(s.log.String(), "state of a is not known") })
	if strings.Contains(s.log.String(), "panic") {
		t.Error(s.log.String())
	}
}

// TestBrokenFactIsNoAnswer: a handler that breaks is not taken for "absent".
func TestBrokenFactIsNoAnswer(t *testing.T) {
	s := start(t, Config{}, func(s *Server) {
		Handle(s, "/X.Get", func(context.Context, factThing) (None, error) { panic("broken") })
		Handle(s, "/X.Absent", func(context.Context, factThing) (None, error) { return None{}, errdefs.ErrNotFound })
	})
	resp, err := s.http.Post("http://plugin/X.Get", "application/json", strings.NewReader(`{}`))
	if err == nil {
		resp.Body.Close()
		t.Errorf("got an answer: %s", resp.Status)
	}
	if code, _ := s.post(t, "/X.Absent", `{}`); code != http.StatusInternalServerError {
		t.Errorf("absence is answered with %d", code)
	}
	// It is asked for before each creation, and nothing to warn of.
	waitFor(t, "the log line", func() bool { return strings.Contains(s.log.String(), "call done, it is not there") })
}

type factThing struct{}

func (factThing) AskedForAFact() {}

func TestBoundedCallsPanicAndEndToo(t *testing.T) {
	s := start(t, Config{CallLimit: 20 * time.Millisecond}, func(s *Server) {
		HandleBounded(s, "/X.Echo", echo)
		HandleBounded(s, "/X.Panic", func(context.Context, thing) (None, error) { panic("broken") })
		HandleBounded(s, "/X.Wait", func(ctx context.Context, _ thing) (None, error) {
			<-ctx.Done()
			return None{}, ctx.Err()
		})
	})
	if code, body := s.post(t, "/X.Echo", `{"ID":"a"}`); code != 200 || !strings.Contains(body, `"ID":"a"`) {
		t.Errorf("got %d %s", code, body)
	}
	for call, want := range map[string]string{"/X.Panic": "broke inside: broken", "/X.Wait": errLate.Error()} {
		if code, body := s.post(t, call, `{"ID":"a"}`); code != 500 || !strings.Contains(errOf(t, body), want) {
			t.Errorf("%s: got %d %s, want %q", call, code, body, want)
		}
	}
}
