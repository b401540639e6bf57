package cat

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"go.uber.org/goleak"

	"github.com/mosdocker/mosdocker/agent/metric"
	"github.com/mosdocker/mosdocker/agent/sink"
	"github.com/mosdocker/mosdocker/agent/sink/sinktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server reads as cat-core's TcpSocketReceiver and NativeMessageCodec do, and what is in
// a heartbeat as cat-consumer's HeartbeatAnalyzer.
type server struct {
	l    net.Listener
	work sync.WaitGroup

	mu     sync.Mutex // guards all below
	points []sinktest.Point
	ids    map[string]time.Time
	down   bool
}

func newServer(tb testing.TB) *server {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := &server{l: l, ids: map[string]time.Time{}}
	s.work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.serve(tb, c)
		}
	})
	tb.Cleanup(func() { l.Close(); s.work.Wait() })
	return s
}

func (s *server) serve(tb testing.TB, c net.Conn) {
	tb.Helper()
	defer c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return // as one that ends: nothing is read
	}
	all, err := io.ReadAll(c)
	if err != nil {
		tb.Error(err)
	}
	for len(all) > 0 {
		if len(all) < 4 || int(binary.BigEndian.Uint32(all)) > len(all)-4 {
			tb.Errorf("%d bytes are cut off", len(all))
			return
		}
		n := 4 + int(binary.BigEndian.Uint32(all))
		if err := s.take(all[4:n]); err != nil {
			tb.Error(err)
		}
		all = all[n:]
	}
}

// reader reads what the codec has.
type reader struct{ *bytes.Reader }

func (r reader) number() uint64 {
	v, err := binary.ReadUvarint(r)
	if err != nil {
		panic(err)
	}
	return v
}

func (r reader) text() string {
	b := make([]byte, r.number())
	if _, err := io.ReadFull(r, b); err != nil {
		panic(err)
	}
	return string(b)
}

func (r reader) is(want ...string) {
	for _, w := range want {
		if got := r.text(); got != w {
			panic(fmt.Sprintf("got %q, want %q", got, w))
		}
	}
}

func (r reader) kind(want byte) {
	if got, _ := r.ReadByte(); got != want {
		panic(fmt.Sprintf("a message %q, want %q", got, want))
	}
}

// status is the document, as far as servers look into it.
type status struct {
	Timestamp string    `xml:"timestamp,attr"`
	Runtime   *struct{} `xml:"runtime"`
	Message   *struct {
		Produced int `xml:"produced,attr"`
	} `xml:"message"`
	Extensions []struct {
		ID      string `xml:"id,attr"`
		Details []struct {
			ID    string  `xml:"id,attr"`
			Value float64 `xml:"value,attr"`
		} `xml:"extensionDetail"`
	} `xml:"extension"`
}

func (s *server) take(packet []byte) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v in %q", p, packet)
		}
	}()
	if string(packet[:3]) != "NT1" {
		return fmt.Errorf("codec %q", packet[:3])
	}
	r := reader{bytes.NewReader(packet[3:])}
	domain := r.text()
	object, ours := strings.CutPrefix(domain, "mos.")
	if !ours {
		return fmt.Errorf("domain %q", domain)
	}
	r.is("h1", "10.1.6.128", "mosd", "1", "mosd")
	id := r.text()
	r.is("", "", "")
	r.kind('t')
	at := time.UnixMilli(int64(r.number()))
	if want := fmt.Sprintf("%s-0a010680-%d-%d", domain, at.Unix()/3600, at.Unix()%3600); id != want {
		return fmt.Errorf("message %q, want %q", id, want)
	}
	if before, twice := s.ids[id]; twice && !before.Equal(at) {
		return fmt.Errorf("message %q is there twice", id)
	}
	s.ids[id] = at
	r.is("System", "Status")
	r.kind('H')
	r.number()
	r.is("Heartbeat", "10.1.6.128", "0")
	doc := r.text()
	r.kind('T')
	r.is("0")
	tags := r.text()
	if r.number() != 0 || r.Len() != 0 {
		return errors.New("there is more")
	}
	var st status
	if err := xml.Unmarshal([]byte(doc), &st); err != nil || st.Runtime == nil || st.Message == nil || st.Message.Produced != 0 || st.Timestamp != at.Format("2006-01-02 15:04:05.000") {
		return fmt.Errorf("%s: %w", doc, err)
	}
	extensions := map[string]bool{}
	for _, e := range st.Extensions {
		if extensions[e.ID] { // the server keeps the last only
			return fmt.Errorf("extension %q is there twice", e.ID)
		}
		extensions[e.ID] = true
		for _, d := range e.Details {
			curve, dim, _ := strings.Cut(d.ID, " ")
			s.points = append(s.points, sinktest.Point{
				Time: at, Object: object, Name: e.ID + "." + curve, Dim: dim, Value: d.Value,
				Tags: strings.ReplaceAll(tags, "&", " "),
			})
		}
	}
	return nil
}

func (s *server) URL() string { return "tcp://" + s.l.Addr().String() }

func (s *server) Points() []sinktest.Point {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.points)
}

func (s *server) Down(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

func (s *server) RefuseNext() bool { return false }

// routed is a server behind a router that names one that is not there, too.
type routed struct {
	*server

	router *httptest.Server
}

func (r routed) URL() string { return r.router.URL }

func newRouted(tb testing.TB, form string) routed {
	tb.Helper()
	s := newServer(tb)
	router := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if q := r.URL.Query(); r.URL.Path != "/cat/s/router" || q.Get("op") != "json" || q.Get("domain") != "mos." || q.Get("ip") != "10.1.6.128" {
			tb.Errorf("asked for %s", r.URL)
		}
		fmt.Fprintf(w, form, "127.0.0.1:1;"+s.l.Addr().String()+";")
	}))
	tb.Cleanup(router.Close)
	return routed{s, router}
}

