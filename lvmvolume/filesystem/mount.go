package filesystem

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/lvmvolume/mounts"
)

// Mount mounts the file system on a device at an existing directory. One that has
// the device mounted already is no error; one where something else is mounted gives
// ErrFailedPrecondition. xfs is always told nouuid, since a clone carries the UUID
// of its origin and must mount beside it.
//
// The mount is seen in other mount namespaces as far as the directory's own mount
// is shared with them.
func Mount(device, target string, t Type, o Options, readOnly bool) error {
	dev, err := mounts.DevOf(device)
	if err != nil {
		return err
	}
	there, ok, err := mounts.At(target)
	if err != nil {
		return err
	}
	if ok && there.Dev == dev && there.Root == "/" {
		return nil
	}
	if ok {
		return fault.Conflict("%s of device %s is mounted at %s: unmount it first", there.FSType, there.Dev, target)
	}
	return mountError(device, target, t, unix.Mount(device, target, string(t), o.bits(readOnly), o.kernelData(t)))
}

// kernelData returns the last argument of mount(2).
func (o Options) kernelData(t Type) string {
	words := o.dataWords()
	if t == XFS {
		words = append(words, "nouuid")
	}
	return strings.Join(words, ",")
}

func mountError(device, target string, t Type, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENODEV):
		return fault.Conflict("the kernel has no %s: load its module or choose another file system", t)
	case errors.Is(err, unix.EUCLEAN):
		return fault.Of(errdefs.ErrDataLoss, "the %s on device %s is damaged: see the kernel's log and check it by hand: %w", t, device, err)
	case errors.Is(err, unix.EINVAL):
		return fault.Conflict("device %s does not mount as %s, or not with these options: the kernel's log says why: %w", device, t, err)
	case errors.Is(err, unix.EBUSY):
		return fault.Conflict("device %s is in use by another than a file system, or %s is: %w", device, target, err)
	case errors.Is(err, unix.ENOENT) && missing(target):
		return fault.NotFound("directory %s is not there", target)
	}
	return fmt.Errorf("mount %s on device %s at %s: %w", t, device, target, err)
}

func missing(path string) bool {
	_, err := os.Stat(path)
	return os.IsNotExist(err)
}

// Unmount takes away what is mounted at a directory, in the mount namespace of the
// process. Nothing there is no error. ErrFailedPrecondition says that files below it
// are in use; it is never detached from under its users.
func Unmount(target string) error {
	err := unix.Unmount(target, unix.UMOUNT_NOFOLLOW)
	switch {
	case err == nil, errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.EINVAL): // or not a mount point of this namespace
		if _, ok, e := mounts.At(target); e == nil && !ok {
			return nil
		}
	case errors.Is(err, unix.EBUSY):
		return fault.Conflict("%s is in use: stop what has files open or mounts below it: %w", target, err)
	}
	return fmt.Errorf("unmount %s: %w", target, err)
}
