package loop_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/internal/xexec"
	"github.com/mosdocker/mosdocker/lvmvolume/filesystem"
	"github.com/mosdocker/mosdocker/lvmvolume/loop"
	"github.com/mosdocker/mosdocker/lvmvolume/loop/looptest"
)

// blkdiscard asks the kernel to discard, or to zero with unmapping allowed.
func blkdiscard(device string, argv ...string) error {
	return exec.Command("blkdiscard", append(argv, device)...).Run()
}

func TestNothingGivesTheReserveBack(t *testing.T) {
	for _, typ := range filesystem.Types() {
		t.Run(string(typ), func(t *testing.T) {
			dir := looptest.Dir(t)
			if _, err := exec.LookPath("mkfs." + string(typ)); err != nil {
				t.Skip(err)
			}
			keepsReserve(t, typ, looptest.Image(t, dir, "volume", filesystem.MinSize(typ)+256*mib))
		})
	}
}

func keepsReserve(t *testing.T, typ filesystem.Type, image string) {
	t.Helper()
	size := allocated(t, image)
	full := func(when string) {
		t.Helper()
		unix.Sync()
		if n := allocated(t, image); n < size {
			t.Errorf("after %s the image has %d bytes of the disk, want %d", when, n, size)
		}
	}
	h := looptest.Attach(t, image)
	if got := queue(t, h, "discard_max_bytes"); got != "0" {
		t.Errorf("got discard_max_bytes %s", got)
	}
	mnt := mountVolume(t, typ, h.Device)
	full("mkfs and mount")
	file := filepath.Join(mnt, "file")
	if err := os.WriteFile(file, bytes.Repeat([]byte("x"), 100*mib), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "fallocate", "--zero-range", "--offset", "1000", "--length", "50000000", file)
	full("zeroing in a file")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := filesystem.Trim(t.Context(), mnt); !errdefs.IsNotImplemented(err) {
		t.Errorf("got %v for trimming", err)
	}
	full("trimming")
	if err := filesystem.Unmount(mnt); err != nil {
		t.Fatal(err)
	}
	if err := blkdiscard(h.Device); err == nil {
		t.Error("the device takes discards")
	}
	_ = blkdiscard(h.Device, "--zeroout")
	full("zeroing the device")
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
}

// A mkfs that is not ours zeroes its tables in the background.
func TestForeignMkfsKeepsTheReserve(t *testing.T) {
	dir := looptest.Dir(t)
	image := looptest.Image(t, dir, "volume", 256*mib)
	h := looptest.Attach(t, image)
	run(t, "mkfs.ext4", "-q", "-F", h.Device)
	mnt := filepath.Join(dir, "mnt")
	_ = os.Mkdir(mnt, 0o755)
	o, err := filesystem.ParseOptions(filesystem.Ext4, "discard,init_itable=1")
	if err != nil {
		t.Fatal(err)
	}
	if err := filesystem.Mount(h.Device, mnt, filesystem.Ext4, o, false); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(mnt, "f"), make([]byte, 32*mib), 0o600); err != nil {
		t.Error(err)
	}
	unix.Sync()
	_ = os.Remove(filepath.Join(mnt, "f"))
	unix.Sync()
	if err := filesystem.Unmount(mnt); err != nil {
		t.Error(err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if n := allocated(t, image); n < 256*mib {
		t.Errorf("the image has %d bytes of the disk, want %d", n, 256*mib)
	}
}

func TestHostWithLargeSectors(t *testing.T) {
	dir := looptest.Dir(t)
	if _, err := exec.LookPath("mkfs.xfs"); err != nil {
		t.Skip(err)
	}
	disk := looptest.Image(t, dir, "disk", 1200*mib)
	dev := strings.TrimSpace(run(t, "losetup", "-f", "--show", "--sector-size", "4096", disk))
	defer run(t, "losetup", "-d", dev)
	host := filepath.Join(dir, "host")
	_ = os.Mkdir(host, 0o755)
	run(t, "mkfs.xfs", "-q", dev)
	run(t, "mount", dev, host)
	defer run(t, "umount", host)
	for _, typ := range filesystem.Types() {
		t.Run(string(typ), func(t *testing.T) {
			small := looptest.Image(t, dir, "small-"+string(typ), filesystem.MinSize(typ))
			moves(t, typ, small, filepath.Join(host, string(typ)))
		})
	}
}

// moves makes a file system in an image on a host with small sectors and mounts it
// on one with large sectors.
func moves(t *testing.T, typ filesystem.Type, small, moved string) {
	t.Helper()
	h := looptest.Attach(t, small)
	fs := filesystem.FS{Runner: xexec.Host{}}
	if err := fs.Make(t.Context(), typ, h.Device, filesystem.MakeOptions{Zeroed: true}); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	run(t, "cp", "--sparse=never", small, moved)
	defer os.Remove(moved)
	m, err := loop.Attach(t.Context(), moved, false)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if got := queue(t, m, "logical_block_size"); got != "4096" || !m.DirectIO {
		t.Errorf("got sectors of %s bytes, direct %v, want direct I/O in sectors of 4096 bytes", got, m.DirectIO)
	}
	mnt := filepath.Join(t.TempDir(), "mnt")
	_ = os.Mkdir(mnt, 0o755)
	if err := filesystem.Mount(m.Device, mnt, typ, filesystem.Options{}, false); err != nil {
		t.Fatal(err)
	}
	if err := filesystem.Unmount(mnt); err != nil {
		t.Error(err)
	}
}
