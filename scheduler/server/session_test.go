package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/client"
	"github.com/mosdocker/mosdocker/scheduler/link"
	"github.com/mosdocker/mosdocker/scheduler/server"
	"github.com/mosdocker/mosdocker/scheduler/session"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// lone is a controller of one host, which has nothing to do.
type lone struct{}

func (lone) Host(context.Context, string) (*api.Host, error)    { return &api.Host{}, nil }
func (lone) Join(context.Context, string, api.HostStatus) error { return nil }
func (lone) Report(context.Context, link.Report) (link.Lease, error) {
	return link.Lease{Heartbeat: config.Duration{Duration: time.Second}}, nil
}

func (lone) Assignments(ctx context.Context, host string) iter.Seq2[link.Assignment, error] {
	return func(yield func(link.Assignment, error) bool) {
		if yield(link.Assignment{Host: host}, nil) {
			<-ctx.Done()
		}
	}
}

// carrier is a host whose containers write forever, and whose commands write what they read.
type carrier struct {
	wrote atomic.Int64 // bytes of logs
	ended atomic.Int64 // sessions
}

func (*carrier) Name() string                                  { return "h1" }
func (*carrier) Report(context.Context) link.Report            { return link.Report{Host: "h1"} }
func (*carrier) Assign(context.Context, link.Assignment) error { return nil }
func (*carrier) Changed() <-chan struct{}                      { return nil }
func (*carrier) Linked(string, link.Lease, error)              {}

func (h *carrier) Session(ctx context.Context, o session.Offer, c *session.Conn) {
	defer h.ended.Add(1)
	if o.Verb == session.Logs {
		for piece := make([]byte, 8<<10); ctx.Err() == nil && c.Write(session.Stdout, piece) == nil; {
			h.wrote.Add(int64(len(piece)))
		}
		return
	}
	_ = c.Write(session.Stderr, []byte(o.Set+"/"+o.Container+" "+strings.Join(o.Command, " "))) // what fails, fails below
	for {
		k, data, err := c.Read()
		switch {
		case err != nil:
			return
		case k == session.Stdin:
			_ = c.Write(session.Stdout, data) // as above
		case k == session.StdinEnd:
			_ = c.End(3, nil) // as above
			_, _, _ = c.Read()
			return
		}
	}
}

var errGoesOn = errors.New("it goes on")

// reachable is a rig with a host that is linked, and sets of shop-web: 1 is on that host,
// 2 on none, 3 on another.
func reachable(t *testing.T, c server.Config, h *carrier) *rig {
	t.Helper()
	hosts := link.NewServer(link.Config{Cluster: "c", Controller: lone{}, Who: server.Who, Log: testx.Logger(t)})
	c.Link, c.Sessions = hosts, hosts
	r := newRig(t, c)
	ctx, stop := context.WithCancel(t.Context())
	linked := make(chan struct{})
	go func() {
		defer close(linked)
		(&link.Client{Endpoints: func() []string { return []string{"unix://" + r.socket} }, Log: testx.Logger(t)}).Run(ctx, h)
	}()
	t.Cleanup(func() { stop(); <-linked })

	b := r.store.Batch(nil)
	for name, host := range map[string]string{"shop-web-1": "h1", "shop-web-2": "", "shop-web-3": "h2"} {
		b.Create(&api.SetInstance{Meta: api.Meta{Name: name}, Spec: api.SetSpec{
			Service: "shop-web", Slot: 1, ServiceGeneration: 1, Host: host,
			Set: api.Template{Set: spec.Set{Containers: []spec.Container{{Name: "app", Image: "x"}}}},
		}})
	}
	_, err := b.Commit(t.Context())
	must(t, err)
	testx.Eventually(t, 10*time.Second, func() error {
		c, err := r.Session(t.Context(), "shop-web-1", cat)
		if err == nil {
			err = c.Close()
		}
		return err
	})
	return r
}

