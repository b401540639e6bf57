package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/internal/daemon"
	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/client"
	"github.com/mosdocker/mosdocker/scheduler/link"
	"github.com/mosdocker/mosdocker/scheduler/session"
)

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// running is a mos-scheduler in this process.
type running struct {
	*client.Client
	dir, socket, address string
	stop                 func()
}

func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

// start runs one on the state in a folder; the last of equal options counts.
func start(t *testing.T, dir string, options ...string) *running {
	t.Helper()
	p := &running{dir: dir, socket: filepath.Join(dir, "s.sock"), address: free(t)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { // ends by stop
		ended <- run(ctx, append([]string{
			"-data", filepath.Join(dir, "data"), "-socket", p.socket, "-listen", p.address, "-name", "c1", "-names", "127.0.0.1", "-config", os.DevNull,
			"-heartbeat", "200ms", "-lease", "1s", "-log.level", "warn",
		}, options...), nil, io.Discard)
	}()
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("it ended with: %v", err)
		}
	})
	t.Cleanup(p.stop)
	var err error
	p.Client, err = client.New(p.socket, client.Options{})
	must(t, err)
	t.Cleanup(p.Close)
	testx.Eventually(t, 20*time.Second, func() error {
		s, err := p.Status(t.Context())
		if err == nil && s.Leader == "" {
			err = fmt.Errorf("nobody leads")
		}
		return err
	})
	return p
}

// host is a mosd whose sets are ready at once.
type host struct {
	name    string
	changed chan struct{}

	mu    sync.Mutex // guards all below
	seq   int64
	got   link.Assignment
	lease link.Lease // the last one
}

func (h *host) Name() string             { return h.name }
func (h *host) Changed() <-chan struct{} { return h.changed }
func (h *host) Linked(_ string, l link.Lease, _ error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lease = l
}

func (h *host) Assign(_ context.Context, a link.Assignment) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.got = a
	select {
	case h.changed <- struct{}{}:
	default:
	}
	return nil
}

func (h *host) Report(context.Context) link.Report {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seq++
	r := link.Report{Host: h.name, Boot: "b", Seq: h.seq, Sent: time.Now(), Epoch: h.got.Epoch, Revision: h.got.Revision, Status: api.HostStatus{
		Capacity: api.Amounts{CPU: 8000, Memory: 16 << 30, Disk: 1 << 40}, Engine: "29.7.2", Machine: h.name,
	}}
	for _, s := range h.got.Sets {
		one := link.SetReport{Name: s.Name, UID: s.UID, Generation: s.Generation, Phase: api.Ready, Since: time.Now()}
		if s.Stop {
			one.Phase, one.Gone = api.Stopped, true
		}
		r.Sets = append(r.Sets, one)
	}
	return r
}

func join(t *testing.T, h link.Host, endpoint string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	c := &link.Client{Endpoints: func() []string { return []string{endpoint} }, Log: testx.Logger(t)}
	work.Go(func() { c.Run(ctx, h) })
	t.Cleanup(func() { cancel(); work.Wait() })
}

func service(replicas int) *api.Service {
	s := &api.Service{}
	body := fmt.Sprintf(`{"name":"web","spec":{"replicas":%d,"set":{"CPU":1,"MEM":"64m","Containers":[{"Index":0,"Name":"app","Image":"shop/app:1"}]}}}`, replicas)
	if err := api.Decode([]byte(body), s); err != nil {
		panic(err)
	}
	return s
}

