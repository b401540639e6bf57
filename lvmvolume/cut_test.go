package lvmvolume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/lvmvolume/lvm/lvmtest"
	"github.com/mosdocker/mosdocker/lvmvolume/plan"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// verb is a change that is cut at each of its commands.
type verb struct {
	name  string
	setup func(*rig)
	do    func(*rig, context.Context) error
	// lvs is how many logical volumes of ours there are when it is done, before
	// is how many when it was taken back; -1 is never.
	lvs, before int
}

func verbs() []verb {
	create := func(kv ...string) func(*rig, context.Context) error {
		return func(r *rig, ctx context.Context) error {
			_, err := r.create(ctx, request("new", kv...), false)
			return err
		}
	}
	data := func(kv ...string) func(*rig) {
		return func(r *rig) {
			v := r.make("data", append(kv, "size", "1g")...)
			r.recordReady(r.t.Context(), 0)
			r.disk.text[v.ID.Label()] = "what a user wrote"
		}
	}
	trashed := func(kv ...string) func(*rig) {
		return func(r *rig) { data(kv...)(r); r.remove("data") }
	}
	purge := func(r *rig, ctx context.Context) error {
		_, err := r.purge(ctx, volumesOf(r.idx.all(inTrash)), "asked for", false, func(string, uint64, uint64) {})
		return err
	}
	return []verb{
		{"create thin", func(*rig) {}, create("size", "1g"), 1, 0},
		{"create linear", func(*rig) {}, create("size", "1g", "type", "linear"), 1, 0},
		{"create striped", func(*rig) {}, create("size", "1g", "type", "striped"), 1, 0},
		{"copy", data(), create("from", "data"), 2, 1},
		{"copy that is larger", data(), create("from", "data", "size", "2g"), 2, 1},
		{"snapshot", data(), func(r *rig, ctx context.Context) error {
			_, _, err := r.takeSnapshot(ctx, "data", "s", false)
			if errdefs.IsAlreadyExists(err) {
				return nil
			}
			return err
		}, 2, 1},
		{"resize", data(), func(r *rig, ctx context.Context) error {
			_, _, err := r.resize(ctx, resizeRequest("data", "3g"))
			return err
		}, 1, 1},
		{"trash", data(), func(r *rig, ctx context.Context) error {
			return r.trash(ctx, "data")
		}, 1, 1},
		{"restore", trashed(), func(r *rig, ctx context.Context) error {
			if _, back := r.idx.named("back"); back {
				return nil
			}
			_, _, err := r.restore(ctx, "data", "back", false)
			return err
		}, 1, 1},
		{"purge thin", func(r *rig) { data()(r); r.snap("data", "s"); r.remove("data") }, purge, 0, 2},
		{"purge linear", trashed("type", "linear"), purge, 0, 1},
		{"create under pressure", func(r *rig) {
			r.make("old", "size", "15g")
			r.remove("old")
		}, create("size", "10g"), 1, 0},
	}
}

// TestEveryCutEndsWholeOrAbsent fails each command of each verb in each way, then
// restarts, looks, or repeats it at once: a look with its repair leads to volumes that are whole or
// absent, the verb can be repeated, nothing is doubled or left.
func TestEveryCutEndsWholeOrAbsent(t *testing.T) {
	ways := map[string]lvmtest.Failure{
		"refused": lvmtest.Refuse, "killed-before": lvmtest.KillBefore, "killed-committed": lvmtest.KillCommitted,
		"killed-unfinished": lvmtest.KillUnfinished, "killed-after": lvmtest.KillAfter, "power-loss": lvmtest.PowerLoss,
	}
	for _, v := range verbs() {
		for way, failure := range ways {
			for _, then := range []string{"restart", "look", "repeat"} {
				if failure == lvmtest.PowerLoss && then != "restart" {
					continue // nobody is left to look
				}
				for n := 1; cut(t, v, fmt.Sprintf("%s, command %d %s, then %s", v.name, n, way, then), n, failure, then); n++ {
					if n > 20 {
						t.Fatalf("%s has no end", v.name)
					}
				}
			}
		}
	}
}

