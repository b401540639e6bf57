package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/internal/daemon"
	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/lvmvolume/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestShares(t *testing.T) {
	for in, want := range map[string]float64{"80%": 0.8, "0": 0, "0%": 0, "95%": 0.95, "12.5%": 0.125} {
		if got, err := share(in); err != nil || got != want {
			t.Errorf("%s: got %v, %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "80", "96%", "-1%", "x%", "%", "NaN%"} {
		if got, err := share(in); !errors.Is(err, daemon.ErrConfig) {
			t.Errorf("%q: got %v, %v, want a refusal", in, got, err)
		}
	}
}

// TestCommandLinesThatCannotBeMeant end with exit code 2, before anything is done.
func TestCommandLinesThatCannotBeMeant(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "mos-lvm.toml")
	if err := os.WriteFile(bad, []byte("typ = 'thin'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"-no-such-flag"}, {"-type", "raid"}, {"-thin.warn", "2"}, {"-interval", "x"}, {"-config", bad}, {"-log.level", "loud"}} {
		if err := serve(args, nil); !errors.Is(err, daemon.ErrConfig) {
			t.Errorf("mos-lvm %v: got %v", args, err)
		}
	}
	for _, args := range [][]string{{"-no-such-flag"}, {"-size", "big"}, {"-size", "1g", "-pool", "200%"}, {"-config", bad}, {"-forget", "-config", bad}} {
		if err := initialize(args, nil); !errors.Is(err, daemon.ErrConfig) {
			t.Errorf("mos-lvm init %v: got %v", args, err)
		}
	}
	if err := initialize([]string{"-h"}, nil); !errors.Is(err, config.ErrDone) {
		t.Errorf("mos-lvm init -h: got %v", err)
	}
	if err := serve(nil, []string{"MOS_LVM_TYPE=raid"}); !errors.Is(err, daemon.ErrConfig) || !strings.Contains(err.Error(), "type") {
		t.Errorf("MOS_LVM_TYPE=raid: got %v", err)
	}
}

func TestForgettingWhatIsNotOurs(t *testing.T) {
	err := initialize([]string{"-forget", "-vg", "other"}, []string{"MOS_LVM_STATE_DIR=" + t.TempDir()})
	if err == nil || errors.Is(err, daemon.ErrConfig) || !strings.Contains(err.Error(), "volume group other is not ours") {
		t.Errorf("got %v", err)
	}
}

// TestDaemonServesUntilItIsStopped on a host without group and Docker.
func TestDaemonServesUntilItIsStopped(t *testing.T) {
	dir := t.TempDir()
	admin := filepath.Join(dir, "admin.sock")
	done := make(chan error, 1)
	go func() {
		done <- serve([]string{"-socket", filepath.Join(dir, "plugin.sock"), "-admin", admin, "-state_dir", dir, "-docker_host", "unix://" + dir + "/docker.sock"}, nil)
	}()
	testx.Eventually(t, 20*time.Second, func() error {
		c, err := net.Dial("unix", admin)
		if err != nil {
			return err
		}
		return c.Close()
	})
	s, err := api.New(admin).Status(t.Context())
	if err != nil || s.Default != "loop" {
		t.Errorf("the status is %+v, %v", s, err)
	}
	other := filepath.Join(t.TempDir(), "s")
	err = serve([]string{"-socket", other, "-admin", other + ".admin", "-state_dir", dir}, nil)
	if err == nil || !strings.Contains(err.Error(), "process "+strconv.Itoa(os.Getpid())+") has the state directory "+dir) {
		t.Errorf("a second daemon says %v", err)
	}
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
