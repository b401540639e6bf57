package link_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/go-json-experiment/json"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/scheduler/link"
	"github.com/mosdocker/mosdocker/scheduler/session"
)

// tardy is a host's connection that is taken over only when it may be.
type tardy struct {
	*httptest.ResponseRecorder

	begun, may chan struct{}
	conn       net.Conn
}

func (s *tardy) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	close(s.begun)
	<-s.may
	return s.conn, bufio.NewReadWriter(bufio.NewReader(s.conn), bufio.NewWriter(s.conn)), nil
}

// TestASessionThatNobodyWaitsForIsClosed: the host comes for a session, and its user gives up
// just when the host's connection is taken over.
func TestASessionThatNobodyWaitsForIsClosed(t *testing.T) {
	t.Parallel()
	s := link.NewServer(link.Config{
		Cluster: "c1", Controller: newLeader(true), Log: slog.New(slog.DiscardHandler),
		Who: func(*http.Request) (link.Peer, error) { return link.Peer{Any: true}, nil },
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	offers := httptest.NewServer(s)
	defer offers.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, offers.URL+link.Root+"sessions?host=h1", nil)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Body.Close() }()
	user, leaves := context.WithCancel(t.Context())
	opened := make(chan error, 1)
	testx.Eventually(t, 5*time.Second, func() error { // the stream is known
		short, end := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer end()
		if _, _, err := s.Open(short, "h1", "ann", session.Offer{Set: "probe"}); !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		return nil
	})
	go func() {
		_, _, err := s.Open(user, "h1", "ann", session.Offer{Set: "web-1"})
		opened <- err
	}()
	id := offered(t, bufio.NewScanner(stream.Body), "web-1")
	ours, theirs := net.Pipe()
	defer func() { _ = ours.Close() }()
	w := &tardy{httptest.NewRecorder(), make(chan struct{}), make(chan struct{}), theirs}
	attach := httptest.NewRequestWithContext(t.Context(), http.MethodPost, link.Root+"sessions/"+id+"?host=h1", nil)
	attach.Header.Set("Connection", "Upgrade")
	attach.Header.Set("Upgrade", session.Protocol)
	go s.ServeHTTP(w, attach)
	<-w.begun
	leaves()
	if err := <-opened; !errdefs.IsUnavailable(err) {
		t.Fatalf("the user left, and got %v", err)
	}
	close(w.may)
	if err := ours.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, ours); err != nil {
		t.Errorf("nobody closes the host's connection: %v", err)
	}
}

// offered reads the id of a session of a set.
func offered(t *testing.T, lines *bufio.Scanner, set string) string {
	t.Helper()
	for lines.Scan() {
		o := decode[session.Offer](t, lines.Bytes())
		if o.Set == set {
			return o.ID
		}
	}
	t.Fatalf("%s is not offered: %v", set, lines.Err())
	return ""
}

func decode[T any](t *testing.T, line []byte) (v T) {
	t.Helper()
	if len(line) > 0 {
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatal(err)
		}
	}
	return v
}
