package robust

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/client"
	"github.com/mosdocker/mosdocker/scheduler/link"
	"github.com/mosdocker/mosdocker/scheduler/simulate"
	"github.com/mosdocker/mosdocker/setmgr/spec"
	"github.com/mosdocker/mosdocker/test/lab"
)

// patience is for what has no promise of time.
const patience = time.Minute

// fleet is mos-schedulers, the built program, and hosts that run nothing, linked to them
// over TLS by certificates of their own.
type fleet struct {
	t          *testing.T
	dir        string
	schedulers []*scheduler
	hosts      map[string]*simulate.Host
	witness    *witness
}

// scheduler is one process, by whatever arguments it is started next.
type scheduler struct {
	*client.Client
	name, socket, address string
	args                  []string
	log                   *os.File

	process atomic.Pointer[os.Process]
	frozen  atomic.Bool // by a signal

	mu         sync.Mutex    // guards all below
	stop, done chan struct{} // nil while it does not run
}

// newFleet plans n processes on the addresses, and starts none.
func newFleet(t *testing.T, addresses []string, args ...string) *fleet {
	t.Helper()
	f := &fleet{t: t, dir: t.TempDir(), hosts: map[string]*simulate.Host{}}
	f.witness = &witness{t: t, began: time.Now(), active: map[string]map[string]link.Assigned{}, leave: map[string]int{}}
	logs := testx.Artifacts(t)
	for i, at := range addresses {
		name := fmt.Sprintf("c%d", i+1)
		s := &scheduler{name: name, socket: filepath.Join(f.dir, name+".sock"), address: at}
		s.args = append([]string{"-config", os.DevNull, "-name", name, "-data", f.data(name), "-socket", s.socket, "-listen", at}, args...)
		var err error
		s.log, err = os.Create(filepath.Join(logs, name+".log"))
		must(t, err)
		s.Client, err = client.New(s.socket, client.Options{})
		must(t, err)
		f.schedulers = append(f.schedulers, s)
		t.Cleanup(func() { s.kill(); s.Close(); s.log.Close() })
	}
	return f
}

func (f *fleet) data(name string) string { return filepath.Join(f.dir, name) }

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// start runs it, and waits for nothing. It is run again when it ends by itself, as systemd
// does.
func (s *scheduler) start(tb testing.TB) {
	tb.Helper()
	program := lab.Program(tb, "mos-scheduler")
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done != nil {
		return
	}
	s.stop, s.done = make(chan struct{}), make(chan struct{})
	started := make(chan error, 1)
	go s.keep(program, s.stop, s.done, started)
	must(tb, <-started)
}

// keep ends when stop is closed and the process is gone.
func (s *scheduler) keep(program string, stop <-chan struct{}, done chan<- struct{}, started chan<- error) {
	defer close(done)
	runtime.LockOSThread() // by its end the kernel judges that of the parent
	defer runtime.UnlockOSThread()
	for first := true; ; first = false {
		cmd := exec.Command(program, s.args...)
		cmd.Stdout, cmd.Stderr = s.log, s.log
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		err := cmd.Start()
		if err == nil {
			s.process.Store(cmd.Process)
		}
		if first {
			started <- err
		}
		if err == nil {
			_ = cmd.Wait()
		}
		select {
		case <-stop:
			return
		case <-time.After(time.Second):
		}
	}
}

