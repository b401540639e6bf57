package main

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mosdocker/mosdocker/authz/api"
	"github.com/mosdocker/mosdocker/internal/daemon"
	"github.com/mosdocker/mosdocker/internal/testx"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestCommandLinesThatCannotBeMeant end with exit code 2, before anything is done.
func TestCommandLinesThatCannotBeMeant(t *testing.T) {
	for _, args := range [][]string{{"-no-such-flag"}, {"-group", "docker"}, {"-docker_host", "tcp://x"}, {"-lookup", "x"}, {"-audit.size", "1"}, {"-log.level", "loud"}} {
		if err := run(args, nil); !errors.Is(err, daemon.ErrConfig) {
			t.Errorf("mos-authz %v: got %v", args, err)
		}
	}
}

// TestDaemonServesUntilItIsStopped, also without a policy and an Engine, and reads
// its policy when it is told to.
func TestDaemonServesUntilItIsStopped(t *testing.T) {
	dir := t.TempDir()
	admin, policy := filepath.Join(dir, "a.sock"), filepath.Join(dir, "policy.toml")
	done := make(chan error, 1)
	go func() {
		done <- run([]string{
			"-socket", filepath.Join(dir, "p.sock"), "-listen", filepath.Join(dir, "d.sock"), "-admin", admin, "-policy", policy, "-interval", "1h",
			"-audit.file", filepath.Join(dir, "audit.log"), "-docker_host", "unix://" + dir + "/e.sock", "-log.level", "error",
		}, nil)
	}()
	is := func(inForce bool) {
		t.Helper()
		testx.Eventually(t, 20*time.Second, func() error {
			s, err := api.New(admin).Status(t.Context())
			if err == nil && (s.Hash != "") != inForce {
				err = errors.New("in force is " + s.Hash + ", wrong is " + s.Error)
			}
			return err
		})
	}
	is(false)
	if err := os.WriteFile(policy, []byte("version = 1\n[[who]]\nname = 'x'\nlocal = true\nprofile = 'open'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	is(true)
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it does not stop")
	}
}
