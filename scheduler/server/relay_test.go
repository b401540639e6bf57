package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/ca"
	"github.com/mosdocker/mosdocker/scheduler/client"
	"github.com/mosdocker/mosdocker/scheduler/link"
	"github.com/mosdocker/mosdocker/scheduler/server"
	"github.com/mosdocker/mosdocker/scheduler/session"
)

// lead has a process of the tests' lead, which others reach at the endpoints.
func (r *rig) lead(t *testing.T, name string, endpoints ...string) (leave func()) {
	t.Helper()
	m, err := r.store.Join(t.Context(), name, 10*time.Second, endpoints...)
	must(t, err)
	_, err = m.Lead(t.Context())
	must(t, err)
	return func() { must(t, m.Leave(t.Context())) }
}

// quoted is a text as logs have it.
func quoted(s string) string {
	if q := strconv.Quote(s); strings.ContainsAny(s, " =") || q != `"`+s+`"` {
		return q
	}
	return s
}

// breaks is an endpoint that reads a request and resets its connection.
func breaks(t *testing.T, as *tls.Config) (endpoint string) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = tls.Server(c, as).Read(make([]byte, 4096)) // which is all that is to be done
			if raw, ok := c.(*net.TCPConn); ok {
				_ = raw.SetLinger(0)
			}
			_ = c.Close()
		}
	}()
	return "https://" + l.Addr().String()
}

// secured is an address at which a process is reached by certificates.
func (r *rig) secured(t *testing.T, authority *ca.Authority) (endpoint string) {
	t.Helper()
	public := httptest.NewUnstartedServer(r.server)
	public.Listener = tls.NewListener(public.Listener, authority.Server([]string{"127.0.0.1"}))
	public.Start()
	t.Cleanup(public.Close)
	return "https://" + public.Listener.Addr().String()
}

// answering are controllers that say who they are.
type answering struct {
	server.Control

	name string
}

func (a answering) Explain(context.Context, *api.Service, string, func(string) bool) (*api.Explanation, error) {
	return &api.Explanation{Sentence: a.name}, nil
}

func (a answering) DryRun(_ context.Context, s *api.Service, _ func(string) bool) (*api.Forecast, error) {
	return &api.Forecast{Placed: []api.Placing{{Set: s.Named(s.Spec.Replicas).Name, Host: a.name}}}, nil
}

func (a answering) Plan(_ context.Context, o *api.Operation) error {
	o.Status.Phase = a.name
	return nil
}

// TestForecastsAreOfTheLeader, which alone knows hosts' images and ports, if it is reached.
func TestForecastsAreOfTheLeader(t *testing.T) {
	one := newRig(t, server.Config{Name: "one", Control: answering{name: "one"}})
	authority, err := ca.Open(t.Context(), one.store, time.Now)
	must(t, err)
	at := one.secured(t, authority)
	two := one.another(t, server.Config{Name: "two", As: authority.As, Control: answering{name: "two"}})
	_, err = client.Create(t.Context(), two.Client, web("shop-web", 1), client.Change{})
	must(t, err)
	by := map[string]*client.Client{"an admin": two.Client, "a tenant": two.bearer(t, api.TokenRequest{Name: "shop", Role: api.Tenant, Tenant: "shop"})}
	for _, want := range []string{"two", "one"} {
		if want == "one" {
			defer one.lead(t, "one", at)()
		}
		for name, c := range by {
			e, err := c.Explain(t.Context(), "shop-web", "")
			must(t, err)
			f, err := c.Plan(t.Context(), web("shop-web", 3))
			must(t, err)
			if e.Sentence != want || len(f.Placed) != 1 || f.Placed[0] != (api.Placing{Set: "shop-web-3", Host: want}) {
				t.Errorf("%s is told %s and %+v, want %s", name, e.Sentence, f.Placed, want)
			}
		}
		patch := two.raw(t, "PATCH", "/v1/services/shop-web?dryRun=true", `{"spec": {"replicas": 4}}`, "Content-Type", "application/merge-patch+json").text
		if !strings.Contains(patch, `{"set":"shop-web-4","host":"`+want+`"}`) {
			t.Errorf("a change is foreseen as %s, want %s", patch, want)
		}
		o := &api.Operation{Meta: api.Meta{Name: "rebalance.1"}, Spec: api.OperationSpec{Verb: api.Rebalance, On: api.Reference{Kind: api.Services, Name: "*"}}}
		got, err := client.Create(t.Context(), two.Client, o, client.Change{DryRun: true})
		must(t, err)
		if got.Status.Phase != want || got.Spec.By != "root" {
			t.Errorf("a rebalance is planned as %+v of %s, want %s", got.Status, got.Spec.By, want)
		}
	}
}

