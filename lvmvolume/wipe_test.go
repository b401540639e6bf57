package lvmvolume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/lvmvolume/api"
	"github.com/mosdocker/mosdocker/lvmvolume/lvm"
	"github.com/mosdocker/mosdocker/lvmvolume/lvm/lvmtest"
	"github.com/mosdocker/mosdocker/lvmvolume/plan"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
	"github.com/mosdocker/mosdocker/lvmvolume/stream"
)

// TestOverwritingOutlastsTheCall that needs the space: it goes on from where it was,
// and those who come meanwhile take no more out of the recycle bin.
func TestOverwritingOutlastsTheCall(t *testing.T) {
	r := newRig(t, noExtend) // 60 GiB beside the pool
	for i, kv := range [][2]string{{"old", "40g"}, {"other", "15g"}} {
		v := r.make(kv[0], "size", kv[1], "type", "linear")
		r.remove(kv[0])
		was := r.entryOf(v).v
		now := was.In(spec.Trashed, time.Now().Add(time.Duration(i-10)*time.Hour))
		if err := r.record(t.Context(), r.group(), []spec.Volume{was}, []spec.Volume{now}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var pieces []int64
	r.disk.piece = func(n int64) {
		if pieces = append(pieces, n); n == 2 {
			cancel()
		}
	}
	_, err := r.create(ctx, request("new", "size", "30g", "type", "linear"), false)
	if !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "goes on by itself") {
		t.Fatalf("a call that ends while old is overwritten says %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err = r.create(ctx, request("new", "size", "30g", "type", "linear"), false); !plan.Freeing(err) {
		t.Errorf("while old is overwritten a call says %v", err)
	}
	if _, err = r.create(t.Context(), request("new", "size", "100g", "type", "linear"), false); !errdefs.IsResourceExhausted(err) {
		t.Errorf("more than there will ever be gets %v", err)
	}
	if got := r.titles(inTrash); got != "other" {
		t.Errorf("in the bin are %q", got)
	}
	if a := r.audit(t.Context()); len(a.Findings) != 0 {
		t.Errorf("the audit says %+v", a.Findings)
	}
	r.disk.piece = func(n int64) { pieces = append(pieces, n) }
	r.wipeAll(t.Context())
	if want := []int64{0, 1, 2, 2, 3}; !slices.Equal(pieces, want) {
		t.Errorf("the pieces %v were overwritten, want %v", pieces, want)
	}
	r.make("new", "size", "30g", "type", "linear")
	if got := r.titles(inTrash); got != "other" || len(r.ours()) != 2 {
		t.Errorf("in the bin are %q, there are %v", got, r.ours())
	}
}

// TestCallWaitsForSpaceThatIsComing, if it comes soon.
func TestCallWaitsForSpaceThatIsComing(t *testing.T) {
	r := newRig(t, noExtend)
	v := r.make("old", "size", "55g", "type", "linear")
	r.remove("old")
	// A purge of which only the overwriting is left.
	if err := r.run(t.Context(), plan.Plan{{Op: plan.Record, Volume: v.In(spec.Filling, time.Now()), Was: r.entryOf(v).v}}); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := r.create(t.Context(), request("new", "size", "50g", "type", "linear"), false)
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("the call did not wait: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	r.wipeAll(t.Context())
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestPurgeThatMayFailGivesNoRoom: the space of a purge under way is not promised to
// another, else all could not be kept when it fails.
func TestPurgeThatMayFailGivesNoRoom(t *testing.T) {
	r := newRig(t, noExtend)
	old := r.make("old", "size", "15g")
	r.remove("old")
	purged, ok := r.idx.claimToFree(old.ID, inTrash)
	if !ok {
		t.Fatal("it cannot be purged")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := r.create(ctx, request("new", "size", "10g"), false); !errdefs.IsUnavailable(err) {
		t.Errorf("the call did not wait: %v", err)
	}
	r.idx.release(purged) // it failed
	r.make("new", "size", "10g")
	if sum, _, _ := r.idx.promised(vg0, spec.Thin); sum > 20*gib {
		t.Errorf("%d are promised", sum)
	}
}

// TestGrowthThatFailedGivesNoRoom until a look tells that it was not done.
func TestGrowthThatFailedGivesNoRoom(t *testing.T) {
	for _, typ := range []string{"thin", "linear"} {
		for _, how := range []lvmtest.Failure{lvmtest.KillAfter, lvmtest.Refuse} {
			r := newRig(t, noExtend)
			have := map[string]uint64{"thin": 20, "linear": 59}[typ]
			r.make("data", "size", "10g", "type", typ)
			rest := request("more", "size", fmt.Sprint(have-10-4, "g"), "type", typ)
			r.lvm.FailNext(1, how)
			if _, _, err := r.resize(t.Context(), resizeRequest("data", "15g")); err == nil {
				t.Fatal("it grew")
			}
			if _, err := r.create(t.Context(), rest, false); !errdefs.IsResourceExhausted(err) {
				t.Errorf("%s, %s: %v", typ, how, err)
			}
			if _, _, err := r.resize(t.Context(), resizeRequest("data", "15g")); err != nil {
				t.Errorf("%s, %s: asked for again: %v", typ, how, err)
			}
			if sum, unborn, _ := r.idx.promised(vg0, spec.Type(typ)); sum != 15*gib || unborn != 0 {
				t.Errorf("%s, %s: %d are promised, %d to be made", typ, how, sum, unborn)
			}
			r.mustLook()
			if sum, _, _ := r.idx.promised(vg0, spec.Type(typ)); sum != 15*gib {
				t.Errorf("%s, %s: %d are promised", typ, how, sum)
			}
		}
	}
}

func (r *rig) entryOf(v spec.Volume) entry {
	r.t.Helper()
	e, ok := r.idx.entry(v.ID)
	if !ok {
		r.t.Fatalf("there is no volume %s", v.Title())
	}
	return e
}

// TestBrokenImportIsOverwritten where its blocks would show what came already.
func TestBrokenImportIsOverwritten(t *testing.T) {
	for _, typ := range []string{"linear", "thin"} {
		r := newRig(t)
		var in bytes.Buffer
		h := stream.Header{Volume: "data", FS: "ext4", Size: gib, Created: time.Now()}
		empty, err := os.Create(t.TempDir() + "/empty")
		if err != nil {
			t.Fatal(err)
		}
		if err := empty.Truncate(gib); err != nil {
			t.Fatal(err)
		}
		src, err := stream.NewFileSource(empty)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Write(t.Context(), &in, h, src, nil); err != nil {
			t.Fatal(err)
		}
		// The devices of this machine cannot be opened.
		if _, _, err := r.load(t.Context(), request("", "type", typ), &in, false, nil); err == nil {
			t.Fatal("imported into nothing")
		}
		if wipes := r.titles(toWipe); (wipes == "data") != (typ == "linear") {
			t.Errorf("%s: %q wait to be overwritten", typ, wipes)
		}
		overwritten := false
		r.disk.piece = func(int64) { overwritten = true }
		r.wipeAll(t.Context())
		if overwritten != (typ == "linear") || len(r.ours()) != 0 || r.titles(anything) != "" {
			t.Errorf("%s: overwritten is %v, there are %v", typ, overwritten, r.ours())
		}
		r.make("data", "size", "50g", "type", "linear") // the space is back
	}
}

// TestWhatCannotBeSeenIsNotFree: an error of the kernel is not "nobody has it".
func TestWhatCannotBeSeenIsNotFree(t *testing.T) {
	r := newRig(t)
	r.make("v", "size", "1g")
	r.make("binned", "size", "1g")
	r.remove("binned")
	dark := errors.New("input/output error")
	r.disk.mu.Lock()
	r.disk.dark = dark
	r.disk.mu.Unlock()
	ctx := t.Context()
	for what, f := range map[string]func() error{
		"remove": func() error { return r.trash(ctx, "v") },
		"mount":  func() error { _, err := r.mount(ctx, "v", "id"); return err },
		"resize": func() error { _, _, err := r.resize(ctx, resizeRequest("v", "2g")); return err },
		"purge": func() error {
			_, err := r.purge(ctx, volumesOf(r.idx.all(inTrash)), "asked for", false, nil)
			return err
		},
		"quiet": func() error { return r.quiet(ctx, r.volume("v"), errors.New("it is so")) },
		"sweep": func() error { _, _, err := r.see(ctx); return err },
	} {
		if err := f(); !errors.Is(err, dark) {
			t.Errorf("%s says %v", what, err)
		}
	}
	if r.titles(inService) != "v" || r.titles(inTrash) != "binned" || len(r.ours()) != 2 {
		t.Errorf("there are %v", r.ours())
	}
}

// TestSnapshotOfACutExportGoes, and nobody else can take one that looks like it.
func TestSnapshotOfACutExportGoes(t *testing.T) {
	r := newRig(t)
	r.make("v", "size", "1g")
	r.snap("v", "mine")
	s, err := r.openSource(t.Context(), "v")
	if s == nil || err != nil {
		t.Fatalf("export: %v", err)
	}
	for range 2 {
		if err := r.reconcile(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.titles(isExport); got == "" {
		t.Error("the snapshot of an export under way is removed")
	}
	r.restart()
	if err := r.reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := r.titles(isSnapshot); got != "v@mine" {
		t.Errorf("after a kill there are %q", got)
	}
	_, err = newAdmin(t, r).Snapshot(t.Context(), api.SnapshotRequest{Volume: "v", Name: "export-x"})
	if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), "choose another") {
		t.Errorf("a user takes one: %v", err)
	}
}

// TestAdoptedPools: one that would show what others wrote is not used, and what
// it holds for others counts.
func TestAdoptedPools(t *testing.T) {
	r := newRig(t, noExtend)
	r.make("v", "size", "1g")
	r.lvm.SetZeroing(vg0, r.cfg.Pool, false)
	r.mustLook()
	const want = "lvchange --zero y vg0/mos-pool"
	if _, err := r.create(t.Context(), request("w", "size", "1g"), false); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("create says %v", err)
	}
	if _, _, err := r.resize(t.Context(), resizeRequest("v", "2g")); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("resize says %v", err)
	}
	r.lvm.SetZeroing(vg0, r.cfg.Pool, true)
	theirs := lvm.Thin{VG: vg0, Pool: r.cfg.Pool, Name: "theirs", Size: 12 * gib}
	if err := r.Driver.lvm.CreateThin(t.Context(), theirs); err != nil {
		t.Fatal(err)
	}
	r.mustLook()
	if _, err := r.create(t.Context(), request("w", "size", "10g"), false); !errdefs.IsResourceExhausted(err) {
		t.Errorf("the pool of 20 GiB promised 23: %v", err)
	}
	r.make("w", "size", "7g")
}

// TestSourceIsLockedWhileItIsCopied, whatever order the names have.
func TestSourceIsLockedWhileItIsCopied(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"a", "z"} {
		r.make(name, "size", "1g")
		unlock := r.names.Lock(name)
		done := make(chan error)
		go func() {
			_, err := r.create(t.Context(), request("m"+name, "from", name), false)
			done <- err
		}()
		select {
		case err := <-done:
			t.Errorf("copied a volume that somebody is at: %v", err)
		case <-time.After(100 * time.Millisecond):
			unlock()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := r.create(t.Context(), request("a", "from", "a"), false); err != nil && !errdefs.IsAlreadyExists(err) && !errdefs.IsInvalidArgument(err) {
		t.Errorf("a copy of itself: %v", err)
	}
}
