package session_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/session"
)

// TestASessionOverTLS: a client whose connections are of HTTP/2 upgrades one all the same,
// what is sent arrives whole, and an error of the host's is the user's with its class.
func TestASessionOverTLS(t *testing.T) {
	protocol := make(chan string, 2)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protocol <- r.Proto
		if session.Asks(r) != nil {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		rw, err := session.Accept(w)
		if err != nil {
			t.Error(err)
			return
		}
		c := session.NewConn(rw)
		defer func() { _ = c.Close() }()
		k, data, err := c.Read()
		rows, columns, ok := session.SizeOf(data)
		if k != session.Resize || err != nil || !ok || rows != 24 || columns != 80 {
			t.Errorf("frame %d of %d rows and %d columns: %v", k, rows, columns, err)
		}
		_, err = io.Copy(c.To(session.Stdout), bytes.NewReader(make([]byte, 1<<20)))
		if err == nil {
			err = c.End(0, fault.Conflict("container app is not running"))
		}
		if err != nil {
			t.Error(err)
		}
		_, _, _ = c.Read() // until the user has gone
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	transport, ok := s.Client().Transport.(*http.Transport)
	if !ok {
		t.Fatal("the test's client has another transport")
	}
	ask := func() *http.Request {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	plain, err := transport.RoundTrip(ask())
	if err != nil {
		t.Fatal(err)
	}
	_ = plain.Body.Close()
	if p := <-protocol; p != "HTTP/2.0" || plain.StatusCode != http.StatusTeapot {
		t.Fatalf("a plain request is of %s, and answered by %s", p, plain.Status)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	rw, resp, err := session.Dial(ctx, transport, ask()) //nolint:bodyclose // an upgrade has none
	if err != nil || resp != nil {
		t.Fatal(resp, err)
	}
	c := session.NewConn(rw)
	if err := c.Size(24, 80); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := c.Copy(&out, io.Discard); !errdefs.IsFailedPrecondition(err) || out.Len() != 1<<20 {
		t.Errorf("%d bytes, and the end %v", out.Len(), err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestRequestsThatCannotBeMeant(t *testing.T) {
	for name, r := range map[string]session.Request{
		"verb":      {Verb: "attach", Container: "app"},
		"container": {Verb: session.Logs},
		"command":   {Verb: session.Exec, Container: "app"},
		"zero":      {Verb: session.Exec, Container: "app", Command: []string{"a\x00b"}},
	} {
		if err := r.Check(); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
