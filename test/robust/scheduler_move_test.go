package robust

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/client"
	"github.com/mosdocker/mosdocker/scheduler/state/statetest"
)

// TestStateIsRestoredAndMoved takes the way of docs/scheduler.md with the built program: a
// backup under load, the state destroyed, and restored, twice; then the move from the etcd
// inside to three servers elsewhere, under load. What the backup has runs on untouched, what
// came after it ends, hosts heed the new leaders; the move loses nothing that was
// acknowledged.
func TestStateIsRestoredAndMoved(t *testing.T) {
	f := newFleet(t, []string{statetest.Address(t), statetest.Address(t), statetest.Address(t)})
	t.Cleanup(f.witness.told)
	one := f.schedulers[0]
	one.start(t)
	f.leader()
	for _, name := range []string{"h1", "h2", "h3"} {
		f.host(name)
	}
	f.network()
	db := service("db", 2)
	db.Spec.Set.Volume = volume()
	f.create(db)
	f.create(service("still", 4))
	want := map[string]int{"db": 2, "still": 4}
	f.ready("db")
	f.ready("still")

	chosen := seed(t)
	load := f.load(chosen)
	<-time.After(2 * time.Second)
	file := filepath.Join(f.dir, "state.db")
	_, err := one.ask(t, "backup", "-data", f.data(one.name), file)
	must(t, err)
	load.check()
	for range 2 {
		f.create(service("late", 1))
		f.ready("late")
		one.kill()
		must(t, os.RemoveAll(f.data(one.name)))
		_, err = one.ask(t, "restore", "-data", f.data(one.name), file)
		must(t, err)
		f.witness.may("late", 1)
		one.start(t)
		f.settled(want)
		if _, err := client.Get[api.Service](t.Context(), one.Client, "late"); !errdefs.IsNotFound(err) {
			t.Errorf("what came after the backup: %v", err)
		}
	}

	load = f.load(chosen)
	<-time.After(2 * time.Second)
	began := time.Now()
	one.end(syscall.SIGTERM)
	last := filepath.Join(f.dir, "last.db")
	_, err = one.ask(t, "backup", "-last", "-data", f.data(one.name), last)
	must(t, err)
	if out, err := one.ask(t, one.args...); err == nil || !strings.Contains(out, "was moved to an etcd elsewhere") {
		t.Errorf("it runs beside the etcd that takes over: %v", err)
	}
	etcd := statetest.Plan(t, 3)
	c := etcd.Config(0)
	var peers []string
	for name, at := range c.Cluster.Peers {
		peers = append(peers, name+"="+at)
	}
	_, err = one.ask(t, "restore", "-out", filepath.Dir(c.Dir), "-peers", strings.Join(peers, ","), last)
	must(t, err)
	etcd.StartAll()
	for _, s := range f.schedulers {
		s.args = append(s.args, "-etcd", strings.Join(etcd.Endpoints(), ","), "-etcd_ca", etcd.CAFile, "-etcd_cert", etcd.CertFile, "-etcd_key", etcd.KeyFile)
	}
	f.start()
	testx.Eventually(t, patience, func() error {
		_, err := client.Patch[api.Service](t.Context(), f.one().Client, "still", map[string]any{"labels": map[string]any{"moved": "yes"}}, client.Change{})
		return err
	})
	t.Logf("changes stood still for %s", time.Since(began).Round(10*time.Millisecond))
	f.create(service("late", 1))
	f.ready("late")
	want["late"] = 1
	f.settled(want)
	load.check()
	f.leader().kill()
	etcd.Kill(0)
	f.create(service("later", 1))
	f.ready("later")
	want["later"] = 1
	f.settled(want)
}
