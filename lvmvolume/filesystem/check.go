package filesystem

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// NeedsCheck says why the file system on an unmounted device must be checked before
// it is mounted, "" when it need not. That is so for ext4 after the kernel could not
// write to the device, as on a thin pool that was full: what an fsync confirmed may
// be in the journal only, and then a mount can throw the journal away (seen on
// 6.12: the mark that says it is needed is cleared at the unmount that fails), while
// e2fsck plays it back. xfs checks its log at each mount.
func NeedsCheck(device string) (why string, err error) {
	info, err := Probe(device)
	if err != nil || info.Type != Ext4 {
		return "", err
	}
	if info.Errors {
		return "the kernel recorded errors in it", nil
	}
	if info.journal == 0 {
		return "", nil
	}
	b, err := readAt(device, info.journal)
	if err != nil {
		return "", fmt.Errorf("read the journal of %s: %w", device, err)
	}
	be := binary.BigEndian
	const magic = 0xC03B3998
	if len(b) < 1024 || be.Uint32(b) != magic {
		return "", nil // nothing that we know
	}
	start, errno := be.Uint32(b[0x1C:]), be.Uint32(b[0x20:])
	switch {
	case errno != 0:
		return "the kernel recorded an error in its journal", nil
	case start != 0 && info.Journal == Clean:
		return "its journal holds what was not written back, and the mark for that is not set", nil
	}
	return "", nil
}

// Mend checks the file system on an unmounted device and mends all that can be
// mended, its journal first; it goes on when ctx ends. It returns what was said. What stays damaged gives
// ErrDataLoss. xfs is left to its mount.
func (f FS) Mend(ctx context.Context, t Type, device string) (said string, err error) {
	if t == XFS {
		return "", nil
	}
	out, err := f.runThrough(ctx, "e2fsck", "-f", "-y", "--", device)
	said = strings.TrimSpace(string(out))
	const uncorrected = 4
	switch code := exitCode(err); {
	case err == nil:
	case code > 0 && code < uncorrected: // mended
	case inUse(err):
		return said, fault.Conflict("%w", err)
	case code >= 0 && code&uncorrected != 0:
		return said, fault.Of(errdefs.ErrDataLoss, "file system on device %s is damaged: run e2fsck %s by hand: %w", device, device, err)
	default:
		return said, err
	}
	return said, Sync(device)
}
