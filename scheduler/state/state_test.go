package state_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/state"
	"github.com/mosdocker/mosdocker/scheduler/state/embed"
	"github.com/mosdocker/mosdocker/scheduler/state/statetest"
)

func TestMain(m *testing.M) { os.Exit(statetest.Main(m)) }

func start(tb testing.TB) *clientv3.Client {
	tb.Helper()
	s, err := embed.Start(tb.Context(), embed.Config{Dir: tb.TempDir(), Log: testx.Logger(tb)})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s.Client()
}

func open(tb testing.TB, etcd *clientv3.Client) *state.Store {
	tb.Helper()
	s, err := state.Open(tb.Context(), etcd, state.Options{
		Name: "test",
		Now:  func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC) },
	})
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

// TestStoredKeysAreKept compares with what stores hold: it must be found for ever.
func TestStoredKeysAreKept(t *testing.T) {
	ctx, etcd := t.Context(), start(t)
	s := open(t, etcd)
	b := s.Batch(nil)
	h := statetest.Host("h1.example")
	h.UID = "0199"
	b.Create(h)
	me := state.Holder{Name: "web-1", UID: "0200"}
	b.Claim(state.Address("my/net %", netip.MustParseAddr("::ffff:10.9.0.21")), me)
	b.Claim(state.Address("prod", netip.MustParseAddr("FD00::0021%eth0")), me)
	b.Claim(state.Volume("web-1-data"), me)
	b.Claim(state.Port("h1.example", "tcp", 8080), me)
	_, err := b.Commit(ctx)
	must(t, err)
	m, err := s.Join(ctx, "scheduler1", 5*time.Second)
	must(t, err)
	defer m.Leave(ctx)
	_, err = m.Lead(ctx)
	must(t, err)
	var text strings.Builder
	r, err := etcd.Get(ctx, "", clientv3.WithPrefix())
	must(t, err)
	for _, kv := range r.Kvs {
		key, value := string(kv.Key), string(kv.Value)
		if kv.Lease != 0 {
			key = strings.ReplaceAll(key, fmt.Sprintf("%x", kv.Lease), "LEASE")
		}
		if strings.HasPrefix(key, "/mos/receipts/") {
			value = "ID"
		}
		fmt.Fprintf(&text, "%s %s\n", key, value)
	}
	testx.Golden(t, "keys.txt", text.String())

	held, err := s.Holders(ctx, "address", "my/net %", state.Page{})
	must(t, err)
	if len(held.Items) != 1 || held.Items[0].Thing.Within != "my/net %" || held.Items[0].Thing.Name != "10.9.0.21" {
		t.Errorf("claims within a network of an odd name: %v", held.Items)
	}
}

func TestANewerSchemaIsRefused(t *testing.T) {
	ctx, etcd := t.Context(), start(t)
	open(t, etcd)
	for what, value := range map[string]string{"newer": "2", "foreign": "{}", "zero": "0"} {
		_, err := etcd.Put(ctx, "/mos/schema", value)
		must(t, err)
		if _, err := state.Open(ctx, etcd, state.Options{}); !errdefs.IsFailedPrecondition(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := etcd.Put(ctx, "/other/x", "y")
	must(t, err)
	if _, err := state.Open(ctx, etcd, state.Options{Prefix: "/other/"}); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("keys of others: %v", err)
	}
	for _, prefix := range []string{"mos/", "/mos"} {
		if _, err := state.Open(ctx, etcd, state.Options{Prefix: prefix}); !errdefs.IsInvalidArgument(err) {
			t.Errorf("prefix %s: %v", prefix, err)
		}
	}
}

func TestAnOlderSchemaIsMigrated(t *testing.T) {
	ctx, etcd := t.Context(), start(t)
	old := open(t, etcd)
	must(t, old.Create(ctx, statetest.Host("h1")))
	upgrade := func(ctx context.Context, s *state.Store) error {
		_, err := etcd.Put(ctx, "/mos/v1/hosts/h2", `{"name":"h2"}`)
		return err
	}
	broken := errors.New("cut off")
	_, err := state.OpenWith(ctx, etcd, state.Options{}, []state.Migration{func(context.Context, *state.Store) error { return broken }})
	if !errors.Is(err, broken) {
		t.Errorf("a migration that fails: %v", err)
	}
	must(t, old.Create(ctx, statetest.Host("h3"))) // nothing has changed

	var all sync.WaitGroup
	for range 3 { // at once, as after an upgrade of all schedulers
		all.Go(func() {
			s, err := state.OpenWith(ctx, etcd, state.Options{}, []state.Migration{upgrade})
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			if _, err := state.Get[api.Host](ctx, s, "h2"); err != nil {
				t.Errorf("opened before it was migrated: %v", err)
			}
		})
	}
	all.Wait()
	if err := old.Create(ctx, statetest.Host("h4")); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "another version") {
		t.Errorf("a program of the old version wrote: %v", err)
	}
	if _, err := state.Open(ctx, etcd, state.Options{}); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("a program of the old version started: %v", err)
	}
	// A new store is of the last version at once.
	if _, err := state.OpenWith(ctx, etcd, state.Options{Prefix: "/new/"}, []state.Migration{
		func(context.Context, *state.Store) error { return broken },
	}); err != nil {
		t.Errorf("an empty store was migrated: %v", err)
	}
}

