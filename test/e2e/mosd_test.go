package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// keeper is a host whose sets mosd keeps.
type keeper struct {
	*lab.Host
	t      *testing.T
	socket string
}

func keep(t *testing.T, engine rig.Engine, liveRestore bool, flags ...string) *keeper {
	t.Helper()
	h := lab.NewSets(t, rig.Config{Engine: engine, LiveRestore: liveRestore}).Hosts[0]
	h.Network("prod", "--subnet", "10.9.0.0/24")
	k := &keeper{h, t, h.Path("/run/mos/mosd.sock")}
	err := h.StartDaemon(rig.Daemon{Name: "mosd", Argv: append([]string{lab.Program(t, "mosd"), "-sets.resync=2s"}, flags...), Ready: func() error {
		_, err := h.TryMos("host", "status", "-q")
		if err != nil && strings.Contains(err.Error(), "the Engine is absent") {
			return nil // it starts before dockerd
		}
		return err
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // what is removed then is not to be healed
		if err := h.Kill9("mosd"); err != nil {
			t.Error(err)
		}
	})
	return k
}

// right waits until mosd says that the set is right, and the set says so, too.
func (k *keeper) right() {
	k.t.Helper()
	testx.Eventually(k.t, 60*time.Second, func() error {
		state, err := k.TryMos("host", "status", "--format", "{{.Set}} {{.State}} {{.Detail}}")
		if err != nil || !strings.HasPrefix(state, "web right") {
			return fmt.Errorf("mosd says %q, %w", state, errors.Join(err))
		}
		ls, err := k.TrySet("ls", "--format", "{{.State}} {{.Ready}}")
		if err != nil || ls != "running 3/3" {
			return fmt.Errorf("docker set says %q, %w", ls, errors.Join(err))
		}
		return nil
	})
	k.Talks("client", "10.9.0.21")
}

// TestSetsAreKept: through the death of the infra, of dockerd and of mosd, without
// hands; and what was stopped by hand stays so.
func TestSetsAreKept(t *testing.T) {
	for _, engine := range rig.OneOrAll(rig.EngineNew) {
		t.Run(string(engine), func(t *testing.T) {
			k := keep(t, engine, false)
			file := webSet{CPU: "1", App: "1", MEM: "200m", Strategy: "swap", Ready: true}.file(t)
			k.Set("up", file)
			k.D("run", "-d", "--restart", "always", "--stop-timeout", "0", "--name", "client", "--network", "prod", rig.Image, "sleep", "100000")
			k.right()

			pid := k.D("inspect", "-f", "{{.State.Pid}}", "web.infra")
			if _, err := k.Exec(t.Context(), "kill", "-9", pid); err != nil {
				t.Fatal(err)
			}
			testx.Eventually(t, 20*time.Second, func() error {
				if k.D("inspect", "-f", "{{.State.Pid}}", "web.infra") == pid {
					return errors.New("the engine has not seen it yet")
				}
				return nil
			})
			k.right()
			if out := k.Mos("host", "events", "web"); !strings.Contains(out, "its network is not that of the infra any more") {
				t.Errorf("the events are\n%s", out)
			}

			// Without live-restore all containers end with the Engine, and before 29 it
			// starts members before their infra.
			if err := errors.Join(k.Stop(rig.Dockerd), k.Start(rig.Dockerd)); err != nil {
				t.Fatal(err)
			}
			k.right()

			// An Engine that hangs is named, and nobody is restarted for it.
			before := state(t, k.Host, "web.infra", "web.app", "web.cache", "web.log")
			stopped := time.Now()
			if err := k.Signal(rig.Dockerd, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			testx.Eventually(t, 20*time.Second, func() error {
				if out, err := k.TryMos("host", "status"); err == nil || !strings.Contains(err.Error(), "the Engine hangs") {
					return fmt.Errorf("of an Engine that hangs mosd says %q, %w", out, errors.Join(err))
				}
				return nil
			})
			if after := k.event("the Engine hangs").Sub(stopped); after > 10*time.Second {
				t.Errorf("it was named after %v", after)
			} else {
				t.Logf("an Engine that hangs was named after %v", after.Round(100*time.Millisecond))
			}
			if err := k.Signal(rig.Dockerd, syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			k.right()
			if now := state(t, k.Host, "web.infra", "web.app", "web.cache", "web.log"); now != before {
				t.Errorf("an Engine that hung changed\n%s\nto\n%s", before, now)
			}

			k.D("stop", "-t", "0", "web.cache")
			before = state(t, k.Host, "web.infra", "web.app", "web.log")
			if err := errors.Join(k.Kill9("mosd"), k.Start("mosd")); err != nil {
				t.Fatal(err)
			}
			testx.Eventually(t, 20*time.Second, func() error {
				got, err := k.TryMos("host", "status", "--format", "{{.State}} {{.Detail}}")
				if strings.TrimSpace(got) != "held cache stopped by hand" {
					return fmt.Errorf("a member that was stopped by hand: %s, %w", got, errors.Join(err))
				}
				return nil
			})
			time.Sleep(3 * time.Second)
			if got := k.D("inspect", "-f", "{{.State.Status}}", "web.cache"); got != "exited" {
				t.Errorf("a member that was stopped by hand is %s", got)
			}
			if now := state(t, k.Host, "web.infra", "web.app", "web.log"); now != before {
				t.Errorf("a dead mosd changed\n%s\nto\n%s", before, now)
			}
			k.D("start", "web.cache")
			k.right()
			k.Set("stop", "web")
			time.Sleep(3 * time.Second)
			if got := k.Set("ls", "--format", "{{.State}}"); got != "stopped" {
				t.Errorf("a set that was stopped is %s", got)
			}
			k.Set("start", "web")
			k.right()
			k.Set("up", filepath.Join(filepath.Dir(file), "web.json"))
			k.Set("rm", "-f", "-v", "web")
			k.backsOff()
		})
	}
}

// TestAContainerThatHangsIsTold from an Engine that hangs.
func TestAContainerThatHangsIsTold(t *testing.T) {
	k := keep(t, rig.Engine20, false)
	k.Set("up", webSet{CPU: "1", App: "1", MEM: "200m", Strategy: "swap", Ready: true}.file(t))
	k.aShimHangs("web.app")
	k.Set("rm", "-f", "-v", "web")
}

// event is when the last event was whose text has words.
func (k *keeper) event(words string) time.Time {
	k.t.Helper()
	all, err := api.New(k.socket).Events(k.t.Context(), 0, "")
	if err != nil {
		k.t.Fatal(err)
	}
	for _, e := range slices.Backward(all) {
		if strings.Contains(e.Text, words) {
			return e.At
		}
	}
	k.t.Fatalf("no event says %q: %+v", words, all)
	return time.Time{}
}

// aShimHangs stops the shim of a container: that is named, and not taken for the Engine.
func (k *keeper) aShimHangs(name string) {
	t := k.t
	t.Helper()
	pid, id := k.D("inspect", "-f", "{{.State.Pid}}", name), k.D("inspect", "-f", "{{.Id}}", name)
	shim, err := k.Exec(t.Context(), "awk", "/^PPid/ {print $2}", "/proc/"+pid+"/status")
	if err != nil {
		t.Fatal(err)
	}
	shim = strings.TrimSpace(shim)
	signal := func(sig string) {
		if _, err := k.Exec(t.Context(), "kill", sig, shim); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	signal("-STOP")
	defer signal("-CONT")
	hung := func(want bool) {
		t.Helper()
		testx.Eventually(t, 60*time.Second, func() error {
			st, err := api.New(k.socket).Status(t.Context())
			if err != nil {
				return err
			}
			if e := st.Engine; e.State == api.Hung || e.State == api.Absent || slices.Contains(e.Hung, id) != want || want != (len(e.Hung) == 1) {
				return fmt.Errorf("with a shim that hangs (%v) the Engine is %+v", want, e)
			}
			return nil
		})
	}
	hung(true)
	text := fmt.Sprintf("container %.12s hangs: its shim does not answer", id)
	t.Logf("a shim that hangs was named after %v", k.event(text).Sub(start).Round(100*time.Millisecond))
	if out, err := k.TryMos("host", "status"); err == nil || !strings.Contains(err.Error(), id[:12]+" hangs") {
		t.Errorf("docker mos host status says %q, %v", out, err)
	}
	signal("-CONT")
	hung(false)
	k.event(fmt.Sprintf("container %.12s does not hang any more", id))
}

// backsOff sees a container started again by its Backoff; without mosd that is warned of.
func (k *keeper) backsOff() {
	k.t.Helper()
	file := filepath.Join(k.t.TempDir(), "back.json")
	text := fmt.Sprintf(`{"Name": "back", "Network": {"Name": "prod"}, "Containers": [{"Index": 0, "Name": "app", "Image": %q,
		"Options": {"Command": ["sh", "-c", "sleep 1; exit 3"], "Restart": "on-failure:2", "Backoff": {"Pauses": ["1s", "3s"]}}},
		{"Index": 0, "Name": "probed", "Image": %[1]q, "Options": {"Command": ["sleep", "100000"], "Stop": {"Grace": "0s"},
		"Live": {"Exec": ["sh", "-c", "sleep 7777; true"], "Interval": "1s", "Timeout": "1s", "Failures": 1000}}}]}`, rig.Image)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		k.t.Fatal(err)
	}
	up := func() string {
		out, err := k.Exec(k.t.Context(), "sh", "-c", strings.Join(k.SetCommand("up", "-q", file), " ")+" 2>&1")
		if err != nil {
			k.t.Fatal(err)
		}
		return out
	}
	if out := up(); strings.Contains(out, "mosd") {
		k.t.Errorf("docker set says %s", out)
	}
	testx.Eventually(k.t, 30*time.Second, func() error {
		if got := k.Mos("host", "status", "--format", "{{.State}} {{.Detail}}"); got != "failing app ended with 3, end 3 in a row, and is not started again" {
			return errors.New(got)
		}
		return nil
	})
	// A probe that was given up is gone, with what it started.
	time.Sleep(5 * time.Second)
	if out := k.D("top", "back.probed"); strings.Count(out, "7777") > 2 {
		k.t.Errorf("probes that take too long are left:\n%s", out)
	}
	if out := k.Mos("host", "events", "back"); strings.Count(out, " restart ") != 2 {
		k.t.Errorf("the events are\n%s", out)
	}
	if err := k.Kill9("mosd"); err != nil {
		k.t.Fatal(err)
	}
	if out := up(); !strings.Contains(out, "nobody starts container back.app again by its Backoff: mosd does that, and does not run on this host") {
		k.t.Errorf("docker set says %s", out)
	}
	k.Set("rm", "-f", "back")
}

// TestAnEngineThatHangsIsRestarted by the command of the configuration while its
// containers go on, and not where they would end.
func TestAnEngineThatHangsIsRestarted(t *testing.T) {
	for _, live := range []bool{true, false} {
		engines := rig.OneOrAll(map[bool]rig.Engine{true: rig.Engine20, false: rig.EngineNew}[live])
		for _, engine := range engines {
			t.Run(fmt.Sprintf("%s-live-restore-%v", engine, live), func(t *testing.T) {
				asked := filepath.Join(t.TempDir(), "asked")
				k := keep(t, engine, live, "-sets.restart.after=6s", "-sets.restart.command=sh,-c,touch "+asked+"; while [ -e "+asked+" ]; do sleep 0.1; done")
				k.Set("up", webSet{CPU: "1", App: "1", MEM: "200m", Strategy: "swap", Ready: true}.file(t))
				k.D("run", "-d", "--restart", "always", "--stop-timeout", "0", "--name", "client", "--network", "prod", rig.Image, "sleep", "100000")
				k.right()
				before := state(t, k.Host, "web.infra", "web.app", "web.cache", "web.log")
				pid := k.D("inspect", "-f", "{{.State.Pid}}", "web.log")
				if err := k.Signal(rig.Dockerd, syscall.SIGSTOP); err != nil {
					t.Fatal(err)
				}
				defer func() { _ = k.Signal(rig.Dockerd, syscall.SIGCONT) }()
				if !live {
					k.refusesToRestart(asked, pid)
					return
				}
				testx.Eventually(t, 60*time.Second, func() error { _, err := os.Stat(asked); return err })
				// The rig is here what systemd is on a host.
				if err := errors.Join(k.Kill9(rig.Dockerd), k.Start(rig.Dockerd), os.Remove(asked)); err != nil {
					t.Fatal(err)
				}
				k.right()
				if now := state(t, k.Host, "web.infra", "web.app", "web.cache", "web.log"); now != before {
					t.Errorf("the restart changed\n%s\nto\n%s", before, now)
				}
				testx.Eventually(t, 10*time.Second, func() error {
					if out := k.Mos("host", "events"); !strings.Contains(out, "and is restarted: sh -c touch") || !strings.Contains(out, "the Engine was restarted in") {
						return errors.New("the events are\n" + out)
					}
					return nil
				})
			})
		}
	}
}

// refusesToRestart sees why an Engine that hangs is not restarted, and that it is not.
func (k *keeper) refusesToRestart(asked, pid string) {
	k.t.Helper()
	testx.Eventually(k.t, 60*time.Second, func() error {
		if out, err := k.TryMos("host", "status"); err == nil || !strings.Contains(err.Error(), "it is not restarted: live-restore is off, and all containers would end") {
			return fmt.Errorf("mosd says %q, %w", out, errors.Join(err))
		}
		return nil
	})
	// Who ends meanwhile is seen by his process.
	if _, err := k.Exec(k.t.Context(), "kill", "-9", pid); err != nil {
		k.t.Fatal(err)
	}
	testx.Eventually(k.t, 30*time.Second, func() error {
		out, err := k.TryMos("host", "status", "--format", "{{.State}} {{.Detail}}")
		if !strings.Contains(out, "failing container web.log ended while the Engine hangs") || err == nil {
			return fmt.Errorf("the set is %q, %w", out, errors.Join(err))
		}
		return nil
	})
	if _, err := os.Stat(asked); err == nil {
		k.t.Error("it is restarted, and says that it is not")
	}
	if err := k.Signal(rig.Dockerd, syscall.SIGCONT); err != nil {
		k.t.Fatal(err)
	}
	k.right()
}

// TestAContainerThatHangsIsNamed, and told from its Engine: its shim stands still, and
// who stops it holds its lock in dockerd, which answers about all others.
func TestAContainerThatHangsIsNamed(t *testing.T) {
	for _, engine := range rig.OneOrAll(rig.EngineNew) {
		t.Run(string(engine), func(t *testing.T) {
			k := keep(t, engine, false)
			k.Set("up", webSet{CPU: "1", App: "1", MEM: "200m", Strategy: "swap", Ready: true}.file(t))
			k.D("run", "-d", "--stop-timeout", "0", "--name", "client", "--network", "prod", rig.Image, "sleep", "100000")
			k.right()
			id, pid := k.D("inspect", "-f", "{{.Id}}", "web.log"), k.D("inspect", "-f", "{{.State.Pid}}", "web.log")
			shim, err := k.Exec(t.Context(), "sed", "-n", "s/^PPid:[[:space:]]*//p", "/proc/"+pid+"/status")
			if err != nil {
				t.Fatal(err)
			}
			signal := func(sig string) {
				t.Helper()
				if _, err := k.Exec(context.WithoutCancel(t.Context()), "kill", sig, strings.TrimSpace(shim)); err != nil {
					t.Fatal(err)
				}
			}
			signal("-STOP")
			var stop sync.WaitGroup
			stop.Go(func() { _, _ = k.Docker("stop", "-t", "1", "web.log") })
			defer stop.Wait()
			defer signal("-CONT")
			testx.Eventually(t, 90*time.Second, func() error {
				_, err := k.TryMos("host", "status")
				if err == nil || !strings.Contains(err.Error(), "container "+id[:12]+" hangs: its shim does not answer, or the Engine not about it") || strings.Contains(err.Error(), "the Engine hangs") {
					return fmt.Errorf("mosd says %w", errors.Join(err))
				}
				return nil
			})
			if out := k.Mos("host", "events"); strings.Count(out, "hangs: the Engine answers, but not about it") != 1 {
				t.Errorf("the events are\n%s", out)
			}
		})
	}
}

// TestSetsComeBackByThemselves: six sets of four containers after power cuts, on an
// Engine that starts members before their infra as it likes.
func TestSetsComeBackByThemselves(t *testing.T) {
	const sets, cuts = 6, 2
	k := keep(t, rig.Engine20, false)
	dir := t.TempDir()
	for i := range sets {
		file := filepath.Join(dir, "s.json")
		text := fmt.Sprintf(`{"Name": "s%d", "CPU": 1, "MEM": "100m", "Network": {"Name": "prod", "IP": "10.9.0.2%[1]d"}, "Containers": [
			{"Index": 0, "Name": "db", "Image": %q, "Options": {"Command": ["netcheck", "serve", ":7000"], "Ready": {"TCP": 7000}}},
			{"Index": 1, "Name": "app", "Image": %[2]q, "Options": {"Command": ["sleep", "100000"], "Stop": {"Signal": "SIGKILL"}}},
			{"Index": 2, "Name": "log", "Image": %[2]q, "Options": {"Command": ["sleep", "100000"], "Stop": {"Signal": "SIGKILL"}}}]}`, i, rig.Image)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		k.Set("up", "-q", file)
	}
	for range cuts {
		if err := k.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		up := time.Now()
		testx.Eventually(t, 2*time.Minute, func() error {
			out, err := k.TryMos("host", "status", "--format", "{{.Set}} {{.State}} {{.Detail}}")
			if n := strings.Count(out, " right "); err != nil || n != sets {
				return fmt.Errorf("%d sets are right: %s, %w", n, out, errors.Join(err))
			}
			return nil
		})
		t.Logf("all were right %v after dockerd was there", time.Since(up).Round(100*time.Millisecond))
		for i := range sets {
			name := func(member string) string { return fmt.Sprintf("s%d.%s", i, member) }
			for _, last := range []string{"app", "log"} { // both wait for db
				if err := testx.InOrder(k.D("inspect", "-f", testx.Started, name("infra"), name("db"), name(last))); err != nil {
					t.Errorf("set s%d: %v", i, err)
				}
			}
		}
	}
	for i := range sets {
		k.Set("rm", "-f", "-v", fmt.Sprintf("s%d", i))
	}
}
