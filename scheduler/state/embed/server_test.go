package embed_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/state"
	"github.com/mosdocker/mosdocker/scheduler/state/embed"
	"github.com/mosdocker/mosdocker/scheduler/state/statetest"
)

func open(tb testing.TB, etcd *clientv3.Client) *state.Store {
	tb.Helper()
	s, err := state.Open(tb.Context(), etcd, state.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func TestAServerIsForItsUserOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "etcd")
	start(t, embed.Config{Dir: dir})
	info, err := os.Stat(dir)
	must(t, err)
	if info.Mode().Perm() != 0o700 {
		t.Errorf("its folder is of mode %s", info.Mode())
	}
	for _, at := range listening(t) {
		if filepath.Dir(at) != dir {
			t.Errorf("it listens on %s", at)
		}
	}
	client, err := state.Dial(state.Remote{Endpoints: []string{"unix://" + filepath.Join(dir, "client.sock")}})
	must(t, err)
	defer client.Close()
	must(t, open(t, client).Create(t.Context(), statetest.Host("h"))) // as a tool of this user may
}

func TestBadConfigsAreRefused(t *testing.T) {
	log := testx.Logger(t)
	dir := t.TempDir()
	c := statetest.Plan(t, 1).Config(0)
	files, plain, alone := *c.Cluster, *c.Cluster, *c.Cluster
	files.KeyFile = ""
	plain.Client = "http://127.0.0.1:1"
	alone.Peers = map[string]string{"other": "https://127.0.0.1:1"}
	for name, c := range map[string]embed.Config{
		"nothing":  {},
		"no-log":   {Dir: dir},
		"long":     {Dir: filepath.Join(dir, strings.Repeat("x", 100)), Log: log},
		"no-files": {Dir: dir, Log: log, Cluster: &files},
		"plain":    {Dir: dir, Log: log, Cluster: &plain},
		"stranger": {Dir: dir, Log: log, Cluster: &alone},
	} {
		s, err := embed.Start(t.Context(), c)
		if !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			s.Close()
		}
	}
}

func TestAFullServerIsNamedAndTakesWritesAgain(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := open(t, start(t, embed.Config{Quota: 4 << 20}).Client())
	fill := func(i int) error {
		h := statetest.Host(fmt.Sprintf("h%d", i))
		h.Spec.Rack = strings.Repeat("x", 200<<10)
		return s.Create(ctx, h)
	}
	var err error
	n := 0
	for ; err == nil && n < 100; n++ {
		err = fill(n)
	}
	if !errdefs.IsResourceExhausted(err) {
		t.Fatalf("after %d writes: %v", n, err)
	}
	health, err := s.Health(ctx)
	must(t, err)
	if len(health.Alarms) != 1 || !strings.HasPrefix(health.Alarms[0], "space: the database of mos reached its quota") {
		t.Errorf("alarms: %q", health.Alarms)
	}
	hosts, err := state.All[api.Host](ctx, s, state.Page{})
	must(t, err)
	for _, h := range hosts.Items {
		must(t, s.Delete(ctx, h)) // deletes are taken
	}
	before := health.Servers[0]
	must(t, s.Reclaim(ctx))
	if health, err = s.Health(ctx); err != nil || len(health.Alarms) > 0 || health.Servers[0].Size >= before.Size/2 {
		t.Errorf("reclaimed: %+v, was %+v: %v", health, before, err)
	}
	must(t, fill(0))
	must(t, s.Reclaim(ctx)) // again
	for _, err := range s.Watch(ctx, hosts.Revision) {
		if _, gone := errors.AsType[*state.GoneError](err); !gone {
			t.Errorf("a watch of history that was reclaimed: %v", err)
		}
		break
	}
}

