package loop

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// Clone makes a new image that shares the blocks of another, at once whatever its
// size, and returns when it is on the disk. The origin may be attached; freeze its
// file system meanwhile, or the clone is what a power cut would have left. A host's
// file system that cannot share blocks gives ErrNotImplemented, a destination that
// exists ErrAlreadyExists.
func Clone(ctx context.Context, src, dst string) error {
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("clone image %s: %w", src, err)
	}
	from, err := openImage(src, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	return newFile(dst, func(to *os.File) error {
		return share(to, from, filepath.Dir(dst))
	})
}

// CanClone says whether images below a directory can be cloned: nil, or
// ErrNotImplemented.
func CanClone(dir string) error {
	// The files get no name, and vanish when they are closed.
	a, part, err := open(dir)
	if err != nil {
		return err
	}
	defer drop(a, part)
	b, part, err := open(dir)
	if err != nil {
		return err
	}
	defer drop(b, part)
	keepInPlace(a)
	keepInPlace(b)
	if _, err := a.Write(make([]byte, Align)); err != nil {
		return fmt.Errorf("try to clone in %s: %w", dir, err)
	}
	return share(b, a, dir)
}

func drop(f *os.File, part bool) {
	if part {
		_ = os.Remove(f.Name())
	}
	_ = f.Close()
}

func share(to, from *os.File, dir string) error {
	err := eintr(func() error { return unix.IoctlFileClone(int(to.Fd()), int(from.Fd())) })
	switch {
	case err == nil:
		return nil
	case isErrno(err, unix.EOPNOTSUPP, unix.ENOTTY, unix.EINVAL, unix.ENOSYS):
		return fault.Later(
			"the file system of %s cannot share blocks between files, so there are no snapshots and clones of loop volumes", dir)
	case isErrno(err, unix.EXDEV):
		return fault.Invalid("image %s cannot be cloned to another file system", from.Name())
	case isErrno(err, unix.ENOSPC, unix.EDQUOT):
		return fault.Exhausted("no room for a clone on the file system of %s: free some", dir)
	}
	return fmt.Errorf("clone image %s: %w", from.Name(), err)
}
