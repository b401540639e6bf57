package lvmvolume

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/engine/enginetest"
	"github.com/mosdocker/mosdocker/lvmvolume/api"
	"github.com/mosdocker/mosdocker/lvmvolume/plan"
)

// fill makes a pool as full as said and looks at it once.
func (r *rig) fill(data, meta float64) (urgent bool) {
	r.t.Helper()
	s := r.group().read()
	r.lvm.SetUsed(vg0, r.cfg.Pool, int64(data*float64(s.pool.Size)))
	r.lvm.SetMetadataUsed(vg0, r.cfg.Pool, int64(meta*float64(s.pool.MetadataSize)))
	return r.watchOnce(r.t.Context())
}

func (r *rig) pool() api.Pool {
	r.t.Helper()
	for _, p := range r.pools() {
		if p.Name == vg0+"/"+r.cfg.Pool {
			return p
		}
	}
	r.t.Fatal("there is no pool")
	return api.Pool{}
}

// told is the kinds and levels of the events so far.
func (r *rig) told() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, e := range r.events {
		out = append(out, e.Level+" "+e.Kind)
	}
	return strings.Join(out, ", ")
}

func noExtend(c *Config) { c.Thin.Extend = 0 }

func TestWatchdogLevels(t *testing.T) {
	r := newRig(t, noExtend)
	if r.watchOnce(t.Context()) {
		t.Error("a pool that is not active is urgent")
	}
	r.make("v", "size", "1g") // makes the pool active
	for _, tt := range []struct {
		data, meta float64
		state      string
		urgent     bool
		creates    bool
	}{
		{0.1, 0.1, api.PoolOK, false, true},
		{0.85, 0.1, api.PoolWarn, true, true},
		{0.1, 0.96, api.PoolRefuse, true, false},
		{0.98, 0.1, api.PoolPause, true, false},
		{0.96, 0.1, api.PoolRefuse, true, false},
		{0.5, 0.1, api.PoolOK, false, true},
	} {
		if got := r.fill(tt.data, tt.meta); got != tt.urgent {
			t.Errorf("%+v: urgent is %v", tt, got)
		}
		if p := r.pool(); p.State != tt.state || p.Data < tt.data-0.02 || p.Data > tt.data+0.02 {
			t.Errorf("%+v: the pool is %s with %.2f", tt, p.State, p.Data)
		}
		_, err := r.create(t.Context(), request("w", "size", "16m"), true)
		if (err == nil) != tt.creates || err != nil && !errdefs.IsResourceExhausted(err) {
			t.Errorf("%+v: create says %v", tt, err)
		}
		_, _, err = r.resize(t.Context(), api.ResizeRequest{Volume: "v", Size: "+16m", DryRun: true})
		if (err == nil) != tt.creates {
			t.Errorf("%+v: resize says %v", tt, err)
		}
		_, _, err = r.takeSnapshot(t.Context(), "v", "s", true)
		if (err == nil) != tt.creates {
			t.Errorf("%+v: snapshot says %v", tt, err)
		}
	}
	if got := r.told(); got != "warn pool, error pool, error pool, error pool, info pool" {
		t.Errorf("the events are %s", got)
	}
	// A broken pool takes nothing, however empty.
	r.lvm.SetBroken(vg0, r.cfg.Pool, true)
	r.fill(0.1, 0.1)
	if p := r.pool(); p.State != api.PoolRefuse {
		t.Errorf("a pool with a check due is %s", p.State)
	}
}

// TestPoolThatIsNoLongerActive: nobody writes to it, and its last fill is not held
// against it for ever.
func TestPoolThatIsNoLongerActive(t *testing.T) {
	r := newRig(t, noExtend)
	r.make("v", "size", "1g")
	r.fill(0.96, 0.1)
	r.remove("v")
	if _, err := r.purge(t.Context(), volumesOf(r.idx.all(inTrash)), "asked for", false, nil); err != nil {
		t.Fatal(err)
	}
	r.lvm.SetUsed(vg0, r.cfg.Pool, 0)
	r.lvm.Reboot() // also the pool's own device
	if r.watchOnce(t.Context()) {
		t.Error("it is urgent")
	}
	if _, err := r.create(t.Context(), request("w", "size", "16m"), true); err != nil {
		t.Error(err)
	}
}

func TestWatchdogExtends(t *testing.T) {
	r := newRig(t)
	r.make("v", "size", "1g")
	size := r.group().read().pool.Size
	for range 100 {
		r.fill(0.75, 0.1)
		r.mustLook()
	}
	// All of the group's free space went into the pool, and then it is full.
	g := r.group().read()
	if g.pool.Size <= 3*size || g.vg.Free >= 64*mib {
		t.Errorf("the pool has %d, was %d; %d are free", g.pool.Size, size, g.vg.Free)
	}
	if !strings.Contains(r.told(), "info pool") {
		t.Errorf("the events are %s", r.told())
	}
	if n := r.commands(0, "lvextend"); n > 40 {
		t.Errorf("%d commands", n)
	}
}

func TestWatchdogExtendsMetadata(t *testing.T) {
	r := newRig(t)
	r.make("v", "size", "1g")
	r.fill(0.1, 0.8)
	r.mustLook()
	if m := r.group().read().pool.MetadataSize; m <= 64*mib {
		t.Errorf("the metadata have %d", m)
	}
}

