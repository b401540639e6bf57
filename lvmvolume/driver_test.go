package lvmvolume

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// TestLifeOfAVolume is the whole life without a mount.
func TestLifeOfAVolume(t *testing.T) {
	r := newRig(t)
	v := r.make("data", "size", "1g")
	if v.Type != spec.Thin || v.Place != vg0 || v.State != spec.Creating || !r.disk.formatted(v) {
		t.Fatalf("made %+v", v)
	}
	before := len(r.lvm.Lines())
	if _, err := r.create(t.Context(), request("data", "size", "1g"), false); err != nil {
		t.Errorf("a repeated create is refused: %v", err)
	}
	if len(r.lvm.Lines()) != before {
		t.Error("a repeated create ran a command")
	}
	snap := r.snap("data", "monday")
	r.make("copy", "from", "data@monday", "size", "2g")
	if c := r.volume("copy"); c.Size != 2*gib || c.State != spec.Ready || c.From != "data@monday" {
		t.Errorf("the copy is %+v", c)
	}
	r.remove("data")
	r.remove("data") // absent is well
	if r.titles(inService) != "copy" || r.titles(inTrash) != "data" || r.titles(isSnapshot) != "data@monday" {
		t.Errorf("in service %q, in the bin %q, snapshots %q", r.titles(inService), r.titles(inTrash), r.titles(isSnapshot))
	}
	r.make("data", "size", "1g") // the name is free at once
	if _, _, err := r.restore(t.Context(), "data", "", false); !errdefs.IsAlreadyExists(err) {
		t.Errorf("restored over another volume: %v", err)
	}
	if _, _, err := r.restore(t.Context(), "data", "old", false); err != nil {
		t.Fatal(err)
	}
	if old := r.volume("old"); old.ID != v.ID || r.titles(isSnapshot) != "old@monday" {
		t.Errorf("restored %+v with snapshots %q", old, r.titles(isSnapshot))
	}
	r.remove("old")
	if _, err := r.purge(t.Context(), []spec.Volume{r.idx.all(inTrash)[0].v}, "asked for", false, nil); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(r.ours(), " "); strings.Contains(got, v.ID.Label()) || strings.Contains(got, snap.ID.Label()) || len(r.ours()) != 2 {
		t.Errorf("after the purge there are %s", got)
	}
}

func TestQuestionsRunNoCommand(t *testing.T) {
	r := newRig(t)
	for i := range 20 {
		r.make(fmt.Sprint("v", i), "size", "16m")
	}
	before := len(r.lvm.Lines())
	for i := range 20 {
		if _, err := r.certain(t.Context(), fmt.Sprint("v", i)); err != nil {
			t.Error(err)
		}
	}
	if _, err := r.certain(t.Context(), "other"); !errdefs.IsNotFound(err) {
		t.Error(err)
	}
	r.pools()
	r.overview()
	if n := len(r.lvm.Lines()) - before; n != 0 {
		t.Errorf("%d commands", n)
	}
}

func TestRecordsAreWrittenInOneCommand(t *testing.T) {
	r := newRig(t)
	for i := range 30 {
		v := r.make(fmt.Sprint("v", i), "size", "16m")
		older := v.In(spec.Creating, v.Since.Add(-time.Duration(i)*time.Second))
		if err := r.group().record(t.Context(), []spec.Volume{v}, []spec.Volume{older}); err != nil {
			t.Fatal(err)
		}
		r.idx.put(older)
	}
	r.recordReady(t.Context(), time.Hour)
	if r.volume("v0").State != spec.Creating {
		t.Error("written before its time")
	}
	before := len(r.lvm.Lines())
	unlock := r.names.Lock("v7") // somebody is at it
	r.recordReady(t.Context(), 0)
	unlock()
	if n := r.commands(before, "lvchange"); n != 1 {
		t.Errorf("%d commands for 29 volumes, want 1", n)
	}
	if r.volume("v7").State != spec.Creating || r.volume("v8").State != spec.Ready {
		t.Errorf("v7 is %s, v8 is %s", r.volume("v7").State, r.volume("v8").State)
	}
	r.recordReady(t.Context(), 0)
	r.restart()
	r.mustLook()
	for _, e := range r.idx.all(inService) {
		if e.v.State != spec.Ready {
			t.Errorf("%s is recorded as %s", e.v.Name, e.v.State)
		}
	}
}

func TestRetagsOfSeveralVolumes(t *testing.T) {
	at := func(sec int64) time.Time { return time.Unix(sec, 0) }
	a, b, c := ready("a", "a", 1).In(spec.Creating, at(1)), ready("b", "b", 1).In(spec.Creating, at(2)), ready("c", "c", 1).In(spec.Creating, at(3))
	same := ready("d", "d", 1)
	odd := ready("e", "e", 1).In(spec.Ready, at(9)) // takes away what the others get
	got := retags(
		[]spec.Volume{a, b, c, same, odd},
		[]spec.Volume{a.In(spec.Ready, at(9)), b.In(spec.Ready, at(9)), c.In(spec.Trashed, at(9)), same, odd.In(spec.Trashed, at(9))},
	)
	var lines []string
	for _, r := range got {
		lines = append(lines, fmt.Sprint(len(r.lvs), r.add, r.del))
	}
	want := []string{
		"2 [mos:state=ready:9] [mos:state=creating:1 mos:state=creating:2]",
		"2 [mos:state=trashed:9] [mos:state=creating:3 mos:state=ready:9]",
	}
	if d := cmp.Diff(want, lines); d != "" {
		t.Error(d)
	}
}

