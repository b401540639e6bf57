package spec

import (
	"strings"
	"time"
)

// Type is how a volume's blocks are kept.
type Type string

// The types.
const (
	Thin    Type = "thin"    // in a thin pool of LVM: made at once, takes what is written
	Linear  Type = "linear"  // extents of a volume group, all reserved
	Striped Type = "striped" // the same over several disks at a time
	Loop    Type = "loop"    // a fully allocated file behind a loop device
)

// Types lists all types.
func Types() []Type { return []Type{Thin, Linear, Striped, Loop} }

// FS is a file system.
type FS string

// The file systems.
const (
	Ext4 FS = "ext4"
	XFS  FS = "xfs"
)

// State is how far a volume's life has come.
type State string

// The states. Each change is one act on the outside, so that after a cut a
// volume is in one of them.
const (
	// Creating volumes were never mounted. One whose making was cut off is
	// formatted again and finished: it is as empty as it was promised.
	Creating State = "creating"
	// Filling volumes are copied into, or overwritten before they go. One that was
	// cut off is removed.
	Filling State = "filling"
	Ready   State = "ready"
	// Trashed volumes are in the recycle bin.
	Trashed State = "trashed"
)

// ID names a volume's blocks for all its life, also when the volume is renamed:
// 16 hex digits. LVM and files know it by [ID.Label].
type ID string

// prefix marks our logical volumes and files.
const prefix = "mos-"

// Label is the name of the logical volume, or the beginning of the file's.
func (id ID) Label() string { return prefix + string(id) }

// ParseLabel is the opposite of Label; it says whether the name is one of ours.
func ParseLabel(label string) (ID, bool) {
	id, ok := strings.CutPrefix(label, prefix)
	return ID(id), ok && len(id) == 16 && strings.Trim(id, "0123456789abcdef") == ""
}

// Volume is a volume or, with Snapshot set, a snapshot of one.
type Volume struct {
	ID   ID
	Name string // as Docker calls it; of a snapshot, as its volume was called
	// Snapshot is the snapshot's name and Of the volume it is one of.
	Snapshot string
	Of       ID

	Type    Type
	Place   string // volume group, or the folder of images
	Size    uint64 // bytes
	Stripes int    // of striped volumes; 0 in a request is one a disk

	FS        FS
	UID, GID  int
	Mode      uint32 // of the directory that containers get
	Chown     string // which of u, g and m that directory is to get at the first mount: it came with a source's
	MountOpts string
	IOPS, BPS uint64 // recorded for the host daemon, 0 is no limit
	From      string // what it is a copy of

	State   State
	Since   time.Time // of State
	Created time.Time
}

// Title names the volume for people: its name, or NAME@SNAPSHOT.
func (v Volume) Title() string {
	if v.Snapshot != "" {
		return v.Name + "@" + v.Snapshot
	}
	return v.Name
}

// In returns the volume in another state.
func (v Volume) In(s State, now time.Time) Volume {
	v.State, v.Since = s, now
	return v
}

// MinSize is the least that a file system takes.
func (fs FS) MinSize() uint64 {
	if fs == XFS {
		return 300 << 20 // mkfs.xfs refuses less
	}
	return 16 << 20
}

// maxSize is the most that is taken for meant: 1 EiB is more than any file
// system here can be.
const maxSize = 1 << 60

// CheckSize refuses sizes that the file system cannot have.
func (fs FS) CheckSize(size uint64) error {
	switch {
	case size < fs.MinSize():
		return invalid("size %s is too small for %s: give %s at least", Bytes(size), fs, Bytes(fs.MinSize()))
	case size > maxSize:
		return invalid("size %s is larger than any file system", Bytes(size))
	}
	return nil
}