// end sends it a signal after which it is gone.
func (s *scheduler) end(signal syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done == nil {
		return
	}
	close(s.stop)
	for {
		_ = s.process.Load().Signal(signal) // which may be one that just ended
		select {
		case <-s.done:
			s.done = nil
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (s *scheduler) runs() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done != nil && !s.frozen.Load()
}

func (s *scheduler) kill() { s.end(syscall.SIGKILL) }

// ask runs it as a command that ends.
func (s *scheduler) ask(t *testing.T, args ...string) (string, error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), lab.Program(t, "mos-scheduler"), args...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("mos-scheduler %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), err
}

func (f *fleet) start() {
	f.t.Helper()
	for _, s := range f.schedulers {
		s.start(f.t)
	}
}

func (f *fleet) kill() {
	for _, s := range f.schedulers {
		s.kill()
	}
}

// one is any that runs.
func (f *fleet) one() *scheduler {
	s := f.schedulers[0]
	for _, i := range mathrand.Perm(len(f.schedulers)) {
		s = f.schedulers[i]
		if s.runs() {
			break
		}
	}
	return s
}

// leader waits until somebody leads.
func (f *fleet) leader() *scheduler {
	f.t.Helper()
	var leads *scheduler
	testx.Eventually(f.t, patience, func() error {
		s, err := f.one().Status(f.t.Context())
		if err != nil {
			return err
		}
		i := slices.IndexFunc(f.schedulers, func(o *scheduler) bool { return o.name == s.Leader })
		if i < 0 {
			return fmt.Errorf("%q leads", s.Leader)
		}
		leads = f.schedulers[i]
		return nil
	})
	return leads
}

// try repeats a call that may meet a fault.
func (f *fleet) try(do func(c *client.Client) error) {
	f.t.Helper()
	testx.Eventually(f.t, patience, func() error {
		err := do(f.one().Client)
		if err != nil && !unanswered(err) {
			f.t.Fatal(err)
		}
		return err
	})
}

// host joins one by a token, as docker mos host join does, and links it until the test ends.
func (f *fleet) host(name string) {
	f.t.Helper()
	ctx := f.t.Context()
	h := &simulate.Host{
		Name: name, Witness: f.witness, StopAfter: 50 * time.Millisecond,
		ReadyAfter: func(link.Assigned) time.Duration { return 50 * time.Millisecond },
		Status: api.HostStatus{
			Capacity: api.Amounts{CPU: 8000, Memory: 128 << 30, Disk: 1 << 40}, Machine: name, Engine: "29.7.2",
			Networks: map[string]string{"vlan": "10.20.0.0/24"},
		},
	}
	var secret *api.NewTokenSecret
	f.try(func(c *client.Client) (err error) { // some may not serve yet
		secret, err = c.CreateToken(ctx, api.TokenRequest{Name: name, Role: api.OfHost, TTL: "1h"})
		return err
	})
	token, pin, err := link.SplitToken(secret.Secret)
	must(f.t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(f.t, err)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	must(f.t, err)
	var cert link.Certificate
	testx.Eventually(f.t, patience, func() error { // only who leads lets hosts in
		cert, err = link.Join(ctx, "https://"+f.one().address, pin, link.JoinRequest{
			Host: name, Secret: token, Sent: time.Now(), Status: h.Status,
			Request: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})),
		})
		return err
	})
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(f.t, err)
	pair, err := tls.X509KeyPair([]byte(cert.Own), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	must(f.t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(cert.Authority))
	var endpoints []string
	for _, s := range f.schedulers {
		endpoints = append(endpoints, "https://"+s.address)
	}
	c := &link.Client{Endpoints: func() []string { return endpoints }, Log: testx.Logger(f.t), TLS: func() (*tls.Config, error) {
		return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots, Certificates: []tls.Certificate{pair}}, nil
	}}
	f.hosts[name] = h
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() { h.RunLinked(ctx, c) })
	f.t.Cleanup(func() { cancel(); work.Wait() })
}

// service is one of small sets in the cluster's network.
func service(name string, replicas int) *api.Service {
	return &api.Service{Meta: api.Meta{Name: name}, Spec: api.ServiceSpec{Replicas: replicas, Set: api.Template{Set: spec.Set{
		CPU: 2, MEM: 64 << 20, Network: spec.Network{Name: "vlan"},
		Containers: []spec.Container{{Name: "app", Image: "shop/app:1", Options: spec.Options{CPU: 80, MEM: 70}}},
	}}}}
}

func volume() *spec.Volume { return &spec.Volume{Size: 1 << 30, Path: "/data"} }

// network makes the one of [service].
func (f *fleet) network() {
	f.t.Helper()
	n := &api.Network{Meta: api.Meta{Name: "vlan"}, Spec: api.NetworkSpec{Pools: []api.AddressPool{{Subnet: "10.20.0.0/24", Gateway: "10.20.0.1"}}}}
	f.make(func(c *client.Client) error {
		_, err := client.Create(f.t.Context(), c, n, client.Change{})
		return err
	})
}

// make creates something; it may have been made by a call that was not answered.
func (f *fleet) make(do func(c *client.Client) error) {
	f.t.Helper()
	f.try(func(c *client.Client) error {
		if err := do(c); !errdefs.IsAlreadyExists(err) {
			return err
		}
		return nil
	})
}

func (f *fleet) create(s *api.Service) {
	f.t.Helper()
	f.make(func(c *client.Client) error {
		_, err := client.Create(f.t.Context(), c, s, client.Change{})
		return err
	})
}

// ready waits until a service is as wished.
func (f *fleet) ready(name string) {
	f.t.Helper()
	testx.Eventually(f.t, patience, func() error {
		s, err := client.Get[api.Service](f.t.Context(), f.one().Client, name)
		if err != nil {
			return err
		}
		if done, missing := s.AsWished(); !done {
			return fmt.Errorf("%s: %s", name, missing)
		}
		return nil
	})
}

