package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/rig"
)

// TestDemo runs what the README offers, make demo and make down, on a host
// with nothing running, twice, and finds nothing left of it.
func TestDemo(t *testing.T) {
	r := rig.New(t, rig.Config{Engine: rig.EngineNone, Outside: true, NoImage: true})
	h := r.Host(1)
	if err := h.Baseline(); err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	// The CLI plugin goes to this host's own home, not to the machine's.
	// make down waits until volumes are let go: that takes two seconds here instead of ten.
	env := "unset DOCKER_CONFIG; export MOS_LVM_LINGER=2s HOME=/var/home MOS_CLI_PLUGINS=/var/home/.docker/cli-plugins MOS_CACHE=" + testx.Cache() + "; cd " + root + "; "
	for _, v := range []string{"GOCACHE", "GOMODCACHE", "GOPROXY"} {
		out, err := exec.CommandContext(t.Context(), "go", "env", v).Output()
		if err != nil {
			t.Fatal(err)
		}
		env = "export " + v + "=" + strings.TrimSpace(string(out)) + "; " + env
	}
	must := func(line string) string {
		t.Helper()
		out, err := h.Exec(t.Context(), "sh", "-c", env+line)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for round := range 2 {
		out := must("make demo")
		for _, want := range []string{"ok 1048576", "demo-web", "18080", "make down", "docker rm --volumes demo.web.r1", "demo.cache", "0.3 ", "demo-svc: ready", "3 of 3 sets updated"} {
			if !strings.Contains(out, want) {
				t.Errorf("make demo does not say %q:\n%s", want, out)
			}
		}
		must("docker volume create -d mos-lvm -o size=16m kept && docker run -d --name mine -v kept:/data mos-test:1 sleep 100000")
		start := time.Now()
		said, err := h.Exec(t.Context(), "sh", "-c", env+"deploy/down 2>&1 && exit 1; true")
		if err != nil || !strings.Contains(said, "these volumes are in use: kept (container mine)") || time.Since(start) > time.Minute {
			t.Errorf("with a volume in use it says %q, %v, after %v", said, err, time.Since(start))
		}
		if round == 0 {
			must("docker rm -f mine && docker volume rm kept")
		} else { // what is mounted is taken off, though nobody is there any more who does it
			must("docker rm -f mine && kill -9 $(cat /run/mos/mos-lvm.pid)")
		}
		must("make down")
	}
	if out := h.MustExec(t, "cat", "/proc/mounts"); strings.Contains(out, "/mos-lvm/mnt/") {
		t.Errorf("volumes are mounted: %s", out)
	}
	start := time.Now()
	said, err := h.Exec(t.Context(), "sh", "-c", env+"MOS_LVM_LINGER=0s deploy/up 2>&1 && exit 1; true")
	if err != nil || !strings.Contains(said, "mos-lvm ended at once") || !strings.Contains(said, "linger: want 200ms at least") || time.Since(start) > time.Minute {
		t.Errorf("with a configuration that is wrong it says %q, %v, after %v", said, err, time.Since(start))
	}
	must("deploy/down")
	if out := h.MustExec(t, "ip", "-o", "link"); strings.Contains(out, ": mos") {
		t.Errorf("links are left: %s", out)
	}
}