// TestSessionsByAnyProcess: one that does not lead passes sessions on to the one that does, in
// the name of who asks, who is judged and told there as here; what it cannot pass on it
// refuses, and says why.
func TestSessionsByAnyProcess(t *testing.T) {
	var log lines
	one := reachable(t, server.Config{Log: log.logger(), Name: "one"}, &carrier{})
	authority, err := ca.Open(t.Context(), one.store, time.Now)
	must(t, err)
	at := one.secured(t, authority)
	two := one.another(t, server.Config{
		Name: "two", As: authority.As,
		Sessions: link.NewServer(link.Config{Cluster: "c", Controller: lone{}, Who: server.Who, Log: testx.Logger(t)}),
	})
	shop := two.bearer(t, api.TokenRequest{Name: "token-of-shop", Role: api.Tenant, Tenant: "shop"})
	bank := two.bearer(t, api.TokenRequest{Name: "token-of-bank", Role: api.Tenant, Tenant: "bank"})
	fails := func(by *client.Client, set string, is func(error) bool, want string) {
		t.Helper()
		c, err := by.Session(t.Context(), set, cat)
		if err == nil {
			_ = c.Close() // it is wrong already
		}
		if !is(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("a session of %s: %v, want %q", set, err, want)
		}
	}

	fails(two.Client, "shop-web-1", errdefs.IsUnavailable, "no mos-scheduler leads")
	leave := one.lead(t, "one")
	fails(two.Client, "shop-web-1", errdefs.IsUnavailable, "mos-scheduler one leads, and did not tell where others reach it")
	leave()
	leave = one.lead(t, "one", "https://127.0.0.1:1", at) // nobody is at the first
	for name, by := range map[string]*client.Client{"an admin": two.Client, "a tenant": shop} {
		c, err := by.Session(t.Context(), "shop-web-1", cat)
		must(t, err)
		go func() {
			_ = c.Write(session.Stdin, []byte("through")) // is missed below
			_ = c.Write(session.StdinEnd, nil)
		}()
		var out bytes.Buffer
		if code, err := c.Copy(&out, &out); err != nil || code != 3 || !strings.HasSuffix(out.String(), "through") {
			t.Errorf("a session of %s: code %d, %q, %v", name, code, out.String(), err)
		}
		must(t, c.Close())
	}
	fails(bank, "shop-web-1", errdefs.IsPermissionDenied, "bank")
	fails(two.Client, "shop-web-3", errdefs.IsUnavailable, "host h2 is not linked to this mos-scheduler") // nor does one pass it on
	fails(one.Client, "shop-web-3", errdefs.IsUnavailable, "it is not linked to mos-scheduler one, which leads")
	if want := "by=shop role=tenant .*from=127.0.0.1.* method=session .*status=101"; !log.has(want) {
		t.Errorf("the audit of the one that leads has no line %q", want)
	}

	// Users of a machine have names that no certificate of a user has.
	for _, name := range []string{"uid 4711", "a/b%2Fc", "jörg@example", "\xff"} {
		as, err := authority.As(api.Admin, name)
		must(t, err)
		by, err := client.New(at, client.Options{TLS: as})
		must(t, err)
		if _, err := by.Status(t.Context()); err != nil {
			t.Errorf("%q at another: %v", name, err)
		}
		fails(by, "none", errdefs.IsNotFound, "none")
		if want := "by=" + regexp.QuoteMeta(quoted(name)) + " role=admin .*method=session"; !log.has(want) {
			t.Errorf("the audit has no line %q", want)
		}
		if _, _, err := authority.Issue(api.Admin, name, time.Hour); !errdefs.IsInvalidArgument(err) {
			t.Errorf("a user has a certificate of %q: %v", name, err)
		}
	}
	if _, err := authority.As(api.Tenant, "uid 4711"); !errdefs.IsInvalidArgument(err) {
		t.Errorf("a tenant of any name: %v", err)
	}
	leave()

	// A connection that breaks after the request was sent: it may run already.
	leave = one.lead(t, "one", breaks(t, authority.Server([]string{"127.0.0.1"})), at)
	before := log.count("method=session ")
	fails(two.Client, "shop-web-1", errdefs.IsUnavailable, "does not answer")
	if n := log.count("method=session "); n != before {
		t.Errorf("a session that broke off was begun again: %d, %d before", n, before)
	}
	leave()

	// The one that led is gone, and the next does not answer.
	leave = one.lead(t, "three", "https://127.0.0.1:1")
	fails(two.Client, "shop-web-1", errdefs.IsUnavailable, "the scheduler at https://127.0.0.1:1 does not answer")
	leave()
}