// settled compares what hosts run with what the API says, and both with what is wished.
func (f *fleet) settled(want map[string]int) {
	f.t.Helper()
	testx.Eventually(f.t, patience, func() error {
		sets, err := client.List[api.SetInstance](f.t.Context(), f.one().Client, client.Filter{})
		if err != nil {
			return err
		}
		count, runs := map[string]int{}, f.witness.running()
		addresses := map[string]string{}
		for _, s := range sets.Items {
			count[s.Spec.Service]++
			if runs[s.Name] != s.Spec.Host {
				return fmt.Errorf("%s is on %q, runs on %q", s.Name, s.Spec.Host, runs[s.Name])
			}
			delete(runs, s.Name)
			for _, a := range s.Spec.Addresses {
				if by := addresses[a.Address]; by != "" {
					f.t.Errorf("%s is held by %s and %s", a.Address, by, s.Name)
				}
				addresses[a.Address] = s.Name
			}
		}
		for name := range want {
			if count[name] != want[name] {
				return fmt.Errorf("%s has %d sets of %d", name, count[name], want[name])
			}
			delete(count, name)
		}
		if len(runs)+len(count) > 0 {
			return fmt.Errorf("beside it there are %v, and %v run", count, runs)
		}
		return nil
	})
}

// witness sees what is active on hosts, and judges it as it happens.
type witness struct {
	t     *testing.T
	began time.Time

	mu     sync.Mutex // guards all below
	active map[string]map[string]link.Assigned
	leave  map[string]int // how many sets of a service may end, since that was asked for
	lines  []string
	starts int
}

func (w *witness) line(format string, args ...any) {
	w.lines = append(w.lines, fmt.Sprintf("%7.3f ", time.Since(w.began).Seconds())+fmt.Sprintf(format, args...))
}

func (w *witness) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.line(format, args...)
}

func (w *witness) wrong(format string, args ...any) {
	w.line("WRONG: "+format, args...)
	w.t.Errorf(format, args...)
}

// may says that so many more sets of a service may end.
func (w *witness) may(service string, sets int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.leave[service] = max(w.leave[service], 0) + sets
	w.line("%d sets of %s may end", w.leave[service], service)
}

// held is what one set at most may have.
func held(a link.Assigned) (all []string) {
	for _, n := range append([]spec.Network{a.Set.Network}, a.Set.Networks...) {
		if n.IP != "" {
			all = append(all, "address "+n.IP)
		}
	}
	if v := a.Set.Volume; v != nil {
		all = append(all, "volume "+cmp.Or(v.Name, a.Name+"-data"))
	}
	return append(all, "name "+a.Name)
}

// Starts is for [simulate.Witness].
func (w *witness) Starts(host string, a link.Assigned) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.starts++
	w.line("%s starts %s at %d", host, a.Name, a.Generation)
	if w.active[host] == nil {
		w.active[host] = map[string]link.Assigned{}
	}
	if before, ok := w.active[host][a.Name]; ok && (before.UID != a.UID || before.Generation >= a.Generation) {
		w.wrong("%s starts %s again, of generation %d after %d", host, a.Name, a.Generation, before.Generation)
	}
	mine := held(a)
	if len(mine) < 2 {
		w.wrong("%s starts %s without an address", host, a.Name)
	}
	for other, sets := range w.active {
		for _, b := range sets {
			if other == host && b.Name == a.Name {
				continue
			}
			for _, thing := range held(b) {
				if slices.Contains(mine, thing) {
					w.wrong("%s is of %s on %s and of %s on %s", thing, a.Name, host, b.Name, other)
				}
			}
		}
	}
	w.active[host][a.Name] = a
}

// Ends is for [simulate.Witness].
func (w *witness) Ends(host string, a link.Assigned) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.line("%s ends %s", host, a.Name)
	delete(w.active[host], a.Name)
	if w.leave[a.Service]--; w.leave[a.Service] < 0 {
		w.wrong("%s ends %s, and nobody asked for that", host, a.Name)
	}
}

// running is the host of each set.
func (w *witness) running() map[string]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := map[string]string{}
	for host, sets := range w.active {
		for name := range sets {
			all[name] = host
		}
	}
	return all
}

// told logs the history of a test that failed.
func (w *witness) told() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.t.Failed() {
		w.t.Logf("history:\n%s", strings.Join(w.lines, "\n"))
	}
}

// unanswered says whether a change may have been made though it failed.
func unanswered(err error) bool {
	return errdefs.IsUnavailable(err) || errors.Is(err, context.DeadlineExceeded)
}
