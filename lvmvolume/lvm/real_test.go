package lvm_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/lvmvolume/lvm"
	"github.com/mosdocker/mosdocker/lvmvolume/lvm/lvmtest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// head reads where LVM keeps its metadata.
func head(t *testing.T, device string) []byte {
	t.Helper()
	f, err := os.Open(device)
	must(t, err)
	defer func() { _ = f.Close() }()
	b := make([]byte, 4*mib)
	_, err = f.Read(b)
	must(t, err)
	return b
}

func TestForeignGroupIsNeitherSeenNorTouched(t *testing.T) {
	theirs := lvmtest.Start(t, false, 64*mib)
	must(t, theirs.Client.CreateVG(t.Context(), lvm.Group{Name: "mos-foreign", Devices: theirs.Devices, MetadataSize: mib}))
	must(t, theirs.Client.CreateLinear(t.Context(), lvm.Linear{VG: "mos-foreign", Name: "v", Size: 4 * mib}))
	before := head(t, theirs.Devices[0])

	ours := lvmtest.Start(t, false, 64*mib)
	c := ours.Client
	if r, err := c.Report(t.Context()); err != nil || len(r.VGs)+len(r.PVs)+len(r.LVs) > 0 {
		t.Errorf("got %+v, %v without a devices file", r, err)
	}
	must(t, c.CreateVG(t.Context(), lvm.Group{Name: "mos-ours", Devices: ours.Devices, MetadataSize: mib}))
	must(t, c.CreateLinear(t.Context(), lvm.Linear{VG: "mos-ours", Name: "v", Size: 4 * mib}))
	for _, err := range []error{
		c.CreateLinear(t.Context(), lvm.Linear{VG: "mos-foreign", Name: "w", Size: 4 * mib}),
		c.Extend(t.Context(), "mos-foreign", "v", 8*mib), c.Rename(t.Context(), "mos-foreign", "v", "w"),
		c.Retag(t.Context(), "mos-foreign", []string{"v"}, []string{"x"}, nil),
	} {
		if !errdefs.IsNotFound(err) {
			t.Errorf("got %v", err)
		}
	}
	must(t, c.Remove(t.Context(), "mos-foreign", "v"))
	must(t, c.RemoveVG(t.Context(), "mos-foreign"))
	// The devices file is lost: nothing is seen, and not all.
	must(t, os.Remove(filepath.Join(ours.Config.SystemDir, "devices", ours.Config.DevicesFile)))
	if r, err := c.Report(t.Context()); err != nil || len(r.VGs) > 0 {
		t.Errorf("got %+v, %v after the devices file was lost", r.VGs, err)
	}
	must(t, c.Remove(t.Context(), "mos-foreign", "v"))
	must(t, c.AddDevices(t.Context(), ours.Devices...))
	if r, err := c.Report(t.Context()); err != nil || len(r.VGs) != 1 || len(r.LVs) != 1 {
		t.Errorf("got %+v, %v after the device was added again", r, err)
	}
	if !bytes.Equal(before, head(t, theirs.Devices[0])) {
		t.Error("the foreign group's metadata changed")
	}
}

func TestDeviceIsFoundUnderAnotherName(t *testing.T) {
	r := lvmtest.Start(t, false)
	path := filepath.Join(t.TempDir(), "pv with a space.img")
	dev := lvmtest.Loop(t, path, 64*mib)
	must(t, r.Client.CreateVG(t.Context(), lvm.Group{Name: "mos-moves", Devices: []string{dev}, MetadataSize: mib}))
	lvmtest.Loop(t, filepath.Join(t.TempDir(), "other.img"), mib) // or the next one gets the same name
	if out, err := exec.Command("losetup", "--detach", dev).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	lvmtest.Loop(t, filepath.Join(t.TempDir(), "taker.img"), mib)
	moved := lvmtest.Attach(t, path)
	if moved == dev {
		t.Skip("the device kept its name")
	}
	must(t, r.Client.CreateLinear(t.Context(), lvm.Linear{VG: "mos-moves", Name: "v", Size: 4 * mib}))
	rep, err := r.Client.Report(t.Context())
	if err != nil || len(rep.PVs) != 1 || rep.PVs[0].Device != moved {
		t.Errorf("got %+v, %v, want %s", rep.PVs, err, moved)
	}
	ds, err := r.Client.ListDevices(t.Context())
	if err != nil || len(ds) != 1 || ds[0].Path != moved || ds[0].IDName != strings.ReplaceAll(path, " ", "_") || ds[0].PVID == "" {
		t.Errorf("got %+v, %v", ds, err)
	}
}

func TestDeviceWithAFileSystemIsRefused(t *testing.T) {
	r := lvmtest.Start(t, false, 64*mib)
	if out, err := exec.Command("mkfs.ext4", "-q", r.Devices[0]).CombinedOutput(); err != nil {
		t.Skipf("needs mkfs.ext4: %v: %s", err, out)
	}
	g := lvm.Group{Name: "mos-signed", Devices: r.Devices, MetadataSize: mib}
	if err := r.Client.CreateVG(t.Context(), g); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "wipefs") {
		t.Errorf("got %v", err)
	}
	if out, err := exec.Command("blkid", "-p", r.Devices[0]).CombinedOutput(); err != nil {
		t.Errorf("the file system is gone: %v: %s", err, out)
	}
	g.Wipe = true
	must(t, r.Client.CreateVG(t.Context(), g))
}

func TestReportWaitsForALockUntilItsDeadline(t *testing.T) {
	r := lvmtest.Start(t, false, 64*mib)
	must(t, r.Client.CreateVG(t.Context(), lvm.Group{Name: "mos-locked", Devices: r.Devices, MetadataSize: mib}))
	lock, err := os.OpenFile("/run/lock/lvm/V_mos-locked", os.O_CREATE|os.O_RDWR, 0o600)
	must(t, err)
	must(t, syscall.Flock(int(lock.Fd()), syscall.LOCK_EX))
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := r.Client.Report(ctx); !errdefs.IsUnavailable(err) {
		t.Errorf("got %v, want Unavailable", err)
	}
	must(t, lock.Close())
	if _, err := r.Client.Report(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestThinPoolNeedsDeviceMapper(t *testing.T) {
	r := lvmtest.Start(t, false, 64*mib)
	must(t, r.Client.CreateVG(t.Context(), lvm.Group{Name: "mos-flat", Devices: r.Devices, MetadataSize: mib}))
	err := r.Client.CreatePool(t.Context(), lvm.Pool{VG: "mos-flat", Name: "p", Size: 8 * mib})
	if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "loop backend") {
		t.Errorf("got %v", err)
	}
}
