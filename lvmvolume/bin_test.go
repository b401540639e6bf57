package lvmvolume

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

func TestPressurePurgesTheOldest(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Thin.Extend = 0 })
	for i, name := range []string{"a", "b", "c"} {
		r.make(name, "size", "5g")
		if name == "b" {
			r.snap("b", "s")
		}
		v := r.volume(name)
		r.remove(name)
		since := time.Now().Add(time.Duration(i-10) * time.Hour)
		r.idx.change(v.ID, func(e *entry) { e.v.Since = since })
	}
	p, err := r.create(t.Context(), request("new", "size", "10g"), true)
	if err != nil {
		t.Fatal(err)
	}
	if got := p.String(); !strings.Contains(got, "remove b@s") || !strings.Contains(got, "remove a ") || strings.Contains(got, "remove c") {
		t.Errorf("the plan is\n%s", got)
	}
	if r.titles(inTrash) != "a b c" {
		t.Error("a dry run changed the bin")
	}
	r.make("new", "size", "10g")
	if r.titles(inTrash) != "b c" || r.titles(isSnapshot) != "" {
		t.Errorf("in the bin are %q, snapshots %q", r.titles(inTrash), r.titles(isSnapshot))
	}
	// Too much even for an empty bin: nothing goes for nothing.
	if _, err := r.create(t.Context(), request("huge", "size", "15g"), false); !errdefs.IsResourceExhausted(err) {
		t.Error(err)
	}
	if r.titles(inTrash) != "b c" {
		t.Errorf("in the bin are %q", r.titles(inTrash))
	}
}

// TestHeldVolumeOfTheBinIsPassedOver: one that somebody holds does not make every
// creation under pressure fail.
func TestHeldVolumeOfTheBinIsPassedOver(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Thin.Extend = 0 })
	for i, name := range []string{"held", "next", "last"} {
		v := r.make(name, "size", "5g")
		r.remove(name)
		since := time.Now().Add(time.Duration(i-10) * time.Hour)
		r.idx.change(v.ID, func(e *entry) { e.v.Since = since })
		if name == "held" {
			r.lvm.SetOpen(vg0, v.ID.Label(), true)
		}
	}
	r.make("new", "size", "10g")
	if r.titles(inTrash) != "held last" {
		t.Errorf("in the bin are %q", r.titles(inTrash))
	}
}

func TestSnapshotNames(t *testing.T) {
	r := newRig(t)
	r.make("v", "size", "1g")
	r.snap("v", "s")
	if _, _, err := r.takeSnapshot(t.Context(), "v", "s", false); !errdefs.IsAlreadyExists(err) {
		t.Errorf("two of one name: %v", err)
	}
	if _, _, err := r.takeSnapshot(t.Context(), "v", "a/b", false); !errdefs.IsInvalidArgument(err) {
		t.Error(err)
	}
	// The names of a volume in the bin are no longer in the way.
	r.remove("v")
	r.make("v", "size", "1g")
	mine := r.snap("v", "s")
	if _, err := r.removeSnapshot(t.Context(), "v", "s", false); err != nil {
		t.Fatal(err)
	}
	if _, there := r.idx.entry(mine.ID); there || len(r.idx.all(isSnapshot)) != 1 {
		t.Errorf("the snapshot of the volume in the bin was removed, not that of v")
	}
	if _, err := r.removeSnapshot(t.Context(), "v", "s", false); !errdefs.IsNotFound(err) {
		t.Errorf("a snapshot of the volume in the bin is taken for one of v: %v", err)
	}
	if _, err := r.create(t.Context(), request("c", "from", "v@s"), false); !errdefs.IsNotFound(err) {
		t.Errorf("copied from a snapshot of the volume in the bin: %v", err)
	}
}

func TestKeepingNothingRemovesAtOnce(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Trash.Keep = config.Duration{} })
	r.make("v", "size", "1g")
	r.snap("v", "s")
	r.make("flat", "size", "1g", "type", "linear")
	r.remove("v")
	r.remove("flat")
	r.wipeNow()
	if n := len(r.ours()); n != 0 || r.titles(anything) != "" {
		t.Errorf("%d volumes stay: %s", n, r.titles(anything))
	}
}

func TestPurgeByName(t *testing.T) {
	r := newRig(t)
	for range 2 {
		r.make("v", "size", "16m")
		r.remove("v")
	}
	r.make("w", "size", "16m")
	r.remove("w")
	w := r.idx.all(inTrash)[2].v
	for _, tt := range []struct {
		refs []string
		all  bool
		want int
	}{
		{nil, true, 3}, {[]string{"v"}, false, 2}, {[]string{"w", string(w.ID), "w"}, false, 1}, {nil, false, 0}, {[]string{"x"}, false, 0},
	} {
		vs, err := r.trashOf(tt.refs, tt.all)
		if len(vs) != tt.want || (err == nil) != (tt.want > 0) {
			t.Errorf("%v: got %d volumes, %v, want %d", tt.refs, len(vs), err, tt.want)
		}
	}
	if _, _, err := r.restore(t.Context(), "v", "", false); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), "give the id") {
		t.Errorf("one of two was restored: %v", err)
	}
}

// TestPurgeAndRestoreHaveOneWinner: nobody is told that a volume is back which
// goes at that moment.
func TestPurgeAndRestoreHaveOneWinner(t *testing.T) {
	r := newRig(t)
	for range 30 {
		r.make("v", "size", "16m")
		r.remove("v")
		v := r.idx.all(inTrash)[0].v
		var work sync.WaitGroup
		var restored, purged error
		work.Go(func() { _, _, restored = r.restore(t.Context(), string(v.ID), "", false) })
		work.Go(func() { _, purged = r.purge(t.Context(), []spec.Volume{v}, "asked for", false, nil) })
		work.Wait()
		_, back := r.idx.named("v")
		there := len(r.ours()) == 1
		if back != (restored == nil) || back != there {
			t.Fatalf("restore says %v, purge says %v, the volume is there: %v", restored, purged, there)
		}
		if back {
			r.remove("v")
			if _, err := r.purge(t.Context(), []spec.Volume{v}, "asked for", false, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestClockThatJumps empties no bin at once: what it makes too old goes only when
// the clock says so for long, and not when it was put right.
func TestClockThatJumps(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Trash.Keep = config.Duration{Duration: 24 * time.Hour} })
	r.make("v", "size", "1g")
	r.remove("v")
	now := time.Now()
	at := func(d time.Duration) int { return len(r.expired(now.Add(d))) }
	const year = 365 * 24 * time.Hour
	if at(0) != 0 || at(year) != 0 || at(0) != 0 || at(year+2*time.Hour) != 0 {
		t.Error("a clock that jumped for a moment makes it too old")
	}
	if at(year+4*time.Hour) != 1 {
		t.Error("it is kept for ever")
	}
}

// TestUnfinishedVolumesAreNotKept in the bin: there is nothing in them, and
// restored they could not be mounted.
func TestUnfinishedVolumesAreNotKept(t *testing.T) {
	r := newRig(t)
	r.make("v", "size", "1g")
	r.restart() // its record says creating still
	r.mustLook()
	r.remove("v")
	if r.titles(anything) != "" || len(r.ours()) != 0 {
		t.Errorf("there are %q, %v", r.titles(anything), r.ours())
	}
}
