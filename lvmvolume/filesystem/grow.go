package filesystem

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// NeedsGrow says that the file system on an unmounted device is smaller than it
// could be there. Up to one group of blocks at the device's end may be too short to
// be used; that is no need. For a mounted one call [GrowOnline], which does nothing
// when there is nothing to do.
func NeedsGrow(device string) (bool, error) {
	info, err := Probe(device)
	if err != nil {
		return false, err
	}
	size, err := DeviceSize(device)
	if err != nil {
		return false, err
	}
	return info.usable(size/info.BlockSize) > info.Size/info.BlockSize, nil
}

// usable returns how many blocks of a device the file system can have.
func (i Info) usable(blocks int64) int64 {
	if rest := blocks % i.tail.group; rest < i.tail.least {
		return blocks - rest
	}
	return blocks
}

// GrowOffline makes the file system on an unmounted device as large as the device.
// ext4 is checked first, as its tools demand; damage that cannot be mended without
// a question gives ErrDataLoss. xfs grows only while it is mounted: for it nothing
// is done. A file system that fits already is no error. Once begun it goes on when ctx
// ends, and its programs when this process does: the next call finds the device in use.
func (f FS) GrowOffline(ctx context.Context, t Type, device string) error {
	if t == XFS {
		return nil
	}
	needs, err := NeedsGrow(device)
	if err != nil || !needs {
		return err
	}
	d, err := openExclusive(device) // e2fsck says no more than that it cannot go on
	if err != nil {
		return err
	}
	if err := errors.Join(d.Close(), f.check(ctx, device)); err != nil {
		return err
	}
	if _, err := f.runThrough(ctx, "resize2fs", "--", device); err != nil {
		return err
	}
	return Sync(device)
}

// check runs e2fsck. Code 1 is mended; 2 asks for a reboot when the root was
// mended.
func (f FS) check(ctx context.Context, device string) error {
	_, err := f.runThrough(ctx, "e2fsck", "-f", "-p", "--", device)
	const mended, uncorrected = 1, 4
	switch code := exitCode(err); {
	case err == nil, code == mended:
		return nil
	case inUse(err):
		return fault.Conflict("%w", err)
	case code >= 0 && code&uncorrected != 0:
		return fault.Of(errdefs.ErrDataLoss, "file system on device %s is damaged: run e2fsck %s by hand: %w", device, device, err)
	}
	return err
}

// GrowOnline makes a mounted file system as large as its device, while it is in
// use. One that fits already is no error. The kernel lets ext4 grow only with
// CAP_SYS_RESOURCE: without it the error is ErrPermissionDenied.
func GrowOnline(ctx context.Context, t Type, device, mountpoint string) error {
	if err := context.Cause(ctx); err != nil {
		return fmt.Errorf("grow %s at %s: %w", t, mountpoint, err)
	}
	size, err := DeviceSize(device)
	if err != nil {
		return err
	}
	dir, err := openDir(mountpoint)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	if t == XFS {
		return growXFS(dir, size)
	}
	return growExt4(dir, device, size)
}

func growExt4(dir *os.File, device string, size int64) error {
	info, err := Probe(device)
	if err != nil {
		return err
	}
	blocks := info.usable(size / info.BlockSize)
	if blocks <= info.Size/info.BlockSize {
		return nil
	}
	if err := needResource(dir.Name()); err != nil {
		return err
	}
	switch err := ioctl(dir, ext4Resize, &blocks); {
	case err == nil:
		return nil
	case isErrno(err, unix.EPERM):
		return fault.Conflict("ext4 at %s has errors, so it cannot grow: unmount it and check it with e2fsck %s", dir.Name(), device)
	case isErrno(err, unix.EBUSY):
		return fault.Unavailable("ext4 at %s is growing already: try again later", dir.Name())
	default:
		return fmt.Errorf("grow ext4 at %s to %d blocks: %w", dir.Name(), blocks, err)
	}
}

// xfsGeom is struct xfs_fsop_geom_v4.
type xfsGeom struct {
	BlockSize  uint32
	_          uint32
	AGBlocks   uint32
	_          [4]uint32
	IMaxPct    uint32
	DataBlocks uint64
	_          [9]uint64
}

// xfsGrow is struct xfs_growfs_data.
type xfsGrow struct {
	NewBlocks uint64
	IMaxPct   uint32
	_         uint32
}

func growXFS(dir *os.File, size int64) error {
	var g xfsGeom
	if err := ioctl(dir, xfsGeometry, &g); err != nil {
		return fmt.Errorf("read the geometry of xfs at %s: %w", dir.Name(), err)
	}
	info := Info{BlockSize: int64(g.BlockSize), tail: tail{group: int64(g.AGBlocks), least: 64}}
	blocks := info.usable(size / info.BlockSize)
	if blocks <= int64(g.DataBlocks) {
		return nil
	}
	in := xfsGrow{NewBlocks: uint64(blocks), IMaxPct: g.IMaxPct}
	switch err := ioctl(dir, xfsGrowFSData, &in); {
	case err == nil:
		return nil
	case isErrno(err, unix.EPERM):
		return fault.Of(errdefs.ErrPermissionDenied, "the kernel refuses to grow xfs at %s: give the process CAP_SYS_ADMIN", dir.Name())
	case isErrno(err, unix.EAGAIN, unix.EWOULDBLOCK):
		return fault.Unavailable("xfs at %s is growing already: try again later", dir.Name())
	default:
		return fmt.Errorf("grow xfs at %s to %d blocks: %w", dir.Name(), blocks, err)
	}
}

// CanGrowOnline says whether the process may grow a mounted file system of the
// type: nil, or ErrPermissionDenied.
func CanGrowOnline(t Type) error {
	if t == XFS {
		return nil
	}
	return needResource("any mount point")
}

// needResource looks for CAP_SYS_RESOURCE, which ext4 wants for growing online.
func needResource(where string) error {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return fmt.Errorf("read the capabilities of the process: %w", err)
	}
	if !hasCapability(string(b), unix.CAP_SYS_RESOURCE) {
		return fault.Of(errdefs.ErrPermissionDenied,
			"ext4 at %s cannot grow while it is mounted: the process lacks CAP_SYS_RESOURCE; give it that, or unmount the volume and try again", where)
	}
	return nil
}

// hasCapability looks for a bit in the CapEff line of /proc/PID/status.
func hasCapability(status string, bit int) bool {
	for line := range strings.Lines(status) {
		if word, ok := strings.CutPrefix(line, "CapEff:"); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(word), 16, 64)
			return err == nil && n&(1<<bit) != 0
		}
	}
	return false
}
