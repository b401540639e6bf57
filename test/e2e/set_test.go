package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// sets makes a host with mosbridge, mos-lvm and docker set for each of the engines.
func sets(t *testing.T, engines []rig.Engine, f func(t *testing.T, h *lab.Host)) {
	t.Helper()
	for _, engine := range engines {
		t.Run(string(engine), func(t *testing.T) {
			h := lab.NewSets(t, rig.Config{Engine: engine, LiveRestore: true}).Hosts[0]
			h.Network("prod", "--subnet", "10.9.0.0/24")
			f(t, h)
		})
	}
}

// webSet is a set of a web server, a cache and a log shipper, as its file.
type webSet struct {
	CPU, App, MEM, Strategy string
	Ready                   bool // the app gets ready
}

func (w webSet) file(t *testing.T) string {
	t.Helper()
	// Asked in the container: while two overlap both have the port.
	ready := `"Exec": ["test", "-e", "/tmp/never"], "Deadline": "2s"`
	if w.Ready {
		ready = `"Exec": ["test", "-e", "/tmp/ready"], "Deadline": "30s"`
	}
	text := fmt.Sprintf(`{"Name": "web", "CPU": %s, "MEM": %q,
  "Network": {"Name": "prod", "IP": "10.9.0.21"},
  "Volume": {"Size": "64m", "Path": "/data"},
  "Sysctls": {"net.core.somaxconn": "4096", "net.ipv4.tcp_migrate_req": "1"},
  "Containers": [
    {"Index": 0, "Name": "app", "Image": %q, "Options": {"CPU": 60, "MEM": 50, "Command": ["netcheck", "serve", "-share", "-ready", "/tmp/ready", ":7000"],
      "Env": {"VERSION": %q}, "Ready": {%s}, "Update": {"Strategy": %q}, "Stop": {"Grace": "1s"},
      "Files": [{"Path": "/etc/app/secret", "Source": "secret", "Mode": "0400"}]}},
    {"Index": 0, "Name": "cache", "Image": %q, "Options": {"CPU": 30, "MEM": 20, "Command": ["sleep", "100000"], "Stop": {"Grace": "0s"}}},
    {"Index": 1, "Name": "log", "Image": %q, "Options": {"CPU": 10, "MEM": 10, "Command": ["sh", "-c", "echo shipping; exec sleep 100000"],
      "DependsOn": [{"Container": "app", "Condition": "healthy"}], "Stop": {"Grace": "0s"}}}]}`,
		w.CPU, w.MEM, rig.Image, w.App, ready, w.Strategy, rig.Image, rig.Image)
	dir := t.TempDir()
	for name, data := range map[string]string{"web.json": text, "secret": "only in the container"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "web.json")
}

// state is what must not change in the members of a set that are left alone.
func state(t *testing.T, h *lab.Host, names ...string) string {
	t.Helper()
	out := h.D(append([]string{"inspect", "-f", "{{.Name}} {{.Id}} {{.State.Pid}} {{.State.StartedAt}} {{.RestartCount}}"}, names...)...)
	argv := []string{"stat", "-L", "-c", "%n %i"}
	for line := range strings.Lines(out) {
		argv = append(argv, "/proc/"+strings.Fields(line)[2]+"/ns/net")
	}
	return out + "\n" + h.MustExec(t, argv...)
}

