package stream_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/lvmvolume/stream"
)

func create(t *testing.T, size int64) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "volume"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return f
}

func blocks(t *testing.T, f *os.File) int64 {
	t.Helper()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Blocks * 512
}

func TestFilesKeepTheirHoles(t *testing.T) {
	from := create(t, 1<<40) // reading all of it would take an hour
	part := filled(mib, 8).data
	part[0] = 1
	for _, off := range []int64{0, 5*mib + 4096, 1 << 39} {
		if _, err := from.WriteAt(part, off); err != nil {
			t.Fatal(err)
		}
	}
	src, err := stream.NewFileSource(from)
	if err != nil {
		t.Fatal(err)
	}
	if start, _, err := src.NextData(2 * mib); err != nil || start > 5*mib+4096 || start < 5*mib {
		t.Skipf("this file system does not tell holes: data at %d, %v", start, err)
	}
	b, sum := write(t, src)
	to := create(t, 1<<40)
	open := func(stream.Header) (stream.Sink, error) { return stream.NewFileSink(to, true), nil }
	if _, err := stream.Read(t.Context(), bytes.NewReader(b), open, nil); err != nil {
		t.Fatal(err)
	}
	for _, off := range []int64{0, 5*mib + 4096, 1 << 39} {
		got := make([]byte, mib)
		if _, err := to.ReadAt(got, off); err != nil || !bytes.Equal(got, part) {
			t.Errorf("at %d: something else, %v", off, err)
		}
	}
	if n := blocks(t, to); n > 8*mib {
		t.Errorf("%d bytes on disk for %d of content", n, sum.Content)
	}
}

func TestFileSinkZeroes(t *testing.T) {
	src := filled(40*mib, 13)
	clear(src.data[2*mib : 37*mib])
	b, _ := write(t, src)
	f := create(t, 0)
	if _, err := f.Write(fresh(40*mib, false).data); err != nil {
		t.Fatal(err)
	}
	open := func(stream.Header) (stream.Sink, error) { return stream.NewFileSink(f, false), nil }
	if _, err := stream.Read(t.Context(), bytes.NewReader(b), open, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(f.Name()); err != nil || !bytes.Equal(got, src.data) {
		t.Error("what arrived is not what was sent", err)
	}
}

// TestFileSinkZeroesWithoutHoles writes where nothing can be punched, as on a
// block device without discard; /dev/null stands for it.
func TestFileSinkZeroesWithoutHoles(t *testing.T) {
	f, err := os.OpenFile("/dev/null", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 1); err == nil {
		t.Skip("a hole in /dev/null")
	}
	if err := stream.NewFileSink(f, false).Zero(5, 3*mib+1); err != nil {
		t.Error(err)
	}
}

func TestFileSourceOfAPipeIsRefused(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if _, err := stream.NewFileSource(r); !errors.Is(err, unix.ESPIPE) {
		t.Error(err)
	}
}

func TestFileSourceEnds(t *testing.T) {
	f := create(t, 3*mib)
	src, err := stream.NewFileSource(f)
	if err != nil || src.Size() != 3*mib {
		t.Fatal(src, err)
	}
	if start, end, err := src.NextData(3 * mib); !errors.Is(err, io.EOF) {
		t.Errorf("data at %d to %d, %v", start, end, err)
	}
	if err := f.Truncate(9 * mib); err != nil {
		t.Fatal(err)
	}
	for _, off := range []int64{8 * mib, 2 * mib} {
		if _, err := f.WriteAt(fresh(mib+4096, false).data, off); err != nil {
			t.Fatal(err)
		}
		if start, end, err := src.NextData(0); err == nil && (end > 3*mib || start >= end) || err != nil && !errors.Is(err, io.EOF) {
			t.Errorf("data at %d to %d, %v", start, end, err)
		}
	}
}
