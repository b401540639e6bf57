// Package looptest gives tests loop devices and mounts that nobody else sees, and
// checks that they leave none.
package looptest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/lvmvolume/loop"
)

// insideEnv marks the test binary that runs in a mount namespace of its own.
const insideEnv = "MOS_LOOPTEST_INSIDE"

// Main runs the tests of a package in a mount namespace of their own, so that their
// mounts end with them. Call it from TestMain. Without root it just runs them.
func Main(m *testing.M) int {
	if os.Getenv(insideEnv) != "" {
		if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			fmt.Fprintln(os.Stderr, "set up the mount namespace:", err)
			return 1
		}
		return m.Run()
	}
	if os.Geteuid() != 0 {
		return m.Run()
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	exit, failed := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		return 0
	case failed:
		return max(exit.ExitCode(), 1)
	case errors.Is(err, syscall.EPERM): // root without the right to make namespaces
		return m.Run()
	}
	fmt.Fprintln(os.Stderr, "run the tests in a mount namespace of their own:", err)
	return 1
}

// Dir returns a folder for images. When the test ends there must be no loop device
// with an image below it, no mount below it and no file in it: else the test fails,
// and they are taken away.
func Dir(tb testing.TB) string {
	tb.Helper()
	testx.Need(tb, testx.Root)
	dir := tb.TempDir()
	tb.Cleanup(func() { check(tb, dir) })
	return dir
}

func check(tb testing.TB, dir string) {
	tb.Helper()
	for _, point := range mountsBelow(tb, dir) {
		tb.Errorf("still mounted: %s", point)
		_ = syscall.Unmount(point, syscall.MNT_DETACH)
	}
	// The kernel may be about to detach what was just unmounted.
	err := testx.Poll(3*time.Second, func() error {
		is, err := loop.List(dir)
		if err == nil && len(is) > 0 {
			return fmt.Errorf("still attached: %+v", is)
		}
		return err
	})
	if err != nil {
		tb.Error(err)
		is, _ := loop.List(dir)
		for _, i := range is {
			_ = loop.Detach(context.Background(), i.Device)
		}
	}
	if err := loop.Sweep(); err != nil {
		tb.Error(err)
	}
	names, _ := filepath.Glob(filepath.Join(dir, "*.img"))
	for _, n := range names {
		tb.Errorf("still there: %s", n)
	}
}

func mountsBelow(tb testing.TB, dir string) []string {
	tb.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		tb.Fatal(err)
	}
	var points []string
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); strings.HasPrefix(f[4], dir+"/") {
			points = append([]string{f[4]}, points...)
		}
	}
	return points
}

// Image makes an image file in dir that is removed when the test ends.
func Image(tb testing.TB, dir, name string, size int64) string {
	tb.Helper()
	path := filepath.Join(dir, name+".img")
	if err := loop.Create(tb.Context(), path, size, nil); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.Remove(path) })
	return path
}

// Attach attaches an image; the handle is closed when the test ends, if it is not
// before.
func Attach(tb testing.TB, path string) *loop.Handle {
	tb.Helper()
	h, err := loop.Attach(tb.Context(), path, false)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = h.Close() })
	return h
}

// Device returns the path of a loop device on a new image of so many bytes.
func Device(tb testing.TB, size int64) string {
	tb.Helper()
	return Attach(tb, Image(tb, Dir(tb), "volume", size)).Device
}