// TestOneHostRunsAService goes the way of a user: make, scale up and down, change, explain,
// remove; and a restart in between loses nothing.
func TestOneHostRunsAService(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	p := start(t, dir)
	h := &host{name: "h1", changed: make(chan struct{}, 1)}
	join(t, h, "unix://"+p.socket)
	testx.Eventually(t, 10*time.Second, func() error { // by its names and the port of listen
		h.mu.Lock()
		defer h.mu.Unlock()
		if got := strings.Join(h.lease.Endpoints, " "); got != "https://"+p.address {
			return fmt.Errorf("the host is told of endpoints %q, want https://%s", got, p.address)
		}
		return nil
	})
	wait := client.Change{Wait: 30 * time.Second}
	made, err := client.Create(ctx, p.Client, service(3), wait)
	must(t, err)
	if made.Status.Ready != 3 {
		t.Errorf("it is made with %d sets ready", made.Status.Ready)
	}
	for _, n := range []int{6, 3} {
		s, err := client.Patch[api.Service](ctx, p.Client, "web", map[string]any{"spec": map[string]any{"replicas": n}}, wait)
		must(t, err)
		if s.Status.Ready != n {
			t.Errorf("scaled to %d: %d ready", n, s.Status.Ready)
		}
		testx.Eventually(t, 10*time.Second, func() error { // those that leave take their time
			sets, err := client.List[api.SetInstance](ctx, p.Client, client.Filter{Service: "web", Host: "h1"})
			if err == nil && len(sets.Items) != n {
				err = fmt.Errorf("scaled to %d: %d sets", n, len(sets.Items))
			}
			return err
		})
	}
	p.stop()
	p = start(t, dir)
	s, err := client.Get[api.Service](ctx, p.Client, "web")
	must(t, err)
	s.Spec.Set.Containers[0].Image = "shop/app:2"
	for {
		s2, err := client.Replace(ctx, p.Client, s, wait)
		if err == nil {
			s = s2
			break
		}
		if !strings.Contains(err.Error(), "changed meanwhile") {
			t.Fatal(err)
		}
		s, err = client.Get[api.Service](ctx, p.Client, "web")
		must(t, err)
		s.Spec.Set.Containers[0].Image = "shop/app:2"
	}
	if s.Status.Updated != 3 {
		t.Errorf("%d of 3 sets are updated", s.Status.Updated)
	}
	e, err := p.Explain(ctx, "web", "h1")
	must(t, err)
	if e.Hosts != 1 || e.Fit != 1 || e.Host == nil || len(e.Host.Reasons) != 0 {
		t.Errorf("explained: %+v", e)
	}
	_, err = client.Patch[api.Host](ctx, p.Client, "h1", map[string]any{"spec": map[string]any{"availability": "cordoned"}}, client.Change{})
	must(t, err)
	testx.Eventually(t, 10*time.Second, func() error {
		if e, err := p.Explain(ctx, "web", "h1"); err != nil || e.Fit != 0 || len(e.Host.Reasons) != 1 {
			return fmt.Errorf("cordoned: %+v, %w", e, err)
		}
		return nil
	})
	f, err := p.Plan(ctx, service(20))
	must(t, err)
	if f.Unplaced == 0 || f.Why == nil {
		t.Errorf("20 sets where no host takes any: %+v", f)
	}
	_, err = client.Delete[api.Service](ctx, p.Client, "web")
	must(t, err)
	testx.Eventually(t, 20*time.Second, func() error {
		_, err := client.Get[api.Service](ctx, p.Client, "web")
		if !errdefs.IsNotFound(err) {
			return fmt.Errorf("it is not gone: %w", err)
		}
		return nil
	})
	sets, err := client.List[api.SetInstance](ctx, p.Client, client.Filter{})
	must(t, err)
	if len(sets.Items) != 0 {
		t.Errorf("%d sets are left", len(sets.Items))
	}
}

// talker is a host whose containers say which they are.
type talker struct{ host }

func (h *talker) Session(_ context.Context, o session.Offer, c *session.Conn) {
	_ = c.Write(session.Stdout, []byte(o.Set+"/"+o.Container)) // what fails, fails below
	_ = c.End(0, nil)
	_, _, _ = c.Read()
}

// TestSessionsByWhoDoesNotLead: of two on one etcd both reach a host's containers, which is
// linked to the one that leads.
func TestSessionsByWhoDoesNotLead(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	one := start(t, dir)
	two := start(t, t.TempDir(), "-name", "c2", "-etcd", "unix://"+filepath.Join(dir, "data", "etcd", "client.sock"))
	h := &talker{host{name: "h1", changed: make(chan struct{}, 1)}}
	join(t, h, "unix://"+one.socket)
	_, err := client.Create(ctx, two.Client, service(1), client.Change{Wait: 30 * time.Second})
	must(t, err)
	st, err := two.Status(ctx)
	must(t, err)
	if st.Leader != "c1" || len(st.Controllers) != 2 {
		t.Fatalf("%s leads of %q, want c1 of two", st.Leader, st.Controllers)
	}
	for name, by := range map[string]*running{"who leads": one, "the other": two} {
		testx.Eventually(t, 10*time.Second, func() error { // a host comes for sessions a moment after it is there
			c, err := by.Session(ctx, "web-1", session.Request{Verb: session.Logs, Container: "app"})
			if err != nil {
				return fmt.Errorf("by %s: %w", name, err)
			}
			var out bytes.Buffer
			if _, err = c.Copy(&out, &out); err == nil && out.String() != "web-1/app" {
				err = fmt.Errorf("by %s: %q", name, out.String())
			}
			return errors.Join(err, c.Close())
		})
	}
	two.stop() // before etcd
}

