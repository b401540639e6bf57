package plan

import (
	"cmp"
	"slices"
	"time"

	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// Create makes an empty volume. The state ready is recorded later, in one go for
// several volumes: until then the volume was mounted by nobody, and a restart
// would format it again.
func Create(v spec.Volume, now time.Time) Plan {
	v = v.In(spec.Creating, now)
	return Plan{
		{Op: Make, Volume: v, Cause: "asked for"},
		{Op: Format, Volume: v, Cause: "its blocks are new", Fresh: v.Type == spec.Thin || v.Type == spec.Loop},
		{Op: Record, Volume: v.In(spec.Ready, now), Was: v, Cause: "it is whole", Later: true},
	}
}

// Copy makes a volume that shares its blocks with a source. One of the same size
// is whole at once; the file system of a larger one grows at the first mount.
func Copy(v, src spec.Volume, now time.Time) Plan {
	v = v.In(spec.Ready, now)
	if v.Size == src.Size {
		return Plan{{Op: Snapshot, Volume: v, Was: src, Cause: "asked for, from " + v.From}}
	}
	larger := v.In(spec.Filling, now)
	atFirst := larger
	atFirst.Size = src.Size
	return Plan{
		{Op: Snapshot, Volume: atFirst, Was: src, Cause: "asked for, from " + v.From},
		{Op: Grow, Volume: larger, Was: atFirst, Cause: "it is to be larger than its source"},
		{Op: Record, Volume: v, Was: larger, Cause: "it is whole"},
	}
}

// Import makes a volume whose contents come from a stream.
func Import(v spec.Volume, now time.Time) Plan {
	v = v.In(spec.Filling, now)
	return Plan{
		{Op: Make, Volume: v, Cause: "asked for"},
		{Op: Fill, Volume: v, Cause: "its contents come from the stream"},
		{Op: Record, Volume: v.In(spec.Ready, now), Was: v, Cause: "it is whole"},
	}
}

// TakeSnapshot makes a snapshot, which no container sees.
func TakeSnapshot(snap, src spec.Volume, now time.Time) Plan {
	return Plan{{Op: Snapshot, Volume: snap.In(spec.Ready, now), Was: src, Cause: "asked for"}}
}

// Use is what is true of a volume on this host.
type Use struct {
	Attached bool
	Mounted  bool
	// FSShort says that the file system is smaller than its blocks.
	FSShort bool
	// Sick says why the file system must be checked before it is mounted.
	Sick string
}

// MountIt brings a volume to where containers can have it.
func MountIt(v spec.Volume, u Use, now time.Time) Plan {
	var p Plan
	if v.State == spec.Creating {
		p = append(p, Step{Op: Record, Volume: v.In(spec.Ready, now), Was: v, Cause: "it is to be mounted"})
		v = v.In(spec.Ready, now)
	}
	owned := v
	owned.Chown = ""
	own := Step{Op: Record, Volume: owned, Was: v, Cause: "its directory has the owner and mode that were asked for"}
	if u.Mounted && v.Chown != "" {
		return append(p, own) // an earlier mount came no further
	}
	if u.Mounted {
		return p
	}
	if !u.Attached {
		p = append(p, Step{Op: Attach, Volume: v, Cause: "it is to be mounted"})
	}
	if u.Sick != "" {
		p = append(p, Step{Op: Check, Volume: v, Cause: u.Sick})
	}
	if u.FSShort && v.FS == spec.Ext4 {
		p = append(p, Step{Op: GrowFS, Volume: v, Cause: "its blocks were grown"})
	}
	p = append(p, Step{Op: Mount, Volume: v, Cause: "a container wants it"})
	if v.Chown != "" {
		p = append(p, own)
	}
	if u.FSShort && v.FS == spec.XFS {
		p = append(p, Step{Op: GrowFS, Volume: v, Cause: "its blocks were grown"})
	}
	return p
}

// Release takes a volume off this host.
func Release(v spec.Volume, u Use, cause string) Plan {
	var p Plan
	if u.Mounted {
		p = append(p, Step{Op: Unmount, Volume: v, Cause: cause})
	}
	if u.Attached {
		p = append(p, Step{Op: Detach, Volume: v, Cause: cause})
	}
	return p
}

// Resize grows a volume. later says why its file system cannot grow at once.
func Resize(v spec.Volume, size uint64, u Use, later string) Plan {
	var p Plan
	bigger := v
	bigger.Size = max(size, v.Size)
	if bigger.Size > v.Size {
		p = append(p, Step{Op: Grow, Volume: bigger, Was: v, Cause: "asked for"})
	}
	if bigger.Size > v.Size || u.FSShort {
		s := Step{Op: GrowFS, Volume: bigger, Was: v, Cause: "it fills its blocks"}
		if later != "" {
			s.Cause, s.Later = later, true
		}
		p = append(p, s)
	}
	return p
}

// Trash moves a volume to the recycle bin.
func Trash(v spec.Volume, u Use, now time.Time) Plan {
	return append(Release(v, u, "it is to be removed"),
		Step{Op: Record, Volume: v.In(spec.Trashed, now), Was: v, Cause: "asked for; docker mos volume trash restore brings it back"})
}

// Restore brings a volume back under a name.
func Restore(v spec.Volume, name string, now time.Time) Plan {
	back := v.In(spec.Ready, now)
	back.Name = name
	return Plan{{Op: Record, Volume: back, Was: v, Cause: "asked for"}}
}

// Purge removes volumes and snapshots for good. One that is overwritten first is
// recorded as no longer whole, so that nobody gets it after a cut.
func Purge(vs []spec.Volume, use func(spec.Volume) Use, now time.Time, cause string) Plan {
	var p Plan
	for _, v := range vs {
		if use(v).Mounted {
			p = append(p, Step{Op: Unmount, Volume: v, Cause: cause})
		}
		if Readable(v) {
			gone := v.In(spec.Filling, now)
			p = append(p,
				Step{Op: Record, Volume: gone, Was: v, Cause: "nobody is to get it half overwritten"},
				Step{Op: Zero, Volume: gone, Cause: "its blocks may become another volume's"})
		}
	}
	// The snapshots first, so that a cut leaves none without its volume.
	vs = slices.Clone(vs)
	slices.SortStableFunc(vs, func(a, b spec.Volume) int { return -cmp.Compare(min(1, len(a.Snapshot)), min(1, len(b.Snapshot))) })
	for _, v := range vs {
		p = append(p, Step{Op: Remove, Volume: v, Cause: cause})
	}
	return p
}

// InBackground leaves the overwriting, and what follows from it, to the daemon
// after its answer.
func InBackground(p Plan) Plan {
	for i, s := range p {
		if s.Op == Zero || s.Op == Remove && Readable(s.Volume) {
			p[i].Later = true
		}
	}
	return p
}

// Readable says whether a volume's blocks, once free, show their contents to who
// has them next. A thin pool and a file give out zeros.
func Readable(v spec.Volume) bool { return v.Type == spec.Linear || v.Type == spec.Striped }

// Repair finishes or takes back what a cut left half done.
func Repair(vs []spec.Volume, now time.Time) Plan {
	var p Plan
	for _, v := range vs {
		switch v.State {
		case spec.Creating:
			p = append(p,
				Step{Op: Format, Volume: v, Cause: "its making was cut off before anybody had it"},
				Step{Op: Record, Volume: v.In(spec.Ready, now), Was: v, Cause: "it is whole"})
		case spec.Filling:
			if Readable(v) {
				p = append(p, Step{Op: Zero, Volume: v, Cause: "its blocks may become another volume's"})
			}
			p = append(p, Step{Op: Remove, Volume: v, Cause: "its filling or its purge was cut off"})
		case spec.Ready, spec.Trashed:
		}
	}
	return p
}