func TestWatchdogWhoseExtensionFails(t *testing.T) {
	r := newRig(t)
	r.make("v", "size", "1g")
	r.fill(0.1, 0.1)
	r.lvm.FailNext(2, 0) // dmsetup is the first
	r.fill(0.98, 0.1)
	if p := r.pool(); p.State != api.PoolPause {
		t.Errorf("the pool is %s", p.State)
	}
	if got := r.told(); !strings.HasPrefix(got, "error pool") {
		t.Errorf("the events are %s", got)
	}
	r.lvm.FailNext(1, 0)
	if !r.watchOnce(t.Context()) {
		t.Error("a pool that cannot be seen is not urgent")
	}
}

func writers(f *enginetest.Fake) {
	for _, c := range []struct {
		id, volume, driver, state string
		readOnly                  bool
	}{
		{"writer", "v", "mos-lvm", "running", false},
		{"reader", "v", "mos-lvm", "running", true},
		{"stopped", "v", "mos-lvm", "exited", false},
		{"flat", "flat", "mos-lvm", "running", false},
		{"other", "local", "local", "running", false},
	} {
		f.PutContainer(enginetest.Container{ID: c.id, Name: "c-" + c.id, State: c.state, Volumes: []enginetest.Volume{{Name: c.volume, Driver: c.driver, ReadOnly: c.readOnly}}})
	}
}

func states(f *enginetest.Fake) string {
	var out []string
	for _, id := range []string{"writer", "reader", "stopped", "flat", "other"} {
		out = append(out, f.State(id))
	}
	return strings.Join(out, ", ")
}

// untouched are the containers of writers when nobody is paused.
func untouched() string {
	return strings.Join([]string{"running", "running", "exited", "running", "running"}, ", ")
}

// TestWriterIsPausedAndGoesOn: only who writes to the pool, over a restart of the
// daemon and of the engine.
func TestWriterIsPausedAndGoesOn(t *testing.T) {
	f, set := withEngine(t)
	r := newRig(t, noExtend, set)
	r.make("v", "size", "1g")
	r.make("flat", "size", "1g", "type", "linear")
	writers(f)
	f.Break("the engine does not answer")
	r.fill(0.98, 0.1)
	f.Break("")
	if got := states(f); got != untouched() {
		t.Errorf("after the engine failed they are %s", got)
	}
	r.fill(0.98, 0.1)
	const paused = "paused, running, exited, running, running"
	if got := states(f); got != paused {
		t.Errorf("they are %s", got)
	}
	if p := r.pool(); len(p.Paused) != 1 || p.Paused[0].Container != "writer" {
		t.Errorf("the pool says %+v", p.Paused)
	}
	r.fill(0.96, 0.1) // not well below
	if got := states(f); got != paused {
		t.Errorf("at 96%% they are %s", got)
	}
	r.restart()
	r.mustLook()
	r.watch.load(r.pausedFile())
	f.Break("the engine does not answer")
	r.fill(0.5, 0.1)
	f.Break("")
	if got := states(f); got != paused {
		t.Errorf("after the engine failed they are %s", got)
	}
	r.fill(0.5, 0.1)
	if got := states(f); got != untouched() {
		t.Errorf("at 50%% they are %s", got)
	}
	if _, err := os.Stat(r.pausedFile()); !os.IsNotExist(err) {
		t.Errorf("the file stays: %v", err)
	}
}

// TestWhoPausedByHandStaysPaused: the watchdog lets go on whom it paused.
func TestWhoPausedByHandStaysPaused(t *testing.T) {
	f, set := withEngine(t)
	r := newRig(t, noExtend, set)
	r.make("v", "size", "1g")
	writers(f)
	f.PutContainer(enginetest.Container{ID: "writer", Name: "c", State: "paused", Volumes: []enginetest.Volume{{Name: "v", Driver: "mos-lvm"}}})
	r.fill(0.98, 0.1)
	r.fill(0.1, 0.1)
	if f.State("writer") != "paused" {
		t.Errorf("it is %s", f.State("writer"))
	}
}

func TestPausedAreForgottenWhenTheyAreGone(t *testing.T) {
	f, set := withEngine(t)
	r := newRig(t, noExtend, set)
	r.make("v", "size", "1g")
	writers(f)
	r.fill(0.98, 0.1)
	f.RemoveContainer("writer")
	r.fill(0.1, 0.1)
	if got := r.watch.of(vg0 + "/" + r.cfg.Pool); len(got) != 0 {
		t.Errorf("%v are remembered", got)
	}
}

func TestPausedFileThatCannotBeRead(t *testing.T) {
	r := newRig(t)
	for _, text := range []string{"", "null", "[]", `{"p":["x"]}`} {
		if err := os.WriteFile(r.pausedFile(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r.watch.load(r.pausedFile())
		want := ""
		if strings.Contains(text, "x") {
			want = "[x]"
		}
		if got := r.watch.of("p"); len(got) > 0 && fmt.Sprint(got) != want {
			t.Errorf("%s: got %v", text, got)
		}
		r.watch.add(r.pausedFile(), "p", "y")
	}
}

// TestPoolsWithoutPausing: a level that pauses nobody still refuses.
func TestPoolsWithoutPausing(t *testing.T) {
	f, set := withEngine(t)
	r := newRig(t, noExtend, set, func(c *Config) { c.Thin.Pause = 0 })
	r.make("v", "size", "1g")
	writers(f)
	r.fill(1, 0.1)
	if p := r.pool(); p.State != string(plan.Refuse) || f.State("writer") != "running" {
		t.Errorf("the pool is %s, the writer is %s", p.State, f.State("writer"))
	}
}