func TestADamagedBackupIsSeen(t *testing.T) {
	ctx, etcd := t.Context(), start(t)
	s := open(t, etcd)
	must(t, s.Create(ctx, statetest.Host("h1")))
	dir := t.TempDir()
	path := filepath.Join(dir, "backup")
	b, err := s.Backup(ctx, path)
	must(t, err)
	info, err := os.Stat(path)
	must(t, err)
	if b.Path != path || b.Bytes != info.Size() || len(b.SHA256) != 64 || info.Mode() != 0o600 {
		t.Errorf("%+v, mode %s", b, info.Mode())
	}
	again, err := state.Verify(path)
	if err != nil || again != b {
		t.Errorf("verified as %+v: %v", again, err)
	}
	if _, err := s.Backup(ctx, path); !errdefs.IsAlreadyExists(err) {
		t.Errorf("over another backup: %v", err)
	}
	if _, err := s.Backup(ctx, filepath.Join(dir, "none", "backup")); err == nil {
		t.Error("into no folder")
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Backup(ended, filepath.Join(dir, "late")); err == nil {
		t.Error("a backup after its end")
	}
	data, err := os.ReadFile(path)
	must(t, err)
	bit := append([]byte{}, data...)
	bit[len(bit)/2] ^= 1
	for name, data := range map[string][]byte{"cut": data[:len(data)/2], "less": data[:len(data)-512], "bit": bit, "empty": {}, "no-sum": data[:len(data)-32]} {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, data, 0o600))
		if _, err := state.Verify(path); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "*.part"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

func TestEndpointsWithoutTLSAreRefused(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	must(t, os.WriteFile(text, []byte("no certificate"), 0o600))
	for name, r := range map[string]state.Remote{
		"none":      {},
		"plain":     {Endpoints: []string{"http://127.0.0.1:2379"}},
		"bare":      {Endpoints: []string{"127.0.0.1:2379"}},
		"no-files":  {Endpoints: []string{"https://127.0.0.1:2379"}},
		"lost-file": {Endpoints: []string{"https://127.0.0.1:2379"}, CAFile: "/none", CertFile: text, KeyFile: text},
		"no-cert":   {Endpoints: []string{"https://127.0.0.1:2379"}, CAFile: text, CertFile: text, KeyFile: text},
	} {
		if _, err := state.Dial(r); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNoEtcdIsUnavailable(t *testing.T) {
	c := statetest.Plan(t, 1)
	_, err := state.Open(t.Context(), c.Client(t), state.Options{Timeout: 300 * time.Millisecond})
	if !errdefs.IsUnavailable(err) {
		t.Errorf("got %v", err)
	}
}

func TestOldServersAreRefused(t *testing.T) {
	for version, old := range map[string]bool{
		"3.5.30": true, "3.6.13": true, "3.6.14": false, "3.7.0": true, "3.7.1": false, "3.7.3": false, "3.8.0": false, "": true, "x": true,
	} {
		if state.TooOld(version) != old {
			t.Errorf("%q is too old: %t", version, !old)
		}
	}
}
