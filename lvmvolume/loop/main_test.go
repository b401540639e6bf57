package loop_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/internal/xexec"
	"github.com/mosdocker/mosdocker/lvmvolume/filesystem"
	"github.com/mosdocker/mosdocker/lvmvolume/loop"
	"github.com/mosdocker/mosdocker/lvmvolume/loop/looptest"
)

const mib = 1 << 20

// childEnv says what a child of a test, the same binary, is to do.
const childEnv = "MOS_LOOP_CHILD"

func TestMain(m *testing.M) {
	if what := os.Getenv(childEnv); what != "" {
		if err := child(what, os.Getenv("MOS_LOOP_DIR")); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(looptest.Main(m))
}

// start returns a child in a mount namespace of its own, not started yet.
func start(tb testing.TB, what, dir string) *exec.Cmd {
	tb.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"="+what, "MOS_LOOP_DIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	return cmd
}

func child(what, dir string) error {
	ctx := context.Background()
	switch what {
	case "churn":
		return churn(ctx, filepath.Join(dir, "child.img"))
	case "attach": // prints the device, waits for the end of its input
		h, err := loop.Attach(ctx, filepath.Join(dir, "volume.img"), false)
		if err != nil {
			return err
		}
		fmt.Println(h.Device)
		_, _ = os.Stdin.Read(make([]byte, 1))
		return h.Close()
	case "bare-dev":
		return bareDev(ctx, dir)
	}
	return fmt.Errorf("no child %q", what)
}

// churn makes, attaches and removes an image until it is killed.
func churn(ctx context.Context, path string) error {
	for {
		if err := loop.Create(ctx, path, 16*mib, nil); err != nil {
			return err
		}
		h, err := loop.Attach(ctx, path, false)
		if err != nil {
			return err
		}
		if err := errors.Join(h.Close(), os.Remove(path)); err != nil {
			return err
		}
	}
}

// bareDev works where /dev is empty, but for a parent's image that is attached.
func bareDev(ctx context.Context, dir string) error {
	if err := syscall.Mount("tmpfs", "/dev", "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	is, err := loop.List(dir)
	if err != nil || len(is) != 1 {
		return fmt.Errorf("got devices %+v, %w, want the parent's", is, err)
	}
	path := filepath.Join(dir, "child.img")
	if err := loop.Create(ctx, path, 16*mib, nil); err != nil {
		return err
	}
	h, err := loop.Attach(ctx, path, false)
	if err != nil {
		return err
	}
	_, err = filesystem.DeviceSize(h.Device)
	return errors.Join(err, h.Close())
}

// allocated returns how many bytes of the host's disk a file has.
func allocated(tb testing.TB, path string) int64 {
	tb.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		tb.Fatal(err)
	}
	return st.Blocks * 512
}

// hostFS mounts a file system of a type on a device of its own, as a host's for
// images, and returns a folder in it.
func hostFS(tb testing.TB, typ string, size int64) string {
	tb.Helper()
	testx.Need(tb, testx.Root)
	if _, err := exec.LookPath("mkfs." + typ); err != nil {
		tb.Skip(err)
	}
	dir := looptest.Dir(tb)
	h := looptest.Attach(tb, looptest.Image(tb, dir, "host", size))
	mnt := filepath.Join(dir, "host")
	if err := os.Mkdir(mnt, 0o755); err != nil {
		tb.Fatal(err)
	}
	run(tb, "mkfs."+typ, "-q", h.Device)
	run(tb, "mount", h.Device, mnt)
	if err := h.Close(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { run(tb, "umount", mnt) })
	sub := filepath.Join(mnt, "images")
	if err := os.Mkdir(sub, 0o700); err != nil {
		tb.Fatal(err)
	}
	return sub
}

func run(tb testing.TB, argv ...string) string {
	tb.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		tb.Fatalf("%s: %v: %s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}

func names(tb testing.TB, dir string) []string {
	tb.Helper()
	es, err := os.ReadDir(dir)
	if err != nil {
		tb.Fatal(err)
	}
	var ns []string
	for _, e := range es {
		ns = append(ns, e.Name())
	}
	return ns
}

func queue(tb testing.TB, h *loop.Handle, key string) string {
	tb.Helper()
	b, err := os.ReadFile("/sys/block/loop" + strconv.Itoa(h.Number) + "/queue/" + key)
	if err != nil {
		tb.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// mountVolume makes a file system on a device and mounts it until the test ends.
func mountVolume(tb testing.TB, typ filesystem.Type, device string) string {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), "volume")
	if err := os.Mkdir(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	fs := filesystem.FS{Runner: xexec.Host{}}
	if err := fs.Make(tb.Context(), typ, device, filesystem.MakeOptions{Zeroed: true}); err != nil {
		tb.Fatal(err)
	}
	if err := filesystem.Mount(device, dir, typ, filesystem.Options{}, false); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := filesystem.Unmount(dir); err != nil {
			tb.Error(err)
		}
	})
	return dir
}
