package filesystem_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/lvmvolume/filesystem"
	"github.com/mosdocker/mosdocker/lvmvolume/loop"
	"github.com/mosdocker/mosdocker/lvmvolume/loop/looptest"
)

// larger makes a mounted file system whose device is larger than it.
func larger(t *testing.T, typ filesystem.Type) (device, mnt string) {
	t.Helper()
	dir := looptest.Dir(t)
	image := looptest.Image(t, dir, "v", size(typ))
	h := looptest.Attach(t, image)
	makeOn(t, typ, h.Device)
	mnt = mount(t, typ, h.Device, "")
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := filesystem.GrowOnline(t.Context(), typ, h.Device, mnt); err != nil {
		t.Errorf("to the size that it has: %v", err)
	}
	if err := loop.Grow(t.Context(), image, size(typ)+500*mib+9*4096); err != nil {
		t.Fatal(err)
	}
	if err := loop.SetCapacity(h.Device); err != nil {
		t.Fatal(err)
	}
	return h.Device, mnt
}

// grows makes a file system larger under writes.
func grows(t *testing.T, typ filesystem.Type) {
	t.Helper()
	device, mnt := larger(t, typ)
	stop, done := make(chan struct{}), make(chan error)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if err := os.WriteFile(filepath.Join(mnt, "f"), make([]byte, mib), 0o600); err != nil {
				done <- err
				return
			}
		}
	}()
	for range 2 {
		if err := filesystem.GrowOnline(t.Context(), typ, device, mnt); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Errorf("a writer saw %v", err)
	}
	u, err := filesystem.UsageOf(mnt)
	if err != nil || u.Total < filesystem.MinSize(typ)/2+480*mib {
		t.Errorf("got %+v, %v", u, err)
	}
	if err := filesystem.Unmount(mnt); err != nil {
		t.Fatal(err)
	}
	// udev may look into it at this moment, and the kernel waits for that.
	testx.Eventually(t, 10*time.Second, func() error {
		if filesystem.Mount(device, mnt, typ, filesystem.Options{}, false) == nil {
			return errors.Join(errors.New("the device outlives its last unmount"), filesystem.Unmount(mnt))
		}
		return nil
	})
}

func TestGrowOnlineXFS(t *testing.T) {
	testx.Need(t, testx.Root)
	if _, err := os.Stat("/sbin/mkfs.xfs"); err != nil {
		t.Skip(err)
	}
	grows(t, filesystem.XFS)
}

func TestGrowOnlineExt4DM(t *testing.T) {
	testx.Need(t, testx.DM)
	// LVM makes the node also where the kernel has no device mapper behind it.
	if f, err := os.Open("/dev/mapper/control"); err != nil {
		t.Skip(err)
	} else {
		f.Close()
	}
	if err := filesystem.CanGrowOnline(filesystem.Ext4); err != nil {
		t.Fatal(err)
	}
	grows(t, filesystem.Ext4)
}

func TestGrowOnlineExt4NeedsACapability(t *testing.T) {
	testx.Need(t, testx.Root)
	if filesystem.CanGrowOnline(filesystem.Ext4) == nil {
		t.Skip("this process has CAP_SYS_RESOURCE")
	}
	device, mnt := larger(t, filesystem.Ext4)
	err := filesystem.GrowOnline(t.Context(), filesystem.Ext4, device, mnt)
	if !errdefs.IsPermissionDenied(err) || !strings.Contains(err.Error(), "CAP_SYS_RESOURCE") || !strings.Contains(err.Error(), mnt) {
		t.Errorf("got %v", err)
	}
	if err := filesystem.CanGrowOnline(filesystem.XFS); err != nil {
		t.Errorf("xfs: got %v", err)
	}
}

func TestGrowOnlineNeedsAMount(t *testing.T) {
	device := looptest.Device(t, 32*mib)
	makeOn(t, filesystem.Ext4, device)
	if err := filesystem.GrowOnline(t.Context(), filesystem.Ext4, device, filepath.Join(t.TempDir(), "no")); !errdefs.IsNotFound(err) {
		t.Errorf("got %v", err)
	}
}