// TestAWaitThatIsOverSaysWhy asks for more than there is.
func TestAWaitThatIsOverSaysWhy(t *testing.T) {
	p := start(t, t.TempDir())
	_, err := client.Create(t.Context(), p.Client, service(1), client.Change{Wait: 2 * time.Second})
	if err == nil || !strings.Contains(err.Error(), "was not as wished within 2s") || !strings.Contains(err.Error(), "there are no hosts") {
		t.Errorf("without hosts: %v", err)
	}
	s, err := client.Get[api.Service](t.Context(), p.Client, "web")
	if err != nil || s.Generation != 1 {
		t.Errorf("it is stored all the same: %+v, %v", s, err)
	}
}

func command(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := run(t.Context(), args, nil, &out)
	return out.String(), err
}

func TestABackupIsRestoredElsewhere(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	p := start(t, dir)
	_, err := client.Create(t.Context(), p.Client, service(2), client.Change{})
	must(t, err)
	file := filepath.Join(dir, "backup")
	out, err := command(t, "backup", "-data", filepath.Join(dir, "data"), file) // while it runs
	must(t, err)
	if !strings.Contains(out, "SHA-256") {
		t.Errorf("it says %q", out)
	}
	if _, err := command(t, "backup", "-data", filepath.Join(dir, "data"), file); !errdefs.IsAlreadyExists(err) {
		t.Errorf("over a backup: %v", err)
	}
	if _, err := command(t, "restore", "-data", filepath.Join(dir, "data"), file); !errdefs.IsAlreadyExists(err) {
		t.Errorf("over what there is: %v", err)
	}
	p.stop()
	_, err = command(t, "backup", "-data", filepath.Join(dir, "data"), file+"2") // while it does not
	must(t, err)
	_, err = command(t, "restore", "-data", filepath.Join(other, "data"), file)
	must(t, err)
	p = start(t, other)
	s, err := client.Get[api.Service](t.Context(), p.Client, "web")
	must(t, err)
	if s.Spec.Replicas != 2 {
		t.Errorf("restored: %+v", s.Spec)
	}
}

func TestBadCommandLinesAreRefused(t *testing.T) {
	for _, args := range [][]string{
		{"serve"},
		{"-nope"},
		{"-data", "relative"},
		{"-listen", "7443"},
		{"-quota", "5"},
		{"-lease", "1s"},
		{"-engine_away", "1s"},
		{"-etcd_key", "/x"},
		{"-history", "1s"},
		{"backup"},
		{"backup", "a", "b"},
		{"restore"},
		{"restore", "-out", "x", "b"},
		{"restore", "-out", "x", "-peers", "a", "b"},
		{"restore", "-out", "x", "-peers", "a=https://h:1,a=https://h:2", "b"},
		{"token"},
		{"token", "create"},
		{"token", "create", "x"},
		{"token", "make", "x"},
		{"cert"},
		{"cert", "x", "y"},
	} {
		_, err := command(t, args...)
		if args[0] == "token" && len(args) == 1 { // its help
			continue
		}
		if daemon.Code("test", err) != 2 {
			t.Errorf("%q: %v", args, err)
		}
	}
	if _, err := command(t, "backup", "-data", t.TempDir(), filepath.Join(t.TempDir(), "b")); !errdefs.IsNotFound(err) {
		t.Errorf("a backup of nothing: %v", err)
	}
	if _, err := command(t, "token", "ls", "-socket", filepath.Join(t.TempDir(), "s")); !errdefs.IsUnavailable(err) {
		t.Errorf("no scheduler: %v", err)
	}
}

