package authz_test

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

	"github.com/mosdocker/mosdocker/authz/api"
	"github.com/mosdocker/mosdocker/internal/testx"
)

// programEnv names the mos-authz that TestVMEngine guards this machine's own Engine with.
// Beside it is docker-mos.
const programEnv = "MOS_TEST_AUTHZ"

// machine is this machine, with the Engine that systemd runs here.
type machine struct{}

func (machine) Socket() string          { return "/run/docker.sock" }
func (machine) Path(path string) string { return path }

func (machine) Docker(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "docker", args...).Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		err = errors.New(string(exit.Stderr))
	}
	return strings.TrimSpace(string(out)), err
}

func (m machine) MustDocker(tb testing.TB, args ...string) string {
	tb.Helper()
	out, err := m.Docker(args...)
	if err != nil {
		tb.Fatalf("docker %v: %v", args, err)
	}
	return out
}

// TestVMEngine is TestEngines on the Engine of the VM, which loses all that it had.
func TestVMEngine(t *testing.T) {
	program := os.Getenv(programEnv)
	if program == "" {
		t.Skip("this machine's Engine is not to be tried: test/ring vm does it in the VM")
	}
	testx.Need(t, testx.Root, testx.Systemd)
	b := &bench{host: machine{}, major: 26, admin: api.New("/run/mos/mos-authz.sock"), mos: filepath.Join(filepath.Dir(program), "docker-mos"), reload: func() error {
		return exec.Command("systemctl", "kill", "-s", "HUP", "--kill-whom=main", "docker.service").Run()
	}}
	if v := b.MustDocker(t, "version", "-f", "{{.Server.Version}}"); !strings.HasPrefix(v, "26.") {
		t.Fatalf("the Engine is %s", v)
	}
	if out, err := exec.Command("/usr/lib/mos/import-test-image").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, file := range []string{"/etc/mos/policy.toml", "/etc/docker/daemon.json"} {
		if _, err := os.Stat(file); err == nil {
			t.Fatalf("%s is there: whose machine is this?", file)
		}
		t.Cleanup(func() { _ = os.Remove(file) }) // which a failed test may not have made
	}
	b.write(t, "/etc/mos/policy.toml", policyText)
	cmd := exec.Command(program, "-log.level=debug", "-interval=100ms")
	log, err := os.Create(filepath.Join(t.TempDir(), "mos-authz.log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := errors.Join(cmd.Process.Signal(syscall.SIGTERM), cmd.Wait(), log.Close())
		if err != nil {
			text, _ := os.ReadFile(log.Name())
			t.Errorf("mos-authz: %v: %s", err, text)
		}
	})
	testx.Eventually(t, time.Minute, func() error {
		_, err := b.admin.Status(t.Context())
		return err
	})
	if err := os.Chmod(b.guardedSocket(), 0o666); err != nil {
		t.Fatal(err)
	}
	t.Run("AttacksFail", func(t *testing.T) { attacksFail(t, b) })
	t.Run("OrdinaryLifeOfATenant", func(t *testing.T) { ordinaryLife(t, b) })
	if b.whole() {
		t.Run("SetsOfATenant", func(t *testing.T) { setsOfATenant(t, b) })
	}
}
