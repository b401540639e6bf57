package infra_test

import (
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/internal/xexec"
	"github.com/mosdocker/mosdocker/setmgr/infra"
	"github.com/mosdocker/mosdocker/test/rig"
)

func TestEnginesRunTheImage(t *testing.T) {
	for _, e := range rig.Engines() {
		t.Run(string(e), func(t *testing.T) {
			h := rig.New(t, rig.Config{Engine: e, NoImage: true}).Host(1)
			for range 2 { // loading again is well
				r, err := infra.Image("")
				if err != nil {
					t.Fatal(err)
				}
				image, err := io.ReadAll(r)
				if err != nil {
					t.Fatal(err)
				}
				out, err := h.Run(t.Context(), xexec.Cmd{Argv: []string{"docker", "load"}, Stdin: image})
				if err != nil || !strings.Contains(string(out), infra.Reference) {
					t.Fatalf("load: %s: %v", out, err)
				}
			}
			if got := h.MustDocker(t, "image", "inspect", "-f", `{{.Config.Entrypoint}} {{.Config.WorkingDir}} {{index .Config.Labels "org.opencontainers.image.title"}}`, infra.Reference); got != "[/init] / mos-infra" {
				t.Errorf("got %s", got)
			}
			h.MustDocker(t, "run", "-d", "--name", "in", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--network", "none",
				"--ipc", "shareable", "--pids-limit", "16", "--log-driver", "none", "--restart", "always", "-v", "data:/mnt/set", "--stop-timeout", "60", infra.Reference)
			pid := h.MustDocker(t, "inspect", "-f", "{{.State.Pid}}", "in")
			t.Logf("PSS is %s", h.MustExec(t, "sed", "-n", "s/^Pss: *//p", "/proc/"+pid+"/smaps_rollup"))
			if call := strings.Fields(h.MustExec(t, "cat", "/proc/"+pid+"/syscall"))[0]; call != "128" && call != "137" {
				t.Errorf("it is in system call %s, want rt_sigtimedwait", call)
			}
			start := time.Now()
			h.MustDocker(t, "stop", "in")
			t.Logf("docker stop took %s", time.Since(start))
			if got := h.MustDocker(t, "inspect", "-f", "{{.State.ExitCode}} {{.State.OOMKilled}} {{.RestartCount}}", "in"); got != "0 false 0" {
				t.Errorf("exit code, out of memory, restarts: got %s", got)
			}
		})
	}
}

func TestSharedProcessesAreReapedInAContainer(t *testing.T) {
	h := rig.New(t, rig.Config{}).Host(1)
	r, err := infra.Image("")
	if err != nil {
		t.Fatal(err)
	}
	image, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Run(t.Context(), xexec.Cmd{Argv: []string{"docker", "load", "-q"}, Stdin: image}); err != nil {
		t.Fatal(err)
	}
	h.MustDocker(t, "run", "-d", "--name", "in", "--pids-limit", "64", "--network", "none", infra.Reference)
	h.MustDocker(t, "run", "-d", "--name", "me", "--network", "container:in", "--pid", "container:in", rig.Image, "sleep", "1000")
	h.MustDocker(t, "exec", "me", "sh", "-c", "for i in $(seq 200); do (true &); done")
	testx.Eventually(t, 20*time.Second, func() error {
		out := h.MustDocker(t, "exec", "me", "sh", "-c", "grep -h ^State /proc/[0-9]*/status | grep -c Z; true")
		if n, _ := strconv.Atoi(out); n > 0 {
			return &strconv.NumError{Func: "zombies", Num: out, Err: strconv.ErrRange}
		}
		return nil
	})
	h.MustDocker(t, "stop", "in")
}
