package loop_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/lvmvolume/filesystem"
	"github.com/mosdocker/mosdocker/lvmvolume/loop"
	"github.com/mosdocker/mosdocker/lvmvolume/loop/looptest"
)

// detached waits until no device has an image below dir.
func detached(tb testing.TB, dir string) {
	tb.Helper()
	testx.Eventually(tb, 3*time.Second, func() error {
		is, err := loop.List(dir)
		if err == nil && len(is) > 0 {
			return fmt.Errorf("still attached: %+v", is)
		}
		return err
	})
}

func TestLifeOfADevice(t *testing.T) {
	dir := looptest.Dir(t)
	image := looptest.Image(t, dir, "volume", 32*mib)
	if _, err := loop.Find(image); !errdefs.IsNotFound(err) {
		t.Errorf("got %v before it is attached", err)
	}
	h := looptest.Attach(t, image)
	want := loop.Info{
		Device: fmt.Sprintf("/dev/loop%d", h.Number), Number: h.Number, Backing: image, Size: 32 * mib, AutoClear: true, DirectIO: h.DirectIO,
	}
	unexported := cmpopts.IgnoreUnexported(loop.Info{})
	if diff := cmp.Diff(want, h.Info, unexported); diff != "" || h.Reused || !h.Reserved || h.Number < loop.FirstNumber {
		t.Errorf("reused %v, reserved %v, device %d: %s", h.Reused, h.Reserved, h.Number, diff)
	}
	got, err := loop.Find(image)
	if diff := cmp.Diff(want, got, unexported); err != nil || diff != "" {
		t.Error(err, diff)
	}
	mnt := mountVolume(t, filesystem.Ext4, h.Device)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := loop.Find(image); err != nil {
		t.Errorf("a mounted device is detached: %v", err)
	}
	if err := loop.Detach(t.Context(), h.Device); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("got %v for a mounted device", err)
	}
	if err := filesystem.Unmount(mnt); err != nil {
		t.Fatal(err)
	}
	detached(t, dir)
	if err := loop.Detach(t.Context(), h.Device); err != nil {
		t.Errorf("detach again: %v", err)
	}
	if _, err := os.Stat(h.Device); !os.IsNotExist(err) {
		t.Errorf("device %s is still there: %v", h.Device, err)
	}
}

func TestAttachedImageIsFoundByFileNotByName(t *testing.T) {
	dir := looptest.Dir(t)
	image := looptest.Image(t, dir, "volume", mib)
	h := looptest.Attach(t, image)
	renamed := filepath.Join(dir, "other (deleted).img")
	if err := os.Rename(image, renamed); err != nil {
		t.Fatal(err)
	}
	again := looptest.Attach(t, renamed)
	if again.Device != h.Device || !again.Reused || again.Deleted || again.Backing != renamed {
		t.Errorf("got %+v, want %s again", again, h.Device)
	}
	// Another file under the old name is another image.
	other := looptest.Attach(t, looptest.Image(t, dir, "volume", mib))
	if other.Device == h.Device || other.Reused {
		t.Errorf("got %+v for another file", other)
	}
	if err := os.Remove(renamed); err != nil {
		t.Fatal(err)
	}
	is, err := loop.List(dir)
	if err != nil || len(is) != 2 || !is[0].Deleted || is[0].Backing != renamed || is[1].Deleted {
		t.Errorf("got %+v, %v, want the deleted one and the other", is, err)
	}
	for _, x := range []*loop.Handle{h, again, other} {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	}
	detached(t, dir)
}

func TestManyCallersGetOneDevice(t *testing.T) {
	dir := looptest.Dir(t)
	image := looptest.Image(t, dir, "volume", mib)
	var devices sync.Map
	var all sync.WaitGroup
	for range 4 {
		cmd := start(t, "attach", dir)
		in, _ := cmd.StdinPipe()
		out, _ := cmd.StdoutPipe()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			line, _ := bufio.NewReader(out).ReadString('\n')
			devices.Store(strings.TrimSpace(line), true)
		})
		defer func() {
			_ = in.Close()
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		}()
	}
	for range 8 {
		all.Go(func() {
			h, err := loop.Attach(t.Context(), image, false)
			if err != nil {
				t.Error(err)
				return
			}
			devices.Store(h.Device, true)
			t.Cleanup(func() { _ = h.Close() })
		})
	}
	all.Wait()
	n := 0
	devices.Range(func(d, _ any) bool { n++; t.Log(d); return true })
	if n != 1 {
		t.Errorf("got %d devices for one image", n)
	}
}