// TestParallelCreatesPromiseNoMoreThanThereIs makes 50 at once in places that
// have room for a part of them.
func TestParallelCreatesPromiseNoMoreThanThereIs(t *testing.T) {
	for _, typ := range []string{"thin", "linear"} {
		t.Run(typ, func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.Thin.Extend = 0 })
			var work sync.WaitGroup
			var mu sync.Mutex
			made := 0
			for i := range 50 {
				work.Go(func() {
					_, err := r.create(t.Context(), request(fmt.Sprint("v", i), "size", "3g", "type", typ), false)
					mu.Lock()
					defer mu.Unlock()
					switch {
					case err == nil:
						made++
					case !errdefs.IsResourceExhausted(err) || strings.Contains(err.Error(), "lvcreate"):
						t.Errorf("%v is not refused by admission", err)
					}
				})
			}
			work.Wait()
			want := 20 / 3 // the pool
			if typ == "linear" {
				want = (80 - 20) / 3
			}
			if made > want || made < want-1 || len(r.ours()) != made {
				t.Errorf("%d made and %d there, want %d", made, len(r.ours()), want)
			}
		})
	}
}

func TestGrowthAndCreationsShareTheSpace(t *testing.T) {
	r := newRig(t)
	r.make("a", "size", "30g", "type", "linear")
	v := r.volume("a")
	at := r.group()
	// 60 GiB less the metadata are free for both: only one of two large wishes fits.
	if _, err := r.idx.admit(at, v, 20*gib, false); err != nil {
		t.Fatal(err)
	}
	if _, err := r.create(t.Context(), request("b", "size", "20g", "type", "linear"), false); !errdefs.IsResourceExhausted(err) || strings.Contains(err.Error(), "lvcreate") {
		t.Errorf("got %v, want a refusal by admission: the growth has the room", err)
	}
}

// TestPoolAndVolumesBesideItShareTheGroup: what the pool was promised to grow by
// is not given away, and what was given away is not promised.
func TestPoolAndVolumesBesideItShareTheGroup(t *testing.T) {
	r := newRig(t) // a pool of 20 GiB, and nearly 60 GiB for it to grow by
	r.make("thin", "size", "60g")
	if _, err := r.create(t.Context(), request("flat", "size", "30g", "type", "linear"), false); !errdefs.IsResourceExhausted(err) {
		t.Errorf("a linear volume got what the pool has to grow by: %v", err)
	}
	r.make("flat", "size", "15g", "type", "linear")
	if _, err := r.create(t.Context(), request("more", "size", "10g"), false); !errdefs.IsResourceExhausted(err) {
		t.Errorf("the pool promised what a linear volume has: %v", err)
	}
	r.mustLook()
	if _, err := r.create(t.Context(), request("more", "size", "10g"), false); !errdefs.IsResourceExhausted(err) {
		t.Errorf("the pool promised what a linear volume has: %v", err)
	}
	r.make("little", "size", "1g")
}

func TestFailedMakingIsTakenBack(t *testing.T) {
	r := newRig(t)
	r.disk.fail = errors.New("mkfs: no such program")
	if _, err := r.create(t.Context(), request("v", "size", "1g"), false); err == nil {
		t.Fatal("made without a file system")
	}
	if n := len(r.ours()); n != 0 || r.titles(anything) != "" {
		t.Errorf("%d volumes stay", n)
	}
	// And when it cannot be removed either, its space stays taken until it is gone.
	r.lvm.FailNext(2, 0) // the removal
	_, err := r.create(t.Context(), request("v", "size", "1g"), false)
	if err == nil || !strings.Contains(err.Error(), "could not be removed yet") {
		t.Fatalf("got %v", err)
	}
	if sum, _, _ := r.idx.promised(vg0, spec.Thin); sum != gib || len(r.idx.doomedOnes()) != 1 {
		t.Errorf("%d promised, doomed %d", sum, len(r.idx.doomedOnes()))
	}
	if a := r.audit(t.Context()); len(a.Findings) == 0 || !strings.Contains(a.Findings[0].Detail, "could not be removed yet") {
		t.Errorf("the audit says %+v", a)
	}
	r.disk.fail = nil
	r.make("v", "size", "1g") // the name is free
	r.sweep(t.Context())
	if len(r.ours()) != 1 || len(r.idx.doomedOnes()) != 0 {
		t.Errorf("there are %v", r.ours())
	}
}

