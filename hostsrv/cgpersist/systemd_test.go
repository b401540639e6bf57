package cgpersist

import (
	"os"
	"os/exec"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
)

// scope starts a process in a scope of systemd that is named as that of a container,
// until the test ends.
func (h *host) scope(n int, slice string) (name string) {
	h.t.Helper()
	name = "docker-" + id(n) + ".scope"
	cmd := exec.CommandContext(h.t.Context(), "systemd-run", "--scope", "--unit", name, "--slice", slice, "-p", "Delegate=yes", "sleep", "1000")
	h.must(cmd.Start())
	h.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		testx.Eventually(h.t, 20*time.Second, func() error { return exec.Command("systemctl", "stop", slice).Run() })
	})
	file := path.Join(h.tree.V2, strings.ReplaceAll(slice, "-web", ""), slice, name, "memory.high")
	testx.Eventually(h.t, 20*time.Second, func() error {
		_, err := os.Stat(file)
		return err
	})
	return name
}

func (h *host) shows(unit, property, want string) {
	h.t.Helper()
	out, err := exec.CommandContext(h.t.Context(), "systemctl", "show", "-P", property, unit).Output()
	if got := strings.TrimSpace(string(out)); err != nil || got != want {
		h.t.Errorf("%s of %s is %q, %v, want %q", property, unit, got, err, want)
	}
}

// TestUnitsOfSystemd: what systemd has a property for is set there too, when the
// runtime has started a container and not before, survives a daemon-reload, and is
// taken back; also where a volume's limits are kept at the same slice.
func TestUnitsOfSystemd(t *testing.T) {
	testx.Need(t, testx.Systemd)
	h := newHost(t)
	if !h.tree.Unified {
		t.Skip("properties are set on cgroup version 2 only")
	}
	const slice = "mosset-web.slice"
	name := h.scope(0, slice)
	config := func(running string) {
		dir := path.Join(h.cfg.Engine.Root, "containers", id(0))
		h.must(os.MkdirAll(dir, 0o755))
		h.must(os.WriteFile(dir+"/hostconfig.json", []byte(`{}`), 0o600))
		h.must(os.WriteFile(dir+"/config.v2.json", []byte(`{"Name":"/web.app","State":{"Running":`+running+`},"Config":{"Labels":{"mos.set":"web"}}}`), 0o600))
	}
	scope := path.Join(h.tree.V2, "mosset.slice", slice, name)
	set := path.Dir(scope)
	is := func(dir, file, want string) {
		t.Helper()
		b, err := os.ReadFile(path.Join(dir, file))
		if got := strings.TrimSpace(string(b)); err != nil || got != want {
			t.Errorf("%s of %s is %q, %v, want %q", file, path.Base(dir), got, err, want)
		}
	}
	config("false")
	for target, values := range map[string]map[string]string{
		"web.app": {"memory.high": "64m", "cpuset.cpus": "0", "cpu.weight": "200", "memory.oom.group": "1"},
		"set/web": {"memory.high": "128m", "pids.max": "500"},
	} {
		_, err := h.Set(t.Context(), target, values)
		h.must(err)
	}
	is(scope, "memory.high", "67108864")
	h.shows(name, "MemoryHigh", "infinity")
	h.shows(slice, "MemoryHigh", "infinity")
	config("true")
	look := func() {
		t.Helper()
		_, err := h.List(t.Context(), "")
		h.must(err)
	}
	look()
	held := func() {
		t.Helper()
		h.shows(name, "MemoryHigh", "67108864")
		h.shows(name, "CPUWeight", "200")
		h.shows(name, "AllowedCPUs", "0")
		h.shows(slice, "MemoryHigh", "134217728")
		h.shows(slice, "TasksMax", "500")
		is(scope, "memory.high", "67108864")
		is(scope, "cpuset.cpus", "0")
		is(scope, "memory.oom.group", "1")
		is(set, "memory.high", "134217728")
		is(set, "pids.max", "500")
	}
	held()
	h.must(exec.CommandContext(t.Context(), "systemctl", "daemon-reload").Run())
	time.Sleep(time.Second)
	held()
	// Of a volume at the same slice, which knows no unit.
	h.held.of("/mosset.slice/"+slice, h.kernel.inode("/mosset.slice/"+slice), "")
	for _, target := range []string{"web.app", "set/web"} {
		_, err := h.Unset(t.Context(), target, nil)
		h.must(err)
	}
	h.shows(name, "MemoryHigh", "infinity")
	h.shows(slice, "MemoryHigh", "infinity")
	h.shows(name, "AllowedCPUs", "")
	is(scope, "memory.high", "max")
	all, err := os.ReadFile(path.Join(set, "cpuset.cpus.effective"))
	h.must(err)
	is(scope, "cpuset.cpus", strings.TrimSpace(string(all)))
	is(set, "pids.max", "max")
}