// TestABackupIsRestored takes one of an embedded server and restores it as another one,
// and as three servers of a cluster.
func TestABackupIsRestored(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "backup")
	server := start(t, embed.Config{})
	s := open(t, server.Client())
	me := state.Holder{Name: "web-0", UID: "u"}
	b := s.Batch(nil)
	for i := range 50 {
		b.Create(statetest.Host(fmt.Sprintf("h%d", i)))
	}
	b.Claim(state.Volume("v"), me)
	revision, err := b.Commit(ctx)
	must(t, err)
	_, err = s.Backup(ctx, path)
	must(t, err)
	late := statetest.Host("late") // not in the backup
	must(t, s.Create(ctx, late))

	check := func(t *testing.T, etcd *clientv3.Client) {
		t.Helper()
		s := open(t, etcd)
		hosts, err := state.All[api.Host](ctx, s, state.Page{})
		must(t, err)
		if len(hosts.Items) != 50 || hosts.Items[0].Revision != revision {
			t.Errorf("%d hosts came back, the first of revision %d, not %d", len(hosts.Items), hosts.Items[0].Revision, revision)
		}
		var held *state.HeldError
		b := s.Batch(nil)
		b.Claim(state.Volume("v"), state.Holder{Name: "web-1", UID: "u"})
		if _, err := b.Commit(ctx); !errors.As(err, &held) || held.By != me {
			t.Errorf("a claim was lost: %v", err)
		}
		for _, err := range s.Watch(ctx, late.Revision) {
			if _, gone := errors.AsType[*state.GoneError](err); !gone {
				t.Errorf("a watch from before: %v", err)
			}
			break
		}
		changed := hosts.Items[0]
		must(t, s.Update(ctx, changed)) // of the revision in the backup
		if changed.Revision <= late.Revision {
			t.Errorf("revision %d was given out before", changed.Revision)
		}
	}
	t.Run("Embedded", func(t *testing.T) {
		c := embed.Config{Dir: filepath.Join(t.TempDir(), "etcd"), Log: testx.Logger(t)}
		must(t, embed.Restore(c, path))
		check(t, start(t, c).Client())
		if err := embed.Restore(c, path); !errdefs.IsAlreadyExists(err) {
			t.Errorf("over a server: %v", err)
		}
		if err := embed.Restore(cluster(t), path); !errdefs.IsInvalidArgument(err) {
			t.Errorf("one server of several alone: %v", err)
		}
	})
	t.Run("Again", func(t *testing.T) { // what is lost was itself restored from it, and in use
		var last int64
		for range 2 {
			c := embed.Config{Dir: filepath.Join(t.TempDir(), "etcd"), Log: testx.Logger(t)}
			must(t, embed.Restore(c, path))
			s := open(t, start(t, c).Client())
			for range 20 {
				h := statetest.Host("again")
				must(t, s.Create(ctx, h))
				if h.Revision <= last {
					t.Fatalf("revision %d was given out before", h.Revision)
				}
				must(t, s.Delete(ctx, h))
				last = h.Revision + 1
			}
		}
	})
	t.Run("Cluster", func(t *testing.T) {
		cluster := statetest.Plan(t, 3)
		c := cluster.Config(0)
		must(t, embed.RestoreCluster(testx.Logger(t), filepath.Dir(c.Dir), c.Cluster.Peers, path))
		cluster.StartAll()
		check(t, cluster.Client(t))
	})
	t.Run("Damaged", func(t *testing.T) {
		data, err := os.ReadFile(path)
		must(t, err)
		data[len(data)/3] ^= 1
		bad := filepath.Join(t.TempDir(), "backup")
		must(t, os.WriteFile(bad, data, 0o600))
		c := embed.Config{Dir: filepath.Join(t.TempDir(), "etcd"), Log: testx.Logger(t)}
		if err := embed.Restore(c, bad); !errdefs.IsInvalidArgument(err) {
			t.Errorf("got %v", err)
		}
		if _, err := os.Stat(c.Dir); err == nil {
			t.Error("it left a folder")
		}
	})
}

func TestAServerKeepsWhatItHas(t *testing.T) {
	ctx := t.Context()
	before := goleak.IgnoreCurrent()
	c := embed.Config{Dir: t.TempDir(), Log: testx.Logger(t)}
	for i := range 2 {
		for _, name := range []string{"client.sock", "peer.sock"} { // as kill -9 leaves them
			l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: filepath.Join(c.Dir, name)})
			must(t, err)
			l.SetUnlinkOnClose(false)
			must(t, l.Close())
		}
		server, err := embed.Start(ctx, c)
		must(t, err)
		if _, err := embed.Start(ctx, c); !errdefs.IsFailedPrecondition(err) {
			t.Errorf("two servers in one folder: %v", err)
		}
		s, err := state.Open(ctx, server.Client(), state.Options{})
		must(t, err)
		if err := s.Create(ctx, statetest.Host("h")); (err != nil) != (i > 0) {
			t.Errorf("start %d: %v", i, err)
		}
		s.Close()
		began := time.Now()
		must(t, server.Close())
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("closing took %s", took)
		}
	}
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
}

func cluster(t *testing.T) embed.Config {
	t.Helper()
	c := statetest.Plan(t, 1).Config(0)
	c.Dir, c.Log = filepath.Join(t.TempDir(), "etcd"), testx.Logger(t)
	return c
}

