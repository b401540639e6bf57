package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// underLoad runs f while a client sends 100 requests a second to the set, and tells
// how many failed, and how long after the first of these the last did.
func underLoad(t *testing.T, h *lab.Host, what string, f func()) (failed int, outage time.Duration) {
	t.Helper()
	return askedAt(t, h, "10.9.0.21", what, f)
}

// askedAt is underLoad of a set with an address.
func askedAt(t *testing.T, h *lab.Host, address, what string, f func()) (failed int, outage time.Duration) {
	t.Helper()
	began := time.Now()
	h.D("run", "-d", "--name", "load", "--network", "prod", rig.Image, "netcheck", "load", "-timeout", "30m", "http://"+address+":7000/")
	time.Sleep(200 * time.Millisecond)
	f()
	time.Sleep(200 * time.Millisecond)
	h.D("stop", "load")
	said := h.D("logs", "load")
	h.D("rm", "load")
	var sent int
	var long string
	if _, err := fmt.Sscanf(said, "sent %d failed %d outage %s", &sent, &failed, &long); err != nil {
		t.Fatalf("%s: the client says %q: %v", what, said, err)
	}
	outage, err := time.ParseDuration(long)
	if err != nil || sent < 50 || failed == sent {
		t.Errorf("%s: the client says %q, %v", what, said, err)
	}
	t.Logf("%s: %s (%v)", what, said, time.Since(began))
	return failed, outage
}

// TestMemberIsReplacedInPlace by each strategy under load, while the others go on,
// and a new one that does not get ready goes for the old one. The bound of an outage
// is what the slowest machine keeps; the benchmarks tell how long it is.
func TestMemberIsReplacedInPlace(t *testing.T) {
	sets(t, rig.OneOrAll(rig.EngineNew), func(t *testing.T, h *lab.Host) {
		web := webSet{CPU: "1", App: "1", MEM: "200m", Strategy: "swap", Ready: true}
		h.Set("up", web.file(t))
		others := state(t, h, "web.infra", "web.cache", "web.log")
		version := func() string { return h.D("inspect", "-f", "{{range .Config.Env}}{{println .}}{{end}}", "web.app") }
		for i, strategy := range []string{"swap", "restart", "overlap"} {
			web.Strategy, web.App = strategy, strconv.Itoa(i+2)
			file := web.file(t)
			failed, outage := underLoad(t, h, strategy, func() { h.Set("up", file) })
			if strategy == "overlap" && failed > 0 || outage > 3*time.Second {
				t.Errorf("%s: %d requests failed within %v", strategy, failed, outage)
			}
			if v := version(); !strings.Contains(v, "VERSION="+web.App) {
				t.Errorf("%s: the app has %s", strategy, v)
			}
		}
		app := state(t, h, "web.app")
		for _, strategy := range []string{"overlap", "swap"} {
			web.Strategy, web.App, web.Ready = strategy, "bad", false
			file := web.file(t)
			failed, _ := underLoad(t, h, strategy+" to what never gets ready", func() {
				if out, err := h.TrySet("up", file); err == nil || !strings.Contains(err.Error(), "the old container serves again") {
					t.Errorf("%s to an app that does not get ready: %v %s", strategy, err, out)
				}
			})
			if strategy == "overlap" && (failed > 0 || state(t, h, "web.app") != app) {
				t.Errorf("overlap failed, %d requests did, and the old one was\n%s\nis\n%s", failed, app, state(t, h, "web.app"))
			}
			if v := version(); strings.Contains(v, "bad") || strings.Fields(state(t, h, "web.app"))[1] != strings.Fields(app)[1] {
				t.Errorf("%s: the old container is not back: %s", strategy, v)
			}
		}
		if got := h.Set("history", "--format", "{{.Revision}} {{.State}} {{.Change}}", "web", "app"); got != "4 current another Env\n3 - another Env\n2 - another Env\n1 - -" {
			t.Errorf("its history is\n%s", got)
		}
		h.Set("rollback", "web", "app=2")
		if v := version(); !strings.Contains(v, "VERSION=2") {
			t.Errorf("after a rollback the app has %s", v)
		}
		if got := h.Set("exec", "web", "app", "sh", "-c", "stat -c %a /etc/app/secret; cat /etc/app/secret"); got != "400\nonly in the container" {
			t.Errorf("after a rollback its file is %s", got)
		}
		if strings.Contains(h.D("inspect", "web.app"), "only in") {
			t.Error("docker inspect tells the secret")
		}
		h.Set("rollback", "web", "app")
		if v := version(); !strings.Contains(v, "VERSION=4") {
			t.Errorf("after a rollback of that the app has %s", v)
		}
		if _, err := h.TrySet("rollback", "web", "log"); err == nil || !strings.Contains(err.Error(), "no earlier revision") {
			t.Errorf("a rollback of what never changed: %v", err)
		}
		if now := state(t, h, "web.infra", "web.cache", "web.log"); now != others {
			t.Errorf("the others changed from\n%s\nto\n%s", others, now)
		}
		if n := strings.Count(h.D("ps", "-aq", "--filter", "label=mos.set=web"), "\n") + 1; n != 4 {
			t.Errorf("there are %d containers", n)
		}
		h.Set("rm", "-f", "-v", "web")
	})
}

