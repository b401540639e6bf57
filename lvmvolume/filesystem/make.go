package filesystem

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/xexec"
)

// MakeOptions says how to make a file system. The zero value is safe for any
// device.
type MakeOptions struct {
	// Zeroed promises that the device reads as zeros, as a new thin volume and
	// a new image file do. On ext4 it saves writing the inode tables and the
	// journal. A lie about it damages the file system.
	Zeroed bool
	// Label is the name inside the file system, at most 12 bytes for xfs and
	// 16 for ext4; "" is none.
	Label string
	// UUID is the file system's; "" takes a random one.
	UUID string
}

// Make makes a file system on a whole device, whatever is on it, and returns when
// it is on the disk. Of a regular file it makes an image of a file system, which the
// caller syncs. It fails with ErrInvalidArgument when the device is smaller
// than [MinSize], and with ErrFailedPrecondition when it is in use or the program
// is missing.
func (f FS) Make(ctx context.Context, t Type, device string, o MakeOptions) error {
	if err := checkSize(t, device); err != nil {
		return err
	}
	if t == XFS {
		return f.mkfs(ctx, device, makeXFS(device, o))
	}
	err := f.mkfs(ctx, device, makeExt4(device, o, "assume_storage_prezeroed=1"))
	if o.Zeroed && unknownOption(err) { // mke2fs before 1.47
		err = f.mkfs(ctx, device, makeExt4(device, o, "lazy_itable_init=1,lazy_journal_init=1"))
	}
	return err
}

func checkSize(t Type, device string) error {
	size, isFile := fileSize(device)
	if !isFile {
		var err error
		if size, err = DeviceSize(device); err != nil {
			return err
		}
	}
	if size < MinSize(t) {
		return fault.Invalid("device %s has %d MiB: %s needs %d MiB at least", device, size/mib, t, MinSize(t)/mib)
	}
	return nil
}

// makeExt4 returns the command. Without the promise of zeros the kernel zeroes the
// inode tables after the first mount, and mkfs the journal: an old block in it
// could be replayed.
func makeExt4(device string, o MakeOptions, zeroed string) []string {
	extended := "nodiscard,lazy_itable_init=1,lazy_journal_init=0"
	if o.Zeroed {
		extended = "nodiscard," + zeroed
	}
	argv := []string{"mkfs.ext4", "-F", "-q", "-m", "0", "-b", "4096", "-I", "256", "-E", extended}
	if o.Label != "" {
		argv = append(argv, "-L", o.Label)
	}
	if o.UUID != "" {
		argv = append(argv, "-U", o.UUID)
	}
	return append(argv, "--", device)
}

func makeXFS(device string, o MakeOptions) []string {
	argv := []string{"mkfs.xfs", "-f", "-q", "-K", "-b", "size=4096", "-s", "size=4096"}
	if o.Label != "" {
		argv = append(argv, "-L", o.Label)
	}
	if o.UUID != "" {
		argv = append(argv, "-m", "uuid="+o.UUID)
	}
	return append(argv, "--", device)
}

func (f FS) mkfs(ctx context.Context, device string, argv []string) error {
	if _, err := f.run(ctx, argv...); err != nil {
		if inUse(err) {
			return fault.Conflict("%w", err)
		}
		return err
	}
	if _, isFile := fileSize(device); isFile {
		return nil
	}
	return Sync(device)
}

// fileSize is the size of a regular file, which a device is not.
func fileSize(path string) (size int64, isFile bool) {
	st, err := os.Stat(path)
	if err != nil || !st.Mode().IsRegular() {
		return 0, false
	}
	return st.Size(), true
}

// unknownOption says that mke2fs does not know a word after -E.
func unknownOption(err error) bool {
	e, ok := errors.AsType[*xexec.Error](err)
	return ok && strings.Contains(e.Stderr, "assume_storage_prezeroed")
}

// inUse says that a program found the device mounted or claimed.
func inUse(err error) bool {
	e, ok := errors.AsType[*xexec.Error](err)
	if !ok {
		return false
	}
	for _, s := range []string{"is mounted", "in use", "contains a mounted filesystem", "Device or resource busy"} {
		if strings.Contains(e.Stderr, s) {
			return true
		}
	}
	return false
}
