// Package sinktest has the suite that every back end passes, and a receiver behind
// HTTP that can be told to fail.
package sinktest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/agent/metric"
	"github.com/mosdocker/mosdocker/agent/sink"
	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/internal/testx"
)

// Point is a value as a receiver understood it.
type Point struct {
	Time   time.Time
	Object string // name of a container or set, or of the host
	Name   string
	Dim    string
	Tags   string // the tag dc and the label team, as "dc=north team=x", as far as they came
	Value  float64
}

// Receiver is the other side of a back end.
type Receiver interface {
	URL() string
	// Points are what came, in the order in which it came.
	Points() []Point
	// Down refuses everything as a receiver that is in trouble, or takes it again.
	Down(bool)
	// RefuseNext refuses the next batch for ever; false says that the protocol has
	// no way to.
	RefuseNext() bool
}

// Case is a back end under test.
type Case struct {
	New      func(c sink.Config) (sink.Backend, error)
	Receiver func(tb testing.TB) Receiver
	// Name is how a metric is called there; "" means that it is not sent.
	Name func(scope metric.Scope, name string) string
	// Dim is how the dimension of a metric comes; nil is as it is.
	Dim func(name, dim string) string
	// Tagless says that tags have no place in the protocol.
	Tagless bool
}

var start = time.Unix(1_700_000_040, 0) // at a full minute

// Fill makes s the sample of a minute.
func Fill(s *metric.Sample, minute int) *metric.Sample {
	s.Time = start.Add(time.Duration(minute) * time.Minute)
	for i, p := range s.Points {
		p.Set(metric.CPUUser, float64(100*i+minute)+0.25)
	}
	return s
}

// Sample is a sample to fill.
func Sample() *metric.Sample {
	point := func(o *metric.Object, v float64) *metric.Point {
		p := metric.NewPoint(o)
		p.Set(metric.MemUsage, v*1e6)
		p.SetAt(p.Add(metric.IOReadBytes, "/dev/vda"), v*4096)
		p.Add(metric.IOWriteBytes, "/dev/vda") // not measured
		return p
	}
	return &metric.Sample{Host: "h1", Generation: 1, Points: []*metric.Point{
		point(&metric.Object{Scope: metric.Host, ID: "h1", Name: "h1"}, 1000.25),
		point(&metric.Object{Scope: metric.Set, ID: "shop", Name: "shop", Set: "shop", Cgroup: "/mosset.slice/mosset-shop.slice"}, 30),
		point(&metric.Object{Scope: metric.Container, ID: strings.Repeat("0a", 32), Name: "web_1.a", Image: "img:1", Set: "shop", Member: "app", Cgroup: "/docker/0a", Labels: map[string]string{"team": "x"}}, 12.5),
		point(&metric.Object{Scope: metric.Container, ID: strings.Repeat("0b", 32), Name: "other", Image: "img:2", Cgroup: "/docker/0b"}, 3),
	}}
}

// want is what has to come of a sample: all values, once.
func (c *Case) want(minute int) (all []Point) {
	s := Fill(Sample(), minute)
	for _, p := range s.Points {
		for _, v := range p.Series {
			d := metric.Of(v.ID)
			name := d.Name
			if name == "memory.usage" {
				name = "my.memory" // as the options say
			}
			name = c.Name(p.Object.Scope, name)
			if !v.OK || name == "" {
				continue
			}
			w := Point{Time: s.Time, Object: p.Object.Name, Name: name, Dim: v.Dim, Value: v.Value, Tags: "dc=north"}
			if p.Object.Labels["team"] != "" {
				w.Tags += " team=x"
			}
			if c.Tagless {
				w.Tags = ""
			}
			if c.Dim != nil {
				w.Dim = c.Dim(d.Name, v.Dim)
			}
			all = append(all, w)
		}
	}
	return all
}

