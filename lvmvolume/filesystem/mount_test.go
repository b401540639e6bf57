package filesystem_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/lvmvolume/filesystem"
	"github.com/mosdocker/mosdocker/lvmvolume/loop/looptest"
	"github.com/mosdocker/mosdocker/lvmvolume/mounts"
)

func TestOptionsPassOnlyWhatIsListed(t *testing.T) {
	for in, want := range map[string]string{
		"":                             "",
		"defaults, noatime":            "noatime",
		"relatime,noatime":             "noatime",
		"noatime,relatime,discard":     "relatime,discard",
		"dev,exec,suid":                "dev,exec,suid",
		"nodev,dev":                    "dev",
		"discard,nodiscard":            "nodiscard",
		"commit=5,data=journal,nosuid": "nosuid,commit=5,data=journal",
		"sync,async":                   "async",
		"ro,rw,ro":                     "ro",
	} {
		o, err := filesystem.ParseOptions(filesystem.Ext4, in)
		if err != nil || o.String() != want || o.ReadOnly() != (want == "ro") {
			t.Errorf("%q: got %q, %v, want %q", in, o, err, want)
		}
	}
	for typ, words := range map[filesystem.Type]string{
		filesystem.Ext4: "nobarrier barrier=0 data=writeback journal_dev=8:1 journal_path=/dev/sda noload norecovery errors=panic errors=continue " +
			"commit=0 commit=61 commit=05 commit= commit=1e1 noatime=1 discard=1 journal_async_commit noauto_da_alloc sb=8193 usrjquota=a dax " +
			"nouuid logdev=/dev/sda loop bind remount shared x-systemd.automount a\x00b quota test_dummy_encryption",
		filesystem.XFS: "nobarrier logdev=/dev/sda rtdev=/dev/sda norecovery allocsize=1 logbufs=9 logbufs=1 logbsize=1k data=ordered commit=5 dax=always ikeep",
	} {
		for word := range strings.FieldsSeq(words) {
			o, err := filesystem.ParseOptions(typ, word)
			if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), "mount option") {
				t.Errorf("%s %q: got %q, %v", typ, word, o, err)
			}
		}
	}
	if _, err := filesystem.ParseOptions(filesystem.XFS, "x"); err == nil || !strings.Contains(err.Error(), "noatime") || !strings.Contains(err.Error(), "logbufs=2..8") {
		t.Errorf("got %v, want the allowed ones named", err)
	}
	for typ, n := range map[string]bool{"ext4": true, "xfs": true, "ext3": false, "": false, "btrfs": false} {
		if _, err := filesystem.ParseType(typ); (err == nil) != n || err != nil && !errdefs.IsInvalidArgument(err) {
			t.Errorf("type %q: got %v", typ, err)
		}
	}
}

// What is allowed is what the kernel takes.
func TestKernelTakesEveryAllowedOption(t *testing.T) {
	each(t, func(t *testing.T, typ filesystem.Type) {
		t.Helper()
		device := looptest.Device(t, size(typ))
		makeOn(t, typ, device)
		for _, word := range filesystem.AllowedOptions(typ) {
			key, values, _ := strings.Cut(word, "=")
			tries := []string{key}
			if low, high, ok := strings.Cut(values, ".."); ok {
				tries = []string{key + "=" + low, key + "=" + high}
			} else if values != "" {
				vs := strings.Split(values, "|")
				tries = slices.Compact([]string{key + "=" + vs[0], key + "=" + vs[len(vs)-1]})
			}
			for _, o := range tries {
				t.Run(strings.ReplaceAll(o, "=", "-"), func(t *testing.T) { mount(t, typ, device, o) })
			}
		}
	})
}