var (
	cat     = session.Request{Verb: session.Exec, Container: "app", Command: []string{"cat", "-"}, Stdin: true}
	forever = session.Request{Verb: session.Logs, Container: "app", Follow: true}
)

// bearer is a client with a new token.
func (r *rig) bearer(t *testing.T, ask api.TokenRequest) *client.Client {
	t.Helper()
	made, err := r.CreateToken(t.Context(), ask)
	must(t, err)
	return r.as(t, made.Secret)
}

// TestOpenRequestsEndWithTheirToken: sessions and watches of a token that is taken away, and of
// one that expires, end; those of others go on.
func TestOpenRequestsEndWithTheirToken(t *testing.T) {
	var late atomic.Bool
	r := reachable(t, server.Config{Now: func() time.Time {
		if late.Load() {
			return time.Now().Add(2 * time.Hour)
		}
		return time.Now()
	}}, &carrier{})
	users := map[string]*client.Client{
		"deleted": r.bearer(t, api.TokenRequest{Name: "deleted", Role: api.Operator}),
		"expires": r.bearer(t, api.TokenRequest{Name: "expires", Role: api.Operator, TTL: "1h"}),
		"stays":   r.bearer(t, api.TokenRequest{Name: "stays", Role: api.Operator}),
	}
	list, err := client.List[api.SetInstance](t.Context(), r.Client, client.Filter{})
	must(t, err)
	sessions, watches := map[string]chan struct{}{}, map[string]chan struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for name, as := range users {
		c, err := as.Session(ctx, "shop-web-1", cat)
		must(t, err)
		session, watch := make(chan struct{}), make(chan struct{})
		sessions[name], watches[name] = session, watch
		go func() { defer close(session); _, _ = c.Copy(io.Discard, io.Discard) }() // it breaks off
		go func() {
			defer close(watch)
			for _, err := range client.Watch[api.SetInstance](ctx, as, list.Revision) {
				if err != nil {
					return
				}
			}
		}()
	}
	over := func(ended <-chan struct{}) bool {
		select {
		case <-ended:
			return true
		default:
			return false
		}
	}
	both := func(name string) func() error {
		return func() error {
			if s, w := over(sessions[name]), over(watches[name]); !s || !w {
				return fmt.Errorf("of %s the session ended: %t, the watch: %t", name, s, w)
			}
			return nil
		}
	}
	must(t, r.DeleteToken(t.Context(), "deleted"))
	testx.Eventually(t, 10*time.Second, both("deleted"))
	if over(sessions["expires"]) {
		t.Error("a session ended with the token of another")
	}
	late.Store(true)
	testx.Eventually(t, 10*time.Second, both("expires"))
	if over(sessions["stays"]) || over(watches["stays"]) {
		t.Error("a request of a token that is valid ended")
	}
}

// TestOneUserLeavesSessionsForOthers: a tenant with several tokens has as many sessions of a
// host as are free then, and others have some still.
func TestOneUserLeavesSessionsForOthers(t *testing.T) {
	h := &carrier{}
	r := reachable(t, server.Config{}, h)
	tokens := []*client.Client{
		r.bearer(t, api.TokenRequest{Name: "one", Role: api.Tenant, Tenant: "shop"}),
		r.bearer(t, api.TokenRequest{Name: "two", Role: api.Tenant, Tenant: "shop"}),
	}
	const bound, fair = 64, 32
	has := 0
	for range bound {
		c, err := tokens[has%2].Session(t.Context(), "shop-web-1", cat)
		if err != nil {
			if !errdefs.IsResourceExhausted(err) {
				t.Error(err)
			}
			break
		}
		defer func() { _ = c.Close() }()
		has++
	}
	if has != fair {
		t.Errorf("one tenant has %d sessions of a host, want %d", has, fair)
	}
	c, err := r.Session(t.Context(), "shop-web-1", cat)
	if err != nil {
		t.Fatalf("another has none: %v", err)
	}
	must(t, c.Close())
}

