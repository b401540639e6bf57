package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mosdocker/mosdocker/agent/metric"
	"github.com/mosdocker/mosdocker/agent/oom"
	"github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/internal/testx"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestContainersAreMeasuredFromTheirStartToTheirEnd(t *testing.T) {
	k := newKernel(t)
	one := k.container("", 1, "one", `{"team":"a"}`)
	k.run(one, "sh", "-c", "while :; do :; done")
	a := k.open()
	p := point(a, metric.Container, "one")
	if p == nil || p.Object.Image != "img:1" || p.Object.Labels["team"] != "a" || p.Object.Cgroup != one {
		t.Fatalf("at the start: %+v", p)
	}
	k.start(a)
	// One that starts is there as soon as the kernel says so, long before the next look.
	begin := time.Now()
	two := k.container("new", 2, "two", `{}`)
	testx.Eventually(t, 5*time.Second, func() error {
		if p := point(a, metric.Container, "two"); p == nil {
			return errors.New("not there")
		} else if _, ok := p.Get(metric.MemUsage); !ok {
			return errors.New("no values")
		}
		return nil
	})
	t.Logf("first values %v after the start", time.Since(begin).Round(time.Millisecond))
	k.remove(two)
	testx.Eventually(t, 5*time.Second, func() error {
		if point(a, metric.Container, "two") != nil {
			return errors.New("still there")
		}
		return nil
	})
	// The busy loop against the kernel's own account of its process.
	first, t0 := cpu(t, a), time.Now()
	testx.Eventually(t, 10*time.Second, func() error {
		if now := cpu(t, a); now-first < 0.3 {
			return fmt.Errorf("%v s of CPU in %v", now-first, time.Since(t0))
		}
		return nil
	})
	if p := point(a, metric.Agent, "h1"); p.Series[metric.AgentReadErrors].Value != 0 {
		t.Errorf("%v read errors", p.Series[metric.AgentReadErrors].Value)
	}
}

func cpu(t *testing.T, a *Agent) float64 {
	t.Helper()
	v, ok := point(a, metric.Container, "one").Get(metric.CPUUsage)
	if !ok {
		t.Fatal("no CPU time")
	}
	return v
}

func TestTheHostIsMeasuredWithoutContainers(t *testing.T) {
	a := newKernel(t).open()
	for _, scope := range []metric.Scope{metric.Host, metric.Agent} {
		if p := point(a, scope, "h1"); p == nil || p.String() == "" {
			t.Errorf("%s: %v", scope, p)
		}
	}
}

func TestASetIsItsCgroup(t *testing.T) {
	k := newKernel(t)
	infra := k.container("mosset-web.slice", 1, "web", `{"mos.set":"web","mos.role":"infra"}`)
	k.container("mosset-web.slice", 2, "web-app", `{"mos.set":"web","mos.role":"member","mos.member":"app"}`)
	k.container("elsewhere", 3, "web-far", `{"mos.set":"web","mos.member":"far"}`) // has no cgroup of the set
	kill := k.run(infra, "sleep", "100")
	a := k.open()
	p := point(a, metric.Set, "web")
	if p == nil || p.Object.Cgroup != "/mosset-web.slice" {
		t.Fatalf("got %+v", p)
	}
	testx.Eventually(t, 5*time.Second, func() error { // until the shell is in its cgroup
		a.round(time.Now())
		if v, ok := point(a, metric.Set, "web").Get(metric.Threads); !ok || v != 1 {
			return fmt.Errorf("threads %v %v, want the one of infra", v, ok)
		}
		return nil
	})
	if c := point(a, metric.Container, "web-app"); c == nil || c.Object.Member != "app" {
		t.Errorf("member: %+v", c)
	}
	kill()
	k.remove("/mosset-web.slice")
	a.look()
	if point(a, metric.Set, "web") != nil {
		t.Error("the set outlived its cgroup")
	}
}

