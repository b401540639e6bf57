package link_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/link"
)

// leader is a controller that keeps hosts in memory.
type leader struct {
	mu      sync.Mutex // guards all below
	leads   bool
	epoch   int64
	rev     int64
	hosts   map[string]*api.Host
	reports []link.Report
	changed chan struct{} // closed at a change
}

func newLeader(leads bool) *leader {
	return &leader{leads: leads, epoch: 1, rev: 1, hosts: map[string]*api.Host{}, changed: make(chan struct{})}
}

var errFollows = fault.Unavailable("another process leads")

func (l *leader) change(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	l.rev++
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *leader) Host(_ context.Context, name string) (*api.Host, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.leads {
		return nil, errFollows
	}
	if h := l.hosts[name]; h != nil {
		return h, nil
	}
	return nil, fault.NotFound("host %s is not there", name)
}

func (l *leader) Join(_ context.Context, name string, s api.HostStatus) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.hosts[name]; h != nil && h.Status.Health != api.Lost && h.Status.Machine != s.Machine {
		return fault.Exists("host %s is another machine, and live", name)
	}
	l.hosts[name] = &api.Host{Meta: api.Meta{Name: name}, Status: s}
	return nil
}

func (l *leader) Report(_ context.Context, r link.Report) (link.Lease, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.leads {
		return link.Lease{}, errFollows
	}
	l.reports = append(l.reports, r)
	return link.Lease{Epoch: l.epoch, TTL: config.Duration{Duration: time.Second}, Heartbeat: config.Duration{Duration: 50 * time.Millisecond}}, nil
}

func (l *leader) Assignments(ctx context.Context, host string) iter.Seq2[link.Assignment, error] {
	return func(yield func(link.Assignment, error) bool) {
		for {
			l.mu.Lock()
			leads, a, changed := l.leads, link.Assignment{Host: host, Epoch: l.epoch, Revision: l.rev}, l.changed
			l.mu.Unlock()
			if !leads {
				yield(link.Assignment{}, errFollows)
				return
			}
			if !yield(a, nil) {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
		}
	}
}

// serve is a link server on a unix socket; peers are who asks.
func serve(t *testing.T, c link.Controller, peer link.Peer) (endpoint string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: link.NewServer(link.Config{
		Cluster: "c1", Controller: c, Who: func(*http.Request) (link.Peer, error) { return peer, nil }, Log: slog.New(slog.DiscardHandler),
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
	return "unix://" + path
}

// box is a host.
type box struct {
	machine string
	change  chan struct{}
	holding *link.Holding

	mu     sync.Mutex // guards all below
	seq    int64
	has    link.Assignment
	linked string
	err    error
}

func (b *box) Name() string             { return "h1" }
func (b *box) Changed() <-chan struct{} { return b.change }

func (b *box) Report(context.Context) link.Report {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seq++
	return link.Report{Host: "h1", Seq: b.seq, Epoch: b.has.Epoch, Revision: b.has.Revision, Status: api.HostStatus{Machine: b.machine}, Holding: b.holding}
}

func (b *box) Assign(_ context.Context, a link.Assignment) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.has = a
	return nil
}

func (b *box) Linked(endpoint string, _ link.Lease, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.linked, b.err = endpoint, err
}

func start(t *testing.T, machine string, endpoints ...string) *box {
	t.Helper()
	b := &box{machine: machine, change: make(chan struct{}, 1)}
	b.run(t, slog.DiscardHandler, endpoints...)
	return b
}

func (b *box) run(t *testing.T, log slog.Handler, endpoints ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		(&link.Client{Endpoints: func() []string { return endpoints }, Log: slog.New(log)}).Run(ctx, b)
	}()
	t.Cleanup(func() { cancel(); <-done })
}

// has waits until a host has an assignment of an epoch and revision by an endpoint.
func (b *box) is(t *testing.T, endpoint string, epoch, rev int64) {
	t.Helper()
	testx.Eventually(t, 10*time.Second, func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.linked != endpoint || b.has.Epoch != epoch || b.has.Revision != rev || b.has.Cluster != "c1" || b.has.Host != "h1" {
			return fmt.Errorf("linked to %q (%w), has %+v", b.linked, b.err, b.has)
		}
		return nil
	})
}