// TestOthersComeByTLS has users with certificates and tokens, strangers, and a host that
// joins by a token.
func TestOthersComeByTLS(t *testing.T) {
	ctx := t.Context()
	p := start(t, t.TempDir())
	out := filepath.Join(p.dir, "ann")
	_, err := command(t, "cert", "ann", "-role", "operator", "-data", filepath.Join(p.dir, "data"), "-out", out)
	must(t, err)
	at := "https://" + p.address
	file := func(name string) string { return filepath.Join(out, name) }
	reach := func(o client.Options) error {
		c, err := client.New(at, o)
		must(t, err)
		defer c.Close()
		_, err = client.List[api.Host](ctx, c, client.Filter{})
		return err
	}
	must(t, reach(client.Options{CAFile: file("ca.pem"), CertFile: file("cert.pem"), KeyFile: file("key.pem")}))
	secret, err := command(t, "token", "create", "ci", "-role", "read-only", "-socket", p.socket)
	must(t, err)
	must(t, reach(client.Options{CAFile: file("ca.pem"), Token: strings.TrimSpace(secret)}))
	if got, err := command(t, "token", "ls", "-socket", p.socket); err != nil || got != "NAME   ROLE        TENANT   UNTIL\nci     read-only   -        for ever\n" {
		t.Errorf("the tokens are listed as %q, %v", got, err)
	}
	if err := reach(client.Options{CAFile: file("ca.pem")}); !errdefs.IsUnauthorized(err) {
		t.Errorf("nobody: %v", err)
	}
	if err := reach(client.Options{Token: strings.TrimSpace(secret)}); !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without knowing the authority: %v", err)
	}
	other := start(t, t.TempDir())
	_, err = command(t, "cert", "eve", "-role", "admin", "-data", filepath.Join(other.dir, "data"), "-out", filepath.Join(other.dir, "eve"))
	must(t, err)
	if err := reach(client.Options{CAFile: file("ca.pem"), CertFile: filepath.Join(other.dir, "eve", "cert.pem"), KeyFile: filepath.Join(other.dir, "eve", "key.pem")}); err == nil {
		t.Error("an admin of another cluster is let in")
	}
	if _, err := command(t, "cert", "x", "-role", "root", "-data", filepath.Join(p.dir, "data"), "-out", out); !errdefs.IsInvalidArgument(err) {
		t.Errorf("a role that there is not: %v", err)
	}

	join, err := command(t, "token", "create", "rack1", "-role", "host", "-ttl", "1h", "-socket", p.socket)
	must(t, err)
	join = strings.TrimSpace(join)
	ca, err := os.ReadFile(file("ca.pem"))
	must(t, err)
	if b, _ := pem.Decode(ca); strings.Count(join, ".") != 3 || !strings.HasSuffix(join, fmt.Sprintf(".%x", sha256.Sum256(b.Bytes))) {
		t.Errorf("the token of a host ends in no hash of the authority: %s", join)
	}
	for name, c := range map[string]struct {
		secret string
		want   int
	}{"token": {join, 200}, "of-a-user": {strings.TrimSpace(secret), 403}, "unknown": {"mos.rack1.xyz", 403}} {
		if status, text := askToJoin(t, at, ca, c.secret, "far-"+strings.ReplaceAll(name, "-", "")); status != c.want {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	hosts, err := client.List[api.Host](ctx, p.Client, client.Filter{})
	must(t, err)
	if len(hosts.Items) != 1 || hosts.Items[0].Name != "far-token" {
		t.Errorf("%d hosts joined", len(hosts.Items))
	}
}

// askToJoin is what a mosd on another machine sends.
func askToJoin(t *testing.T, at string, ca []byte, secret, name string) (int, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	must(t, err)
	body, err := json.Marshal(map[string]any{
		"host": name, "secret": secret, "sent": time.Now(), "status": map[string]any{"machine": name},
		"request": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})),
	})
	must(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots}}}
	resp, err := c.Post(at+"/v1/link/join", "application/json", bytes.NewReader(body))
	must(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	if resp.StatusCode != http.StatusOK {
		return resp.StatusCode, string(text)
	}
	var got link.Certificate
	must(t, json.Unmarshal(text, &got))
	b, _ := pem.Decode([]byte(got.Own))
	cert, err := x509.ParseCertificate(b.Bytes)
	must(t, err)
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil || cert.URIs[0].String() != "mos://host/"+name {
		t.Errorf("the certificate of %s: %v, %v", name, cert.URIs, err)
	}
	return resp.StatusCode, string(text)
}