func TestDefaultTypeAndPlace(t *testing.T) {
	for _, tt := range []struct {
		name  string
		set   func(*Config)
		setup func(*rig)
		opts  []string
		want  string // type place, or a part of the error
	}{
		{"no group", nil, nil, nil, "loop in loop"},
		{"pool", nil, func(r *rig) { r.makeGroup(vg0, gib, "/dev/sda") }, nil, "thin in vg0"},
		{"group without pool", nil, func(r *rig) { r.makeGroup(vg0, 0, "/dev/sda") }, nil, "linear in vg0"},
		{"asked for", nil, func(r *rig) { r.makeGroup(vg0, gib, "/dev/sda") }, []string{"type", "linear"}, "linear in vg0"},
		{"loop beside a group", nil, func(r *rig) { r.makeGroup(vg0, gib, "/dev/sda") }, []string{"type", "loop"}, "loop in loop"},
		{"striped", nil, func(r *rig) { r.makeGroup(vg0, gib, "/dev/sda", "/dev/sdb") }, []string{"type", "striped"}, "striped in vg0"},
		{"striped on one disk", nil, func(r *rig) { r.makeGroup(vg0, gib, "/dev/sda") }, []string{"type", "striped"}, "one disk"},
		{"thin without pool", nil, func(r *rig) { r.makeGroup(vg0, 0, "/dev/sda") }, []string{"type", "thin"}, "no thin pool"},
		{"thin without group", nil, nil, []string{"type", "thin"}, "no volume group of ours"},
		{"unknown group", nil, func(r *rig) { r.makeGroup(vg0, gib, "/dev/sda") }, []string{"vg", "other"}, "mos-lvm init -adopt"},
		{"group asked for", nil, func(r *rig) { r.makeGroup(vg0, gib, "/dev/sda"); r.makeGroup("vg1", 0, "/dev/sdb") }, []string{"vg", "vg1"}, "linear in vg1"},
		{"first of two", nil, func(r *rig) { r.makeGroup("vg1", gib, "/dev/sda"); r.makeGroup(vg0, 0, "/dev/sdb") }, nil, "linear in vg0"},
		{"configured group", func(c *Config) { c.VG = "vg1" }, func(r *rig) { r.makeGroup(vg0, gib, "/dev/sda"); r.makeGroup("vg1", 0, "/dev/sdb") }, nil, "linear in vg1"},
		{"configured group is not ours", func(c *Config) { c.VG = "vgx" }, nil, nil, "mos-lvm init -adopt -vg vgx"},
		{"configured type", func(c *Config) { c.Type = "linear" }, func(r *rig) { r.makeGroup(vg0, gib, "/dev/sda") }, nil, "linear in vg0"},
		{"configured type without group", func(c *Config) { c.Type = "thin" }, nil, nil, "no volume group of ours"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set := tt.set
			if set == nil {
				set = func(*Config) {}
			}
			r := bareRig(t, set)
			if tt.setup != nil {
				tt.setup(r)
			}
			r.mustLook()
			v, _, _, err := r.wish(request("v", append(tt.opts, "size", "64m")...))
			got := string(v.Type) + " in " + strings.TrimPrefix(v.Place, r.cfg.StateDir+"/")
			if err != nil {
				got = err.Error()
			}
			if got != tt.want && (err == nil || !strings.Contains(got, tt.want)) {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestResize(t *testing.T) {
	r := newRig(t)
	r.make("v", "size", "1g")
	for _, tt := range []struct{ size, want string }{
		{"1g", ""}, {"512m", "cannot shrink"}, {"x", "no size such as"}, {"500g", "has room for"}, {"+1g", ""}, {"2g", ""},
	} {
		_, _, err := r.resize(t.Context(), resizeRequest("v", tt.size))
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.size, err, tt.want)
		}
	}
	if v := r.volume("v"); v.Size != 2*gib {
		t.Errorf("it has %v", spec.Bytes(v.Size))
	}
	r.lvm.FailNext(1, 0)
	if _, _, err := r.resize(t.Context(), resizeRequest("v", "3g")); err == nil {
		t.Error("grown by a command that failed")
	}
	r.mustLook()
	if v := r.volume("v"); v.Size != 2*gib {
		t.Errorf("after a look it has %v", spec.Bytes(v.Size))
	}
}

// TestStripes: how many there are is recorded, also where nobody said it.
func TestStripes(t *testing.T) {
	r := newRig(t)
	if v := r.make("s", "size", "1g", "type", "striped"); v.Stripes != 2 {
		t.Errorf("it has %d stripes", v.Stripes)
	}
	r.recordReady(t.Context(), 0)
	r.restart()
	r.mustLook()
	if v := r.volume("s"); v.Stripes != 2 {
		t.Errorf("after a restart it has %d stripes", v.Stripes)
	}
	if _, err := r.create(t.Context(), request("s", "size", "1g", "type", "striped", "stripes", "1"), false); !errdefs.IsInvalidArgument(err) {
		t.Errorf("another number of stripes: %v", err)
	}
	if _, err := r.create(t.Context(), request("t", "size", "1g", "type", "striped", "stripes", "3"), false); !errdefs.IsInvalidArgument(err) {
		t.Errorf("more stripes than disks: %v", err)
	}
	if _, err := r.create(t.Context(), request("ro", "size", "1g", "mountopts", "ro"), false); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), ":ro") {
		t.Errorf("a volume that nobody could ever write to: %v", err)
	}
}