// kernel is a set's cgroups as the kernel has them.
type kernel struct {
	t    *testing.T
	dirs map[string]string // by container, "" is the parent; %s is the controller
}

func kernelOf(t *testing.T, h *lab.Host) kernel {
	t.Helper()
	k := kernel{t, map[string]string{}}
	root := h.Path("/sys/fs/cgroup") + "/%s"
	for line := range strings.Lines(h.D("inspect", "-f", "{{.Name}} {{.HostConfig.CgroupParent}} {{.Id}}", "web.infra", "web.app", "web.cache", "web.log")) {
		f := strings.Fields(line)
		k.dirs[""] = root + f[1]
		k.dirs[strings.TrimPrefix(f[0], "/web.")] = root + f[1] + "/" + f[2]
	}
	return k
}

// read reads the quota of CPU and the limit of memory of one of them.
func (k kernel) read(name string) (quota, memory int64) {
	for _, f := range []struct {
		controller, file string
		to               *int64
	}{{"cpu", "cpu.cfs_quota_us", &quota}, {"memory", "memory.limit_in_bytes", &memory}} {
		b, err := os.ReadFile(filepath.Join(fmt.Sprintf(k.dirs[name], f.controller), f.file))
		if err == nil {
			*f.to, err = strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		}
		if err != nil {
			k.t.Error(err)
		}
	}
	return quota, memory
}

// holds checks all of them when the set has so many cores and MiB.
func (k kernel) holds(cores float64, mib int64) {
	k.t.Helper()
	for name, part := range map[string][2]int64{"": {100, 100}, "infra": {100, 100}, "app": {60, 50}, "cache": {30, 20}, "log": {10, 10}} {
		quota, memory := k.read(name)
		if want := int64(cores*1000) * part[0]; quota != want {
			k.t.Errorf("%s: its quota is %d, want %d", name, quota, want)
		}
		if want := (mib << 20) * part[1] / 100; memory/4096 != want/4096 {
			k.t.Errorf("%s: its memory is %d, want %d", name, memory, want)
		}
	}
}

