package filesystem

import (
	"context"
	"fmt"
	"math"
	"os"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// Usage is how full a mounted file system is. Total is what it offers for data:
// its own tables are not in it.
type Usage struct {
	Total, Used, Free  int64 // bytes; Free is what an ordinary user can have
	Inodes, InodesUsed int64
}

// UsageOf returns how full the file system is that holds a path.
func UsageOf(path string) (Usage, error) {
	var st unix.Statfs_t
	if err := eintr(func() error { return unix.Statfs(path, &st) }); err != nil {
		return Usage{}, fmt.Errorf("read the usage of %s: %w", path, err)
	}
	size := st.Frsize
	if size == 0 {
		size = st.Bsize
	}
	return Usage{
		Total: int64(st.Blocks) * size, Used: int64(st.Blocks-st.Bfree) * size, Free: int64(st.Bavail) * size,
		Inodes: int64(st.Files), InodesUsed: int64(st.Files - st.Ffree),
	}, nil
}

// trimRange is struct fstrim_range.
type trimRange struct {
	start, length uint64
	_             uint64 // the shortest piece: any
}

// trimChunk is how much of a file system is trimmed between two looks at the
// context.
const trimChunk = 64 << 30

// Trim tells the device which blocks the file system at a path does not use, and
// returns how many bytes that were. A device that cannot take that gives
// ErrNotImplemented. It gives reserved blocks of an image file back to the host:
// devices of package loop refuse it.
func Trim(ctx context.Context, path string) (int64, error) {
	dir, err := openDir(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = dir.Close() }()
	u, err := UsageOf(path)
	if err != nil {
		return 0, err
	}
	var sum uint64
	// The file system is larger than what it offers, by its own tables; the
	// last range goes to the end, wherever that is.
	for at := uint64(0); ; at += trimChunk {
		if err := context.Cause(ctx); err != nil {
			return int64(sum), fmt.Errorf("trim %s: %w", path, err)
		}
		r := trimRange{start: at, length: trimChunk}
		last := at+trimChunk >= uint64(u.Total)
		if last {
			r.length = math.MaxUint64 - at
		}
		err := ioctl(dir, fiTrim, &r)
		switch {
		case isErrno(err, unix.EOPNOTSUPP, unix.ENOTTY):
			return 0, fault.Later("the device below %s takes no discards", path)
		case err != nil:
			return int64(sum), fmt.Errorf("trim %s: %w", path, err)
		}
		if sum += r.length; last {
			return int64(sum), nil
		}
	}
}

// Freeze writes out the file system at a path and stops all writers until [Thaw],
// so that a snapshot of its device is whole. One that is frozen already gives
// ErrAborted: whoever froze it will thaw it. Nothing thaws it when the caller dies.
func Freeze(path string) error {
	err := onDir(path, fiFreeze)
	if isErrno(err, unix.EBUSY) {
		return fault.Of(errdefs.ErrAborted, "the file system at %s is frozen already: thaw it with fsfreeze --unfreeze %s", path, path)
	}
	if err != nil {
		return fmt.Errorf("freeze %s: %w", path, err)
	}
	return nil
}

// Thaw lets writers go on; one that is not frozen is no error.
func Thaw(path string) error {
	if err := onDir(path, fiThaw); err != nil && !isErrno(err, unix.EINVAL) {
		return fmt.Errorf("thaw %s: %w", path, err)
	}
	return nil
}

func onDir(path string, request uintptr) error {
	dir, err := openDir(path)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	var zero int32
	return ioctl(dir, request, &zero)
}

func openDir(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if os.IsNotExist(err) {
		return nil, fault.NotFound("directory %s is not there", path)
	}
	return f, err
}

func eintr(f func() error) error {
	for {
		if err := f(); !isErrno(err, unix.EINTR) {
			return err
		}
	}
}
