package loop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// SetCapacity makes an attached device as large as its image, while it is in use:
// call it after [Grow].
func SetCapacity(device string) error {
	d, err := openNode(device)
	if err != nil {
		return err
	}
	return errors.Join(setCapacity(d), d.Close())
}

func setCapacity(d *os.File) error {
	if err := unix.IoctlSetInt(int(d.Fd()), unix.LOOP_SET_CAPACITY, 0); err != nil {
		return fmt.Errorf("set the size of %s to that of its image: %w", d.Name(), err)
	}
	return nil
}

func openNode(device string) (*os.File, error) {
	d, err := os.OpenFile(device, os.O_RDONLY|unix.O_CLOEXEC, 0)
	if isErrno(err, unix.ENOENT, unix.ENXIO, unix.ENODEV) {
		return nil, fault.NotFound("loop device %s is not there", device)
	}
	if err != nil {
		return nil, fmt.Errorf("open loop device: %w", err)
	}
	return d, nil
}

// Detach detaches a device from its image; one that has none is no error. When it
// is mounted or open, the kernel will detach it after its last user, and the error is
// ErrFailedPrecondition.
func Detach(ctx context.Context, device string) error {
	n, err := numberOf(device)
	if err != nil {
		return err
	}
	d, err := openNode(device)
	if errdefs.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	err = unix.IoctlSetInt(int(d.Fd()), unix.LOOP_CLR_FD, 0)
	_ = d.Close() // the kernel detaches it now
	if err != nil && !isErrno(err, unix.ENXIO, unix.EBUSY) {
		return fmt.Errorf("detach %s: %w", device, err)
	}
	if err := waitUnbound(ctx, n); err != nil {
		return fault.Conflict("%s is in use: the kernel detaches it when it is unmounted in all mount namespaces", device)
	}
	c, err := control()
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	remove(c, n)
	return nil
}

func numberOf(device string) (int, error) {
	n, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(device), "loop"))
	if err != nil || !strings.HasPrefix(filepath.Base(device), "loop") {
		return 0, fault.Invalid("%s is no loop device", device)
	}
	return n, nil
}

// waitUnbound waits while the kernel, or somebody who looks at new devices as
// udevd does, is still at it.
func waitUnbound(ctx context.Context, n int) error {
	const patience = time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for isBound(n) {
		if err := pause(ctx); err != nil {
			return err
		}
	}
	return nil
}

// remove removes a device of ours that nobody has open or attached, and with it its
// settings. The kernel refuses any other.
func remove(c *os.File, n int) {
	if n >= FirstNumber {
		_ = unix.IoctlSetInt(int(c.Fd()), unix.LOOP_CTL_REMOVE, n)
	}
}

// Sweep removes the devices of our own numbers that have no image: the kernel leaves
// them when it detaches one.
func Sweep() error {
	es, err := os.ReadDir(block)
	if err != nil {
		return fmt.Errorf("list the loop devices: %w", err)
	}
	c, err := control()
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	for _, e := range es {
		if n, err := numberOf(e.Name()); err == nil && !isBound(n) {
			remove(c, n)
		}
	}
	return nil
}
