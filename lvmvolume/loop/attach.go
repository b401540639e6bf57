package loop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// FirstNumber is the number of the first loop device that [Attach] makes. Those
// below belong to losetup and others.
const FirstNumber = 4096

// lastNumber is the last minor number of the kernel.
const lastNumber = 1<<20 - 1

// Handle is an attached device that is held open, so that the kernel keeps it.
type Handle struct {
	Info
	// Reused says that the image was attached already.
	Reused bool
	// Reserved says that nothing gives blocks of the image back to the host. It
	// is false where sysfs cannot be written, and on a device that somebody else
	// made: then do not trim the volume.
	Reserved bool

	file *os.File
}

// Close lets go of the device. The kernel detaches it at once unless it is mounted
// or open elsewhere.
func (h *Handle) Close() error { return h.file.Close() }

// Attach attaches an image to a loop device, or finds the one it is attached to, and
// returns it held open: close it after the file system is mounted. Calls for one
// image, of several processes too, wait for each other. An image that is attached
// in part, or read-only when that was not asked for, gives ErrFailedPrecondition.
func Attach(ctx context.Context, path string, readOnly bool) (*Handle, error) {
	unlock, err := lock(ctx, path)
	if err != nil {
		return nil, err
	}
	defer unlock()
	flag := os.O_RDWR
	if readOnly {
		flag = os.O_RDONLY
	}
	f, err := openImage(path, flag)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // the device has the file of its own
	image, err := inodeOf(f)
	if err != nil {
		return nil, err
	}
	d, info, err := find(image)
	if err != nil {
		return nil, err
	}
	if d != nil {
		return reuse(d, info, path, readOnly)
	}
	return attach(ctx, f, readOnly)
}

// lock keeps others from attaching the same image. The lock lies on an open file of
// its own: the device keeps the one that it was given, and with it the lock.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := openImage(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !isErrno(err, unix.EWOULDBLOCK, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock image %s: %w", path, err), f.Close())
		}
		if err := pause(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("wait for another who attaches image %s: %w", path, err), f.Close())
		}
	}
}

// pause waits a moment.
func pause(ctx context.Context) error {
	t := time.NewTimer(10 * time.Millisecond)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// reuse makes a device that was found as one of ours is: it detaches itself, keeps
// the reserve, and is as large as its image. On a device that losetup made discards
// stay as they are: the setting would outlive this image.
func reuse(d *os.File, info Info, path string, readOnly bool) (*Handle, error) {
	fail := func(err error) (*Handle, error) { return nil, errors.Join(err, d.Close()) }
	if !info.whole {
		return fail(fault.Conflict("a part of image %s is attached to %s by somebody else: losetup -d %s", path, info.Device, info.Device))
	}
	if info.ReadOnly && !readOnly {
		return fail(fault.Conflict("image %s is attached to %s read-only: unmount that first", path, info.Device))
	}
	if !info.AutoClear {
		if err := setAutoClear(d); err != nil {
			return fail(err)
		}
		info.AutoClear = true
	}
	if err := setCapacity(d); err != nil {
		return fail(err)
	}
	var err error
	if info.Size, err = size(d); err != nil {
		return fail(err)
	}
	reserved := info.Number >= FirstNumber && noDiscard(info.Number) == nil
	return &Handle{Info: info, Reused: true, Reserved: reserved, file: d}, nil
}

func setAutoClear(d *os.File) error {
	st, err := unix.IoctlLoopGetStatus64(int(d.Fd()))
	if err == nil {
		st.Flags |= unix.LO_FLAGS_AUTOCLEAR
		err = unix.IoctlLoopSetStatus64(int(d.Fd()), st)
	}
	if err != nil {
		return fmt.Errorf("set the flags of %s: %w", d.Name(), err)
	}
	return nil
}

// attach takes the first number that nobody uses.
func attach(ctx context.Context, f *os.File, readOnly bool) (*Handle, error) {
	c, err := control()
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	for n := FirstNumber; n <= lastNumber; n++ {
		if err := context.Cause(ctx); err != nil {
			return nil, fmt.Errorf("attach image %s: %w", f.Name(), err)
		}
		if isBound(n) {
			continue
		}
		h, err := try(c, n, f, readOnly)
		if err != nil || h != nil {
			return h, err
		}
	}
	return nil, fault.Exhausted("no loop device is free")
}

// try makes device n and attaches an image to it; nil says that another was faster.
func try(c *os.File, n int, f *os.File, readOnly bool) (*Handle, error) {
	if err := unix.IoctlSetInt(int(c.Fd()), unix.LOOP_CTL_ADD, n); err != nil && !isErrno(err, unix.EEXIST) {
		return nil, fmt.Errorf("make loop device %d: %w", n, err)
	}
	flag := os.O_RDWR
	if readOnly { // a device opened so is read-only, whatever the flags say
		flag = os.O_RDONLY
	}
	d, gone, err := openDevice(n, flag)
	if gone || err != nil {
		return nil, err
	}
	h, err := configure(d, n, f, readOnly)
	if h == nil {
		_ = d.Close()
		remove(c, n)
	}
	return h, err
}

// configure attaches an image to an open device; nil says that another did.
func configure(d *os.File, n int, f *os.File, readOnly bool) (*Handle, error) {
	config := unix.LoopConfig{Fd: uint32(f.Fd()), Size: sectorOf(f)}
	config.Info.Flags = unix.LO_FLAGS_AUTOCLEAR | unix.LO_FLAGS_DIRECT_IO
	if readOnly {
		config.Info.Flags |= unix.LO_FLAGS_READ_ONLY
	}
	copy(config.Info.File_name[:len(config.Info.File_name)-1], f.Name())
	err := eintr(func() error { return unix.IoctlLoopConfigure(int(d.Fd()), &config) })
	switch {
	case isErrno(err, unix.EBUSY):
		return nil, nil
	case isErrno(err, unix.EINVAL, unix.ENOTTY):
		return nil, fault.Later("the kernel cannot attach image %s: loop volumes need Linux 5.8: %w", f.Name(), err)
	case err != nil:
		return nil, fmt.Errorf("attach image %s to %s: %w", f.Name(), d.Name(), err)
	}
	info, err := status(d, n)
	if err != nil {
		return nil, err
	}
	return &Handle{Info: info, Reserved: noDiscard(n) == nil, file: d}, nil
}