// Where nothing runs in the cgroup around many, what they used stays as it is; where
// something does, they are read.
func TestContainersOfOneCgroupAreReadWhenSomethingRunsInIt(t *testing.T) {
	k := newKernel(t)
	a := k.open()
	before := openFiles(t)
	var all []string
	for n := range 5 {
		all = append(all, k.container("many", n, "c"+strconv.Itoa(n), `{}`))
	}
	a.look()
	if len(a.arounds) != 1 || a.arounds["/many"] == nil {
		t.Fatalf("arounds %v", a.arounds)
	}
	used := func(name string) float64 {
		a.round(time.Now())
		p := point(a, metric.Container, name)
		if p == nil {
			t.Fatalf("no %s", name)
		}
		v, ok := p.Get(metric.CPUUsage)
		if _, ok2 := p.Get(metric.MemUsage); !ok || !ok2 {
			t.Fatalf("%s: CPU time %v, memory %v", name, ok, ok2)
		}
		return v
	}
	for range 3 {
		used("c1")
	}
	kill := k.run(all[3], "sh", "-c", "while :; do :; done")
	testx.Eventually(t, 20*time.Second, func() error {
		if v := used("c3"); v < 0.1 {
			return fmt.Errorf("the busy one has used %v s", v)
		}
		return nil
	})
	if v := used("c1"); v != 0 {
		t.Errorf("the idle one has used %v s", v)
	}
	kill()
	for _, cg := range all {
		k.remove(cg)
	}
	a.look()
	if after := openFiles(t); len(a.arounds) > 0 || after != before {
		t.Errorf("arounds %v, %d open files, before %d", a.arounds, after, before)
	}
}

func TestCgroupsThatVanishWhileTheyAreReadLeaveNothing(t *testing.T) {
	k := newKernel(t)
	a := k.open()
	before := openFiles(t)
	stop := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				a.round(time.Now())
				a.look()
			}
		}
	})
	for n := range 60 {
		cg := k.container("churn", n%7, "c"+strconv.Itoa(n%7), `{}`)
		if n%3 == 0 {
			time.Sleep(5 * time.Millisecond)
		}
		k.remove(cg)
	}
	close(stop)
	work.Wait()
	a.look()
	if after := openFiles(t); after != before {
		t.Errorf("%d open files, before %d", after, before)
	}
	a.View(func(s *metric.Sample) {
		for _, p := range s.Points {
			if p.Object.Scope == metric.Container {
				t.Errorf("left: %+v", p.Object)
			}
		}
	})
	if v := point(a, metric.Agent, "h1").Series[metric.AgentReadErrors].Value; v != 0 {
		t.Errorf("%v read errors", v)
	}
}

// Sinks keep where values are until the generation changes.
func TestValuesMoveOnlyWithTheGeneration(t *testing.T) {
	k := newKernel(t)
	cg := k.container("", 1, "one", `{}`)
	k.run(cg, "unshare", "-n", "sleep", "100")
	own, _ := netns("self")
	testx.Eventually(t, 5*time.Second, func() error { // until it has a network namespace
		procs, err := os.ReadFile(filepath.Join(k.tree.Dir("memory", cg), "cgroup.procs"))
		if ino, ok := netns(strings.TrimSpace(string(procs))); !ok || ino == own {
			return fmt.Errorf("not there: %s %w", procs, err)
		}
		return nil
	})
	a := k.open()
	where := map[uint64]map[string]*metric.Series{}
	look := func() {
		a.View(func(s *metric.Sample) {
			seen := where[s.Generation]
			if seen == nil {
				seen = map[string]*metric.Series{}
				where[s.Generation] = seen
			}
			for _, p := range s.Points {
				key := p.Object.Scope.String() + p.Object.Name
				if old := seen[key]; old != nil && old != &p.Series[0] {
					t.Errorf("generation %d: the values of %s moved", s.Generation, p.Object.Name)
				}
				seen[key] = &p.Series[0]
			}
		})
	}
	for n := range 3 { // the second look opens fresh containers anew
		age(a)
		look()
		a.look()
		look()
		a.round(time.Now().Add(time.Duration(n+1) * time.Second)) // a slow one
		look()
	}
	if p := point(a, metric.Container, "one"); !strings.Contains(p.String(), "tcp.states") {
		t.Error("its network is not counted, so no series came late and this test shows nothing")
	}
}

