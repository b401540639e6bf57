package api

import (
	"time"

	"github.com/mosdocker/mosdocker/internal/adminapi"
)

// What all admin APIs share, see package adminapi.
type (
	// Finding is one thing that should not be there, or is missing.
	Finding = adminapi.Finding
	// Audit is the leak check.
	Audit = adminapi.Audit
	// GCRequest asks to collect at once what is left over.
	GCRequest = adminapi.GCRequest
	// GC is what was, or would be, collected.
	GC = adminapi.GC
	// Check is one question of the doctor.
	Check = adminapi.Check
	// Doctor is all of them.
	Doctor = adminapi.Doctor
	// LogLevel is debug, info, warn or error.
	LogLevel = adminapi.LogLevel
	// Error is an error of the daemon: its sentence, with the class back.
	Error = adminapi.Error
)

// Status is how the daemon and what it stands on are.
type Status struct {
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Default string    `json:"default"` // the type of volumes that name none
	Volumes int       `json:"volumes"`
	Mounted int       `json:"mounted"`
	Trashed int       `json:"trashed"`
	Pools   []Pool    `json:"pools"`
	// Error says what could not be read; while it is there, calls about volumes
	// that are not known are not answered.
	Error string `json:"error,omitempty"`
}

// The states of a volume.
const (
	StateCreating = "creating" // no container has had it yet; a restart finishes or removes it
	StateReady    = "ready"
	StateTrashed  = "trashed" // in the recycle bin
)

// Volume is one volume, in service or in the recycle bin.
type Volume struct {
	Name string `json:"name"`
	ID   string `json:"id"`
	Type string `json:"type"` // thin, linear, striped or loop
	FS   string `json:"fs"`
	// VG and LV name the logical volume; both are empty for loop volumes, whose
	// file is Image.
	VG    string `json:"vg,omitempty"`
	LV    string `json:"lv,omitempty"`
	Image string `json:"image,omitempty"`
	State string `json:"state"`
	Size  uint64 `json:"size"` // hard limit
	// Usage of the file system; nil while it was never seen mounted.
	Usage *Usage `json:"usage,omitempty"`
	// Allocated is what the volume takes of its pool or disk.
	Allocated  uint64     `json:"allocated"`
	Mountpoint string     `json:"mountpoint,omitempty"` // while mounted
	Users      []User     `json:"users"`
	UID        int        `json:"uid"`
	GID        int        `json:"gid"`
	Mode       string     `json:"mode"` // octal
	MountOpts  string     `json:"mountOpts,omitempty"`
	IOPS       uint64     `json:"iops,omitempty"`
	BPS        uint64     `json:"bps,omitempty"`
	From       string     `json:"from,omitempty"` // what it is a copy of, as it was named then
	Snapshots  []Snapshot `json:"snapshots"`
	Created    time.Time  `json:"created"`
	Trashed    *time.Time `json:"trashed,omitempty"`
	Expires    *time.Time `json:"expires,omitempty"` // when it is purged from the bin
	Fault      string     `json:"fault,omitempty"`   // why it cannot be used
}

// Usage is what is in a file system.
type Usage struct {
	Size       uint64    `json:"size"` // of the file system, less its own metadata
	Used       uint64    `json:"used"`
	Free       uint64    `json:"free"`
	Inodes     uint64    `json:"inodes"`
	InodesUsed uint64    `json:"inodesUsed"`
	At         time.Time `json:"at"` // when it was read
}

// User is a process that has a volume mounted.
type User struct {
	Container  string `json:"container,omitempty"` // id, when it is one
	Name       string `json:"name,omitempty"`      // of the container, when Docker was asked
	PID        int    `json:"pid"`
	Command    string `json:"command"`
	Mountpoint string `json:"mountpoint"` // as that process sees it
}

// Snapshot is the state of a volume at one time.
type Snapshot struct {
	Volume    string    `json:"volume"`
	Name      string    `json:"name"`
	ID        string    `json:"id"`
	Size      uint64    `json:"size"`
	Allocated uint64    `json:"allocated"`
	Created   time.Time `json:"created"`
}

// The states of a pool, each with all restrictions of the one before.
const (
	PoolOK     = "ok"
	PoolWarn   = "warn"   // fuller than the warn level
	PoolRefuse = "refuse" // no new volumes, growth or snapshots
	PoolPause  = "pause"  // containers that write to it are paused, where that is configured
)