// watch looks many times, until it is ended, that no container may use more than
// all of them; end tells how often it looked.
func (k kernel) watch() (end func() (looks int)) {
	stop, looks := make(chan struct{}), make(chan int)
	go func() {
		for n := 0; ; n++ {
			for _, name := range []string{"infra", "app", "cache", "log"} {
				// What was the same before and after was so meanwhile.
				cpu, mem := k.read(name)
				allCPU, allMem := k.read("")
				cpu2, mem2 := k.read(name)
				if cpu == cpu2 && mem == mem2 && (cpu > allCPU || mem > allMem) {
					k.t.Errorf("%s may use %d us and %d bytes, all together %d and %d", name, cpu, mem, allCPU, allMem)
				}
			}
			select {
			case <-stop:
				looks <- n
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	return func() int { close(stop); return <-looks }
}

// TestSetIsResizedInUse, many times, and never restarts.
func TestSetIsResizedInUse(t *testing.T) {
	rounds := 5
	if os.Getenv("MOS_FULL") != "" {
		rounds = 50
	}
	sets(t, rig.OneOrAll(rig.Engine20), func(t *testing.T, h *lab.Host) {
		h.Set("up", webSet{CPU: "1", App: "1", MEM: "200m", Strategy: "swap", Ready: true}.file(t))
		h.Set("exec", "-d", "web", "app", "sh", "-c", "while :; do :; done")
		before := state(t, h, "web.infra", "web.app", "web.cache", "web.log")
		k := kernelOf(t, h)
		k.holds(1, 200)
		end := k.watch()
		failed, _ := underLoad(t, h, "resizing", func() {
			for range rounds {
				h.Set("resize", "--cpus", "2", "--memory", "400m", "web")
				k.holds(2, 400)
				h.Set("resize", "--cpus", "0.5", "--memory", "120m", "web")
				k.holds(0.5, 120)
			}
		})
		looks := end()
		t.Logf("%d rounds, the limits were looked at %d times", rounds, looks)
		if failed > 0 || looks < rounds {
			t.Errorf("%d requests failed, the limits were looked at %d times", failed, looks)
		}
		h.Set("resize", "--cpus", "40%", "--memory", "48m", "web", "app")
		limitsOf(t, h, "web.app", "20000", 48<<20)
		if _, err := h.TrySet("resize", "--memory", "90%", "web", "cache"); err == nil || !strings.Contains(err.Error(), "have 140 % of") {
			t.Errorf("more than the set has: %v", err)
		}
		h.Set("resize", "--cpus", "60%", "--memory", "50%", "web", "app")
		if now := state(t, h, "web.infra", "web.app", "web.cache", "web.log"); now != before {
			t.Errorf("resizing changed\n%s\nto\n%s", before, now)
		}
		h.D("restart", "-t", "0", "web.app")
		limitsOf(t, h, "web.app", "30000", 62914560)
		if got := h.Set("inspect", "-f", "{{.spec.CPU}} {{.spec.MEM}}", "web"); got != "0.5 120m" {
			t.Errorf("its spec says %s", got)
		}
		h.Set("rm", "-f", "-v", "web")
	})
}

// TestSetIsHealed when its infra died and the members are in a dead network, when
// dockerd was restarted with and without its containers, and when the power was cut.
func TestSetIsHealed(t *testing.T) {
	for _, engine := range rig.OneOrAll(rig.Engine20) {
		t.Run(string(engine), func(t *testing.T) {
			h := lab.NewSets(t, rig.Config{Engine: engine}).Hosts[0]
			h.Network("prod", "--subnet", "10.9.0.0/24")
			file := webSet{CPU: "1", App: "1", MEM: "200m", Strategy: "swap", Ready: true}.file(t)
			h.Set("up", file)
			h.D("run", "-d", "--name", "client", "--network", "prod", "--restart", "always", "--stop-signal", "KILL", rig.Image, "sleep", "100000")
			all := []string{"web.infra", "web.app", "web.cache", "web.log"}
			// heal heals, looks that all is as specified, and tells how many restarts it took.
			heal := func(what string) (restarts int) {
				t.Helper()
				said, err := h.Exec(t.Context(), append([]string{"sh", "-c", `"$@" 2>&1`, "sh"}, h.SetCommand("heal", "--progress", "plain", "--all")...)...)
				if err != nil {
					t.Fatalf("%s: heal: %v %s", what, err, said)
				}
				_, line, _ := strings.Cut("\n"+said, "\nset web: ")
				if _, err := fmt.Sscanf(line, "%d restart", &restarts); err != nil && !strings.HasPrefix(line, "no restarts\n") {
					t.Errorf("%s: heal does not tell of restarts: %s", what, said)
				}
				t.Logf("%s: %d restarts", what, restarts)
				if out, err := h.TrySet("diff", file); err != nil {
					t.Errorf("%s: healed it differs: %v %s", what, err, out)
				}
				if got := h.Set("ls", "--format", "{{.State}} {{.Ready}} {{.IP}}"); got != "running 3/3 10.9.0.21" {
					t.Errorf("%s: it is %s", what, got)
				}
				kernelOf(t, h).holds(1, 200)
				testx.Eventually(t, 20*time.Second, func() error { return h.Reach("client", "10.9.0.21") })
				return restarts
			}
			again := func(end func(string) error) {
				t.Helper()
				if err := errors.Join(end(rig.Dockerd), h.Start(rig.Dockerd)); err != nil {
					t.Fatal(err)
				}
			}

			pid := h.D("inspect", "-f", "{{.State.Pid}}", "web.infra")
			h.MustExec(t, "kill", "-9", pid)
			testx.Eventually(t, 20*time.Second, func() error {
				if now := h.D("inspect", "-f", "{{.State.Pid}}", "web.infra"); now == pid || now == "0" {
					return errors.New("the engine has not seen it yet")
				}
				return nil
			})
			if n := heal("the infra was killed"); n != 3 {
				t.Errorf("%d restarts for three members in a dead network", n)
			}
			again(h.Stop)
			if n := heal("dockerd was restarted"); engine == rig.EngineNew && n > 0 {
				t.Errorf("%d restarts after an engine that keeps the order", n)
			}

			if err := os.WriteFile(h.Path("/etc/docker/daemon.json"), []byte(`{"live-restore": true}`), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := h.Signal(rig.Dockerd, syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			testx.Eventually(t, 10*time.Second, func() error {
				if on := h.D("info", "-f", "{{.LiveRestoreEnabled}}"); on != "true" {
					return errors.New("live-restore is off")
				}
				return nil
			})
			before := state(t, h, all...)
			again(h.Kill9)
			again(h.Stop)
			if n := heal("dockerd was restarted with live-restore"); n > 0 || state(t, h, all...) != before {
				t.Errorf("%d restarts; it was\n%s\nis\n%s", n, before, state(t, h, all...))
			}
			if err := h.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			heal("the power was cut")
			h.Set("rm", "-f", "-v", "web")
			parentGone(t, h)
		})
	}
}
