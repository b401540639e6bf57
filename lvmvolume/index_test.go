package lvmvolume

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/pluginsrv"
	"github.com/mosdocker/mosdocker/internal/pluginsrv/volapi"
	"github.com/mosdocker/mosdocker/lvmvolume/lvm/lvmtest"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// at makes a listing of volumes of a place that began at a time.
func at(p place, began time.Time, vs ...spec.Volume) listing {
	l := listing{place: p, began: began}
	for _, v := range vs {
		l.volumes = append(l.volumes, found{v: v})
	}
	return l
}

func ready(id, name string, made int64) spec.Volume {
	return spec.Volume{
		ID: spec.ID(strings.Repeat(id, 16)[:16]), Name: name, Type: spec.Thin, Place: vg0, Size: gib, FS: spec.Ext4,
		State: spec.Ready, Since: time.Unix(made, 0), Created: time.Unix(made, 0),
	}
}

func TestTwoVolumesWithOneName(t *testing.T) {
	r := newRig(t)
	x, g := r.idx, r.group()
	older, younger := ready("a", "data", 1), ready("b", "data", 2)
	x.take(at(g, time.Now(), younger, older))
	if v := r.volume("data"); v.ID != older.ID {
		t.Errorf("the name is that of %s", v.ID)
	}
	if e, _ := x.entry(younger.ID); !errors.Is(e.fault, errTwice) {
		t.Errorf("the younger one is well: %v", e.fault)
	}
	if _, err := x.find("data", inService); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), string(younger.ID)) {
		t.Errorf("found one of two: %v", err)
	}
	if _, err := r.metrics.registry.Gather(); err != nil {
		t.Errorf("the metrics: %v", err)
	}
	// By id the younger one is meant, and not what has its name.
	for what, err := range map[string]error{
		"resize": func() error {
			_, _, err := r.resize(t.Context(), resizeRequest(string(younger.ID), "3g"))
			return err
		}(),
		"snapshot": func() error { _, _, err := r.takeSnapshot(t.Context(), string(younger.ID), "s", false); return err }(),
	} {
		if !errors.Is(err, errTwice) {
			t.Errorf("%s of the younger one by id: %v", what, err)
		}
	}
	p, err := r.trashRef(t.Context(), string(younger.ID), true)
	if err != nil || p[0].Volume.ID != younger.ID {
		t.Errorf("removed is %v, %v", p, err)
	}
	// When the older one goes, the younger has the name.
	x.put(older.In(spec.Trashed, time.Now()))
	if e, ok := x.named("data"); !ok || e.v.ID != younger.ID || e.fault != nil {
		t.Errorf("after the older one went, data is %+v", e.v)
	}
	x.drop(older.ID)
	if e, ok := x.named("data"); !ok || e.v.ID != younger.ID {
		t.Errorf("data is %+v", e.v)
	}
}

func TestReferences(t *testing.T) {
	r := newRig(t)
	a, b := ready("0123456789abcdef", "data", 1), ready("0123fedcba987654", "cafe", 2)
	s := ready("5", "data", 3)
	s.Snapshot, s.Of = "monday", a.ID
	hidden := ready("7", "hidden", 1)
	r.idx.take(at(r.group(), time.Now(), a, b, s, hidden))
	r.idx.claim(hidden.ID, anything)
	for ref, want := range map[string]string{
		"data": "data", "cafe": "cafe", "data@monday": "data@monday", string(a.ID): "data", "mos-" + string(a.ID): "data",
		"01234": "data", "0123f": "cafe", "mos-0123f": "cafe", "0123": "2 volumes", "012": "no volume", "mos-": "no volume", "mos-01": "no volume",
		"": "no volume", "hidden": "no volume", "7777": "no volume", "other": "no volume", "data@": "no volume",
	} {
		e, err := r.idx.find(ref, anything)
		got := e.v.Title()
		if err != nil {
			got = err.Error()
		}
		if got != want && (err == nil || !strings.Contains(got, want)) {
			t.Errorf("%q: got %s, want %s", ref, got, want)
		}
	}
}

