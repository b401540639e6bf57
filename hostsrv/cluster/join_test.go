package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	hostapi "github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/ca"
	"github.com/mosdocker/mosdocker/scheduler/control"
	"github.com/mosdocker/mosdocker/scheduler/link"
	"github.com/mosdocker/mosdocker/scheduler/server"
	"github.com/mosdocker/mosdocker/scheduler/state"
	"github.com/mosdocker/mosdocker/scheduler/state/embed"
)

// controllers are a cluster's, with its own store, authority and link over TLS.
type controllers struct {
	store     *state.Store
	authority *ca.Authority
	endpoint  string
	ahead     atomic.Int64 // of the authority's clock, a duration
}

func newControllers(t *testing.T) *controllers {
	t.Helper()
	c := &controllers{}
	c.begin(t)
	one, _ := c.add(t, "c")
	c.endpoint = one.Endpoints[0]
	leads(t, one)
	return c
}

func leads(t *testing.T, c *control.Controller) {
	t.Helper()
	testx.Eventually(t, 20*time.Second, func() error {
		if !c.Leads() {
			return errors.New(c.Name + " does not lead yet")
		}
		return nil
	})
}

// begin makes the store and the authority.
func (c *controllers) begin(t *testing.T) {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	etcd, err := embed.Start(t.Context(), embed.Config{Dir: t.TempDir(), Log: testx.Logger(t)})
	must(err)
	t.Cleanup(func() {
		if err := etcd.Close(); err != nil {
			t.Error(err)
		}
	})
	c.store, err = state.Open(t.Context(), etcd.Client(), state.Options{})
	must(err)
	t.Cleanup(c.store.Close)
	c.authority, err = ca.Open(t.Context(), c.store, func() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) })
	must(err)
}

// add runs one more controller, until it is stopped.
func (c *controllers) add(t *testing.T, name string) (one *control.Controller, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	one = control.New(c.store, control.Config{Name: name, Log: testx.Logger(t), Endpoints: []string{"https://" + l.Addr().String()}, Heartbeat: 200 * time.Millisecond})
	ctx, end := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() {
		if err := one.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	srv := &http.Server{
		Handler:  link.NewServer(link.Config{Cluster: c.authority.Cluster(), Controller: one, Who: server.Who, Authority: c.authority, Log: testx.Logger(t)}),
		ErrorLog: log.New(testWriter{t}, "", 0), BaseContext: func(net.Listener) context.Context { return ctx },
	}
	work.Go(func() { _ = srv.Serve(tls.NewListener(l, c.authority.Server([]string{"127.0.0.1"}))) })
	stop = sync.OnceFunc(func() { end(); _ = srv.Close(); work.Wait() })
	t.Cleanup(stop)
	return one, stop
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) { w.t.Logf("%s", b); return len(b), nil }

// token is one of a role, as mos-scheduler token create prints it.
func (c *controllers) token(t *testing.T, role api.Role, name string) string {
	t.Helper()
	token, secret := api.NewToken(name, api.TokenSpec{Role: role})
	if err := c.store.Create(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	return secret + "." + c.authority.Pin()
}

// run has a host linked until the test ends.
func run(t *testing.T, h *Host) {
	t.Helper()
	ctx, end := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() { h.Run(ctx) })
	t.Cleanup(func() { end(); work.Wait() })
}

// linked waits until a host is linked to a leader.
func linked(t *testing.T, h *Host) hostapi.Cluster {
	t.Helper()
	var st hostapi.Cluster
	testx.Eventually(t, 20*time.Second, func() error {
		if st = h.Status(); st.Linked == "" {
			return errors.New("not linked: " + st.Error)
		}
		return nil
	})
	return st
}

// TestJoinOverTLS: by the real authority, controller and link. Wrong tokens, the name of a
// live machine and another cluster's authority are refused, and leave the host as it was.
func TestJoinOverTLS(t *testing.T) {
	one, other := newControllers(t), newControllers(t)
	good := one.token(t, api.OfHost, "hosts")
	h, _ := open(t, t.TempDir())
	join := func(h *Host, token, name string, endpoints ...string) error {
		return h.Join(t.Context(), hostapi.ClusterJoin{Token: token, Name: name, Endpoints: endpoints})
	}
	parts := strings.Split(good, ".")
	forged := strings.Join([]string{parts[0], parts[1], strings.Repeat("0", len(parts[2])), parts[3]}, ".")
	for says, err := range map[string]error{
		"this is no token for hosts":  join(h, "mos.hosts.secret", "", one.endpoint),
		"the token lets no host join": join(h, forged, "", one.endpoint),
		"it is of role operator":      join(h, one.token(t, api.Operator, "ann"), "", one.endpoint),
		"it is not known":             join(h, "mos.nobody."+parts[2]+"."+parts[3], "", one.endpoint),
		"another authority":           join(h, good, "", other.endpoint),
		"needs no join":               join(h, good, "", "unix:///run/mos/scheduler.sock"),
		"name one endpoint":           join(h, good, ""),
		`"-x"`:                        join(h, good, "-x", one.endpoint),
		"connection refused":          join(h, good, "", "https://127.0.0.1:1"),
	} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %s", err, says)
		}
	}
	if st := h.Status(); st.Cluster != "" || len(st.Endpoints) > 0 {
		t.Errorf("a host that was refused is of a cluster: %+v", st)
	}
	if err := join(h, good, "", other.endpoint, one.endpoint); err != nil {
		t.Fatal(err)
	}
	run(t, h)
	if st := linked(t, h); st.Host != "h1" || st.Linked != one.endpoint {
		t.Errorf("it is %+v", st)
	}
	testx.Eventually(t, 20*time.Second, func() error {
		if got := h.Status().Cluster; got != one.authority.Cluster() {
			return errors.New("it is of cluster " + got)
		}
		return nil
	})
	if err := join(h, good, "", one.endpoint); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("joined twice: %v", err)
	}
	second, _ := open(t, t.TempDir())
	if err := join(second, good, "", one.endpoint); !errdefs.IsAlreadyExists(err) || !strings.Contains(err.Error(), "live on another machine") {
		t.Errorf("a second machine of the name: %v", err)
	}
	if err := join(second, good, "h2", one.endpoint); err != nil {
		t.Error(err)
	}
	if err := h.Leave(t.Context(), false); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(h.cfg.State + "/" + certFile); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the certificate of a host that left is there: %v", err)
	}
}

