package loop_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/lvmvolume/loop"
	"github.com/mosdocker/mosdocker/lvmvolume/loop/looptest"
)

func TestCreateReservesEveryBlock(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.img")
	if err := loop.Create(t.Context(), path, 8*mib, nil); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil || st.Size() != 8*mib || st.Mode() != 0o600 {
		t.Errorf("got %v, %v", st, err)
	}
	if n := allocated(t, path); n < 8*mib {
		t.Errorf("got %d bytes of the disk, want %d", n, 8*mib)
	}
	if err := loop.Create(t.Context(), path, 8*mib, nil); !errdefs.IsAlreadyExists(err) {
		t.Errorf("got %v for an image that exists", err)
	}
	for _, size := range []int64{0, -4096, 4095, 4097} {
		if err := loop.Create(t.Context(), filepath.Join(dir, "b.img"), size, nil); !errdefs.IsInvalidArgument(err) {
			t.Errorf("got %v for a size of %d", err, size)
		}
	}
	if err := loop.Create(t.Context(), filepath.Join(dir, "no/b.img"), mib, nil); !errdefs.IsNotFound(err) {
		t.Errorf("got %v for a folder that is not there", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := loop.Create(ctx, filepath.Join(dir, "b.img"), mib, nil); err == nil {
		t.Error("made an image for nobody")
	}
	if ns := names(t, dir); len(ns) != 1 {
		t.Errorf("got files %q, want one", ns)
	}
}

func TestAFullHostKeepsItsOldState(t *testing.T) {
	for _, typ := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(typ, func(t *testing.T) {
			dir := hostFS(t, typ, 400*mib)
			before, err := loop.Free(dir)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "a.img")
			if err := loop.Create(t.Context(), path, 1<<30, nil); !errdefs.IsResourceExhausted(err) {
				t.Errorf("got %v for more than the host has", err)
			}
			if ns := names(t, dir); len(ns) > 0 {
				t.Errorf("got files %q, want none", ns)
			}
			if err := loop.Create(t.Context(), path, 64*mib, nil); err != nil {
				t.Fatal(err)
			}
			if err := loop.Grow(t.Context(), path, 1<<30); !errdefs.IsResourceExhausted(err) {
				t.Errorf("got %v for more than the host has", err)
			}
			st, err := os.Stat(path)
			if n := allocated(t, path); err != nil || st.Size() != 64*mib || n > 65*mib || n < 64*mib {
				t.Errorf("got size %d, %d bytes of the disk, %v, want %d", st.Size(), n, err, 64*mib)
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			testx.Eventually(t, 5*time.Second, func() error { // they free in the background
				run(t, "sync", "-f", dir)
				after, err := loop.Free(dir)
				if err == nil && after < before-8*mib {
					return fmt.Errorf("%d bytes free, want %d again", after, before)
				}
				return err
			})
		})
	}
}

func TestGrowKeepsDataFillsHolesAndNeverShrinks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.img")
	if err := loop.Create(t.Context(), path, 4*mib, nil); err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 4096)
	rand.Read(data)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(data, mib); err != nil {
		t.Fatal(err)
	}
	run(t, "fallocate", "--punch-hole", "--offset", "2097152", "--length", "1048576", path)
	if n := allocated(t, path); n >= 4*mib {
		t.Fatalf("no hole: %d bytes of the disk", n)
	}
	for _, size := range []int64{4 * mib, 8 * mib, 8 * mib} {
		if err := loop.Grow(t.Context(), path, size); err != nil {
			t.Fatal(err)
		}
		if n := allocated(t, path); n < size {
			t.Errorf("got %d bytes of the disk, want %d", n, size)
		}
	}
	got := make([]byte, len(data))
	if _, err := f.ReadAt(got, mib); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the data is another: %v", err)
	}
	if err := loop.Grow(t.Context(), path, 4*mib); !errdefs.IsInvalidArgument(err) {
		t.Errorf("got %v for a smaller size", err)
	}
	if err := loop.Grow(t.Context(), path+"x", 4*mib); !errdefs.IsNotFound(err) {
		t.Errorf("got %v for an image that is not there", err)
	}
}

func TestCloneSharesBlocksAndIsIndependent(t *testing.T) {
	for _, typ := range []string{"xfs", "btrfs"} {
		t.Run(typ, func(t *testing.T) {
			dir := hostFS(t, typ, 600*mib)
			if err := loop.CanClone(dir); err != nil {
				t.Fatal(err)
			}
			src, dst := filepath.Join(dir, "src"), filepath.Join(dir, "dst")
			if err := loop.Create(t.Context(), src, 300*mib, nil); err != nil {
				t.Fatal(err)
			}
			put(t, src, "origin")
			// Two of 300 MiB would not fit.
			if err := loop.Clone(t.Context(), src, dst); err != nil {
				t.Fatal(err)
			}
			put(t, src, "later ")
			if got := take(t, dst); got != "origin" {
				t.Errorf("got %q in the clone", got)
			}
			if err := loop.Clone(t.Context(), src, dst); !errdefs.IsAlreadyExists(err) {
				t.Errorf("got %v for a clone that exists", err)
			}
			other := filepath.Join(t.TempDir(), "dst")
			if err := loop.Clone(t.Context(), src, other); !errdefs.IsInvalidArgument(err) && !errdefs.IsNotImplemented(err) {
				t.Errorf("got %v for another file system", err)
			}
			if ns := names(t, dir); len(ns) != 2 {
				t.Errorf("got files %q, want two", ns)
			}
			for _, p := range []string{src, dst} {
				_ = os.Remove(p)
			}
		})
	}
}

func TestCloneIsRefusedWhereBlocksCannotBeShared(t *testing.T) {
	dir := hostFS(t, "ext4", 64*mib)
	if err := loop.CanClone(dir); !errdefs.IsNotImplemented(err) {
		t.Errorf("got %v", err)
	}
	src := looptest.Image(t, dir, "src", mib)
	if err := loop.Clone(t.Context(), src, filepath.Join(dir, "dst")); !errdefs.IsNotImplemented(err) {
		t.Errorf("got %v", err)
	}
	if ns := names(t, dir); len(ns) != 1 {
		t.Errorf("got files %q, want one", ns)
	}
}

func put(tb testing.TB, path, s string) {
	tb.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte(s), 0); err != nil {
		tb.Fatal(err)
	}
}

func take(tb testing.TB, path string) string {
	tb.Helper()
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 6)
	if _, err := f.ReadAt(b, 0); err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

// TestTooMuchIsRefusedBeforeAnyIsTaken: nobody else may find the host full because
// somebody asked for more than it has.
func TestTooMuchIsRefusedBeforeAnyIsTaken(t *testing.T) {
	dir := t.TempDir()
	least, err := loop.Free(dir)
	if err != nil {
		t.Fatal(err)
	}
	enough := least - least/4
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := loop.Create(t.Context(), filepath.Join(dir, "a.img"), 1<<50, nil); !errdefs.IsResourceExhausted(err) {
			t.Errorf("got %v for a pebibyte", err)
		}
	}()
	for {
		free, err := loop.Free(dir)
		if err != nil || free < enough {
			t.Fatalf("%d bytes are free, %v: %d were", free, err, least)
		}
		select {
		case <-done:
			return
		default:
		}
	}
}