func TestLookDoesNotUndoWhatCameAfterItBegan(t *testing.T) {
	r := newRig(t)
	x, g := r.idx, r.group()
	v := ready("a", "data", 1)
	x.take(at(g, time.Now(), v))
	began := time.Now()

	// Changed since.
	moved := v.In(spec.Trashed, time.Now())
	x.put(moved)
	x.take(at(g, began, v))
	if e, _ := x.entry(v.ID); e.v.State != spec.Trashed {
		t.Error("a look of before brought the volume back from the bin")
	}
	// Removed since.
	x.drop(v.ID)
	x.take(at(g, began, v))
	if _, there := x.entry(v.ID); there {
		t.Error("a look of before brought a removed volume back")
	}
	// Not grown since.
	began = time.Now()
	r.make("grows", "size", "1g")
	r.lvm.FailNext(1, lvmtest.Refuse)
	if _, _, err := r.resize(t.Context(), resizeRequest("grows", "2g")); err == nil {
		t.Error("it grew")
	}
	if gone := x.take(at(g, began)); len(gone) != 0 {
		t.Errorf("a look of before says %v", gone)
	}
	// Made since.
	made := ready("b", "new", 2)
	x.put(made)
	if gone := x.take(at(g, began)); len(gone) != 0 {
		t.Errorf("a look of before says %v", gone)
	}
	// Being made.
	born := ready("c", "born", 3)
	if _, err := x.admit(g, born, born.Size, false); err != nil {
		t.Fatal(err)
	}
	half := born.In(spec.Creating, time.Now())
	x.take(at(g, time.Now().Add(time.Second), made, half))
	if _, seen := x.named("born"); seen {
		t.Error("a volume that is being made is seen")
	}
	// Gone, and not by us.
	gone := x.take(at(g, time.Now().Add(2*time.Second), half))
	if len(gone) != 1 || gone[0].object != "new" {
		t.Errorf("gone are %v", gone)
	}
	if _, there := x.named("new"); there {
		t.Error("a volume that is gone is there")
	}
}

func TestBrokenGroupHangsUp(t *testing.T) {
	r := newRig(t)
	r.make("data", "size", "1g")
	r.lvm.FailNext(1, 0)
	if r.look(t.Context()) == nil {
		t.Fatal("the look went well")
	}
	// What is known is answered, what is not is not called absent.
	if _, err := r.certain(t.Context(), "data"); err != nil {
		t.Errorf("Get of a known volume: %v", err)
	}
	if _, err := r.certain(t.Context(), "other"); !errors.Is(err, pluginsrv.ErrHangUp) {
		t.Errorf("Get of an unknown volume: %v", err)
	}
	l, err := r.onList(t.Context(), pluginsrv.None{})
	if err != nil || len(l.Volumes) != 1 {
		t.Errorf("List: %v, %v", l, err)
	}
	if _, err := r.create(t.Context(), request("new", "size", "1g"), false); !errdefs.IsUnavailable(err) {
		t.Errorf("Create: %v", err)
	}
	if _, err := r.onUnmount(t.Context(), volapi.MountRequest{Name: "other"}); err == nil {
		t.Error("Unmount of an unknown volume is well")
	}
	r.mustLook()
	if _, err := r.certain(t.Context(), "other"); !errdefs.IsNotFound(err) {
		t.Errorf("Get after a good look: %v", err)
	}
}

func TestMissingGroupIsWaitedForUntilItIsForgotten(t *testing.T) {
	r := newRig(t)
	if err := r.groups.expected.set("late", true); err != nil {
		t.Fatal(err)
	}
	err := r.look(t.Context())
	if err == nil || !strings.Contains(err.Error(), "mos-lvm init -forget") {
		t.Errorf("got %v", err)
	}
	if _, err := r.certain(t.Context(), "other"); !errors.Is(err, pluginsrv.ErrHangUp) {
		t.Errorf("an unknown volume is called absent: %v", err)
	}
	if err := r.groups.expected.set("late", false); err != nil {
		t.Fatal(err)
	}
	r.mustLook()
	if _, err := r.certain(t.Context(), "other"); !errdefs.IsNotFound(err) {
		t.Errorf("the forgotten group is waited for: %v", err)
	}
}

func TestForgottenGroupTakesItsVolumesOutOfSight(t *testing.T) {
	r := newRig(t)
	r.make("data", "size", "1g")
	if err := r.groups.expected.set(vg0, false); err != nil {
		t.Fatal(err)
	}
	r.mustLook()
	if r.titles(anything) != "" || len(r.pools()) != 1 {
		t.Errorf("there are %q and %d pools", r.titles(anything), len(r.pools()))
	}
	if _, err := r.certain(t.Context(), "data"); !errdefs.IsNotFound(err) {
		t.Error(err)
	}
}