// TestSetLives: a set comes up in order, with its network, volume and limits; the
// same file changes nothing; what was done to it by hand is shown and repaired; it
// is stopped, started, and goes without a trace.
func TestSetLives(t *testing.T) {
	sets(t, rig.Engines(), func(t *testing.T, h *lab.Host) {
		web := webSet{CPU: "1", App: "1", MEM: "200m", Strategy: "swap", Ready: true}
		file := web.file(t)
		if out := h.Set("plan", file); !strings.Contains(out, "docker create --name=web.infra") {
			t.Errorf("the plan is %s", out)
		}
		h.Set("up", file)
		if got := h.Set("ls", "--format", "{{.Name}} {{.State}} {{.Ready}} {{.IP}}"); got != "web running 3/3 10.9.0.21" {
			t.Errorf("docker set ls says %q", got)
		}
		h.D("run", "-d", "--name", "client", "--network", "prod", rig.Image, "sleep", "100000")
		h.Talks("client", "10.9.0.21")
		h.Set("exec", "web", "app", "sh", "-c", "echo kept >/data/f")
		if got := h.Set("exec", "web", "log", "cat", "/data/f"); got != "kept" {
			t.Errorf("the other container reads %q", got)
		}
		if got := h.Set("debug", "--image", rig.Image, "web", "app", "--", "cat", "/proc/1/root/data/f"); got != "kept" {
			t.Errorf("a container with tools beside it reads %q", got)
		}
		if got := h.Set("debug", "--image", rig.Image, "--volumes", "web", "--", "sh", "-c", "cat /mnt/set/f; hostname -i"); got != "kept\n10.9.0.21" {
			t.Errorf("a container with tools beside the infra says %q", got)
		}
		copied := filepath.Join(t.TempDir(), "f")
		h.Set("cp", "web", "log:/data/f", copied)
		h.Set("cp", "web", copied, "app:/data/g")
		if got := h.Set("exec", "web", "log", "cat", "/data/g"); got != "kept" {
			t.Errorf("a copied file has %q", got)
		}
		if _, err := h.TrySet("cp", "web", "nobody:/f", "."); err == nil || !strings.Contains(err.Error(), "has no container nobody") {
			t.Errorf("a copy from nobody: %v", err)
		}
		if got := h.Set("logs", "web", "log"); got != "shipping" {
			t.Errorf("the log says %q", got)
		}
		limitsOf(t, h, "web.app", "60000", 104857600)
		logsGoOn(t, h)

		before := state(t, h, "web.infra", "web.app", "web.cache", "web.log")
		h.Set("up", file)
		h.Set("diff", file)
		if now := state(t, h, "web.infra", "web.app", "web.cache", "web.log"); now != before {
			t.Errorf("the same file changed\n%s\nto\n%s", before, now)
		}
		h.D("stop", "-t", "0", "web.cache")
		h.D("update", "--cpu-quota=20000", "web.log")
		h.D("network", "disconnect", "prod", "web.infra")
		out, err := h.TrySet("diff", file)
		if err == nil {
			t.Errorf("no drift is shown: %s", out)
		}
		for _, want := range []string{"cache: state: exited (137), want running", "log: CPU: 0.2, want 0.1", "set: network: none, want prod"} {
			if !strings.Contains(fmt.Sprint(out, err), want) {
				t.Errorf("of the drift %q is not shown: %v %s", want, err, out)
			}
		}
		h.Set("up", file)
		h.Set("diff", file)
		h.Talks("client", "10.9.0.21")
		limitsOf(t, h, "web.log", "10000", 20971520)

		askedForTheWholeSet(t, h, file)

		h.Set("stop", "web")
		if got := h.Set("ls", "--format", "{{.State}}"); got != "stopped" {
			t.Errorf("after stop it is %s", got)
		}
		h.Set("start", "web")
		h.Talks("client", "10.9.0.21")
		if _, err := h.TrySet("rm", "web"); err == nil || !strings.Contains(err.Error(), "--force") {
			t.Errorf("a running set is removed: %v", err)
		}
		h.Set("rm", "-f", "-v", "web")
		if left := h.D("ps", "-aq", "--filter", "label=mos.set") + h.D("volume", "ls", "-q"); left != "" {
			t.Errorf("left are %s", left)
		}
		parentGone(t, h)
	})
}

// logsGoOn: who follows the log of a container follows it over its restart, and has the
// exit code of the signal that ended it.
func logsGoOn(t *testing.T, h *lab.Host) {
	t.Helper()
	script := `log=$(mktemp); "$@" >$log & pid=$!
		lines() { for n in $(seq 200); do test $(grep -c shipping $log) -ge $1 && return; sleep 0.1; done; }
		lines 1; docker restart -t 0 web.log >$log.said; lines 2; sleep 0.5
		kill -TERM $pid; wait $pid; echo "code $?"; cat $log; rm -f $log $log.said`
	out, err := h.Exec(t.Context(), append([]string{"sh", "-c", script, "sh"}, h.SetCommand("logs", "--follow", "web", "log")...)...)
	if want := "code 143" + strings.Repeat("\nshipping", 2); err != nil || strings.TrimSpace(out) != want {
		t.Errorf("over a restart the log says %v %q", err, out)
	}
}

