package plan

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

const gib = 1 << 30

func day(n int) time.Time { return time.Unix(1764226800, 0).UTC().AddDate(0, 0, n) }

func volume(name string, t spec.Type, s spec.State) spec.Volume {
	v := spec.Volume{
		ID: spec.ID(fmt.Sprintf("%016x", len(name))), Name: name, Type: t, Place: "vg0", Size: 20 * gib,
		FS: spec.Ext4, Mode: 0o755, State: s, Since: day(0), Created: day(0),
	}
	if t == spec.Loop {
		v.Place = "/var/lib/mos/mos-lvm/loop"
	}
	return v
}

// verbs are the plans of all verbs, in the cases that differ.
func verbs() []struct {
	name string
	Plan
} {
	thin, linear, xfs := volume("data", spec.Thin, spec.Ready), volume("flat", spec.Linear, spec.Ready), volume("xfs", spec.Thin, spec.Ready)
	xfs.FS = spec.XFS
	creating, filling := volume("newborn", spec.Thin, spec.Creating), volume("import", spec.Linear, spec.Filling)
	snap := thin
	snap.ID, snap.Of, snap.Snapshot = "00000000000000ff", thin.ID, "monday"
	same := thin
	same.ID, same.Name, same.From = "00000000000000fe", "copy", "data@monday"
	larger := same
	larger.Size = 30 * gib
	owned := same
	owned.Chown = "um"
	on, off := Use{Attached: true, Mounted: true}, Use{}
	idle := func(spec.Volume) Use { return off }
	return []struct {
		name string
		Plan
	}{
		{"create thin", Create(thin, day(1))},
		{"create linear", Create(linear, day(1))},
		{"create loop", Create(volume("img", spec.Loop, ""), day(1))},
		{"copy", Copy(same, snap, day(1))},
		{"copy that is larger", Copy(larger, snap, day(1))},
		{"import", Import(linear, day(1))},
		{"snapshot", TakeSnapshot(snap, thin, day(1))},
		{"mount", MountIt(thin, off, day(1))},
		{"mount of a volume that nobody had", MountIt(creating, Use{Attached: true}, day(1))},
		{"mount of a mounted volume", MountIt(thin, on, day(1))},
		{"mount of a grown ext4", MountIt(thin, Use{Attached: true, FSShort: true}, day(1))},
		{"mount of one that was hurt", MountIt(thin, Use{Attached: true, FSShort: true, Sick: "the kernel recorded errors in it"}, day(1))},
		{"mount of a grown xfs", MountIt(xfs, Use{FSShort: true}, day(1))},
		{"first mount of a copy with an owner of its own", MountIt(owned, Use{Attached: true}, day(1))},
		{"mount of one whose first mount was cut off", MountIt(owned, on, day(1))},
		{"release", Release(thin, on, "no container has it")},
		{"release of a volume that is away", Release(thin, off, "no container has it")},
		{"resize while mounted", Resize(thin, 30*gib, on, "")},
		{"resize for the next mount", Resize(thin, 30*gib, off, "it is not mounted")},
		{"resize to the same size", Resize(thin, 20*gib, on, "")},
		{"resize to a smaller size", Resize(thin, 10*gib, on, "")},
		{"resize that was cut off before the file system", Resize(thin, 20*gib, Use{Attached: true, Mounted: true, FSShort: true}, "")},
		{"trash", Trash(thin, off, day(1))},
		{"trash of a mounted volume", Trash(thin, on, day(1))},
		{"restore", Restore(volume("data", spec.Thin, spec.Trashed), "data", day(1))},
		{"restore under another name", Restore(volume("data", spec.Thin, spec.Trashed), "other", day(1))},
		{"purge thin with a snapshot", Purge([]spec.Volume{thin, snap}, idle, day(1), "asked for")},
		{"purge linear", Purge([]spec.Volume{linear}, idle, day(1), "asked for")},
		{"purge of a mounted volume", Purge([]spec.Volume{thin}, func(spec.Volume) Use { return on }, day(1), "asked for")},
		{"repair", Repair([]spec.Volume{thin, creating, filling, volume("img", spec.Loop, spec.Filling), volume("bin", spec.Thin, spec.Trashed)}, day(1))},
	}
}

func TestVerbs(t *testing.T) {
	var b strings.Builder
	for _, v := range verbs() {
		fmt.Fprintf(&b, "%s:\n", v.name)
		for line := range strings.Lines(v.String()) {
			b.WriteString("  " + line)
		}
		b.WriteString("\n")
	}
	testx.Golden(t, "verbs.golden", b.String())
}

// TestEveryPlanIsSafeToCut: a volume in a state that a restart makes whole or
// takes back is never one that somebody has, and nothing is destroyed that a
// restart would give out.
func TestEveryPlanIsSafeToCut(t *testing.T) {
	for _, v := range verbs() {
		state := map[spec.ID]spec.State{}
		for _, s := range v.Plan {
			if was, ok := state[s.Volume.ID]; ok && s.Op == Zero && was != spec.Filling {
				t.Errorf("%s: %s is overwritten in state %s", v.name, s.Object(), was)
			}
			if s.Op == Mount && s.Volume.State != spec.Ready {
				t.Errorf("%s: %s is mounted in state %s", v.name, s.Object(), s.Volume.State)
			}
			if s.Op == Format && s.Volume.State != spec.Creating {
				t.Errorf("%s: %s is formatted in state %s", v.name, s.Object(), s.Volume.State)
			}
			if s.Cause == "" {
				t.Errorf("%s: %s has no cause", v.name, s)
			}
			state[s.Volume.ID] = s.Volume.State
		}
	}
}

func TestPlansAreOfStepsThatPrint(t *testing.T) {
	for _, op := range []Op{Make, Format, Fill, Snapshot, Record, Attach, Grow, GrowFS, Mount, Unmount, Detach, Zero, Remove} {
		s := Step{Op: op, Volume: volume("data", spec.Thin, spec.Ready), Was: volume("data", spec.Thin, spec.Creating), Cause: "why"}
		if line := s.String(); !strings.HasPrefix(line, string(op)+" data (") || s.Detail() == "" {
			t.Errorf("%s prints as %q", op, line)
		}
	}
}