// TestSessions: who may reaches the containers of a set over the link, both ways; infra
// containers and sets of others are not reached; one who does not read stops the host's
// writes; and a session ends at both ends when its user goes.
func TestSessions(t *testing.T) {
	log := &lines{}
	h := &carrier{}
	r := reachable(t, server.Config{Log: log.logger()}, h)
	as := map[string]*client.Client{"admin": r.Client}
	for _, ask := range []api.TokenRequest{
		{Name: "shop", Role: api.Tenant, Tenant: "shop"}, {Name: "bank", Role: api.Tenant, Tenant: "bank"}, {Name: "reader", Role: api.ReadOnly},
	} {
		as[ask.Name] = r.bearer(t, ask)
	}
	for _, who := range []string{"admin", "shop"} {
		c, err := as[who].Session(t.Context(), "shop-web-1", cat)
		must(t, err)
		sent := strings.Repeat("0123456789abcdef", 20_000)
		go func() {
			_, _ = io.Copy(c.To(session.Stdin), strings.NewReader(sent)) // is missed below
			_ = c.Write(session.StdinEnd, nil)
		}()
		var out, errOut bytes.Buffer
		code, err := c.Copy(&out, &errOut)
		must(t, err)
		if code != 3 || out.String() != sent || errOut.String() != "shop-web-1/app cat -" {
			t.Errorf("%s: code %d, %d bytes of %d, stderr %q", who, code, out.Len(), len(sent), errOut.String())
		}
		must(t, c.Close())
	}

	infra, nothing, logs := cat, cat, forever
	infra.Container, nothing.Command = "infra", nil
	for _, one := range []struct {
		who, set string
		in       session.Request
		is       func(error) bool
	}{
		{"bank", "shop-web-1", cat, errdefs.IsPermissionDenied},
		{"bank", "shop-web-1", logs, errdefs.IsPermissionDenied},
		{"reader", "shop-web-1", cat, errdefs.IsPermissionDenied},
		{"admin", "shop-web-1", infra, errdefs.IsNotFound},
		{"admin", "shop-web-9", cat, errdefs.IsNotFound},
		{"admin", "shop-web-1", nothing, errdefs.IsInvalidArgument},
		{"admin", "shop-web-2", cat, errdefs.IsFailedPrecondition},
		{"admin", "shop-web-3", cat, errdefs.IsUnavailable},
	} {
		if c, err := as[one.who].Session(t.Context(), one.set, one.in); !one.is(err) {
			t.Errorf("%s %s %s of %s: %v", one.who, one.in.Verb, one.in.Container, one.set, err)
			if err == nil {
				_ = c.Close() // it is wrong already
			}
		}
	}

	// One who does not read: the host's writes come to a halt, far from what would be endless.
	ended := h.ended.Load()
	c, err := as["reader"].Session(t.Context(), "shop-web-1", logs)
	must(t, err)
	last := int64(-1)
	testx.Eventually(t, 30*time.Second, func() error {
		now := h.wrote.Load()
		if was := last; now == 0 || now != was {
			last = now
			time.Sleep(300 * time.Millisecond) // nothing is to go on for so long
			return errGoesOn
		}
		return nil
	})
	const most = 16 << 20
	if last > most {
		t.Errorf("%d bytes are kept for one who does not read", last)
	}
	must(t, c.Close())
	testx.Eventually(t, 10*time.Second, func() error {
		if h.ended.Load() == ended {
			return errGoesOn
		}
		return nil
	})
	for _, want := range []string{
		"by=shop role=tenant .*method=session .*name=shop-web-1 verb=exec container=app .*status=101",
		"by=reader role=read-only .*verb=exec .*status=403",
		"by=reader .*method=endSession .*verb=logs",
	} {
		testx.Eventually(t, 10*time.Second, func() error { // a session's end is told after its host's
			if !log.has(want) {
				return fmt.Errorf("the audit has no line %q", want)
			}
			return nil
		})
	}
}
