package filesystem_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/mosdocker/mosdocker/internal/xexec"
	"github.com/mosdocker/mosdocker/lvmvolume/filesystem"
	"github.com/mosdocker/mosdocker/lvmvolume/loop/looptest"
)

func run(tb testing.TB, argv ...string) string {
	tb.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		tb.Fatalf("%s: %v: %s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}

func TestMakeCommands(t *testing.T) {
	device := looptest.Device(t, 320*mib)
	old := xexec.Error{Code: 1, Stderr: "Bad option(s) specified: assume_storage_prezeroed"}
	f := &xexec.Fake{Answer: func(c xexec.Cmd) ([]byte, error) {
		if strings.Contains(c.String(), "prezeroed") {
			return nil, &old
		}
		return nil, nil
	}}
	fs := filesystem.FS{Runner: f}
	for _, o := range []filesystem.MakeOptions{{}, {Zeroed: true, Label: "web", UUID: "6c4b"}} {
		for _, typ := range filesystem.Types() {
			if err := fs.Make(t.Context(), typ, device, o); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := strings.ReplaceAll(strings.Join(f.Lines(), "\n"), device, "DEVICE")
	const want = `mkfs.ext4 -F -q -m 0 -b 4096 -I 256 -E nodiscard,lazy_itable_init=1,lazy_journal_init=0 -- DEVICE
mkfs.xfs -f -q -K -b size=4096 -s size=4096 -- DEVICE
mkfs.ext4 -F -q -m 0 -b 4096 -I 256 -E nodiscard,assume_storage_prezeroed=1 -L web -U 6c4b -- DEVICE
mkfs.ext4 -F -q -m 0 -b 4096 -I 256 -E nodiscard,lazy_itable_init=1,lazy_journal_init=1 -L web -U 6c4b -- DEVICE
mkfs.xfs -f -q -K -b size=4096 -s size=4096 -L web -m uuid=6c4b -- DEVICE`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestMakeSaysWhichPackageIsMissing(t *testing.T) {
	device := looptest.Device(t, 320*mib)
	fs := filesystem.FS{Runner: &xexec.Fake{Answer: func(xexec.Cmd) ([]byte, error) {
		return nil, &xexec.Error{Code: -1, Err: exec.ErrNotFound}
	}}}
	for typ, pkg := range map[filesystem.Type]string{filesystem.Ext4: "e2fsprogs", filesystem.XFS: "xfsprogs"} {
		err := fs.Make(t.Context(), typ, device, filesystem.MakeOptions{})
		if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "apt-get install "+pkg) {
			t.Errorf("%s: got %v", typ, err)
		}
	}
	if _, err := fs.Signatures(t.Context(), device); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "util-linux") {
		t.Errorf("got %v", err)
	}
}

func TestMakeRefuses(t *testing.T) {
	each(t, func(t *testing.T, typ filesystem.Type) {
		t.Helper()
		small := looptest.Device(t, filesystem.MinSize(typ)-4096)
		if err := host.Make(t.Context(), typ, small, filesystem.MakeOptions{}); !errdefs.IsInvalidArgument(err) {
			t.Errorf("got %v for a small device", err)
		}
		if err := host.Make(t.Context(), typ, "/dev/no-such", filesystem.MakeOptions{}); !errdefs.IsNotFound(err) {
			t.Errorf("got %v for no device", err)
		}
		if err := host.Make(t.Context(), typ, "/dev/null", filesystem.MakeOptions{}); !errdefs.IsInvalidArgument(err) {
			t.Errorf("got %v for a character device", err)
		}
		least := looptest.Device(t, filesystem.MinSize(typ))
		makeOn(t, typ, least)
		mnt := mount(t, typ, least, "")
		if err := host.Make(t.Context(), typ, least, filesystem.MakeOptions{}); !errdefs.IsFailedPrecondition(err) {
			t.Errorf("got %v for a mounted device", err)
		}
		if u, err := filesystem.UsageOf(mnt); err != nil || u.Free < filesystem.MinSize(typ)/2 {
			t.Errorf("got %+v, %v: the smallest size is not worth it", u, err)
		}
	})
}

// A promise of zeros must not be what makes a file system whole.
func TestMakeOnADeviceFullOfOldData(t *testing.T) {
	each(t, func(t *testing.T, typ filesystem.Type) {
		t.Helper()
		device := looptest.Device(t, size(typ))
		run(t, "sh", "-c", "yes old data | dd of="+device+" bs=1M iflag=fullblock conv=notrunc status=none || true")
		if err := host.Make(t.Context(), typ, device, filesystem.MakeOptions{Label: "fresh"}); err != nil {
			t.Fatal(err)
		}
		if i, err := filesystem.Probe(device); err != nil || i.Label != "fresh" || i.Errors {
			t.Errorf("got %+v, %v", i, err)
		}
		mnt := mount(t, typ, device, "")
		if err := os.WriteFile(filepath.Join(mnt, "f"), []byte("x"), 0o600); err != nil {
			t.Error(err)
		}
		if err := filesystem.Unmount(mnt); err != nil {
			t.Fatal(err)
		}
		if typ == filesystem.Ext4 {
			run(t, "e2fsck", "-fn", device)
		} else {
			run(t, "xfs_repair", "-n", device)
		}
	})
}

// owners are scripts that put somebody's data on the device $D, by its type.
func owners() map[string]string {
	return map[string]string{
		"empty":       ":",
		"ext4":        "mkfs.ext4 -q -F $D",
		"xfs":         "mkfs.xfs -q -f $D",
		"btrfs":       "mkfs.btrfs -q -f $D",
		"swap":        "mkswap -q $D",
		"dos":         `printf '\0\0\0\0\203\0\0\0\0\010\0\0\0\200\0\0' | dd of=$D bs=1 seek=446 conv=notrunc status=none; printf '\125\252' | dd of=$D bs=1 seek=510 conv=notrunc status=none`,
		"LVM2_member": "lvm pvcreate -q -q --driverloaded n --config 'devices{use_devicesfile=0}' $D >/dev/null 2>&1",
		"data":        "printf x | dd of=$D bs=1 seek=70000 conv=notrunc status=none",
	}
}

func TestSignaturesNameWhatIsThereAndWipeRemovesIt(t *testing.T) {
	dir := looptest.Dir(t)
	for name, script := range owners() {
		t.Run(name, func(t *testing.T) {
			h := looptest.Attach(t, looptest.Image(t, dir, name, 320*mib))
			cmd := exec.Command("sh", "-ec", script)
			cmd.Env = append(os.Environ(), "D="+h.Device)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Skipf("%v: %s", err, out)
			}
			got, err := host.Signatures(t.Context(), h.Device)
			if err != nil {
				t.Fatal(err)
			}
			found := name == "empty" && len(got) == 0
			for _, s := range got {
				t.Log(s)
				found = found || s.Type == name
			}
			if !found {
				t.Errorf("got %v", got)
			}
			if err := host.Wipe(t.Context(), h.Device); err != nil {
				t.Fatal(err)
			}
			if got, err := host.Signatures(t.Context(), h.Device); err != nil || len(got) > 0 {
				t.Errorf("got %v, %v after the wipe", got, err)
			}
			if err := h.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSignaturesOfADeviceInUseAreRefused(t *testing.T) {
	device := looptest.Device(t, 320*mib)
	makeOn(t, filesystem.Ext4, device)
	mount(t, filesystem.Ext4, device, "")
	if got, err := host.Signatures(t.Context(), device); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("got %v, %v", got, err)
	}
	if err := host.Wipe(t.Context(), device); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("got %v", err)
	}
	if err := filesystem.Zero(t.Context(), device, 0, nil); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("got %v", err)
	}
}

func TestZeroTellsItsProgressAndStops(t *testing.T) {
	device := looptest.Device(t, 160*mib)
	makeOn(t, filesystem.Ext4, device)
	var steps []int64
	if err := filesystem.Zero(t.Context(), device, 0, func(done, total int64) {
		if steps = append(steps, done/mib); total != 160*mib {
			t.Errorf("got %d of %d", done, total)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int64{64, 128, 160}, steps); diff != "" {
		t.Error(diff)
	}
	run(t, "cmp", "--bytes=167772160", device, "/dev/zero")
	ctx, stop := cancelable(t)
	n := 0
	err := filesystem.Zero(ctx, device, 0, func(int64, int64) { n++; stop(errStop) })
	if !errors.Is(err, errStop) || n != 1 {
		t.Errorf("got %v after %d pieces", err, n)
	}
}