// The answers of routers: of version 3 JSON, of version 4 a map of Java.
const (
	answer3 = `{"kvs":{"block":"false","routers":"%s","sample":"1.0","startTransactionTypes":"Cache.;Squirrel."}}`
	answer4 = `{block=false, routers=%s, sample=1.0}`
)

func open(c sink.Config) (*Backend, error) {
	b, err := New(Config{HTTPConfig: sink.HTTPConfig{Config: c}, Domain: "mos.", IP: "10.1.6.128"})
	if b != nil {
		b.now = func() time.Time { return time.Unix(1_700_000_040, 0) } // the suite's hour
	}
	return b, err
}

func TestSuite(t *testing.T) {
	for name, receiver := range map[string]func(tb testing.TB) sinktest.Receiver{
		"server":    func(tb testing.TB) sinktest.Receiver { tb.Helper(); return newServer(tb) },
		"version 3": func(tb testing.TB) sinktest.Receiver { tb.Helper(); return newRouted(tb, answer3) },
		"version 4": func(tb testing.TB) sinktest.Receiver { tb.Helper(); return newRouted(tb, answer4) },
	} {
		t.Run(name, func(t *testing.T) {
			sinktest.Suite(t, sinktest.Case{
				New:      func(c sink.Config) (sink.Backend, error) { return open(c) },
				Receiver: receiver,
				Name:     func(_ metric.Scope, name string) string { return name },
			})
		})
	}
}

// TestOnlyWhatWasReadCounts: the protocol has no answers, and a server may close, reset
// or end before it has read all.
func TestOnlyWhatWasReadCounts(t *testing.T) {
	for name, end := range map[string]func(c *net.TCPConn) error{
		"closes at once": func(c *net.TCPConn) error { return c.Close() },
		"reads a part":   func(c *net.TCPConn) error { _, err := io.CopyN(io.Discard, c, 10); return errors.Join(err, c.Close()) },
		"resets":         func(c *net.TCPConn) error { return errors.Join(c.SetLinger(0), c.Close()) },
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			var work sync.WaitGroup
			work.Go(func() {
				for c, err := l.AcceptTCP(); err == nil; c, err = l.AcceptTCP() {
					if err := end(c); err != nil {
						t.Error(err)
					}
				}
			})
			defer func() { l.Close(); work.Wait() }()
			b, err := open(sink.Config{URL: "tcp://" + l.Addr().String()})
			if err != nil {
				t.Fatal(err)
			}
			batch := encoded(t, b, time.Unix(1_700_000_040, 0))
			for range 20 {
				if err := b.Deliver(t.Context(), batch); err == nil {
					t.Fatal("it counts as delivered")
				} else if errdefs.IsInvalidArgument(err) {
					t.Fatalf("it counts as refused: %v", err)
				}
				c, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
				if err != nil {
					continue // it was reset already
				}
				time.Sleep(2 * time.Millisecond) // so that the close comes first
				if hand(c, batch) == nil {
					t.Fatal("it counts as read")
				}
				c.Close()
			}
		})
	}
}

func encoded(t *testing.T, b *Backend, at time.Time) []byte {
	t.Helper()
	s := sinktest.Fill(sinktest.Sample(), 0)
	selector, err := sink.NewSelector(sink.Options{})
	if err != nil {
		t.Fatal(err)
	}
	in := sink.Batch{Time: at, Host: "h1"}
	in.Items, in.Changed = selector.Items(s)
	return b.Encode(nil, &in)
}

// TestAnHourThatIsOverIsNotSent: a server drops that without a word.
func TestAnHourThatIsOverIsNotSent(t *testing.T) {
	s := newServer(t)
	b, err := open(sink.Config{URL: s.URL()})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1_700_000_000-1_700_000_000%3600, 0)
	for after, want := range map[time.Duration]bool{0: true, time.Hour: true, time.Hour + 2*time.Minute: true, time.Hour + 4*time.Minute: false} {
		b.now = func() time.Time { return at.Add(after) }
		err := b.Deliver(t.Context(), encoded(t, b, at))
		if (err == nil) != want || err != nil && !errdefs.IsInvalidArgument(err) {
			t.Errorf("after %v: %v", after, err)
		}
	}
}

func TestRouterAnswers(t *testing.T) {
	for form, want := range map[string]string{
		`{"kvs":{"routers":"","block":"false"}}`:  "knows no server",
		`{"kvs":{"block":"true","routers":"%s"}}`: "takes nothing from here",
		`{block=true, routers=%s}`:                "takes nothing from here",
		`<html>login</html>`:                      "names no servers",
	} {
		router := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, form) }))
		b, err := open(sink.Config{URL: router.URL + "/"})
		if err == nil {
			err = b.route(context.Background())
		}
		if err == nil || !strings.Contains(err.Error(), want) || errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %v, want %q", form, err, want)
		}
		router.Close()
	}
}

func TestFaultsAreNamed(t *testing.T) {
	c := Config{IP: "::1"}
	c.URL, c.Timeout.Duration, c.Retry.Duration, c.BufferMiB, c.BufferAge.Duration = "udp://x", time.Second, time.Second, 1, time.Hour
	err := c.Check()
	for _, want := range []string{"interval: want 1m", "ip: want an IPv4 address"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	if c.IP = ""; c.Check() == nil {
		t.Error("an odd URL is taken")
	}
}

func TestEncodingAllocatesNothing(t *testing.T) {
	b, err := open(sink.Config{URL: "tcp://x:2280"})
	if err != nil {
		t.Fatal(err)
	}
	sinktest.Allocations(t, b, 0)
}
