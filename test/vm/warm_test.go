package vm_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/vm/machine"
)

// goTest runs the package testdata/probe by "go test -exec run".
func goTest(ctx context.Context, t *testing.T, artifacts, probe string, args ...string) (string, error) {
	t.Helper()
	run, err := filepath.Abs("run")
	if err != nil {
		t.Fatal(err)
	}
	args = append(append([]string{"test", "-count=1", "-v", "-exec", run}, args...), "./testdata/probe")
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "MOS_PROBE="+probe, "MOS_WORD=a 'quoted' word", "MOS_ARTIFACTS="+artifacts,
		"MOS_VM_FILES=testdata=/opt/brought", "MOS_VM_SET=MOS_SET=yes",
		"CGO_ENABLED=1") // -race needs it, and make turns it off
	// As Ctrl-C does: "go test" and what it started get the signal.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = time.Minute
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestWarmRunsTestBinaries runs a package's tests in the warm VM and looks at
// what comes back, and at what stays there.
func TestWarmRunsTestBinaries(t *testing.T) {
	long(t)
	testx.Need(t, testx.VM)
	m, err := machine.Warm(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		out, _, err := m.Run(context.WithoutCancel(t.Context()), "ls -d /persist/t[0-9]* 2>/dev/null; pgrep -fx 'sleep 7777'; true")
		if err != nil || out != "" {
			t.Errorf("left in the VM: %s %v", out, err)
		}
	})

	dir := t.TempDir()
	profile := filepath.Join(dir, "cover")
	out, err := goTest(t.Context(), t, dir, "", "-coverprofile="+profile)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	seen, err := os.ReadFile(filepath.Join(dir, "seen"))
	if want := "from the host\ntrixie\nfrom the host\na 'quoted' word\nyes\n1\n"; err != nil || string(seen) != want {
		t.Errorf("the test saw %q, %v; want %q", seen, err, want)
	}
	if cover, err := os.ReadFile(profile); err != nil || !strings.Contains(string(cover), "probe/doc.go") {
		t.Errorf("coverage profile: %q, %v", cover, err)
	}

	t.Run("failure", func(t *testing.T) {
		out, err := goTest(t.Context(), t, dir, "fail", "-race")
		if err == nil || !strings.Contains(out, "told to fail") || !strings.Contains(out, "--- PASS: TestSeesTheVM") {
			t.Errorf("got %v\n%s\nwant a failure and the other test's success", err, out)
		}
	})
	t.Run("timeout", func(t *testing.T) {
		out, err := goTest(t.Context(), t, dir, "hang", "-timeout=4s")
		if err == nil || !strings.Contains(out, "test timed out after 4s") {
			t.Errorf("got %v\n%s\nwant the timeout's panic", err, out)
		}
	})
	t.Run("interrupt", func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 15*time.Second, errors.New("interrupted"))
		defer cancel()
		if out, err := goTest(ctx, t, dir, "hang"); err == nil {
			t.Errorf("the test ended well:\n%s", out)
		}
	})
}
