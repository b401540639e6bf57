package mounts_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/internal/xexec"
	"github.com/mosdocker/mosdocker/lvmvolume/filesystem"
	"github.com/mosdocker/mosdocker/lvmvolume/loop/looptest"
	"github.com/mosdocker/mosdocker/lvmvolume/mounts"
)

func TestMain(m *testing.M) { os.Exit(looptest.Main(m)) }

// volume mounts a new ext4 with a _data directory at the path it returns.
func volume(tb testing.TB) (point string, dev mounts.Dev) {
	tb.Helper()
	dir := looptest.Dir(tb)
	h := looptest.Attach(tb, looptest.Image(tb, dir, "volume", 16<<20))
	fs := filesystem.FS{Runner: xexec.Host{}}
	if err := fs.Make(tb.Context(), filesystem.Ext4, h.Device, filesystem.MakeOptions{Zeroed: true}); err != nil {
		tb.Fatal(err)
	}
	point = filepath.Join(dir, "mnt")
	if err := os.Mkdir(point, 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := filesystem.Mount(h.Device, point, filesystem.Ext4, filesystem.Options{}, false); err != nil {
		tb.Fatal(err)
	}
	if err := h.Close(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := filesystem.Unmount(point); err != nil {
			tb.Error(err)
		}
	})
	if err := os.Mkdir(filepath.Join(point, "_data"), 0o755); err != nil {
		tb.Fatal(err)
	}
	dev, err := mounts.DevOf(h.Device)
	if err != nil {
		tb.Fatal(err)
	}
	return point, dev
}

// space runs a script in a mount namespace of its own and returns when the script
// has written a line; the process lives until the test ends or stop is called.
func space(tb testing.TB, script string) (pid int, stop func()) {
	tb.Helper()
	cmd := exec.Command("sh", "-ec", script+"\necho ready; read -r x || :")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		tb.Fatalf("got %q, %v of %s", line, err, script)
	}
	stop = func() { _ = in.Close(); _ = cmd.Wait() }
	tb.Cleanup(stop)
	return cmd.Process.Pid, stop
}

func holders(tb testing.TB, dev mounts.Dev, own string) []mounts.Holder {
	tb.Helper()
	hs, err := mounts.Holders(tb.Context(), dev, own)
	if err != nil {
		tb.Fatal(err)
	}
	return hs
}

