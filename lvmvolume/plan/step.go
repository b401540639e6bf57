package plan

import (
	"strings"

	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// Op is what a step does. Each may be repeated.
type Op string

// The steps.
const (
	Make     Op = "make"     // blocks, with the record, in one act
	Format   Op = "format"   // file system, and sync
	Fill     Op = "fill"     // contents, and sync
	Snapshot Op = "snapshot" // blocks that share the source's, with the record, in one act
	Record   Op = "record"   // replace the record: another state or name
	Attach   Op = "attach"   // block device
	Grow     Op = "grow"     // blocks
	Check    Op = "check"    // file system, and mend it
	GrowFS   Op = "grow-fs"  // file system to the size of its blocks
	Mount    Op = "mount"
	Unmount  Op = "unmount"
	Detach   Op = "detach"
	Zero     Op = "zero"   // overwrite the blocks, where others could read them later
	Remove   Op = "remove" // blocks and record, for good
)

// Step is one change of the outside.
type Step struct {
	Op Op
	// Volume is the volume as it is to be after the step.
	Volume spec.Volume
	// Was is the volume before, for Record, Snapshot's source and Grow.
	Was   spec.Volume
	Cause string
	// Later marks a step that the daemon takes after its answer, at the first
	// mount at the latest.
	Later bool
	// Fresh says of Format that the blocks read as zeros, which saves work.
	Fresh bool
}

// Object names what the step is about.
func (s Step) Object() string { return s.Volume.Title() }

// Detail is what the operation alone does not say.
func (s Step) Detail() string {
	v := s.Volume
	switch s.Op {
	case Make:
		return string(v.Type) + " of " + spec.Bytes(v.Size).String() + " in " + v.Place
	case Format:
		return string(v.FS)
	case Snapshot:
		return "of " + s.Was.Title()
	case Record:
		if v.Name != s.Was.Name {
			return string(v.State) + ", was " + s.Was.Name
		}
		return string(v.State)
	case Grow:
		return spec.Bytes(s.Was.Size).String() + " to " + spec.Bytes(v.Size).String()
	case Fill, Attach, Check, GrowFS, Mount, Unmount, Detach, Zero, Remove:
	}
	return v.ID.Label()
}

func (s Step) String() string {
	line := string(s.Op) + " " + s.Object() + " (" + s.Detail() + "): " + s.Cause
	if s.Later {
		line += ", later"
	}
	return line
}

// Plan is the steps in their order.
type Plan []Step

// String is a line a step.
func (p Plan) String() string {
	var b strings.Builder
	for _, s := range p {
		b.WriteString(s.String() + "\n")
	}
	return b.String()
}