func TestUnreadableListOfGroups(t *testing.T) {
	r := newRig(t)
	path := filepath.Join(r.cfg.StateDir, "groups.json")
	good, err := os.ReadFile(path)
	if err != nil || string(good) != `{"version":1,"groups":["vg0"]}`+"\n" {
		t.Fatalf("%s holds %s, %v", path, good, err)
	}
	for _, bad := range []string{"", "{", `{"version":2,"groups":["vg0"]}`} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := r.look(t.Context()); err == nil {
			t.Errorf("%q is read", bad)
		}
		if _, err := r.certain(t.Context(), "other"); !errors.Is(err, pluginsrv.ErrHangUp) {
			t.Errorf("%q: an unknown volume is called absent: %v", bad, err)
		}
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	r.mustLook()
	if _, err := r.certain(t.Context(), "other"); !errdefs.IsNotFound(err) {
		t.Errorf("the fault stays: %v", err)
	}
}

func TestMissingDisk(t *testing.T) {
	r := newRig(t)
	r.make("flat", "size", "1g", "type", "linear")
	r.lvm.SetMissing("/dev/sdb", true)
	r.mustLook()
	if _, err := r.create(t.Context(), request("v", "size", "1g"), false); !errdefs.IsResourceExhausted(err) || !strings.Contains(err.Error(), "disks are missing") {
		t.Errorf("got %v", err)
	}
	if _, err := r.usable("flat"); err == nil {
		t.Error("a volume on a missing disk is well")
	}
	r.lvm.SetMissing("/dev/sdb", false)
	r.mustLook()
	if _, err := r.usable("flat"); err != nil {
		t.Error(err)
	}
}

func TestStraysAreLeftAlone(t *testing.T) {
	r := newRig(t)
	if _, err := r.create(t.Context(), request("v", "size", "1g"), false); err != nil {
		t.Fatal(err)
	}
	v := r.volume("v")
	if err := r.Driver.lvm.Retag(t.Context(), vg0, []string{v.ID.Label()}, nil, v.Tags()[:1]); err != nil {
		t.Fatal(err)
	}
	r.restart()
	if err := r.reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	a := r.audit(t.Context())
	if len(a.Findings) != 1 || a.Findings[0].Kind != "stray" || len(r.ours()) != 1 || r.titles(anything) != "" {
		t.Errorf("the audit says %+v; there are %v", a.Findings, r.ours())
	}
}

// TestCallsBeforeTheFirstLook: they wait a while, then say that they do not know.
func TestCallsBeforeTheFirstLook(t *testing.T) {
	r := bareRig(t)
	synctest.Test(t, func(t *testing.T) {
		r.idx.loaded = make(chan struct{}) // of the bubble
		start := time.Now()
		if _, err := r.certain(t.Context(), "v"); !errors.Is(err, pluginsrv.ErrHangUp) {
			t.Errorf("Get: %v", err)
		}
		if took := time.Since(start); took != patience {
			t.Errorf("Get gave up after %v", took)
		}
		if _, err := r.onCreate(t.Context(), volapi.CreateRequest{Name: "one", Opts: map[string]string{"size": "1g"}}); !errdefs.IsUnavailable(err) {
			t.Errorf("Create: %v", err)
		}
		go func() {
			time.Sleep(time.Second)
			close(r.idx.loaded)
		}()
		start = time.Now()
		if _, err := r.certain(t.Context(), "v"); !errdefs.IsNotFound(err) || time.Since(start) != time.Second {
			t.Errorf("Get once the look is done: %v after %v", err, time.Since(start))
		}
	})
}

func TestManyVolumesAreFoundFast(t *testing.T) {
	r := newRig(t)
	var vs []spec.Volume
	for i := range 1000 {
		v := ready("x", fmt.Sprint("v", i), int64(i))
		v.ID = spec.ID(fmt.Sprintf("%016x", i))
		vs = append(vs, v)
	}
	r.idx.take(at(r.group(), time.Now(), vs...))
	start := time.Now()
	for i := range 1000 {
		if _, err := r.certain(t.Context(), fmt.Sprint("v", i)); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("1,000 Gets took %v", took)
	}
}

// TestGoneVolumeDoesNotGrow: what a look found to be gone is not taken for a new
// volume, whose space would stay promised.
func TestGoneVolumeDoesNotGrow(t *testing.T) {
	r := newRig(t)
	v := r.make("data", "size", "1g")
	r.idx.take(at(r.group(), time.Now()))
	if _, err := r.idx.admit(r.group(), v, gib, false); !errdefs.IsNotFound(err) {
		t.Errorf("admitted: %v", err)
	}
	if sum, _, _ := r.idx.promised(vg0, spec.Thin); sum != 0 {
		t.Errorf("%d are promised to it", sum)
	}
}
