package loop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// Align is what the size of an image must be a multiple of: the largest sector
// that a host's disk has.
const Align = 4096

const (
	imageMode = 0o600
	gib       = 1 << 30
	piece     = 4 * gib // how much is reserved between two looks at the context
)

// Create makes an image file of so many bytes, all of them reserved, and returns
// when file and name are on the disk. fill, unless nil, writes to the reserved file
// before it has its name: it gets a path that is good until it returns. Its error
// leaves no file. A path that exists gives ErrAlreadyExists; a full host gives
// ErrResourceExhausted and leaves nothing; a host's file system that cannot reserve
// gives ErrNotImplemented.
func Create(ctx context.Context, path string, size int64, fill func(file string) error) error {
	if err := checkSize(path, size); err != nil {
		return err
	}
	return newFile(path, func(f *os.File) error {
		if err := reserve(ctx, f, size); err != nil || fill == nil {
			return err
		}
		if err := fill(openPath(f)); err != nil {
			return err
		}
		// mkfs zeroes a part of a file by a hole where the kernel has no better.
		return reserve(ctx, f, size)
	})
}

// openPath is a path of an open file that needs no name, for this process and
// its children.
func openPath(f *os.File) string {
	return filepath.Join("/proc", strconv.Itoa(os.Getpid()), "fd", strconv.Itoa(int(f.Fd())))
}

func checkSize(path string, size int64) error {
	if size <= 0 || size%Align != 0 {
		return fault.Invalid("image %s: a size of %d bytes is no multiple of %d", path, size, Align)
	}
	return nil
}

// newFile makes a file that has its name only when fill is done with it and all is
// on the disk.
func newFile(path string, fill func(*os.File) error) (err error) {
	if _, err := os.Lstat(path); err == nil {
		return fault.Exists("image %s exists", path)
	}
	f, part, err := open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if part {
		defer func() {
			if err != nil {
				err = errors.Join(err, os.Remove(f.Name()))
			}
		}()
	}
	keepInPlace(f)
	if err := fill(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync image %s: %w", path, err)
	}
	if err := name(f, part, path); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

// PartPrefix begins the names of files that are not whole yet. What a cut leaves
// of them is nobody's.
const PartPrefix = ".new-"

// open makes a file without a name, or with one of a part where the file system
// knows no others.
func open(dir string) (f *os.File, part bool, err error) {
	f, err = os.OpenFile(dir, unix.O_TMPFILE|os.O_RDWR|unix.O_CLOEXEC, imageMode)
	if isErrno(err, unix.EOPNOTSUPP, unix.EISDIR, unix.EINVAL) {
		f, err = os.CreateTemp(dir, PartPrefix+"*")
		part = true
	}
	switch {
	case os.IsNotExist(err):
		return nil, false, fault.NotFound("directory %s is not there", dir)
	case err != nil:
		return nil, false, fmt.Errorf("make an image in %s: %w", dir, err)
	}
	return f, part, nil
}

// name gives an open file its name, which nobody else must have.
func name(f *os.File, part bool, path string) (err error) {
	if part {
		err = unix.Renameat2(unix.AT_FDCWD, f.Name(), unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
	} else {
		err = unix.Linkat(unix.AT_FDCWD, openPath(f), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
	}
	if errors.Is(err, unix.EEXIST) {
		return fault.Exists("image %s exists", path)
	}
	if err != nil {
		return fmt.Errorf("name image %s: %w", path, err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}

// keepInPlace makes btrfs overwrite blocks where they are: a copy on each write
// would need a block that nobody reserved. Other file systems do so anyway.
func keepInPlace(f *os.File) {
	const nocow = 0x00800000 // FS_NOCOW_FL of linux/fs.h
	var st unix.Statfs_t
	if unix.Fstatfs(int(f.Fd()), &st) == nil && st.Type == unix.BTRFS_SUPER_MAGIC {
		_ = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, nocow)
	}
}

// reserve makes a file so large and every block of it the file's own; holes are
// filled, data stays. A failure leaves the size as it was.
func reserve(ctx context.Context, f *os.File, size int64) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	// Asked for more than there is, the kernel would take all there is before it
	// says so, and others on the host would find it full.
	if err := room(f, st, size); err != nil {
		return err
	}
	for at := int64(0); at < size && err == nil; at += piece {
		if err = context.Cause(ctx); err == nil {
			n := min(piece, size-at)
			err = eintr(func() error { return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, at, n) })
		}
	}
	if err == nil && size > st.Size() {
		err = f.Truncate(size)
	}
	if err != nil {
		// Gives back what lies beyond the end, too.
		return errors.Join(reserveError(f, size, err), f.Truncate(st.Size()))
	}
	return nil
}

// room refuses what the file system surely has no room for. What a file has of its
// own already is not needed again.
func room(f *os.File, st os.FileInfo, size int64) error {
	var fs unix.Statfs_t
	if err := eintr(func() error { return unix.Fstatfs(int(f.Fd()), &fs) }); err != nil {
		return fmt.Errorf("read the free space at %s: %w", f.Name(), err)
	}
	own := int64(0)
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		own = sys.Blocks * 512
	}
	if free := int64(fs.Bfree) * fs.Bsize; size-own > free {
		return reserveError(f, size, unix.ENOSPC)
	}
	return nil
}

func reserveError(f *os.File, size int64, err error) error {
	dir := f.Name()
	switch {
	case isErrno(err, unix.ENOSPC, unix.EDQUOT):
		return fault.Exhausted("no room for %d bytes on the file system of %s: free some or choose a smaller size", size, dir)
	case isErrno(err, unix.EFBIG):
		return fault.Invalid("the file system of %s has no files of %d bytes: choose a smaller size", dir, size)
	case isErrno(err, unix.EOPNOTSUPP, unix.ENOSYS):
		return fault.Later("the file system of %s cannot reserve space: keep images on ext4, xfs or btrfs", dir)
	}
	return fmt.Errorf("reserve %d bytes at %s: %w", size, dir, err)
}

// Grow makes an image larger, all of it reserved, also while it is attached; call
// [SetCapacity] then. To the size that it has, it fills holes and changes nothing
// else. A smaller size gives ErrInvalidArgument: images never shrink.
func Grow(ctx context.Context, path string, size int64) error {
	if err := checkSize(path, size); err != nil {
		return err
	}
	f, err := openImage(path, os.O_RDWR)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if size < st.Size() {
		return fault.Invalid("image %s has %d bytes and cannot shrink to %d", path, st.Size(), size)
	}
	if err := reserve(ctx, f, size); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync image %s: %w", path, err)
	}
	return nil
}

func openImage(path string, flag int) (*os.File, error) {
	st, err := os.Lstat(path)
	if os.IsNotExist(err) {
		return nil, fault.NotFound("image %s is not there", path)
	}
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fault.Invalid("%s is no regular file", path)
	}
	return os.OpenFile(path, flag|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
}

// Free returns how many bytes images below a directory can still have on the
// host's file system.
func Free(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := eintr(func() error { return unix.Statfs(dir, &st) }); err != nil {
		if os.IsNotExist(err) {
			return 0, fault.NotFound("directory %s is not there", dir)
		}
		return 0, fmt.Errorf("read the free space of %s: %w", dir, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}