func TestManyImagesAtOnce(t *testing.T) {
	dir := looptest.Dir(t)
	var all sync.WaitGroup
	var devices sync.Map
	const images = 24
	for i := range images {
		image := looptest.Image(t, dir, fmt.Sprint("volume", i), mib)
		all.Go(func() {
			h, err := loop.Attach(t.Context(), image, false)
			if err != nil {
				t.Error(err)
				return
			}
			if _, there := devices.LoadOrStore(h.Device, h); there {
				t.Errorf("%s has two images", h.Device)
			}
		})
	}
	all.Wait()
	if is, err := loop.List(dir); err != nil || len(is) != images {
		t.Errorf("got %d devices, %v", len(is), err)
	}
	devices.Range(func(_, h any) bool { return h.(*loop.Handle).Close() == nil })
	detached(t, dir)
}

func TestReadOnlyAttachment(t *testing.T) {
	dir := looptest.Dir(t)
	image := looptest.Image(t, dir, "volume", mib)
	h, err := loop.Attach(t.Context(), image, true)
	if err != nil || !h.ReadOnly {
		t.Fatalf("got %+v, %v", h, err)
	}
	defer h.Close()
	if _, err := loop.Attach(t.Context(), image, false); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("got %v for writing to what is attached read-only", err)
	}
	f, err := os.OpenFile(h.Device, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.Write(make([]byte, 4096))
		f.Close()
	}
	if err == nil {
		t.Error("wrote to a read-only device")
	}
}

func TestForeignAttachmentIsTakenOverOrRefused(t *testing.T) {
	dir := looptest.Dir(t)
	if _, err := exec.LookPath("losetup"); err != nil {
		t.Skip(err)
	}
	image := looptest.Image(t, dir, "volume", 4*mib)
	foreign := strings.TrimSpace(run(t, "losetup", "-f", "--show", "--offset", "1048576", image))
	if _, err := loop.Attach(t.Context(), image, false); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("got %v for an image that is attached in part", err)
	}
	run(t, "losetup", "-d", foreign)
	foreign = strings.TrimSpace(run(t, "losetup", "-f", "--show", image))
	if err := loop.Grow(t.Context(), image, 8*mib); err != nil {
		t.Fatal(err)
	}
	h := looptest.Attach(t, image)
	if h.Device != foreign || !h.Reused || h.Reserved || !h.AutoClear || h.Size != 8*mib {
		t.Errorf("got %+v, want %s taken over", h, foreign)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	detached(t, dir)
}

func TestNodesAreMadeWhereDevIsBare(t *testing.T) {
	dir := looptest.Dir(t)
	h := looptest.Attach(t, looptest.Image(t, dir, "volume", mib))
	defer h.Close()
	if out, err := start(t, "bare-dev", dir).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	_ = os.Remove(filepath.Join(dir, "child.img"))
}

func TestKilledProcessLeavesNothing(t *testing.T) {
	dir := looptest.Dir(t)
	rounds := 15
	if testing.Short() {
		rounds = 5
	}
	whole := 0
	for i := range rounds {
		cmd := start(t, "churn", dir)
		var out strings.Builder
		cmd.Stdout = &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20*time.Millisecond + time.Duration(i)*3700*time.Microsecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if out.Len() > 0 {
			t.Fatal(out.String())
		}
		detached(t, dir)
		for _, n := range names(t, dir) {
			path := filepath.Join(dir, n)
			if st, err := os.Stat(path); err != nil || st.Size() != 16*mib || allocated(t, path) < 16*mib {
				t.Errorf("%s is half an image: %v, %v", n, st, err)
			}
			whole++
			_ = os.Remove(path)
		}
	}
	t.Logf("%d of %d left a whole image", whole, rounds)
}

func TestSetCapacityGrowsAMountedDevice(t *testing.T) {
	dir := looptest.Dir(t)
	image := looptest.Image(t, dir, "volume", 32*mib)
	h := looptest.Attach(t, image)
	mountVolume(t, filesystem.Ext4, h.Device)
	if err := loop.Grow(t.Context(), image, 64*mib); err != nil {
		t.Fatal(err)
	}
	if err := loop.SetCapacity(h.Device); err != nil {
		t.Fatal(err)
	}
	if n, err := filesystem.DeviceSize(h.Device); err != nil || n != 64*mib {
		t.Errorf("got %d, %v", n, err)
	}
	if err := loop.SetCapacity("/dev/loop999999"); !errdefs.IsNotFound(err) {
		t.Errorf("got %v for a device that is not there", err)
	}
}