// cut runs a verb whose n-th command fails, and says whether there was one.
func cut(t *testing.T, v verb, what string, n int, how lvmtest.Failure, then string) (cut bool) {
	t.Helper()
	r := newRig(t, func(c *Config) { c.Thin.Extend = 0 })
	v.setup(r)
	before := len(r.lvm.Lines())
	r.lvm.FailNext(n, how)
	err := v.do(r, t.Context())
	if len(r.lvm.Lines())-before < n {
		return false // it was over before that
	}
	switch then {
	case "restart":
		r.lvm.Reboot()
		r.restart()
	case "repeat": // at once, by somebody impatient
		_ = v.do(r, t.Context())
		err = nil
		if len(r.ours()) != v.lvs { // it met what the first left
			err = errors.New("not yet")
		}
	}
	for range 2 {
		_ = r.reconcile(t.Context()) // the first may meet a failure that was not used up
		r.removeDoomed(t.Context())
		r.wipeNow()
	}
	whole(t, what, r)
	if got := len(r.ours()); got != v.lvs && got != v.before {
		t.Errorf("%s: %d volumes, want %d or %d; the verb said %v", what, got, v.lvs, v.before, err)
	}
	if err == nil && len(r.ours()) != v.lvs {
		t.Errorf("%s: it said that all is well, with %d volumes", what, len(r.ours()))
	}
	again := v.do(r, t.Context())
	if again != nil && !errdefs.IsNotFound(again) {
		t.Errorf("%s: repeated: %v", what, again)
	}
	r.recordReady(t.Context(), 0)
	r.wipeNow()
	whole(t, what+", repeated", r)
	if a := r.audit(t.Context()); len(a.Findings) != 0 {
		t.Errorf("%s: the audit says %+v", what, a.Findings)
	}
	if got := len(r.ours()); got != v.lvs {
		t.Errorf("%s, repeated: %d volumes, want %d\n%s", what, got, v.lvs, r.lvm)
	}
	return true
}

// whole checks that each volume is whole, and that the index and the machine know
// the same ones.
func whole(t *testing.T, what string, r *rig) {
	t.Helper()
	var labels []string
	names := map[string]bool{}
	for _, e := range r.idx.all(anything) {
		labels = append(labels, e.v.ID.Label())
		switch e.state() {
		case spec.Ready, spec.Trashed:
		case spec.Creating, spec.Filling:
			t.Errorf("%s: %s is %s", what, e.v.Title(), e.v.State)
		}
		if inService(e.v) && names[e.v.Name] {
			t.Errorf("%s: %s is there twice", what, e.v.Name)
		}
		names[e.v.Name] = names[e.v.Name] || inService(e.v)
		if e.v.From == "" && !isSnapshot(e.v) && !r.disk.formatted(e.v) {
			t.Errorf("%s: %s has no file system", what, e.v.Title())
		}
		if e.v.Name == "data" && !isSnapshot(e.v) && r.disk.text[e.v.ID.Label()] == "" {
			t.Errorf("%s: what was in %s is lost", what, e.v.Title())
		}
		if e.fault != nil {
			t.Errorf("%s: %s: %v", what, e.v.Title(), e.fault)
		}
	}
	slices.Sort(labels)
	if have := r.ours(); !slices.Equal(labels, have) {
		t.Errorf("%s: known are %v, there are %v", what, labels, have)
	}
}

// TestRecordIsReadBeforeItIsChangedAgain: a command that was done all the same
// left another state than we know, and a volume with two states would be nobody's.
func TestRecordIsReadBeforeItIsChangedAgain(t *testing.T) {
	r := newRig(t)
	v := r.make("data", "size", "1g")
	r.recordReady(t.Context(), 0)
	r.lvm.FailNext(1, lvmtest.KillAfter) // the record
	r.lvm.FailNext(2, lvmtest.Refuse)    // the look that follows
	if r.trash(t.Context(), "data") == nil {
		t.Fatal("it went well")
	}
	time.Sleep(1100 * time.Millisecond) // tags have seconds
	if err := r.trash(t.Context(), "data"); !errdefs.IsUnavailable(err) {
		t.Errorf("changed without looking: %v", err)
	}
	r.mustLook()
	_ = r.trash(t.Context(), "data")
	r.restart()
	r.mustLook()
	if e, ok := r.idx.entry(v.ID); !ok || e.v.State != spec.Trashed {
		t.Errorf("it is %+v\n%s", e.v, r.lvm)
	}
}

// TestRestoreThatWasCutHasItsName: a restore that was done all the same has its name
// at once, and nobody else gets it.
func TestRestoreThatWasCutHasItsName(t *testing.T) {
	r := newRig(t)
	v := r.make("data", "size", "1g")
	r.recordReady(t.Context(), 0)
	r.remove("data")
	r.lvm.FailNext(1, lvmtest.KillAfter) // the record
	if _, _, err := r.restore(t.Context(), "data", "back", false); err == nil {
		t.Fatal("it went well")
	}
	if got := r.make("back", "size", "1g"); got.ID != v.ID {
		t.Errorf("back was made beside the volume that was restored under its name\n%s", r.lvm)
	}
	whole(t, "in the end", r)
}

