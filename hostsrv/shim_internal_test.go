package hostsrv

import (
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/errdefs"
)

func TestATaskThatIsLeftIsKnown(t *testing.T) {
	t.Parallel()
	const start = "start web-6.infra: Error response from daemon: "
	for text, want := range map[string]bool{
		start + "task 0f78695e: already exists":         true,
		start + "id already in use":                     true,
		start + "container 0f78695e: already exists":    false,
		start + "Conflict. The name is already in use":  false,
		"create x: network with name y: already exists": false,
		"": false,
	} {
		if got := taskLeft(errors.New(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// TestAShimIsEnded: that of the container, and no other process that names it.
func TestAShimIsEnded(t *testing.T) {
	t.Parallel()
	id := strings.Repeat("5a", 32)
	run := func(program, id string) *exec.Cmd {
		c := exec.Command("sh")
		c.Args = []string{program, "-c", "read x", "-id", id}
		if _, err := c.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Process.Kill() })
		return c
	}
	other, another := run("/usr/bin/containerd-shim-runc-v2", strings.Repeat("5b", 32)), run("/usr/bin/watch", id)
	if err := EndShim(t.Context(), id); !errdefs.IsNotFound(err) {
		t.Errorf("without a shim: %v", err)
	}
	shim := run("/usr/bin/containerd-shim-runc-v2", id)
	if err := EndShim(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := shim.Wait(); err == nil {
		t.Error("the shim ended by itself")
	}
	for _, c := range []*exec.Cmd{other, another} {
		if err := c.Process.Signal(syscall.Signal(0)); err != nil {
			t.Errorf("%v: %v", c.Args, err)
		}
	}
}