// askedForTheWholeSet: for another address the set must be made anew, which is refused
// without a terminal and asked on one.
func askedForTheWholeSet(t *testing.T, h *lab.Host, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(filepath.Dir(file), "other.json")
	if err := os.WriteFile(other, bytes.ReplaceAll(data, []byte("10.9.0.21"), []byte("10.9.0.22")), 0o600); err != nil {
		t.Fatal(err)
	}
	before := state(t, h, "web.infra", "web.app", "web.cache", "web.log")
	if _, err := h.TrySet("up", other); err == nil || !strings.Contains(err.Error(), "--recreate") {
		t.Errorf("another address: %v", err)
	}
	answer := func(word string) string {
		line := "echo " + word + " | script -qec '" + strings.Join(h.SetCommand("up", other), " ") + "' /dev/null"
		out, err := h.Exec(t.Context(), "sh", "-c", line)
		return fmt.Sprint(out, err)
	}
	if out := answer("n"); !strings.Contains(out, "Continue? [y/N]") || !strings.Contains(out, "nothing was changed") {
		t.Errorf("the answer is no: %s", out)
	}
	if now := state(t, h, "web.infra", "web.app", "web.cache", "web.log"); now != before {
		t.Errorf("what was refused changed\n%s\nto\n%s", before, now)
	}
	answer("y")
	h.Talks("client", "10.9.0.22")
	h.Set("up", "--recreate", file)
	h.Talks("client", "10.9.0.21")
}

// limitsOf checks a container's limits where the kernel has them.
func limitsOf(t *testing.T, h *lab.Host, name, quota string, memory int64) {
	t.Helper()
	var in []struct {
		HostConfig struct {
			CgroupParent string `json:"CgroupParent"`
		} `json:"HostConfig"`
		ID string `json:"Id"`
	}
	if err := json.Unmarshal([]byte(h.D("inspect", name)), &in); err != nil {
		t.Fatal(err)
	}
	c := in[0]
	dir := "/sys/fs/cgroup/%s" + c.HostConfig.CgroupParent + "/" + c.ID
	for _, f := range [][2]string{{fmt.Sprintf(dir, "cpu") + "/cpu.cfs_quota_us", quota}, {fmt.Sprintf(dir, "memory") + "/memory.limit_in_bytes", strconv.FormatInt(memory, 10)}} {
		got, err := h.Exec(t.Context(), "cat", f[0])
		if err != nil {
			t.Error(err)
		} else if s := strings.TrimSpace(got); s != f[1] {
			t.Errorf("%s: %s is %s, want %s", name, filepath.Base(f[0]), s, f[1])
		}
	}
}

func parentGone(t *testing.T, h *lab.Host) {
	t.Helper()
	out, err := h.Exec(t.Context(), "find", "/sys/fs/cgroup", "-name", "mosset*")
	if err != nil || strings.TrimSpace(out) != "" {
		t.Errorf("cgroups stay: %v %s", err, out)
	}
}

// TestSetRefusals: what cannot be is said, and nothing is left.
func TestSetRefusals(t *testing.T) {
	sets(t, rig.OneOrAll(rig.EngineNew), func(t *testing.T, h *lab.Host) {
		file := filepath.Join(t.TempDir(), "bad.json")
		write := func(text string) string {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			return file
		}
		for text, want := range map[string]string{
			`{"Name": "web", "Containers": [{"Name": "app", "Image": "x", "Options": {"Ports": ["80:80"]}}]}`:                    "at the top of the set",
			`{"Name": "web", "Network": {"Name": "nowhere"}, "Containers": [{"Name": "app", "Image": "` + rig.Image + `"}]}`:     "docker network create",
			`{"Name": "web", "Network": {"Name": "prod"}, "Containers": [{"Name": "app", "Image": "no.such.host.invalid/x:1"}]}`: "no.such.host.invalid",
		} {
			if _, err := h.TrySet("up", write(text)); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", text, err)
			}
		}
		for _, args := range [][]string{{"ps", "nobody"}, {"stop", "nobody"}, {"resize", "--cpus", "1", "nobody"}, {"logs", "nobody"}} {
			if _, err := h.TrySet(args...); err == nil || !strings.Contains(err.Error(), "there is no set nobody") {
				t.Errorf("%v: %v", args, err)
			}
		}
		h.D("create", "--name", "web.app", rig.Image)
		if _, err := h.TrySet("up", webSet{CPU: "1", App: "1", MEM: "200m", Strategy: "swap", Ready: true}.file(t)); err == nil || !strings.Contains(err.Error(), "container web.app is there already") {
			t.Errorf("a taken name: %v", err)
		}
		h.D("rm", "web.app")
		if left := h.D("ps", "-aq"); left != "" {
			t.Errorf("left are %s", left)
		}
		parentGone(t, h)
	})
}