func TestMountFlags(t *testing.T) {
	device := looptest.Device(t, 32*mib)
	makeOn(t, filesystem.Ext4, device)
	for in, want := range map[string]string{
		"":                      "rw,nodev,relatime",
		"dev":                   "rw,relatime",
		"noatime,nosuid,noexec": "rw,nosuid,nodev,noexec,noatime",
		"ro,strictatime":        "ro,nodev",
		"nosymfollow,sync":      "rw,nodev,relatime,nosymfollow",
	} {
		t.Run(strings.ReplaceAll(in, ",", "_"), func(t *testing.T) {
			mnt := mount(t, filesystem.Ext4, device, in)
			m, ok, err := mounts.At(mnt)
			if err != nil || !ok {
				t.Fatal(ok, err)
			}
			got := slices.Sorted(strings.SplitSeq(m.Options, ","))
			if !slices.Equal(got, slices.Sorted(strings.SplitSeq(want, ","))) {
				t.Errorf("got %s, want %s", m.Options, want)
			}
		})
	}
}

func TestMountTwiceAndOverAnother(t *testing.T) {
	each(t, func(t *testing.T, typ filesystem.Type) {
		t.Helper()
		device := looptest.Device(t, size(typ))
		makeOn(t, typ, device)
		mnt := mount(t, typ, device, "")
		if err := filesystem.Mount(device, mnt, typ, filesystem.Options{}, false); err != nil {
			t.Errorf("a second time: %v", err)
		}
		other := looptest.Device(t, size(typ))
		makeOn(t, typ, other)
		if err := filesystem.Mount(other, mnt, typ, filesystem.Options{}, false); !errdefs.IsFailedPrecondition(err) {
			t.Errorf("got %v over another", err)
		}
		if err := filesystem.Unmount(mnt); err != nil {
			t.Fatal(err)
		}
		if _, ok, err := mounts.At(mnt); ok || err != nil {
			t.Errorf("mounted twice: %v", err)
		}
		if err := filesystem.Mount(other, mnt+"/no", typ, filesystem.Options{}, false); !errdefs.IsNotFound(err) {
			t.Errorf("got %v for no directory", err)
		}
		if err := filesystem.Mount("/dev/no-such", mnt, typ, filesystem.Options{}, false); !errdefs.IsNotFound(err) {
			t.Errorf("got %v for no device", err)
		}
		empty := looptest.Device(t, size(typ))
		if err := filesystem.Mount(empty, mnt, typ, filesystem.Options{}, false); !errdefs.IsFailedPrecondition(err) {
			t.Errorf("got %v for an empty device", err)
		}
	})
}

func TestReadOnlyMount(t *testing.T) {
	device := looptest.Device(t, 32*mib)
	makeOn(t, filesystem.Ext4, device)
	dir := t.TempDir()
	if err := filesystem.Mount(device, dir, filesystem.Ext4, filesystem.Options{}, true); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o600); err == nil {
		t.Error("wrote to it")
	}
	if err := filesystem.Unmount(dir); err != nil {
		t.Error(err)
	}
}

// A clone of xfs has the UUID of its origin.
func TestXFSMountsBesideItsClone(t *testing.T) {
	dir := looptest.Dir(t)
	if _, err := os.Stat("/sbin/mkfs.xfs"); err != nil {
		t.Skip(err)
	}
	image := looptest.Image(t, dir, "v", 320*mib)
	h := looptest.Attach(t, image)
	makeOn(t, filesystem.XFS, h.Device)
	clone := filepath.Join(dir, "clone.img")
	run(t, "cp", image, clone)
	t.Cleanup(func() { _ = os.Remove(clone) })
	mount(t, filesystem.XFS, h.Device, "")
	mount(t, filesystem.XFS, looptest.Attach(t, clone).Device, "nouuid")
}

func TestUnmountNeverTakesAFileSystemFromItsUsers(t *testing.T) {
	device := looptest.Device(t, 32*mib)
	makeOn(t, filesystem.Ext4, device)
	mnt := mount(t, filesystem.Ext4, device, "")
	f, err := os.Create(filepath.Join(mnt, "f"))
	if err != nil {
		t.Fatal(err)
	}
	if err := filesystem.Unmount(mnt); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("got %v with an open file", err)
	}
	f.Close()
	for range 2 {
		if err := filesystem.Unmount(mnt); err != nil {
			t.Error(err)
		}
	}
	if err := filesystem.Unmount(mnt + "/no/such"); err != nil {
		t.Errorf("got %v for a path that is not there", err)
	}
}