func TestAHostFollowsWhoLeads(t *testing.T) {
	one, two := newLeader(true), newLeader(false)
	e1, e2 := serve(t, one, link.Peer{Any: true}), serve(t, two, link.Peer{Any: true})
	b := start(t, "m1", "unix:///nowhere", e1, e2)
	b.is(t, e1, 1, 1)
	one.change(func() {})
	b.is(t, e1, 1, 2)
	two.change(func() { two.leads, two.epoch = true, 7 })
	one.change(func() { one.leads = false })
	b.is(t, e2, 7, 2)
	two.mu.Lock()
	defer two.mu.Unlock()
	if h := two.hosts["h1"]; h == nil || h.Status.Machine != "m1" {
		t.Errorf("joined by the socket: %+v", two.hosts)
	}
	last := two.reports[len(two.reports)-1]
	if last.Sent.IsZero() || last.Seq < 2 {
		t.Errorf("report %+v", last)
	}
}

// TestATransitionIsReportedAtOnce: long before the next heartbeat.
func TestATransitionIsReportedAtOnce(t *testing.T) {
	one := newLeader(true)
	e := serve(t, slow{one}, link.Peer{Any: true})
	b := start(t, "m1", e)
	b.is(t, e, 1, 1)
	one.mu.Lock()
	n := len(one.reports)
	one.mu.Unlock()
	begun := time.Now()
	b.change <- struct{}{}
	testx.Eventually(t, 5*time.Second, func() error {
		one.mu.Lock()
		defer one.mu.Unlock()
		if len(one.reports) == n {
			return errors.New("no report yet")
		}
		return nil
	})
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
}

// TestAHostIsHeardWhateverItHas: also where what it has of images is more than a leader reads.
func TestAHostIsHeardWhateverItHas(t *testing.T) {
	one := newLeader(true)
	e := serve(t, one, link.Peer{Any: true})
	b := &box{machine: "m1", change: make(chan struct{}, 1), holding: &link.Holding{
		Images: []link.Image{{Names: []string{strings.Repeat("x", 5<<20)}}}, Ports: []string{"tcp/80"},
	}}
	log := &warnings{Handler: slog.DiscardHandler}
	b.run(t, log, e)
	testx.Eventually(t, 10*time.Second, func() error {
		one.mu.Lock()
		defer one.mu.Unlock()
		if n := len(one.reports); n < 3 {
			return fmt.Errorf("%d reports", n)
		}
		for _, r := range one.reports {
			if r.Holding == nil || r.Holding.Images != nil || len(r.Holding.Ports) != 1 {
				t.Errorf("it was told %.200v, want the port", r.Holding)
			}
		}
		return nil
	})
	if n := log.n.Load(); n != 1 {
		t.Errorf("there are %d warnings", n)
	}
}

// warnings counts them.
type warnings struct {
	slog.Handler
	n atomic.Int32
}

func (w *warnings) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

func (w *warnings) Handle(context.Context, slog.Record) error {
	w.n.Add(1)
	return nil
}

// slow has a heartbeat of a minute.
type slow struct{ *leader }

func (s slow) Report(ctx context.Context, r link.Report) (link.Lease, error) {
	l, err := s.leader.Report(ctx, r)
	l.Heartbeat.Duration = time.Minute
	return l, err
}

func TestWhoMaySpeak(t *testing.T) {
	cases := []struct {
		name    string
		peer    link.Peer
		machine string // of the host that is known, "" for none
		class   error
		says    string
	}{
		{"another-host", link.Peer{Host: "h2"}, "m1", errdefs.ErrPermissionDenied, `"h2" may not speak for host "h1"`},
		{"nobody", link.Peer{}, "m1", errdefs.ErrPermissionDenied, "may not speak"},
		{"removed", link.Peer{Host: "h1"}, "", errdefs.ErrPermissionDenied, "not of this cluster any more"},
		{"other-machine", link.Peer{Host: "h1"}, "m0", errdefs.ErrAlreadyExists, "another machine by now"},
		{"other-machine-by-socket", link.Peer{Any: true}, "m0", errdefs.ErrAlreadyExists, "another machine, and live"},
		{"itself", link.Peer{Host: "h1"}, "m1", nil, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			l := newLeader(true)
			if c.machine != "" {
				l.hosts["h1"] = &api.Host{Meta: api.Meta{Name: "h1"}, Status: api.HostStatus{Machine: c.machine}}
			}
			err := link.ReportOnce(t.Context(), serve(t, l, c.peer), &box{machine: "m1"})
			if !errors.Is(err, c.class) || err != nil && !strings.Contains(err.Error(), c.says) || (err == nil) != (len(l.reports) == 1) {
				t.Errorf("got %v, want %v with %q; %d reports", err, c.class, c.says, len(l.reports))
			}
		})
	}
}
