package lvmvolume

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
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

// TestGrowthGoesOnWhenNobodyWaits: the call that began it is told so, and so is the
// next while it goes on; nothing is killed.
func TestGrowthGoesOnWhenNobodyWaits(t *testing.T) {
	r := newRig(t)
	r.make("v", "size", "1g")
	begun, finish, cut := make(chan bool, 1), make(chan bool), make(chan error, 1)
	r.disk.grow = func(ctx context.Context) error {
		begun <- true
		<-finish
		cut <- ctx.Err()
		return errors.New("the end") // such devices cannot be mounted
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-begun
		cancel()
	}()
	const want = "the file system of volume v is being grown"
	if _, err := r.mount(ctx, "v", "id"); !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), want) {
		t.Errorf("who began it is told %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.mount(ctx, "v", "id"); !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), want) {
		t.Errorf("who comes next is told %v", err)
	}
	if err := r.trash(ctx, "v"); err == nil {
		t.Error("it is removed meanwhile")
	}
	close(finish)
	if err := <-cut; err != nil {
		t.Errorf("it was cut off: %v", err)
	}
	if _, err := r.mount(t.Context(), "v", "id"); err == nil || !strings.Contains(err.Error(), "the end") {
		t.Errorf("when it is over it says %v", err)
	}
	if err := r.longWorkOn("v"); err != nil {
		t.Errorf("when it is over it is noted still: %v", err)
	}
}

// TestAMountThatPanicsEndsItsCallOnly: the daemon goes on, and so does the volume.
func TestAMountThatPanicsEndsItsCallOnly(t *testing.T) {
	r := newRig(t)
	r.make("data", "size", "1g")
	r.disk.grow = func(context.Context) error { panic("boom") }
	func() {
		defer func() {
			if p := recover(); p != "boom" {
				t.Errorf("who answers the call sees %v", p)
			}
		}()
		_, err := r.mount(t.Context(), "data", "id")
		t.Errorf("it returns %v", err)
	}()
	r.disk.grow = func(context.Context) error { return errors.New("another time") }
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := r.mount(ctx, "data", "id"); err == nil || !strings.Contains(err.Error(), "another time") {
		t.Errorf("the next mount says %v", err)
	}
}