// TestTryAfterOneThatCouldNotBeTakenBack: what a first try left is removed later, and
// what the next one made is not.
func TestTryAfterOneThatCouldNotBeTakenBack(t *testing.T) {
	r := newRig(t, noExtend)
	for _, name := range []string{"old", "older"} {
		r.make(name, "size", "9g")
		r.remove(name)
	}
	r.lvm.FailNext(1, lvmtest.Refuse) // to make room
	r.lvm.FailNext(2, lvmtest.Refuse) // to take back
	v := r.make("new", "size", "8g")
	if sum, unborn, _ := r.idx.promised(vg0, spec.Thin); unborn > v.Size || sum > 20*gib+v.Size {
		t.Errorf("%d are promised, %d to be made", sum, unborn)
	}
	if r.removeDoomed(t.Context()) {
		t.Error("not all of the first try is gone")
	}
	r.recordReady(t.Context(), 0)
	if now, there := r.idx.named("new"); !there || now.v.ID != v.ID || now.v.Size != v.Size {
		t.Errorf("what was made went with what could not be taken back: %+v", now)
	}
	whole(t, "in the end", r)
}

// TestLastOfTwoTriesIsKept: after a restart the volume that the caller was told of
// has the name, and not an earlier try that could not be taken back.
func TestLastOfTwoTriesIsKept(t *testing.T) {
	r := newRig(t, noExtend)
	r.lvm.FailNext(1, lvmtest.KillAfter) // the volume
	r.lvm.FailNext(2, lvmtest.Refuse)    // to take it back
	if _, err := r.create(t.Context(), request("new", "size", "1g"), false); err == nil {
		t.Fatal("it went well")
	}
	time.Sleep(1100 * time.Millisecond) // tags have seconds
	v := r.make("new", "size", "2g")
	r.restart()
	if err := r.reconcile(t.Context()); err != nil {
		t.Error(err)
	}
	if got := r.volume("new"); got.ID != v.ID || got.Size != 2*gib {
		t.Errorf("new is of %d bytes", got.Size)
	}
	whole(t, "in the end", r)
}

// TestImportWhoseLastAnswerIsLost: what is recorded as whole is not taken for a half
// import, which is overwritten: after a cut of that nobody could tell.
func TestImportWhoseLastAnswerIsLost(t *testing.T) {
	r := newRig(t)
	v, _, at, err := r.wish(request("new", "size", "1g", "type", "linear"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.admit(t.Context(), at, v, v.Size, false); err != nil {
		t.Fatal(err)
	}
	p := plan.Import(v, v.Created)
	r.lvm.FailNext(2, lvmtest.KillAfter) // the record
	err = r.bear(t.Context(), v, p, nil, func(ctx context.Context) error {
		run := newRunner(r.Driver)
		defer run.close()
		run.fill = func(_ context.Context, dev string) error { return r.disk.format(ctx, "", dev, false) }
		return run.run(ctx, p)
	})
	if err == nil {
		t.Fatal("it went well")
	}
	if e, there := r.idx.named("new"); !there || e.state() != spec.Ready {
		t.Errorf("it is %s, and recorded as ready", e.state())
	}
	r.wipeNow()
	whole(t, "in the end", r)
	if len(r.ours()) != 1 {
		t.Error("it was removed")
	}
}

// TestPurgedAtTheSecondTry: a volume of the recycle bin that could not be purged when
// its space was needed keeps a record that can be read.
func TestPurgedAtTheSecondTry(t *testing.T) {
	r := newRig(t, noExtend)
	for _, name := range []string{"old", "older"} {
		r.make(name, "size", "28g", "type", "linear")
		r.remove(name)
	}
	time.Sleep(1100 * time.Millisecond) // tags have seconds
	r.lvm.FailNext(1, lvmtest.Refuse)   // the record of the first
	r.lvm.FailNext(7, lvmtest.Refuse)   // the removal of both, at the second try
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := r.create(ctx, request("new", "size", "50g", "type", "linear"), false); err == nil {
		t.Fatal("it went well")
	}
	r.restart()
	r.mustLook()
	if len(r.idx.strays) > 0 {
		t.Errorf("cannot be read: %+v\n%s", r.idx.strays, r.lvm)
	}
	r.wipeNow()
	r.make("new", "size", "50g", "type", "linear")
}

// TestRecordThatWasReadWhileInDoubt: a look may have told what it is before it is
// changed, and what was read before is no longer so.
func TestRecordThatWasReadWhileInDoubt(t *testing.T) {
	r := newRig(t)
	r.make("new", "size", "1g")
	r.lvm.FailNext(1, lvmtest.KillAfter) // that it is ready
	r.lvm.FailNext(2, lvmtest.Refuse)    // the look that follows
	r.recordReady(t.Context(), 0)
	e, _ := r.idx.named("new")
	r.mustLook()
	if _, err := r.trashIt(t.Context(), e, false); err != nil {
		t.Error(err)
	}
	r.mustLook()
	if len(r.idx.strays) > 0 {
		t.Errorf("cannot be read: %+v\n%s", r.idx.strays, r.lvm)
	}
}
