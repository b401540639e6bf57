package plan

import "time"

// Level is how full a pool is, in what follows from it.
type Level string

// The levels; each has all restrictions of the one before.
const (
	OK     Level = "ok"
	Warn   Level = "warn"
	Refuse Level = "refuse"
	Pause  Level = "pause"
)

// Levels are the fills, 0 to 1, at which something happens. Extend is where a
// pool is grown from its volume group; 0 is never.
type Levels struct {
	Extend, Warn, Refuse, Pause float64
}

// Fullness is how full a thin pool is, 0 to 1.
type Fullness struct {
	Data, Meta float64
}

// At gives the level of a fill. The fuller of data and metadata decides.
func (l Levels) At(f Fullness) Level {
	full := max(f.Data, f.Meta)
	switch {
	case l.Pause > 0 && full >= l.Pause:
		return Pause
	case full >= l.Refuse:
		return Refuse
	case full >= l.Warn:
		return Warn
	}
	return OK
}

// Hurries says whether a pool that refuses already will be full within a time, by
// the rate at which its data grew, a second: pausing takes its time, too.
func (l Levels) Hurries(f Fullness, rate float64, within time.Duration) bool {
	return l.Pause > 0 && f.Data >= l.Refuse && f.Data+rate*within.Seconds() >= 1
}

// Resume says whether containers that were paused may go on: a pool must have
// come well below the level, or they would be paused again at once. Where nothing
// is paused any more, those of before go on.
func (l Levels) Resume(f Fullness) bool {
	return l.Pause <= 0 || max(f.Data, f.Meta) < l.Pause-0.02
}

// ExtendBy says by how many bytes the data and the metadata of a pool are to grow:
// a fifth of what they have, as far as the volume group gives. The spare that LVM
// keeps for repairs grows with the metadata.
func (l Levels) ExtendBy(f Fullness, data, meta, free uint64) (moreData, moreMeta uint64) {
	if l.Extend <= 0 {
		return 0, 0
	}
	if f.Meta >= l.Extend {
		moreMeta = min(max(meta/5, 4<<20), free/2, less(mostMeta, meta))
	}
	if f.Data >= l.Extend {
		moreData = min(max(data/5, 64<<20), free-2*moreMeta)
	}
	return moreData, moreMeta
}
