package lvmtest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/internal/xexec"
	"github.com/mosdocker/mosdocker/lvmvolume/lvm"
)

// Real is LVM of this machine, confined to a system folder and loop devices of
// a test's own.
type Real struct {
	Config  lvm.Config
	Client  *lvm.Client
	Devices []string

	tb testing.TB
}

// Start makes loop devices of the given sizes in bytes. With kernel the test
// needs device mapper, else metadata alone is worked on. At the test's end all
// groups on the devices are gone.
func Start(tb testing.TB, kernel bool, sizes ...int64) *Real {
	tb.Helper()
	if kernel {
		needKernel(tb)
	} else {
		testx.Need(tb, testx.Root)
		if _, err := exec.LookPath("lvm"); err != nil {
			tb.Skip("needs LVM: lvm2 is not installed")
		}
	}
	dir := tb.TempDir()
	r := &Real{tb: tb}
	for i, size := range sizes {
		r.Devices = append(r.Devices, Loop(tb, filepath.Join(dir, fmt.Sprintf("pv%d.img", i)), size))
	}
	r.Config = lvm.Config{Runner: xexec.Host{}, DevicesFile: lvm.DevicesFile, SystemDir: filepath.Join(dir, "lvm"), NoKernel: !kernel}
	r.Client = client(tb, r.Config)
	if kernel {
		tb.Cleanup(r.deactivate)
	}
	return r
}

// needKernel is testx.Need for device mapper, which may also be missing where
// its control device has a node.
func needKernel(tb testing.TB) {
	tb.Helper()
	testx.Need(tb, testx.DM)
	err := lvm.DeviceMapper()
	switch {
	case err == nil:
	case slices.Contains(strings.Split(os.Getenv(testx.MustEnv), ","), string(testx.DM)):
		tb.Fatal(err)
	default:
		tb.Skip(err)
	}
}

// Loop makes a sparse file with a loop device, until the test's end.
func Loop(tb testing.TB, path string, size int64) string {
	tb.Helper()
	f, err := os.Create(path)
	if err == nil {
		err = errors.Join(f.Truncate(size), f.Close())
	}
	if err != nil {
		tb.Fatal(err)
	}
	return Attach(tb, path)
}

// Attach makes a loop device of a file, until the test's end.
func Attach(tb testing.TB, path string) string {
	tb.Helper()
	dev := strings.TrimSpace(output(tb, "losetup", "--find", "--show", path))
	tb.Cleanup(func() {
		if isOf(dev, path) { // else the test detached it, and it may be another's
			_ = exec.Command("losetup", "--detach", dev).Run()
		}
	})
	return dev
}

// isOf says whether a loop device is of a file.
func isOf(dev, path string) bool {
	of, err := backing(dev)
	return err == nil && of == path
}

// backing is the file of a loop device that is attached.
func backing(dev string) (string, error) {
	of, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(dev), "loop/backing_file"))
	return strings.TrimSpace(string(of)), err
}

// detach takes a loop device away. The kernel keeps one that is open, as for the
// program that udev runs on it after each change, until it is closed.
func detach(tb testing.TB, dev string) {
	tb.Helper()
	path, err := backing(dev)
	if err != nil {
		tb.Fatal(err)
	}
	output(tb, "losetup", "--detach", dev)
	testx.Eventually(tb, time.Minute, func() error {
		if isOf(dev, path) {
			return fmt.Errorf("%s is still of %s", dev, path)
		}
		return nil
	})
}

func output(tb testing.TB, argv ...string) string {
	tb.Helper()
	out, err := xexec.Host{}.Run(tb.Context(), xexec.Cmd{Argv: argv})
	if err != nil {
		tb.Fatal(err)
	}
	return string(out)
}

// deactivate takes the devices of all volumes away, which would hold the loop
// devices.
func (r *Real) deactivate() {
	cmd := exec.Command("lvm", "vgchange", "--devicesfile="+r.Config.DevicesFile, "--activate=n")
	cmd.Env = append(os.Environ(), "LVM_SYSTEM_DIR="+r.Config.SystemDir)
	if out, err := cmd.CombinedOutput(); err != nil {
		r.tb.Errorf("leaves devices behind: %v: %s", err, out)
	}
}

// Machine returns the real LVM as the machine of a [Suite].
func (r *Real) Machine() Machine {
	return Machine{Client: r.Client, Devices: r.Devices, Kernel: !r.Config.NoKernel, Hold: func(tb testing.TB, vg, lv string) func() {
		tb.Helper()
		f, err := os.Open(lvm.DevicePath(vg, lv))
		if err != nil {
			tb.Fatal(err)
		}
		return func() { _ = f.Close() }
	}, Lose: func(tb testing.TB, device string) {
		tb.Helper()
		detach(tb, device)
	}}
}

// Machine returns the fake as the machine of a [Suite].
func (f *Fake) Machine(tb testing.TB) Machine {
	tb.Helper()
	return Machine{Client: f.Client(tb), Devices: sortedKeys(f.devices), Kernel: true, Hold: func(_ testing.TB, vg, name string) func() {
		var held *lv
		f.change(vg, name, func(v *lv) { v.open, held = true, v })
		return func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			held.open = false
		}
	}, Lose: func(_ testing.TB, device string) { f.SetMissing(device, true) }}
}
