package filesystem

import (
	"context"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// zeroChunk is how much one call zeroes: the context is looked at in between.
const zeroChunk = 64 * mib

// DeviceSize returns the size in bytes of a block device. What is no block
// device gives ErrInvalidArgument, what is not there ErrNotFound.
func DeviceSize(device string) (int64, error) {
	f, err := openDevice(device, os.O_RDONLY)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	return deviceSize(f)
}

func openDevice(device string, flag int) (*os.File, error) {
	st, err := os.Stat(device)
	if os.IsNotExist(err) {
		return nil, fault.NotFound("device %s is not there", device)
	}
	if err != nil {
		return nil, fmt.Errorf("look at device %s: %w", device, err)
	}
	if st.Mode()&os.ModeDevice == 0 || st.Mode()&os.ModeCharDevice != 0 {
		return nil, fault.Invalid("%s is no block device", device)
	}
	f, err := os.OpenFile(device, flag|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open device: %w", err)
	}
	return f, nil
}

func deviceSize(f *os.File) (int64, error) {
	n, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, fmt.Errorf("read the size of device %s: %w", f.Name(), err)
	}
	return n, nil
}

// Sync waits until all that was written to a block device is on it.
func Sync(device string) error {
	f, err := openDevice(device, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync device %s: %w", device, err)
	}
	return nil
}

// Zero overwrites a device with zeros from a byte on to its end, by the device's
// own means where it has such. It does not give blocks back. progress, unless nil,
// is told after each piece how many of how many bytes are done: a later call may
// go on from there. A device that is mounted or otherwise taken gives
// ErrFailedPrecondition. When ctx ends, it stops between two pieces.
func Zero(ctx context.Context, device string, from int64, progress func(done, total int64)) error {
	f, err := openExclusive(device)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	total, err := deviceSize(f)
	if err != nil {
		return err
	}
	for done := from; done < total; {
		if err := context.Cause(ctx); err != nil {
			return fmt.Errorf("zero device %s: %w", device, err)
		}
		n := min(zeroChunk, total-done)
		span := [2]uint64{uint64(done), uint64(n)}
		if err := ioctl(f, unix.BLKZEROOUT, &span); err != nil {
			return fmt.Errorf("zero device %s at %d: %w", device, done, err)
		}
		if done += n; progress != nil {
			progress(done, total)
		}
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("zero device %s: %w", device, err)
	}
	return nil
}

// openExclusive opens a device that nobody else has mounted or claimed, in
// whatever mount namespace.
func openExclusive(device string) (*os.File, error) {
	f, err := openDevice(device, os.O_RDWR|os.O_EXCL)
	if isErrno(err, unix.EBUSY) {
		return nil, fault.Conflict("device %s is in use: unmount it, in all mount namespaces, or wait for what is under way on it, such as a check", device)
	}
	return f, err
}
