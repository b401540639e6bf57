package server_test

import (
	"bytes"
	"context"
	"errors"
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

// TestSessions: who may reaches the containers of a set over the link, both ways; infra
// containers and sets of others are not reached; one who does not read stops the host's
// writes; and a session ends at both ends when its user goes.
func TestSessions(t *testing.T) {
	log := &lines{}
	hosts := link.NewServer(link.Config{Cluster: "c", Controller: lone{}, Who: server.Who, Log: testx.Logger(t)})
	r := newRig(t, server.Config{Log: log.logger(), Link: hosts, Sessions: hosts})
	h := &carrier{}
	ctx, stop := context.WithCancel(t.Context())
	linked := make(chan struct{})
	go func() {
		defer close(linked)
		(&link.Client{Endpoints: []string{"unix://" + r.socket}, Log: testx.Logger(t)}).Run(ctx, h)
	}()
	defer func() { stop(); <-linked }()

	b := r.store.Batch(nil)
	for name, host := range map[string]string{"shop-web-1": "h1", "shop-web-2": "", "shop-web-3": "h2"} {
		b.Create(&api.SetInstance{Meta: api.Meta{Name: name}, Spec: api.SetSpec{
			Service: "shop-web", Slot: 1, ServiceGeneration: 1, Host: host,
			Set: api.Template{Set: spec.Set{Containers: []spec.Container{{Name: "app", Image: "x"}}}},
		}})
	}
	_, err := b.Commit(t.Context())
	must(t, err)
	as := map[string]*client.Client{"admin": r.Client}
	for _, ask := range []api.TokenRequest{
		{Name: "shop", Role: api.Tenant, Tenant: "shop"}, {Name: "bank", Role: api.Tenant, Tenant: "bank"}, {Name: "reader", Role: api.ReadOnly},
	} {
		made, err := r.CreateToken(t.Context(), ask)
		must(t, err)
		as[ask.Name] = r.as(t, made.Secret)
	}
	cat := session.Request{Verb: session.Exec, Container: "app", Command: []string{"cat", "-"}, Stdin: true}

	testx.Eventually(t, 10*time.Second, func() error { // the host is linked
		c, err := r.Session(t.Context(), "shop-web-1", cat)
		if err == nil {
			err = c.Close()
		}
		return err
	})
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

	infra, nothing, logs := cat, cat, session.Request{Verb: session.Logs, Container: "app", Follow: true}
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
		if !log.has(want) {
			t.Errorf("the audit has no line %q", want)
		}
	}
}
