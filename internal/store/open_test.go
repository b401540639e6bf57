package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/testx"
)

func TestNewerSchemaIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	d, err := Open(path, 3, nil)
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	_, err = Open(path, 2, nil)
	if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	if d, err = Open(path, 3, nil); err != nil {
		t.Fatalf("after a refusal: %v", err)
	}
	d.Close()
}

func TestMigrationsAllOrNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	d := openT(t, path)
	if err := d.Update(func(tx *Tx) error { return counts.Put(tx, "n", 1) }); err != nil {
		t.Fatal(err)
	}
	d.Close()
	add := func(n int) Migration {
		return func(tx *Tx) error {
			v, err := counts.Get(tx, "n")
			return errors.Join(err, counts.Put(tx, "n", v*10+n))
		}
	}
	errNo := errors.New("no")
	if _, err := Open(path, 3, map[int]Migration{1: add(2), 2: func(*Tx) error { return errNo }}); !errors.Is(err, errNo) {
		t.Errorf("got %v", err)
	}
	if _, err := Open(path, 3, map[int]Migration{1: add(2)}); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("missing migration: got %v", err)
	}
	for range 2 { // the second time there is nothing to do
		d, err := Open(path, 3, map[int]Migration{1: add(2), 2: add(3)})
		if err != nil {
			t.Fatal(err)
		}
		if got := content(t, d)["n"]; got != 123 {
			t.Errorf("n is %v, want 123", got)
		}
		d.Close()
	}
}

func TestDamagedFileIsNamed(t *testing.T) {
	page := os.Getpagesize()
	damage := map[string]func([]byte) []byte{
		"text":         func([]byte) []byte { return []byte(strings.Repeat("not a store\n", 1000)) },
		"zeros":        func(b []byte) []byte { return make([]byte, len(b)) },
		"cut_in_half":  func(b []byte) []byte { return b[:len(b)/2/page*page] },
		"two_pages":    func(b []byte) []byte { return b[:2*page] },
		"one_byte":     func(b []byte) []byte { return b[:1] },
		"bad_metas":    func(b []byte) []byte { clear(b[16 : 16+64]); clear(b[page+16 : page+16+64]); return b },
		"bad_contents": func(b []byte) []byte { clear(b[2*page:]); return b },
		"bad_flags": func(b []byte) []byte {
			for p := 2; p < len(b)/page; p++ {
				binary.NativeEndian.PutUint16(b[p*page+8:], 0x4242)
			}
			return b
		},
	}
	for name, f := range damage {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.db")
			d := openT(t, path)
			err := d.Update(func(tx *Tx) error {
				for i := range 2000 {
					if err := counts.Put(tx, fmt.Sprintf("some-long-key-%04d", i), i); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			d.Close()
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, f(data), 0o600); err != nil {
				t.Fatal(err)
			}
			d, err = Open(path, 1, nil)
			if err == nil {
				d.Close()
				t.Fatal("a damaged file was opened")
			}
			if !errdefs.IsDataLoss(err) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestSecondOpenIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	openT(t, path)
	if _, err := Open(path, 1, nil); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "another process") {
		t.Errorf("got %v", err)
	}
}

func TestLeftoverOfACutCreationIsReplaced(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.db")
	if err := os.WriteFile(path+".new", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	openT(t, path)
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) != 1 {
		t.Errorf("left %v, %v", names, err)
	}
}

func TestFullDiskLeavesTheStoreUsable(t *testing.T) {
	testx.Need(t, testx.Root)
	// The mount is seen by this thread only; Go ends the thread with the
	// goroutine, since it stays locked.
	runtime.LockOSThread()
	if err := syscall.Unshare(syscall.CLONE_FS | syscall.CLONE_NEWNS); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)

	d, err := Open(filepath.Join(dir, "x.db"), 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	big := strings.Repeat("x", 16<<10)
	var stored int
	for err == nil {
		if stored > 100 {
			t.Fatal("the disk never gets full")
		}
		err = d.Update(func(tx *Tx) error { return leases.Put(tx, fmt.Sprintf("k%02d", stored), lease{Address: big}) })
		if err == nil {
			stored++
		}
	}
	if !errdefs.IsResourceExhausted(err) || !strings.Contains(err.Error(), d.Path()) {
		t.Errorf("got %v", err)
	}
	if err := d.Batch(func(tx *Tx) error { return leases.Put(tx, "batch", lease{Address: strings.Repeat(big, 20)}) }); !errdefs.IsResourceExhausted(err) {
		t.Errorf("batch: got %v", err)
	}
	if got := len(content(t, d)); got != stored {
		t.Errorf("%d entries after a full disk, want %d", got, stored)
	}
	// Room comes back, and the store goes on.
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, "size=1m"); err != nil {
		t.Fatal(err)
	}
	if err := d.Update(func(tx *Tx) error { return leases.Put(tx, "after", lease{}) }); err != nil {
		t.Fatal(err)
	}
	path := d.Path()
	d.Close()
	if got := len(content(t, openT(t, path))); got != stored+1 {
		t.Errorf("%d entries after opening again, want %d", got, stored+1)
	}
}
