package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/internal/xexec"
	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// install makes this test binary docker's plugin and returns what runs it on a
// host as a user does, with both outputs together, and the exit code.
func install(t *testing.T, h *lab.Host) func(args ...string) (string, int) {
	t.Helper()
	config := t.TempDir()
	self, err := os.Executable()
	if err == nil {
		err = os.Mkdir(filepath.Join(config, "cli-plugins"), 0o755)
	}
	if err == nil {
		err = os.Symlink(self, filepath.Join(config, "cli-plugins", "docker-mos"))
	}
	if err != nil {
		t.Fatal(err)
	}
	return func(args ...string) (string, int) {
		argv := []string{"env", "DOCKER_CONFIG=" + config, "sh", "-c", `exec docker mos "$@" 2>&1`, "sh"}
		out, err := h.Exec(t.Context(), append(argv, args...)...)
		if e, ok := errors.AsType[*xexec.Error](err); ok {
			return out, e.Code
		}
		if err != nil {
			t.Fatal(err)
		}
		return out, 0
	}
}

// TestThroughDocker runs docker mos as users do, beside a daemon with a
// container, and again when that daemon was killed.
func TestThroughDocker(t *testing.T) {
	testx.Need(t, testx.Root, testx.OVS, testx.Docker)
	t.Cleanup(lab.Remove) // it comes after those of the lab
	l := lab.New(t, rig.Config{Outside: true, TSO: true})
	h := l.Hosts[0]
	mos := install(t, h)
	says := func(words string, code int, args ...string) {
		t.Helper()
		out, got := mos(args...)
		if got != code || !strings.Contains(out, words) {
			t.Errorf("docker mos %s: exit code %d, want %d and %q in:\n%s", strings.Join(args, " "), got, code, words, out)
		}
	}
	h.Network("red", "--subnet", "10.9.0.0/24")
	h.Serve("web", "red", "--ip", "10.9.0.21", "-p", "18080:7000")
	h.Serve("peer", "red", "--ip", "10.9.0.22")
	testx.Eventually(t, 20*time.Second, func() error {
		out, _ := mos("net", "ps", "--format", "{{.Name}} {{.Network}} {{.Addresses}} {{.State}}")
		for _, want := range []string{"web red 10.9.0.21 joined", "peer red 10.9.0.22 joined"} {
			if !strings.Contains(out, want) {
				return fmt.Errorf("ps says %q, want %q", out, want)
			}
		}
		return nil
	})
	says("10.9.0.0/24", 0, "net", "ls", "--filter", "name=red")
	says("18080", 0, "net", "ports", "--filter", "publish=18080/tcp")
	says("allowed: ", 0, "net", "trace", "web", "peer", "--proto", "tcp", "--port", "7000")
	says("web", 0, "net", "set", "--rate-out", "5mbit", "web")
	says("5000000", 0, "net", "inspect", "--format", "{{.rateOut}}", "web")
	says("10.9.0.21", 0, "net", "leases", "--filter", "state=held")
	says("nothing to do", 0, "net", "plan")
	says("mosbridge", 0, "version", "--daemon")
	says("datapath", 0, "net", "status")
	says("open vswitch answers", 0, "net", "doctor")
	says("", 0, "audit")

	if err := h.Kill9(lab.Mosbridge); err != nil {
		t.Fatal(err)
	}
	says("hint: start mosbridge with", 1, "net", "ls")
	says("FAILED", 1, "net", "doctor")
	says("table inet mosbridge", 1, "audit")
	says("host side of a container's interface", 1, "audit")
	if err := h.Start(lab.Mosbridge); err != nil {
		t.Fatal(err)
	}
	says("web", 0, "net", "ps")
}