func TestUsageCountsBytesAndInodes(t *testing.T) {
	each(t, func(t *testing.T, typ filesystem.Type) {
		t.Helper()
		device := looptest.Device(t, size(typ))
		makeOn(t, typ, device)
		mnt := mount(t, typ, device, "")
		before, err := filesystem.UsageOf(mnt)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(mnt, "f"), make([]byte, 8*mib), 0o600); err != nil {
			t.Fatal(err)
		}
		unix.Sync()
		after, err := filesystem.UsageOf(mnt)
		if used := after.Used - before.Used; err != nil || used < 8*mib || used > 9*mib || after.Free > before.Free-8*mib || after.InodesUsed <= before.InodesUsed-1 {
			t.Errorf("got %+v, %v, before %+v", after, err, before)
		}
	})
}

func TestTrimReturnsWhatIsFree(t *testing.T) {
	each(t, func(t *testing.T, typ filesystem.Type) {
		t.Helper()
		// A device of losetup's, which takes discards: ours do not.
		file := filepath.Join(looptest.Dir(t), "v")
		run(t, "truncate", "-s", "400M", file)
		device := strings.TrimSpace(run(t, "losetup", "-f", "--show", file))
		defer run(t, "losetup", "-d", device)
		makeOn(t, typ, device)
		mnt := mount(t, typ, device, "")
		defer func() {
			if err := filesystem.Unmount(mnt); err != nil {
				t.Error(err)
			}
		}()
		n, err := filesystem.Trim(t.Context(), mnt)
		if errdefs.IsNotImplemented(err) {
			t.Skip("this host's loop devices take no discards")
		}
		if err != nil || n < 200*mib || n > 400*mib {
			t.Errorf("got %d, %v", n, err)
		}
		ctx, stop := cancelable(t)
		stop(errStop)
		if _, err := filesystem.Trim(ctx, mnt); err == nil {
			t.Error("trims for nobody")
		}
	})
}

func TestFreezeStopsWritersUntilThaw(t *testing.T) {
	each(t, func(t *testing.T, typ filesystem.Type) {
		t.Helper()
		device := looptest.Device(t, size(typ))
		makeOn(t, typ, device)
		mnt := mount(t, typ, device, "")
		if err := filesystem.Thaw(mnt); err != nil {
			t.Errorf("thaw before a freeze: %v", err)
		}
		if err := filesystem.Freeze(mnt); err != nil {
			t.Fatal(err)
		}
		wrote := make(chan error, 1)
		go func() { wrote <- os.WriteFile(filepath.Join(mnt, "f"), []byte("x"), 0o600) }()
		err := filesystem.Freeze(mnt)
		if !errdefs.IsAborted(err) {
			t.Errorf("got %v for a second freeze", err)
		}
		select {
		case <-wrote:
			t.Error("a writer went on")
		case <-time.After(100 * time.Millisecond):
		}
		for range 2 {
			if err := filesystem.Thaw(mnt); err != nil {
				t.Error(err)
			}
		}
		if err := <-wrote; err != nil {
			t.Error(err)
		}
		if err := filesystem.Freeze(mnt + "/no"); !errdefs.IsNotFound(err) {
			t.Errorf("got %v for no directory", err)
		}
	})
}

func FuzzParseOptions(f *testing.F) {
	for _, s := range []string{"noatime,commit=5", "ro,,defaults", "logbsize=32k, wsync", "a=b,=,=c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, typ := range filesystem.Types() {
			o, err := filesystem.ParseOptions(typ, s)
			if err != nil {
				continue
			}
			if strings.ContainsAny(o.String(), "\x00/ \n") || strings.Contains(o.String(), "dev=") || len(o.String()) > 1000 {
				t.Errorf("%q gives %q", s, o)
			}
			again, err := filesystem.ParseOptions(typ, o.String())
			if err != nil || again.String() != o.String() {
				t.Errorf("%q does not come back: %q, %v", o, again, err)
			}
		}
	})
}
