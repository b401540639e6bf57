package lvmvolume

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/internal/testx"
)

// TestDeviceIsThereOrNot: absent is no error, for that is what most volumes'
// devices are, and what cannot be told is one.
func TestDeviceIsThereOrNot(t *testing.T) {
	dir, d := t.TempDir(), hostDisk{}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "gone"), link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Join(dir, "absent"), link} {
		if there, err := d.there(path); there || err != nil {
			t.Errorf("%s: %v, %v", path, there, err)
		}
	}
	if there, err := d.there(dir); there || err == nil {
		t.Errorf("a directory: %v, %v", there, err)
	}
	testx.Need(t, testx.Root)
	unbound := filepath.Join(dir, "unbound") // a device number that no driver has
	if err := unix.Mknod(unbound, unix.S_IFBLK|0o600, int(unix.Mkdev(4000, 1))); err != nil {
		t.Skip("device nodes cannot be made here:", err)
	}
	if there, err := d.there(unbound); there || err != nil {
		t.Errorf("a device that is gone behind its node: %v, %v", there, err)
	}
}

// TestHurtFileSystemIsMendedBeforeItIsMounted, and people are told.
func TestHurtFileSystemIsMendedBeforeItIsMounted(t *testing.T) {
	r := newRig(t)
	r.make("v", "size", "1g")
	r.disk.sick = "the kernel recorded errors in it"
	_, _ = r.mount(t.Context(), "v", "id") // such devices cannot be mounted
	if r.disk.sick != "" {
		t.Error("it was not mended")
	}
	if es := r.events; len(es) == 0 || es[len(es)-1].Detail != "its file system was checked and mended: the kernel recorded errors in it" {
		t.Errorf("the events are %+v", es)
	}
}