// TestCertificatesAreRevoked: by owner and by serial number, also for requests that are open; what
// is made later is let in.
func TestCertificatesAreRevoked(t *testing.T) {
	p := start(t, t.TempDir())
	issue := func(name, folder string) *client.Client {
		t.Helper()
		out := filepath.Join(p.dir, folder)
		_, err := command(t, "cert", name, "-role", "operator", "-data", filepath.Join(p.dir, "data"), "-out", out)
		must(t, err)
		c, err := client.New("https://"+p.address, client.Options{CAFile: filepath.Join(out, "ca.pem"), CertFile: filepath.Join(out, "cert.pem"), KeyFile: filepath.Join(out, "key.pem")})
		must(t, err)
		t.Cleanup(c.Close)
		return c
	}
	ann, bob := issue("ann", "ann"), issue("bob", "bob")
	l, err := client.List[api.Host](t.Context(), ann, client.Filter{})
	must(t, err)
	ended := make(chan error, 1)
	go func() {
		for _, err := range client.Watch[api.Host](t.Context(), ann, l.Revision) {
			if err != nil {
				ended <- err
				return
			}
		}
	}()
	select {
	case err := <-ended:
		t.Fatalf("the watch ended before: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	if _, err := command(t, "cert", "revoke", "ann", "-role", "operator", "-socket", p.socket); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("a watch of a certificate that was revoked goes on")
	}
	if _, err := client.List[api.Host](t.Context(), ann, client.Filter{}); !errdefs.IsUnauthorized(err) || !strings.Contains(err.Error(), "was revoked") {
		t.Errorf("revoked by owner: %v", err)
	}
	_, err = client.List[api.Host](t.Context(), bob, client.Filter{})
	must(t, err)
	<-time.After(time.Until(time.Now().Truncate(time.Second).Add(time.Second + 10*time.Millisecond)))
	_, err = client.List[api.Host](t.Context(), issue("ann", "ann2"), client.Filter{})
	must(t, err)

	data, err := os.ReadFile(filepath.Join(p.dir, "bob", "cert.pem"))
	must(t, err)
	b, _ := pem.Decode(data)
	leaf, err := x509.ParseCertificate(b.Bytes)
	must(t, err)
	serial := fmt.Sprintf("%X", leaf.SerialNumber)
	if _, err := command(t, "cert", "revoke", "-serial", serial, "-socket", p.socket); err != nil {
		t.Fatal(err)
	}
	testx.Eventually(t, 5*time.Second, func() error {
		if _, err := client.List[api.Host](t.Context(), bob, client.Filter{}); !errdefs.IsUnauthorized(err) {
			return fmt.Errorf("revoked by serial: %w", err)
		}
		return nil
	})
	all, err := command(t, "cert", "revoked", "-socket", p.socket)
	must(t, err)
	if !strings.Contains(all, "operator.ann\t") || !strings.Contains(all, "serial."+strings.ToLower(serial)+"\t") {
		t.Errorf("revoked are:\n%s", all)
	}
	if _, err := client.Delete[api.Revocation](t.Context(), issue("eve", "eve"), "operator.ann"); !errdefs.IsPermissionDenied(err) {
		t.Errorf("an operator takes a revocation back: %v", err)
	}
}

// TestHelpNamesTheCommands, and who mistypes one is told which there are.
func TestHelpNamesTheCommands(t *testing.T) {
	out, err := command(t, "-h")
	if !errors.Is(err, config.ErrDone) {
		t.Fatal(err)
	}
	for _, c := range []string{"token", "cert", "backup", "restore", "simulate"} {
		if !strings.Contains(out, "\nmos-scheduler "+c+" ") {
			t.Errorf("-h does not name %s:\n%s", c, out)
		}
		if _, err := command(t, "wrong"); err == nil || !strings.Contains(err.Error(), c) {
			t.Errorf("a command that there is not: %v", err)
		}
	}
}