// TestDamageIsNamed starts a server on files that were torn: it says so, and never begins
// anew.
func TestDamageIsNamed(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	whole := filepath.Join(t.TempDir(), "whole")
	server, err := embed.Start(ctx, embed.Config{Dir: whole, Log: testx.Logger(t)})
	must(t, err)
	s, err := state.Open(ctx, server.Client(), state.Options{})
	must(t, err)
	for i := range 200 {
		h := statetest.Host(fmt.Sprintf("h%d", i))
		h.Spec.Rack = strings.Repeat("x", 2000)
		must(t, s.Create(ctx, h))
	}
	s.Close()
	must(t, server.Close())
	first := func(dir, pattern string) string {
		all, err := filepath.Glob(filepath.Join(dir, "member", pattern))
		must(t, err)
		if len(all) == 0 {
			t.Fatalf("no %s", pattern)
		}
		return all[0]
	}
	edit := func(path string, do func([]byte) []byte) {
		data, err := os.ReadFile(path)
		must(t, err)
		must(t, os.WriteFile(path, do(data), 0o600))
	}
	for name, tear := range map[string]func(dir string){
		"database-empty":  func(dir string) { edit(first(dir, "snap/db"), func([]byte) []byte { return []byte("nothing") }) },
		"database-zeroed": func(dir string) { edit(first(dir, "snap/db"), func(b []byte) []byte { clear(b[:16<<10]); return b }) },
		"database-cut":    func(dir string) { edit(first(dir, "snap/db"), func(b []byte) []byte { return b[:64<<10] }) },
		"log-flipped":     func(dir string) { edit(first(dir, "wal/0*.wal"), func(b []byte) []byte { b[100<<10] ^= 1; return b }) },
		"log-empty":       func(dir string) { edit(first(dir, "wal/0*.wal"), func([]byte) []byte { return nil }) },
		"log-gone":        func(dir string) { must(t, os.RemoveAll(filepath.Join(dir, "member", "wal"))) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "etcd")
			must(t, os.CopyFS(dir, os.DirFS(whole)))
			tear(dir)
			server, err := embed.Start(ctx, embed.Config{Dir: dir, Log: testx.Logger(t)})
			if err == nil {
				t.Error("it started")
				must(t, server.Close())
			}
			if !errdefs.IsDataLoss(err) || !strings.Contains(fmt.Sprint(err), dir) {
				t.Errorf("got %v", err)
			}
			again, err := embed.Start(ctx, embed.Config{Dir: dir, Log: testx.Logger(t)}) // it left no lock
			if err == nil {
				must(t, again.Close())
			}
			if !errdefs.IsDataLoss(err) {
				t.Errorf("again: %v", err)
			}
		})
	}
}

// listening are the sockets on which this process listens.
func listening(t *testing.T) []string {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	var all []string
	for _, e := range fds {
		fd, err := strconv.Atoi(e.Name())
		must(t, err)
		if on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || on == 0 {
			continue
		}
		switch a, err := unix.Getsockname(fd); a := a.(type) {
		case *unix.SockaddrUnix:
			all = append(all, a.Name)
		default:
			all = append(all, fmt.Sprintf("%T %v (%v)", a, a, err))
		}
	}
	if len(all) == 0 {
		t.Error("it listens on nothing, which cannot be")
	}
	return all
}

func TestHistoryIsForgottenByItself(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := open(t, start(t, embed.Config{History: time.Second}).Client())
	h := statetest.Host("h")
	must(t, s.Create(ctx, h))
	first := h.Revision
	testx.Eventually(t, 20*time.Second, func() error {
		must(t, s.Update(ctx, h))
		if _, err := state.All[api.Host](ctx, s, state.Page{At: first}); !errdefs.IsOutOfRange(err) {
			return fmt.Errorf("a list of revision %d: %w", first, err)
		}
		return nil
	})
}

func TestOneOfThreeWaitsForAQuorumNoLongerThanToldTo(t *testing.T) {
	t.Parallel()
	c := statetest.Plan(t, 3).Config(0)
	c.Log = testx.Logger(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	began := time.Now()
	if _, err := embed.Start(ctx, c); !errdefs.IsUnavailable(err) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it gave up after %s", took)
	}
}

func TestWhoHasNoCertificateIsNotServed(t *testing.T) {
	t.Parallel()
	c := statetest.Start(t, 1)
	pem, err := os.ReadFile(c.CAFile)
	must(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	for _, u := range []string{c.Config(0).Cluster.Client, c.Config(0).Cluster.Peers["etcd0"]} {
		for name, certificates := range map[string][]tls.Certificate{"none": nil, "ours": {pair(t, c)}} {
			client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: certificates}}}
			r, err := client.Get(u + "/version")
			if (err != nil) != (name == "none") {
				t.Errorf("%s, certificate %s: %v", u, name, err)
			}
			if err == nil {
				r.Body.Close()
			}
			client.CloseIdleConnections()
		}
	}
}

func pair(t *testing.T, c *statetest.Cluster) tls.Certificate {
	t.Helper()
	p, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	must(t, err)
	return p
}