// TestLimitsThatComeLateAreSeen: a cgroup is there before its limits are, and others that
// start have it looked at sooner.
func TestLimitsThatComeLateAreSeen(t *testing.T) {
	k := newKernel(t)
	a := k.open()
	a.cfg.SlowInterval.Duration = time.Hour
	cg := k.container("docker", 1, "late", `{}`)
	if wait := a.look(); wait != again {
		t.Errorf("the second look comes after %v", wait)
	}
	file := "memory.limit_in_bytes"
	if k.tree.Unified {
		file = "memory.max"
	}
	if err := os.WriteFile(filepath.Join(k.tree.Dir("memory", cg), file), []byte("67108864"), 0o600); err != nil {
		t.Fatal(err)
	}
	limit := func() float64 {
		a.round(time.Now())
		v, _ := point(a, metric.Container, "late").Get(metric.MemLimit)
		return v
	}
	if wait := a.look(); wait != again || limit() == 64<<20 {
		t.Errorf("a look that comes too soon counts as the second: the next comes after %v", wait)
	}
	age(a)
	a.targets[cg].source.Missing = 0 // else it is opened anew, whatever else is done
	if wait := a.look(); wait == again || limit() != 64<<20 {
		t.Errorf("after the second look the limit is %v, and the next comes after %v", limit(), wait)
	}
}

// TestKillsAreCountedByTheirReason: at the container also when it was started again, at
// its set and at the host.
func TestKillsAreCountedByTheirReason(t *testing.T) {
	k := newKernel(t)
	web := k.container("mosset-web.slice", 1, "web", `{"mos.set":"web","mos.role":"infra"}`)
	a := k.open()
	var told []api.Kill
	a.OnKill = func(_ context.Context, k api.Kill) { told = append(told, k) }
	top := "/above" // the kernel's paths may begin above
	kill := func(limit string) {
		a.killed(t.Context(), oom.Kill{Process: "tail", Pid: 7, Cgroup: top + web, Limit: limit})
	}
	kill(top + web)
	kill(top + "/mosset-web.slice")
	kill("")
	kill(top)
	a.killed(t.Context(), oom.Kill{Process: "sshd", Pid: 8, Cgroup: "/system.slice", Limit: "/system.slice"}) // is nobody's here
	k.remove(web)
	k.container("mosset-web.slice", 1, "web", `{"mos.set":"web","mos.role":"infra"}`)
	a.round(time.Now()) // the one before has ended
	a.look()
	kill(top + web)
	for range 2 { // the second has the same places
		a.round(time.Now())
		for scope, name := range map[metric.Scope]string{metric.Container: "web", metric.Set: "web", metric.Host: "h1"} {
			text := point(a, scope, name).String()
			for reason, n := range map[string]int{"container": 2, "set": 1, "host": 1, "other": 1} {
				if want := fmt.Sprintf("memory.oom.kills.reason{reason=%q} %d {process}\n", reason, n); strings.Count(text, want) != 1 {
					t.Errorf("%s: no %q in\n%s", scope, want, text)
				}
			}
		}
	}
	if len(told) != 5 || told[1].Reason != api.KillBySet || told[1].Container != "web" || told[1].Set != "web" || told[1].Process != "tail" || told[1].PID != 7 || told[1].ID != id(1) {
		t.Errorf("told %+v", told)
	}
}

func TestWhatOthersMeasureIsTheHosts(t *testing.T) {
	a := newKernel(t).open()
	now := time.Now()
	shows := func(want ...string) {
		t.Helper()
		now = now.Add(time.Second) // a slow round
		a.round(now)
		text := point(a, metric.Host, "h1").String()
		if got := strings.Count(text, "pool.used{"); got != len(want) {
			t.Errorf("%d values of pools in\n%s", got, text)
		}
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("no %s in\n%s", w, text)
			}
		}
	}
	shows()
	a.Tell([]Value{{metric.PoolUsed, "vg0/pool", 5}, {metric.PoolUsed, "vg1", 6}}, nil)
	shows(`pool.used{pool="vg0/pool"} 5`, `pool.used{pool="vg1"} 6`)
	a.reopenHost()
	shows(`pool.used{pool="vg0/pool"} 5`, `pool.used{pool="vg1"} 6`)
	a.Tell([]Value{{metric.PoolUsed, "vg1", 7}}, nil)
	shows(`pool.used{pool="vg1"} 7`)
}