// TestAHostFindsAllControllers: one that joined at a single endpoint is told the others, goes
// on with them when that one is gone, also after a start, and keeps none of what nobody tells.
func TestAHostFindsAllControllers(t *testing.T) {
	c := &controllers{}
	c.begin(t)
	first, stop := c.add(t, "c1")
	c.endpoint = first.Endpoints[0]
	leads(t, first)
	second, _ := c.add(t, "c2")
	dir := t.TempDir()
	h, _ := open(t, dir)
	if err := h.Join(t.Context(), hostapi.ClusterJoin{Token: c.token(t, api.OfHost, "hosts"), Endpoints: []string{c.endpoint}}); err != nil {
		t.Fatal(err)
	}
	run(t, h)
	all := []string{first.Endpoints[0], second.Endpoints[0]}
	testx.Eventually(t, 20*time.Second, func() error {
		if got := h.Status().Endpoints; !slices.Equal(got, all) {
			return fmt.Errorf("it knows %q of %q", got, all)
		}
		return nil
	})
	stop()
	leads(t, second)
	testx.Eventually(t, 20*time.Second, func() error {
		if got := h.Status().Linked; got != all[1] {
			return fmt.Errorf("it is linked to %q", got)
		}
		return nil
	})
	later := t.TempDir() // h writes its record while it hears of the new leader
	text, err := os.ReadFile(filepath.Join(dir, recordFile))
	if err == nil {
		err = write(later, recordFile, text)
	}
	if err != nil {
		t.Fatal(err)
	}
	again, _ := open(t, later)
	if got := again.Status().Endpoints; !slices.Equal(got, all) {
		t.Errorf("after a start it knows %q of %q", got, all)
	}
	again.hear([]string{"https://b:1", "http://c:1", "unix:///run/s", "nothing", all[0]})
	if got := again.rec.Peers; !slices.Equal(got, []string{"https://b:1"}) {
		t.Errorf("another in place of one: %q", got)
	}
	again.hear([]string{"https://d:1", "https://b:1"})
	again.hear([]string{"https://b:1"})
	if got := again.rec.Peers; !slices.Equal(got, []string{"https://d:1", "https://b:1"}) {
		t.Errorf("one that is away is not kept: %q", got)
	}
}

// TestCertificatesAreRenewed at two thirds of their time, and not before.
func TestCertificatesAreRenewed(t *testing.T) {
	c := newControllers(t)
	h, _ := open(t, t.TempDir())
	if err := h.Join(t.Context(), hostapi.ClusterJoin{Token: c.token(t, api.OfHost, "hosts"), Endpoints: []string{c.endpoint}}); err != nil {
		t.Fatal(err)
	}
	run(t, h)
	linked(t, h)
	id := func() *tls.Certificate {
		id, err := h.identity()
		if err != nil {
			t.Fatal(err)
		}
		return &id.pair
	}
	first := id()
	life := first.Leaf.NotAfter.Sub(first.Leaf.NotBefore)
	for _, step := range []struct {
		after   time.Duration
		renewed bool
	}{{life * 6 / 10, false}, {life * 7 / 10, true}} {
		c.ahead.Store(int64(step.after))
		if err := h.renew(t.Context(), first.Leaf.NotBefore.Add(step.after)); err != nil {
			t.Fatal(err)
		}
		now := id()
		if got := now.Leaf.SerialNumber.Cmp(first.Leaf.SerialNumber) != 0; got != step.renewed {
			t.Errorf("after %v of %v: renewed %v", step.after, life, got)
		}
		if step.renewed && (now.Leaf.NotAfter.Sub(first.Leaf.NotAfter) < life/2 || now.Leaf.URIs[0].String() != "mos://host/h1") {
			t.Errorf("the new one is of %v, until %v", now.Leaf.URIs, now.Leaf.NotAfter)
		}
	}
}
