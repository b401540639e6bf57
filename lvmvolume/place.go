package lvmvolume

import (
	"context"
	"io"
	"time"

	"github.com/mosdocker/mosdocker/lvmvolume/plan"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// place keeps the blocks and the records of volumes: a volume group, or the
// folder of loop images. Its verbs may be repeated; volumes that are missing are
// no error to remove. Those that change something are done in turn by the place
// itself. All take and honor the context.
type place interface {
	name() string
	types() []spec.Type
	// round is the size that a volume of that size would get.
	round(t spec.Type, size uint64) uint64
	// space is what can be promised to volumes of a type, by the last look and
	// what was done since. promised is the sum of the sizes there.
	space(t spec.Type, promised uint64) plan.Space
	// snapshots says why there are none for volumes of a type, nil when there are.
	snapshots(t spec.Type) error

	// make makes the blocks with the record, or nothing that a list would not find.
	// format, which only a place of files is given, makes the file system in the
	// file that it gets.
	make(ctx context.Context, v spec.Volume, format func(file string) error) error
	// snapshot makes v of blocks that it shares with src.
	snapshot(ctx context.Context, v, src spec.Volume) error
	// record replaces the records, one act a volume.
	record(ctx context.Context, was, now []spec.Volume) error
	grow(ctx context.Context, v spec.Volume, size uint64) error
	remove(ctx context.Context, vs []spec.Volume) error

	// attach gives the block device. It stays at least until hold is closed, and
	// as long as it is mounted.
	attach(ctx context.Context, v spec.Volume) (device string, hold io.Closer, err error)
	// attached gives the device of an attached volume, "" when it is not, and
	// attachedAll those of all, without a command. An error is neither.
	attached(v spec.Volume) (device string, err error)
	attachedAll(vs []spec.Volume) (map[spec.ID]string, error)
	detach(ctx context.Context, vs []spec.Volume) error
}

// found is a volume as a place lists it.
type found struct {
	v         spec.Volume
	allocated uint64 // bytes of the pool or disk
	active    bool   // it is attached
	// fault says what is wrong with it; such a volume is shown but not used.
	fault error
}

// listing is one look at a place.
type listing struct {
	place   place
	began   time.Time // what was changed since is not overwritten by it
	volumes []found
	// strays are objects with a name of ours and no readable record.
	strays []stray
	err    error // the place could not be read
}

// stray is something with a name of ours that is no volume.
type stray struct {
	place, object, detail string
	id                    spec.ID // of blocks whose record cannot be read
}