func TestVolumesOfPluginsHaveTheirSpace(t *testing.T) {
	k := newKernel(t)
	k.container("", 1, "one", `{}`)
	config := `{"Name":"/one","Config":{},"MountPoints":{"/d":{"Name":"data","Driver":"mos-lvm","Type":"volume","Source":""},"/e":{"Name":"other","Driver":"x","Type":"volume","Source":""}}}`
	if err := os.WriteFile(filepath.Join(k.root, "containers", id(1), "config.v2.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	a := k.open()
	a.Tell(nil, map[string]Space{"data": {Size: 100, Used: 30, Available: 60, InodesFree: 7}, "far": {Size: 1}})
	for n := range 2 { // the second has the same places
		a.round(time.Now().Add(time.Duration(n+1) * time.Second))
		text := point(a, metric.Container, "one").String()
		for _, want := range []string{`fs.size{volume="data"} 100 `, `fs.used{volume="data"} 30 `, `fs.available{volume="data"} 60 `, `fs.percent{volume="data"} 33.3`, `fs.inodes.free{volume="data"} 7 `} {
			if strings.Count(text, want) != 1 || strings.Count(text, "{volume=") != 5 {
				t.Errorf("no %q in\n%s", want, text)
			}
		}
	}
}

// TestAClockThatJumpsStopsNothing: what is read at the slow interval is read in time after a
// jump to either side, and no rate comes of one.
func TestAClockThatJumpsStopsNothing(t *testing.T) {
	k := newKernel(t)
	cg := k.container("", 0, "c0", `{}`)
	a := k.open()
	a.cfg.Interval.Duration, a.cfg.SlowInterval.Duration = time.Second, 30*time.Second
	now, limit := time.Now(), 100
	for _, jump := range []time.Duration{0, -time.Hour, 2 * time.Hour, -48 * time.Hour} {
		limit++
		file := filepath.Join(k.tree.Dir("pids", cg), "pids.max")
		if err := os.WriteFile(file, []byte(strconv.Itoa(limit)), 0o600); err != nil {
			t.Fatal(err)
		}
		now = now.Add(jump)
		for range 31 {
			now = now.Add(time.Second)
			a.round(now)
			for _, v := range point(a, metric.Container, "c0").Series {
				if v.OK && v.Value < 0 {
					t.Errorf("after a jump of %v %s is %v", jump, metric.Of(v.ID).Name, v.Value)
				}
			}
		}
		if v, _ := point(a, metric.Container, "c0").Get(metric.PidsLimit); v != float64(limit) {
			t.Errorf("half a minute after a jump of %v the limit is %v, want %d", jump, v, limit)
		}
	}
}

func TestRoundsAllocateNothing(t *testing.T) {
	k := newKernel(t)
	for n := range 5 {
		k.container("", n, "c"+strconv.Itoa(n), `{}`)
	}
	a := k.open()
	now := time.Now()
	n := testing.AllocsPerRun(100, func() {
		now = now.Add(time.Second)
		a.round(now)
	})
	if n > 0.5 && !raceEnabled {
		t.Errorf("%v allocations a round", n)
	}
}

func TestFileSystemsOfNetworksAreNotAsked(t *testing.T) {
	const mounts = "1 0 8:1 / / rw - ext4 /dev/vda rw\n2 1 0:5 / /vol rw - xfs /dev/vdb rw\n3 2 0:6 / /vol/nfs rw - nfs4 srv:/x rw\n4 3 0:7 / /vol/nfs/in rw - tmpfs none rw\nshort\n"
	for path, want := range map[string]bool{"/": true, "/vol/a": true, "/volume": true, "/vol/nfs": false, "/vol/nfs/x": false, "/vol/nfs/in/x": true} {
		if got := localIn(mounts, path); got != want {
			t.Errorf("%s: got %v", path, got)
		}
	}
}

func TestConfigurationFaultsAreNamedTogether(t *testing.T) {
	c := Config{DockerRoot: "here"}
	c.Interval.Duration, c.SlowInterval.Duration = time.Millisecond, 0
	err := c.Check()
	for _, want := range []string{"interval: want 100ms", "slow_interval: want", "rescan: want 1s", "docker_root: want an absolute path"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	d := Defaults()
	if err := d.Check(); err != nil {
		t.Error(err)
	}
}

// BenchmarkRound is a whole round, with the host, on cgroups of this kernel.
func BenchmarkRound(b *testing.B) {
	for _, n := range []int{30, 300} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			k := newKernel(b)
			for i := range n {
				k.container("", i, "c"+strconv.Itoa(i), `{}`)
			}
			a := k.open()
			a.look()
			a.cfg.SlowInterval = config.Duration{Duration: 30 * time.Second}
			now := time.Now()
			b.ReportAllocs()
			for b.Loop() {
				now = now.Add(time.Second)
				a.round(now)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(n), "µs/container")
		})
	}
}
