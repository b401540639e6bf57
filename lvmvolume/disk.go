package lvmvolume

import (
	"context"
	"errors"
	"io/fs"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/internal/xexec"
	"github.com/mosdocker/mosdocker/lvmvolume/filesystem"
	"github.com/mosdocker/mosdocker/lvmvolume/loop"
	"github.com/mosdocker/mosdocker/lvmvolume/mounts"
)

// disk is what is done to block devices as such. It is apart so that all but the
// mounts can be driven, and cut at any step, on a machine without such devices.
type disk interface {
	// there says whether a device is there and has a table: one without, which a
	// cut leaves, has no size. An error is neither yes nor no.
	there(device string) (bool, error)
	// holders are those who have the device mounted, but for us at dir.
	holders(ctx context.Context, device, dir string) ([]mounts.Holder, error)
	format(ctx context.Context, t filesystem.Type, device string, zeroed bool) error
	zero(ctx context.Context, device string, from int64, said func(done, total int64)) error
	needsCheck(device string) (why string, err error)
	mend(ctx context.Context, t filesystem.Type, device string) (said string, err error)
	needsGrow(device string) (bool, error)
	growOffline(ctx context.Context, t filesystem.Type, device string) error
	// image finds the loop device of an image, and images those of all below a
	// directory.
	image(path string) (loop.Info, error)
	images(dir string) ([]loop.Info, error)
}

// hostDisk is the devices of this host.
type hostDisk struct{ run xexec.Runner }

func (hostDisk) there(device string) (bool, error) {
	size, err := filesystem.DeviceSize(device)
	for _, gone := range []error{errdefs.ErrNotFound, fs.ErrNotExist, unix.ENXIO, unix.ENODEV} {
		if errors.Is(err, gone) {
			return false, nil
		}
	}
	return size > 0, err
}

func (hostDisk) holders(ctx context.Context, device, dir string) ([]mounts.Holder, error) {
	n, err := mounts.DevOf(device)
	if err != nil {
		return nil, err
	}
	return mounts.Holders(ctx, n, dir)
}

func (h hostDisk) format(ctx context.Context, t filesystem.Type, device string, zeroed bool) error {
	return filesystem.FS{Runner: h.run}.Make(ctx, t, device, filesystem.MakeOptions{Zeroed: zeroed})
}

func (hostDisk) zero(ctx context.Context, device string, from int64, said func(done, total int64)) error {
	return filesystem.Zero(ctx, device, from, said)
}

func (hostDisk) image(path string) (loop.Info, error) { return loop.Find(path) }

func (hostDisk) images(dir string) ([]loop.Info, error) { return loop.List(dir) }

func (hostDisk) needsCheck(device string) (string, error) { return filesystem.NeedsCheck(device) }

func (h hostDisk) mend(ctx context.Context, t filesystem.Type, device string) (string, error) {
	return filesystem.FS{Runner: h.run}.Mend(ctx, t, device)
}

func (hostDisk) needsGrow(device string) (bool, error) { return filesystem.NeedsGrow(device) }

func (h hostDisk) growOffline(ctx context.Context, t filesystem.Type, device string) error {
	return filesystem.FS{Runner: h.run}.GrowOffline(ctx, t, device)
}
