package filesystem_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/internal/xexec"
	"github.com/mosdocker/mosdocker/lvmvolume/filesystem"
	"github.com/mosdocker/mosdocker/lvmvolume/loop"
	"github.com/mosdocker/mosdocker/lvmvolume/loop/looptest"
)

func TestMain(m *testing.M) { os.Exit(looptest.Main(m)) }

const mib = 1 << 20

var host = filesystem.FS{Runner: xexec.Host{}}

// size is what most tests give a device: enough for either type.
func size(t filesystem.Type) int64 { return filesystem.MinSize(t) + 64*mib }

// each runs a test for each type whose mkfs is installed.
func each(t *testing.T, f func(t *testing.T, typ filesystem.Type)) {
	t.Helper()
	for _, typ := range filesystem.Types() {
		t.Run(string(typ), func(t *testing.T) {
			testx.Need(t, testx.Root)
			if _, err := os.Stat("/sbin/mkfs." + string(typ)); err != nil {
				t.Skip(err)
			}
			f(t, typ)
		})
	}
}

func makeOn(tb testing.TB, typ filesystem.Type, device string) {
	tb.Helper()
	if err := host.Make(tb.Context(), typ, device, filesystem.MakeOptions{Zeroed: true}); err != nil {
		tb.Fatal(err)
	}
}

// mount mounts a device at a new directory until the test ends.
func mount(tb testing.TB, typ filesystem.Type, device, options string) string {
	tb.Helper()
	o, err := filesystem.ParseOptions(typ, options)
	if err != nil {
		tb.Fatal(err)
	}
	dir := filepath.Join(tb.TempDir(), "mnt")
	if err := os.Mkdir(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := filesystem.Mount(device, dir, typ, o, false); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := filesystem.Unmount(dir); err != nil {
			tb.Error(err)
		}
	})
	return dir
}

// A file system that is made in an image, before that is a device or has a name,
// is as good, and the image keeps its reserve.
func TestMakeInAnImageWithoutAName(t *testing.T) {
	each(t, func(t *testing.T, typ filesystem.Type) {
		t.Helper()
		image := filepath.Join(looptest.Dir(t), "v.img")
		t.Cleanup(func() { _ = os.Remove(image) }) // absent when the test failed
		err := loop.Create(t.Context(), image, size(typ), func(file string) error {
			return host.Make(t.Context(), typ, file, filesystem.MakeOptions{Zeroed: true})
		})
		if err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Stat(image, &st); err != nil || st.Size != size(typ) || st.Blocks*512 < size(typ) {
			t.Errorf("the image has %d bytes, of which %d are its own, %v; want %d", st.Size, st.Blocks*512, err, size(typ))
		}
		h := looptest.Attach(t, image)
		if info, err := filesystem.Probe(h.Device); err != nil || info.Type != typ || info.Size < h.Size-mib {
			t.Fatalf("got %+v, %v, want %s of %d bytes", info, err, typ, h.Size)
		}
		mnt := mount(t, typ, h.Device, "")
		if err := os.WriteFile(filepath.Join(mnt, "f"), []byte("x"), 0o600); err != nil {
			t.Error(err)
		}
		if err := filesystem.Unmount(mnt); err != nil {
			t.Fatal(err)
		}
		check := map[filesystem.Type][]string{filesystem.Ext4: {"e2fsck", "-fn"}, filesystem.XFS: {"xfs_repair", "-n"}}[typ]
		run(t, append(check, h.Device)...)
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestLifeOfAFileSystem(t *testing.T) {
	each(t, func(t *testing.T, typ filesystem.Type) {
		t.Helper()
		dir := looptest.Dir(t)
		image := looptest.Image(t, dir, "v", size(typ))
		h := looptest.Attach(t, image)
		makeOn(t, typ, h.Device)
		info, err := filesystem.Probe(h.Device)
		if err != nil || info.Type != typ || info.UUID == "" || info.Size > h.Size || info.Size < h.Size-mib {
			t.Fatalf("got %+v, %v, want %s of %d bytes", info, err, typ, h.Size)
		}
		mnt := mount(t, typ, h.Device, "noatime")
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		before, err := filesystem.UsageOf(mnt)
		if err != nil || before.Total <= 0 || before.Total > h.Size || before.Free <= 0 || before.Inodes <= 0 {
			t.Fatalf("got usage %+v, %v", before, err)
		}
		if err := loop.Grow(t.Context(), image, size(typ)+256*mib); err != nil {
			t.Fatal(err)
		}
		if err := loop.SetCapacity(h.Device); err != nil {
			t.Fatal(err)
		}
		if filesystem.CanGrowOnline(typ) == nil {
			err = filesystem.GrowOnline(t.Context(), typ, h.Device, mnt)
		} else { // the other way: between two mounts, with the device held
			again := looptest.Attach(t, image)
			err = errors.Join(filesystem.Unmount(mnt), host.GrowOffline(t.Context(), typ, h.Device),
				filesystem.Mount(h.Device, mnt, typ, filesystem.Options{}, false), again.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		after, err := filesystem.UsageOf(mnt)
		if err != nil || after.Total < before.Total+200*mib {
			t.Errorf("got usage %+v, %v, want 256 MiB more than %+v", after, err, before)
		}
	})
}