// sinkOf is a running sink of the case; end ends it.
func (c *Case) sinkOf(t *testing.T, url, dir string) (p *sink.Push, end func()) {
	t.Helper()
	cfg := sink.Defaults()
	cfg.URL, cfg.Retry = url, config.Duration{Duration: 5 * time.Millisecond}
	cfg.Timeout, cfg.BufferAge = config.Duration{Duration: 2 * time.Second}, config.Duration{Duration: 1e6 * time.Hour}
	cfg.Tags, cfg.Labels, cfg.Names = []string{"dc=north"}, []string{"team"}, []string{"memory.usage=my.memory"}
	b, err := c.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if p, err = sink.NewPush("test", dir, cfg, b, testx.Logger(t)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var work sync.WaitGroup
	work.Go(func() {
		if err := p.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	return p, func() { cancel(); work.Wait() }
}

// counted waits until the sink has counted so much and has nothing left: a batch arrives
// before the answer that has it counted.
func counted(t *testing.T, p *sink.Push, sent, dropped uint64) {
	t.Helper()
	testx.Eventually(t, 10*time.Second, func() error {
		s, d, _, buffered := p.Counters()
		if s != sent || d != dropped || buffered != 0 {
			return fmt.Errorf("%d sent, %d dropped, %d bytes buffered", s, d, buffered)
		}
		return nil
	})
}

// Suite runs all checks.
func Suite(t *testing.T, c Case) {
	t.Helper()
	if os.Getenv("MOS_FULL") != "" {
		t.Parallel()
		t.Run("ten_minutes_of_outage", func(t *testing.T) { c.outage(t, 10*time.Minute) })
		return
	}
	t.Run("an_outage_in_short", func(t *testing.T) { c.outage(t, time.Second) })
	t.Run("values_names_tags_and_times", func(t *testing.T) {
		r := c.Receiver(t)
		p, end := c.sinkOf(t, r.URL(), t.TempDir())
		defer end()
		s := Sample()
		for n := range 3 {
			p.Take(Fill(s, n))
			c.arrive(t, r, 0, n+1)
		}
		counted(t, p, 3, 0)
		if _, _, failures, _ := p.Counters(); failures != 0 {
			t.Errorf("%d failures", failures)
		}
	})
	t.Run("an_outage_is_replayed_in_order_also_over_a_restart", func(t *testing.T) {
		r, dir, s := c.Receiver(t), t.TempDir(), Sample()
		p, end := c.sinkOf(t, r.URL(), dir)
		p.Take(Fill(s, 0))
		c.arrive(t, r, 0, 1)
		r.Down(true)
		for n := 1; n < 4; n++ {
			p.Take(Fill(s, n))
		}
		testx.Eventually(t, 5*time.Second, func() error {
			if _, _, failures, buffered := p.Counters(); failures < 2 || buffered == 0 {
				return fmt.Errorf("%d failures, %d bytes buffered", failures, buffered)
			}
			return nil
		})
		end()
		p, end = c.sinkOf(t, r.URL(), dir)
		defer end()
		p.Take(Fill(s, 4))
		r.Down(false)
		counted(t, p, 4, 0)
		c.arrive(t, r, 0, 5)
	})
	t.Run("what_is_refused_for_ever_is_dropped_and_counted", func(t *testing.T) {
		r := c.Receiver(t)
		if !r.RefuseNext() {
			t.Skip("the protocol has no way to refuse for ever")
		}
		p, end := c.sinkOf(t, r.URL(), t.TempDir())
		defer end()
		s := Sample()
		p.Take(Fill(s, 0))
		p.Take(Fill(s, 1))
		c.arrive(t, r, 1, 2)
		counted(t, p, 1, 1)
	})
	t.Run("nothing_to_send_is_not_sent", func(t *testing.T) {
		b, err := c.New(sink.Config{URL: c.Receiver(t).URL()})
		if err != nil {
			t.Fatal(err)
		}
		if got := b.Encode(nil, &sink.Batch{Time: start, Host: "h1", Changed: true}); len(got) != 0 {
			t.Errorf("got %d bytes", len(got))
		}
	})
}

// outage has the receiver down for a time in which a hundred samples or more are taken, at
// most one a second, and the sink stopped and started in the middle: all of them come, once
// and in order, and what waits on disk stays within its bound.
func (c *Case) outage(t *testing.T, lasts time.Duration) {
	t.Helper()
	pause := min(time.Second, lasts/100)
	r, dir, s := c.Receiver(t), t.TempDir(), Sample()
	p, end := c.sinkOf(t, r.URL(), dir)
	defer func() { end() }()
	p.Take(Fill(s, 0))
	c.arrive(t, r, 0, 1)
	counted(t, p, 1, 0)
	r.Down(true)
	begin, n, most, again := time.Now(), 1, int64(0), false
	var failed uint64
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for ; time.Since(begin) < lasts; n++ {
		<-tick.C
		p.Take(Fill(s, n))
		_, _, _, buffered := p.Counters()
		most = max(most, buffered)
		if !again && time.Since(begin) > lasts/2 {
			_, _, failed, _ = p.Counters()
			end()
			p, end = c.sinkOf(t, r.URL(), dir)
			again = true
		}
	}
	down := time.Since(begin)
	r.Down(false)
	up := time.Now()
	testx.Eventually(t, lastRetry+10*time.Second, func() error {
		if sent, dropped, _, buffered := p.Counters(); sent != uint64(n-1) || dropped != 0 || buffered != 0 {
			return fmt.Errorf("%d of %d batches sent, %d dropped, %d bytes buffered", sent, n-1, dropped, buffered)
		}
		return nil
	})
	took := time.Since(up)
	c.arrive(t, r, 0, n)
	_, _, failures, _ := p.Counters()
	t.Logf("%v of outage, %d batches, %d attempts failed, at most %d KiB on disk; delivered %v after it", down.Round(time.Second), n-1, failed+failures, most>>10, took.Round(time.Millisecond))
	if failed+failures == 0 || most == 0 || most > sink.Defaults().BufferMiB<<20 {
		t.Errorf("%d attempts failed, %d bytes were on disk: it was no outage", failed+failures, most)
	}
}

// lastRetry is the longest pause between two attempts, and half of it.
const lastRetry = 45 * time.Second

// arrive waits until all of the samples has come, once and in the order of time.
func (c *Case) arrive(t *testing.T, r Receiver, first, end int) {
	t.Helper()
	var want []Point
	for n := first; n < end; n++ {
		want = append(want, c.want(n)...)
	}
	testx.Eventually(t, 10*time.Second, func() error {
		got := r.Points()
		if !slices.IsSortedFunc(got, func(a, b Point) int { return a.Time.Compare(b.Time) }) {
			return errors.New("out of order")
		}
		return same(got, want)
	})
}

// same compares without order.
func same(got, want []Point) error {
	var errs []error
	left := slices.Clone(got)
	for _, w := range want {
		at := slices.IndexFunc(left, func(g Point) bool {
			return g.Time.Equal(w.Time) && g.Object == w.Object && g.Name == w.Name && g.Dim == w.Dim && g.Tags == w.Tags && math.Abs(g.Value-w.Value) <= 1e-9*math.Abs(w.Value)
		})
		if at < 0 {
			errs = append(errs, fmt.Errorf("missing: %+v", w))
			continue
		}
		left = slices.Delete(left, at, at+1)
	}
	for _, g := range left {
		errs = append(errs, fmt.Errorf("not wanted: %+v", g))
	}
	return errors.Join(errs...)
}

// HTTP is a receiver behind HTTP.
type HTTP struct {
	server *httptest.Server
	decode func(r *http.Request, body []byte) ([]Point, error)
	path   string
	// Answer is written to what was taken.
	Answer []byte

	mu     sync.Mutex // guards all below
	points []Point
	down   bool
	refuse bool
}

// NewHTTP starts a receiver at a path. decode reads a request as the protocol says.
func NewHTTP(tb testing.TB, path string, decode func(r *http.Request, body []byte) ([]Point, error)) *HTTP {
	tb.Helper()
	h := &HTTP{decode: decode, path: path}
	h.server = httptest.NewServer(h)
	tb.Cleanup(h.server.Close)
	return h
}

// ServeHTTP takes a batch.
func (h *HTTP) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	var points []Point
	if err == nil {
		points, err = h.decode(r, body)
	}
	switch {
	case h.down:
		http.Error(w, "not now", http.StatusServiceUnavailable)
	case err != nil || h.refuse || r.URL.Path != h.path || r.Method != http.MethodPost:
		h.refuse = false
		http.Error(w, fmt.Sprint("bad request: ", err), http.StatusBadRequest)
	default:
		h.points = append(h.points, points...)
		_, _ = w.Write(h.Answer)
	}
}

// URL is where it is.
func (h *HTTP) URL() string { return h.server.URL + h.path }

// Points are what came.
func (h *HTTP) Points() []Point {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.points)
}

// Down answers 503.
func (h *HTTP) Down(down bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.down = down
}

// RefuseNext answers 400 once.
func (h *HTTP) RefuseNext() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refuse = true
	return true
}