// Pool is where volumes of one type get their space: a thin pool, a volume group
// or the folder of loop images.
type Pool struct {
	Name    string   `json:"name"` // VG/POOL, VG or a path
	Types   []string `json:"types"`
	VG      string   `json:"vg,omitempty"`
	Default bool     `json:"default"`
	State   string   `json:"state"`
	Size    uint64   `json:"size"`
	Used    uint64   `json:"used"`
	// Meta is the fill of a thin pool's metadata, and of a volume group's
	// metadata area; 0 to 1.
	Data      float64 `json:"data"`
	Meta      float64 `json:"meta"`
	VGFree    uint64  `json:"vgFree"`  // what the pool may still grow by
	Virtual   uint64  `json:"virtual"` // sum of the volumes' and snapshots' sizes
	Limit     uint64  `json:"limit"`   // most that Virtual may become
	Overcom   float64 `json:"overcommit"`
	Ratio     float64 `json:"ratio"` // most that Overcom may become
	Spare     uint64  `json:"spare"` // kept free
	Trash     uint64  `json:"trash"` // of Virtual, what the recycle bin holds
	Volumes   int     `json:"volumes"`
	Snapshots bool    `json:"snapshots"` // volumes here can have them
	Paused    []User  `json:"paused"`    // containers that the watchdog paused
	Error     string  `json:"error,omitempty"`
}

// Event is something that the daemon did by itself, or that befell it.
type Event struct {
	Time   time.Time `json:"time"`
	Level  string    `json:"level"`  // info, warn or error
	Kind   string    `json:"kind"`   // such as pool, volume, trash, repair
	Object string    `json:"object"` // a pool's or volume's name
	Detail string    `json:"detail"`
}

// CreateRequest makes a volume as `docker volume create` does. With the option
// "from" it is a copy of another volume or a snapshot.
type CreateRequest struct {
	Name    string            `json:"name"`
	Options map[string]string `json:"options,omitempty"`
	DryRun  bool              `json:"dryRun,omitempty"`
}

// ResizeRequest grows a volume to an absolute size.
type ResizeRequest struct {
	Volume string `json:"volume"`
	Size   string `json:"size"` // such as 20g, or +5g for more than it has
	// AtNextMount takes it for well that the file system of a mounted volume
	// grows later, where it cannot grow at once.
	AtNextMount bool `json:"atNextMount,omitempty"`
	DryRun      bool `json:"dryRun,omitempty"`
}

// SnapshotRequest takes or removes a snapshot of a volume. An empty name is
// chosen by the daemon when one is taken.
type SnapshotRequest struct {
	Volume string `json:"volume"`
	Name   string `json:"name"`
	DryRun bool   `json:"dryRun,omitempty"`
}

// RemoveRequest moves a volume to the recycle bin, as `docker volume rm` does.
type RemoveRequest struct {
	Volume string `json:"volume"`
	DryRun bool   `json:"dryRun,omitempty"`
}

// RestoreRequest brings a volume back from the recycle bin. Of several that had
// one name, the id says which.
type RestoreRequest struct {
	Volume string `json:"volume"`       // name or id
	As     string `json:"as,omitempty"` // new name; empty is the old one
	DryRun bool   `json:"dryRun,omitempty"`
}

// PurgeRequest removes volumes from the recycle bin for good.
type PurgeRequest struct {
	Volumes []string `json:"volumes,omitempty"` // names or ids; a name means all that had it
	All     bool     `json:"all,omitempty"`
	DryRun  bool     `json:"dryRun,omitempty"`
}

// Step is one change that a plan makes, and why.
type Step struct {
	Op     string `json:"op"`
	Object string `json:"object"`
	Detail string `json:"detail,omitempty"` // size, type or name, where the step has one
	Cause  string `json:"cause"`
}

// Plan is what was done, or with a dry run what would be.
type Plan struct {
	Steps []Step `json:"steps"`
	// Volume is the volume that the call was about, as it is now: nil after a
	// dry run and when there is none any more.
	Volume *Volume `json:"volume,omitempty"`
	// Snapshot is the snapshot that was taken.
	Snapshot *Snapshot `json:"snapshot,omitempty"`
	// Note is something to know beside the success, such as a file system that
	// grows at the next mount only.
	Note string `json:"note,omitempty"`
}

// Progress is a line of the answer of a call that takes long. The last line has
// either Plan or Error.
type Progress struct {
	Object string `json:"object,omitempty"`
	Done   uint64 `json:"done,omitempty"` // bytes
	Total  uint64 `json:"total,omitempty"`
	Plan   *Plan  `json:"plan,omitempty"`
	Error  string `json:"error,omitempty"`
	Code   string `json:"code,omitempty"` // class of Error
}