func TestAtTellsWhatIsMounted(t *testing.T) {
	point, dev := volume(t)
	m, ok, err := mounts.At(point)
	if err != nil || !ok || m.Dev != dev || m.Root != "/" || m.FSType != "ext4" || m.ReadOnly() {
		t.Errorf("got %+v, %v, %v", m, ok, err)
	}
	for _, path := range []string{filepath.Join(point, "_data"), filepath.Dir(point), filepath.Join(point, "no/where"), "/no/where"} {
		if m, ok, err := mounts.At(path); ok || err != nil {
			t.Errorf("%s: got %+v, %v", path, m, err)
		}
	}
	// Through a link in the path, and below another mount.
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(filepath.Dir(point), link); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount(filepath.Join(point, "_data"), point, "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	m, ok, err = mounts.At(filepath.Join(link, "mnt"))
	if err != nil || !ok || m.Root != "/_data" {
		t.Errorf("got %+v, %v, %v, want the bind on top", m, ok, err)
	}
	if err := filesystem.Unmount(point); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := mounts.At("/"); !ok || err != nil {
		t.Errorf("nothing is mounted at /: %v", err)
	}
}

func TestDevOf(t *testing.T) {
	if d, err := mounts.DevOf("/dev/null"); !errdefs.IsInvalidArgument(err) {
		t.Errorf("got %v, %v", d, err)
	}
	if d, err := mounts.DevOf("/dev/no-such"); !errdefs.IsNotFound(err) {
		t.Errorf("got %v, %v", d, err)
	}
}

func TestCopiesOfOurMountHoldNothing(t *testing.T) {
	point, dev := volume(t)
	_, stop := space(t, "true")
	s, err := mounts.Take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := s.Copies(dev); n != 2 {
		t.Errorf("got the device in %d namespaces, want ours and the child's", n)
	}
	if hs := s.Holders(dev, point); len(hs) > 0 {
		t.Errorf("got holders %v", hs)
	}
	stop()
}

// TestHostTreeIsNoHolder: a monitoring container that has all of the host at a
// path of its own has our mount, too, and uses nothing. The root of the volume at
// another path is use.
func TestHostTreeIsNoHolder(t *testing.T) {
	point, dev := volume(t)
	tree, other := filepath.Join(t.TempDir(), "rootfs"), filepath.Join(t.TempDir(), "rootfs")
	there, elsewhere := tree+point, other+filepath.Dir(point)
	space(t, fmt.Sprintf("mkdir -p %s; mount --bind %s %s; umount %s", there, point, there, point))
	if hs := holders(t, dev, point); len(hs) > 0 {
		t.Errorf("the host's tree in a container holds: %+v", hs)
	}
	space(t, fmt.Sprintf("mkdir -p %s; mount --bind %s %s; umount %s", elsewhere, point, elsewhere, point))
	if hs := holders(t, dev, point); len(hs) != 1 || hs[0].Point != elsewhere {
		t.Errorf("got %+v, want a holder at %s", hs, elsewhere)
	}
}

func TestBindsAndOtherPathsAreHolders(t *testing.T) {
	point, dev := volume(t)
	data := filepath.Join(t.TempDir(), "data dir")
	other := filepath.Join(t.TempDir(), "other")
	for _, d := range []string{data, other} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// As a container does: the bind of _data stays, the host's tree goes.
	pid, stop := space(t, fmt.Sprintf("mount --bind %s/_data '%s'; umount %s", point, data, point))
	hs := holders(t, dev, point)
	if len(hs) != 1 || hs[0].PID != pid || hs[0].Point != data || hs[0].Root != "/_data" || hs[0].Command != "sh" || hs[0].Namespace == 0 {
		t.Errorf("got %+v, want process %d at %s", hs, pid, data)
	}
	_, stopOther := space(t, fmt.Sprintf("mount --bind %s %s; umount %s", point, other, point))
	if hs := holders(t, dev, point); len(hs) != 2 || hs[1].Point != other || hs[1].Root != "/" {
		t.Errorf("got %+v, want another at %s", hs, other)
	}
	// In our own namespace, too.
	if err := syscall.Mount(filepath.Join(point, "_data"), data, "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	if hs := holders(t, dev, point); len(hs) != 3 {
		t.Errorf("got %+v, want our own bind as well", hs)
	}
	if err := filesystem.Unmount(data); err != nil {
		t.Fatal(err)
	}
	stop()
	stopOther()
	testx.Eventually(t, 3*time.Second, func() error {
		if hs := holders(t, dev, point); len(hs) > 0 {
			return fmt.Errorf("got %v", hs)
		}
		return nil
	})
}

func TestAThreadOfItsOwnIsSeen(t *testing.T) {
	point, dev := volume(t)
	other := t.TempDir()
	err := xexec.OnThread(func() error {
		if err := syscall.Unshare(syscall.CLONE_NEWNS); err != nil {
			return err
		}
		if err := syscall.Mount(filepath.Join(point, "_data"), other, "", syscall.MS_BIND, ""); err != nil {
			return err
		}
		hs, err := mounts.Holders(context.Background(), dev, point)
		if err == nil && (len(hs) != 1 || hs[0].Point != other || hs[0].PID != os.Getpid()) {
			err = fmt.Errorf("got %+v, want this thread's", hs)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestContainerOfAHolder(t *testing.T) {
	point, dev := volume(t)
	root := "/sys/fs/cgroup/pids"
	if _, err := os.Stat(root); err != nil {
		root = "/sys/fs/cgroup"
	}
	id := strings.Repeat("ab", 32)
	group := filepath.Join(root, "mos-test-"+strconv.Itoa(os.Getpid()), id)
	if err := os.MkdirAll(group, 0o755); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = os.Remove(group); _ = os.Remove(filepath.Dir(group)) })
	data := t.TempDir()
	pid, stop := space(t, fmt.Sprintf("echo $$ > %s/cgroup.procs; mount --bind %s/_data %s", group, point, data))
	hs := holders(t, dev, point)
	if len(hs) != 1 || hs[0].Container != id {
		t.Errorf("got %+v, want container %s", hs, id)
	}
	if got, want := fmt.Sprint(hs[0]), fmt.Sprintf("container abababababab, process %d (sh) at %s", pid, data); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	stop()
}

func TestBlindInAnotherPIDNamespace(t *testing.T) {
	testx.Need(t, testx.Root)
	s, err := mounts.Take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if l, _ := os.Readlink("/proc/self/ns/pid"); (l != "pid:[4026531836]") != s.Blind() {
		t.Errorf("got blind %v in %s", s.Blind(), l)
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestBlindHelper$", "-test.v")
	cmd.Env = append(os.Environ(), "MOS_MOUNTS_BLIND=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS: TestBlindHelper") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestBlindHelper(t *testing.T) {
	if os.Getenv("MOS_MOUNTS_BLIND") == "" {
		t.Skip("runs inside TestBlindInAnotherPIDNamespace")
	}
	if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		t.Fatal(err)
	}
	if s, err := mounts.Take(t.Context()); err != nil || !s.Blind() {
		t.Errorf("sees all: %v", err)
	}
}

func TestTakeWhileProcessesComeAndGo(t *testing.T) {
	testx.Need(t, testx.Root)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			cmd := exec.Command("true")
			cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
			_ = cmd.Run()
		}
	}()
	for range 100 {
		if _, err := mounts.Take(t.Context()); err != nil {
			t.Error(err)
			break
		}
	}
	cancel()
	<-done
	if _, err := mounts.Take(ctx); err == nil {
		t.Error("reads for nobody")
	}
}

// BenchmarkTake reads the mounts of a machine with 500 more processes, 50 of them in
// namespaces of their own.
func BenchmarkTake(b *testing.B) {
	testx.Need(b, testx.Root)
	script := `for i in $(seq 50); do unshare -m --propagation private sleep 600 & done; for i in $(seq 450); do sleep 600 & done; echo ready; read -r x || :; kill $(jobs -p)`
	cmd := exec.Command("bash", "-c", script)
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	_, _ = bufio.NewReader(out).ReadString('\n')
	time.Sleep(time.Second)
	b.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	b.ResetTimer()
	for b.Loop() {
		if _, err := mounts.Take(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