// TLS makes a certificate for 127.0.0.1 that is its own authority: the configuration of
// a server that wants it of its clients, too, and the files of those.
func TLS(tb testing.TB) (server *tls.Config, client sink.TLSConfig) {
	tb.Helper()
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	pair := s.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		tb.Fatal(err)
	}
	dir := tb.TempDir()
	client = sink.TLSConfig{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})
	for name, text := range map[string][]byte{client.CA: certificate, client.Cert: certificate, client.Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12}, client
}

// Tags renders tags as [Point] has them.
func Tags(get func(key string) string) string {
	var all []string
	for _, k := range []string{"dc", "team"} {
		if v := get(k); v != "" {
			all = append(all, k+"="+v)
		}
	}
	return strings.Join(all, " ")
}

// Allocations fails the test when encoding a sample of a known shape allocates more
// than most times.
func Allocations(t *testing.T, b sink.Backend, most float64) {
	t.Helper()
	s := Fill(Sample(), 0)
	selector, err := sink.NewSelector(sink.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var buf []byte
	in := sink.Batch{Time: s.Time, Host: s.Host}
	n := testing.AllocsPerRun(50, func() {
		in.Items, in.Changed = selector.Items(s)
		buf = b.Encode(buf[:0], &in)
	})
	if n > most {
		t.Errorf("%v allocations a batch, want %v at most", n, most)
	}
}
