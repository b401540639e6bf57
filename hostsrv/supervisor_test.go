package hostsrv_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mosdocker/mosdocker/hostsrv"
	"github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/setmgr"
	"github.com/mosdocker/mosdocker/setmgr/docker/dockertest"
	"github.com/mosdocker/mosdocker/setmgr/infra"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// host is a fake Engine with a supervisor that runs.
type host struct {
	f *dockertest.Fake
	m *setmgr.Manager
	s *hostsrv.Supervisor
	// end ends the supervisor.
	end func()
}

func manager(f *dockertest.Fake) *setmgr.Manager {
	return &setmgr.Manager{
		Engine: f, Cap: f.Cap(), Infra: infra.Image, InfraName: infra.Reference,
		Arch: func(context.Context) (string, error) { return "amd64", nil },
	}
}

// newFake is an Engine of its own; id tells it apart from those of other tests.
func newFake() *dockertest.Fake {
	f := dockertest.New(dockertest.Image{Ref: "app:1"}, dockertest.Image{Ref: "log:7"})
	f.AddNetwork("prod")
	return f
}

func start(t *testing.T, f *dockertest.Fake, cfg hostsrv.Config, cluster ...string) host {
	t.Helper()
	return startWith(t, f, f, cfg, cluster...)
}

// startWith has the supervisor itself ask another Engine than its sets' manager.
func startWith(t *testing.T, f *dockertest.Fake, e hostsrv.Engine, cfg hostsrv.Config, cluster ...string) host {
	t.Helper()
	h := host{f: f, m: manager(f)}
	h.m.EngineID = t.Name()
	open := func(context.Context) (*setmgr.Manager, hostsrv.Engine, error) { return h.m, e, nil }
	h.s = hostsrv.New(cfg, open, slog.New(slog.DiscardHandler))
	for _, mark := range cluster {
		h.s.Cluster(mark)
	}
	ctx, end := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.s.Run(ctx)
	}()
	h.end = func() { end(); <-done }
	t.Cleanup(h.end)
	return h
}

func every(d time.Duration) config.Duration { return config.Duration{Duration: d} }

func settings(t *testing.T) hostsrv.Config {
	t.Helper()
	cfg, dir := hostsrv.Defaults(), t.TempDir()
	cfg.State, cfg.Declared, cfg.Resync = filepath.Join(dir, "state"), filepath.Join(dir, "sets.d"), every(time.Second)
	return cfg
}

const web = `{"Name": "web", "CPU": 2, "MEM": "1g", "Network": {"Name": "prod"}, "Containers": [
	{"Index": 0, "Name": "app", "Image": "app:1", "Options": {"CPU": 60, "MEM": 60%s}},
	{"Index": 1, "Name": "log", "Image": "log:7", "Options": {"CPU": 10, "MEM": 10}}]}`

func (h host) up(t *testing.T, options string) spec.Set {
	t.Helper()
	s, err := spec.Decode("web.json", fmt.Appendf(nil, web, options))
	if err != nil {
		t.Fatal(err)
	}
	h.do(t, h.m.Up(*s, plan.Options{}), s)
	return *s
}

// do runs a verb as docker set does, for the set web.
func (h host) do(t *testing.T, c setmgr.Change, want *spec.Set) {
	t.Helper()
	h.doTo(t, "web", c, want)
}

func (h host) doTo(t *testing.T, name string, c setmgr.Change, want *spec.Set) {
	t.Helper()
	unlock, err := h.m.Lock(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	p, err := h.m.Plan(t.Context(), name, want, c)
	if err == nil {
		err = h.m.Run(t.Context(), p)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, h.f)
	}
}

// is waits until a set is in a state, and the Engine has lines.
func (h host) is(t *testing.T, state string, lines ...string) {
	t.Helper()
	testx.Eventually(t, 10*time.Second, func() error {
		now := ""
		for _, x := range h.s.Status().Sets {
			if x.Name == "web" {
				now = x.State + " " + x.Detail
			}
		}
		have := h.f.String()
		if !strings.HasPrefix(now, state) {
			return fmt.Errorf("the set is %q, want %s\n%s", now, state, have)
		}
		for _, l := range lines {
			if !strings.Contains(have, l) {
				return fmt.Errorf("%q is not in\n%s", l, have)
			}
		}
		if strings.Contains(have, "stranded") {
			return errors.New("stranded:\n" + have)
		}
		return nil
	})
}

const (
	appRuns = "container web.app sha256:app:1 running"
	logRuns = "container web.log sha256:log:7 running"
)

// TestADeadInfraIsHealed: members follow into the new network without hands.
func TestADeadInfraIsHealed(t *testing.T) {
	t.Parallel()
	h := start(t, newFake(), settings(t))
	h.up(t, "")
	h.is(t, api.Right, appRuns, logRuns)
	if err := h.f.Die("web.infra"); err != nil {
		t.Fatal(err)
	}
	h.is(t, api.Right, appRuns, logRuns)
	var heals int
	for _, x := range h.s.Status().Sets {
		heals = x.Heals
	}
	if heals != 1 {
		t.Errorf("it was healed %d times", heals)
	}
}

// TestTheOrderOfABootIsHealed: members that came before their infra start after it.
func TestTheOrderOfABootIsHealed(t *testing.T) {
	t.Parallel()
	f := newFake()
	h := start(t, f, settings(t))
	h.up(t, "")
	h.is(t, api.Right)
	f.Reboot("web.log", "web.app")
	h.is(t, api.Right, appRuns, logRuns)
}

// TestWhoCameTooEarlyIsStartedAgain: after the start of an Engine, and of it alone, a
// member that was started before one that it waits for is started again, once.
func TestWhoCameTooEarlyIsStartedAgain(t *testing.T) {
	t.Parallel()
	f, cfg := newFake(), settings(t)
	h := start(t, f, cfg)
	h.up(t, `, "Ready": {"Exec": ["true"]}`)
	h.is(t, api.Right, appRuns, logRuns)
	stops := func() int { return strings.Count(strings.Join(f.Calls(), "\n"), "stop web.log") }
	for i, order := range [][]string{{"web.infra", "web.app", "web.log"}, {"web.infra", "web.log", "web.app"}} {
		f.Reboot(order...)
		h.is(t, api.Right, appRuns, logRuns)
		time.Sleep(2 * cfg.Resync.Duration)
		h.is(t, api.Right, appRuns, logRuns)
		if n := stops(); n != i {
			t.Errorf("booted in the order of %q log was stopped %d times, want %d", order, n, i)
		}
	}
	// An app that is restarted by hand is no boot, neither for a daemon that comes later.
	before := stops()
	h.do(t, h.m.Restart("web", "app"), nil)
	h.end()
	later := start(t, f, cfg)
	later.is(t, api.Right, appRuns, logRuns)
	time.Sleep(2 * cfg.Resync.Duration)
	if n := stops(); n != before {
		t.Errorf("a restart of app by hand stopped log %d times", n-before)
	}
	later.end()
	// A daemon that comes first after a boot has not seen it, and knows.
	f.Reboot("web.infra", "web.log", "web.app")
	cfg.State = t.TempDir()
	first := start(t, f, cfg)
	testx.Eventually(t, 10*time.Second, func() error {
		if n := stops(); n != before+1 {
			return fmt.Errorf("log was stopped %d times", n-before)
		}
		return nil
	})
	first.is(t, api.Right, appRuns, logRuns)
	first.end()
	// Nor has one that comes after a first one that died before it looked.
	before = stops()
	f.Reboot("web.infra", "web.log", "web.app")
	cfg.State = t.TempDir()
	never := func(context.Context) (*setmgr.Manager, hostsrv.Engine, error) { return nil, nil, errors.New("it dies") }
	hostsrv.New(cfg, never, slog.New(slog.DiscardHandler))
	second := start(t, f, cfg)
	testx.Eventually(t, 10*time.Second, func() error {
		if n := stops(); n != before+1 {
			return fmt.Errorf("log was stopped %d times", n-before)
		}
		return nil
	})
	second.is(t, api.Right, appRuns, logRuns)
}

// TestItFightsNobody: what was stopped by hand stays so, also for a daemon that comes
// later, until somebody starts it.
func TestItFightsNobody(t *testing.T) {
	t.Parallel()
	f, cfg := newFake(), settings(t)
	h := start(t, f, cfg)
	h.up(t, "")
	h.is(t, api.Right)
	if err := f.Stop(t.Context(), "web.log", "", nil); err != nil {
		t.Fatal(err)
	}
	h.is(t, api.Held+" log stopped by hand", "container web.log sha256:log:7 exited")
	for _, state := range []string{cfg.State, t.TempDir()} { // with and without what was kept
		cfg.State = state
		later := start(t, f, cfg)
		later.is(t, api.Held+" log stopped by hand", "container web.log sha256:log:7 exited")
	}
	if err := f.Start(t.Context(), "web.log"); err != nil {
		t.Fatal(err)
	}
	h.is(t, api.Right, logRuns)
	h.do(t, h.m.Stop("web"), nil)
	h.is(t, api.Stopped, "container web.app sha256:app:1 exited")
	time.Sleep(2 * cfg.Resync.Duration)
	h.is(t, api.Stopped, "container web.app sha256:app:1 exited", "container web.log sha256:log:7 exited")
	h.do(t, h.m.Again("web", plan.Options{}), nil)
	h.is(t, api.Right, appRuns, logRuns)
	h.do(t, h.m.Remove("web", true, true), nil)
	testx.Eventually(t, 10*time.Second, func() error {
		if n := len(h.s.Status().Sets); n > 0 {
			return fmt.Errorf("it knows of %d sets that are gone", n)
		}
		return nil
	})
}

// TestAStopThatIsToldLateIsNotFought: an Engine tells of an end at once, and that it was a
// docker stop later, on a busy host after a while.
func TestAStopThatIsToldLateIsNotFought(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f, cfg := newFake(), settings(t)
		h := start(t, f, cfg)
		h.up(t, "")
		h.is(t, api.Right)
		time.Sleep(time.Minute)
		tell, err := f.StopLate("web.log")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		tell()
		time.Sleep(time.Minute)
		h.is(t, api.Held+" log stopped by hand", appRuns, "container web.log sha256:log:7 exited")
		// Who ended, and was told to by nobody, is started.
		tell, err = f.StopLate("web.app")
		if err != nil {
			t.Fatal(err)
		}
		_ = tell // never
		time.Sleep(time.Minute)
		h.is(t, api.Held+" log stopped by hand", appRuns)
		h.end()
	})
}

// TestDeclaredSets are made from their files, changed with them, and a faulty file
// changes nothing.
func TestDeclaredSets(t *testing.T) {
	t.Parallel()
	cfg := settings(t)
	cfg.Keep = "declared"
	h := start(t, newFake(), cfg)
	path := filepath.Join(cfg.Declared, "web.json")
	write := func(text string) {
		if err := errors.Join(os.MkdirAll(cfg.Declared, 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	write(fmt.Sprintf(web, ""))
	h.is(t, api.Right, appRuns, logRuns)
	write(fmt.Sprintf(web, `, "Env": {"A": "1"}`))
	testx.Eventually(t, 10*time.Second, func() error {
		if c := strings.Join(h.f.Calls(), " "); !strings.Contains(c, "create web.app.r2") {
			return errors.New("the app is not replaced")
		}
		return nil
	})
	h.is(t, api.Right, appRuns)
	// An image whose name means another by now replaces nothing behind its user's back.
	h.f.Publish(dockertest.Image{Ref: "app:1", ID: "sha256:newer"})
	if err := h.f.Pull(t.Context(), "app:1", "", func(string, int64, int64) {}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * cfg.Resync.Duration)
	h.is(t, api.Right, appRuns)
	calls := len(h.f.Calls())
	write(`{"Name": "web", "Container": []}`)
	testx.Eventually(t, 10*time.Second, func() error {
		if f := h.s.Status().Faults[path]; !strings.Contains(f, "Containers") {
			return fmt.Errorf("the fault is %q", f)
		}
		return nil
	})
	if n := len(h.f.Calls()); n != calls {
		t.Errorf("a faulty file made %d calls", n-calls)
	}
}

// TestWhatDoesNotWorkIsRestarted: a member that answers wrong, later and later.
func TestWhatDoesNotWorkIsRestarted(t *testing.T) {
	synctest.Test(t, whatDoesNotWorkIsRestarted)
}

func whatDoesNotWorkIsRestarted(t *testing.T) {
	h := start(t, newFake(), settings(t))
	h.up(t, `, "Live": {"Exec": ["test", "-e", "/works"], "Interval": "50ms", "Failures": 2}`)
	for _, tt := range []struct {
		after time.Duration
		want  int
	}{{time.Second, 1}, {8 * time.Second, 1}, {3 * time.Second, 2}, {16 * time.Second, 2}, {5 * time.Second, 3}} {
		time.Sleep(tt.after)
		if s := h.s.Status().Sets; len(s) != 1 || s[0].Restarts != tt.want {
			t.Errorf("after %v more it was restarted as often as %+v says, want %d", tt.after, s, tt.want)
		}
		if n := strings.Count(strings.Join(h.f.Calls(), "\n"), "stop web.app"); n != tt.want {
			t.Errorf("the Engine was told to stop it %d times, want %d", n, tt.want)
		}
	}
	found := false
	for _, e := range h.s.Events(0, "web") {
		found = found || e.Kind == "live" && e.Member == "app" && strings.Contains(e.Text, "restarted")
	}
	if !found {
		t.Errorf("no event tells of it: %+v", h.s.Events(0, ""))
	}
}

// TestWhatCannotBeHealedIsSaid, and tried later and later.
func TestWhatCannotBeHealedIsSaid(t *testing.T) {
	t.Parallel()
	f := newFake()
	h := start(t, f, settings(t))
	h.up(t, "")
	h.is(t, api.Right)
	for i := range 3 {
		f.FailAt(i+1, dockertest.Refuse)
	}
	if err := f.Die("web.infra"); err != nil {
		t.Fatal(err)
	}
	testx.Eventually(t, 10*time.Second, func() error {
		for _, e := range h.s.Events(0, "web") {
			if e.Kind == "failed" && strings.Contains(e.Text, "on fire") {
				return nil
			}
		}
		return fmt.Errorf("no event tells of it: %+v", h.s.Events(0, ""))
	})
	h.is(t, api.Right, appRuns, logRuns)
	if x := h.s.Status().Sets[0]; x.Failures == 0 {
		t.Errorf("it is said as %+v", x)
	}
}

// TestASetWhoseQuestionsEndedMayGo: questions end with docker set stop, and the set
// goes after that.
func TestASetWhoseQuestionsEndedMayGo(t *testing.T) {
	t.Parallel()
	h := start(t, newFake(), settings(t))
	h.up(t, `, "Live": {"Exec": ["true"]}`)
	h.is(t, api.Right)
	h.do(t, h.m.Stop("web"), nil)
	h.is(t, api.Stopped)
	h.do(t, h.m.Remove("web", true, true), nil)
	testx.Eventually(t, 10*time.Second, func() error {
		if n := len(h.s.Status().Sets); n > 0 {
			return fmt.Errorf("it knows of %d sets that are gone", n)
		}
		return nil
	})
}

// TestADeadDaemonsHealingIsGoneOn: one that died between the stop and the start of a
// member stopped it, nobody by hand.
func TestADeadDaemonsHealingIsGoneOn(t *testing.T) {
	t.Parallel()
	f, cfg := newFake(), settings(t)
	h := start(t, f, cfg)
	h.up(t, "")
	h.is(t, api.Right)
	calls := len(f.Calls())
	f.FailAt(1, dockertest.KillAfter) // which is a stop
	if err := f.Die("web.infra"); err != nil {
		t.Fatal(err)
	}
	testx.Eventually(t, 10*time.Second, func() error {
		if n := len(f.Calls()); n == calls {
			return fmt.Errorf("%d calls", n-calls)
		}
		return nil
	})
	h.end()
	f.Revive()
	if s := f.String(); !strings.Contains(s, "exited with 143") {
		t.Fatalf("nobody is down:\n%s", s)
	}
	later := start(t, f, cfg)
	later.is(t, api.Right, appRuns, logRuns)
}

// TestAReplacementIsLeftAlone for a while, by whoever it is; then one that was cut off
// is taken back.
func TestAReplacementIsLeftAlone(t *testing.T) {
	synctest.Test(t, aReplacementIsLeftAlone)
}

func aReplacementIsLeftAlone(t *testing.T) {
	h := start(t, newFake(), settings(t))
	h.up(t, "")
	h.is(t, api.Right)
	s, err := spec.Decode("web.json", fmt.Appendf(nil, web, `, "Env": {"A": "1"}`))
	if err != nil {
		t.Fatal(err)
	}
	p, err := h.m.Plan(t.Context(), "web", s, h.m.Up(*s, plan.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	h.f.FailAt(2, dockertest.KillAfter) // made and stopped: nobody serves
	if err := h.m.Run(t.Context(), p); !errors.Is(err, dockertest.ErrKilled) {
		t.Fatal(err)
	}
	h.f.Revive()
	time.Sleep(10 * time.Second)
	h.is(t, api.Updating, "container web.app sha256:app:1 exited", "container web.app.r2 sha256:app:1 created")
	time.Sleep(10 * time.Second)
	h.is(t, api.Right, appRuns, logRuns)
	if s := h.f.String(); strings.Contains(s, "web.app.r2") {
		t.Errorf("left is\n%s", s)
	}
}

// TestBackoffStartsAgain what ended, after the pauses that its spec has.
func TestBackoffStartsAgain(t *testing.T) {
	synctest.Test(t, backoffStartsAgain)
}

func backoffStartsAgain(t *testing.T) {
	h := start(t, newFake(), settings(t))
	h.up(t, `, "Backoff": {"Pauses": ["2s", "20s"], "Reset": "1m"}`)
	h.is(t, api.Right, appRuns)
	ends := func() {
		t.Helper()
		if err := h.f.Die("web.app"); err != nil {
			t.Fatal(err)
		}
	}
	down := "container web.app sha256:app:1 exited"
	for _, tt := range []struct{ runs, pause time.Duration }{
		{5 * time.Second, 2 * time.Second},
		{5 * time.Second, 20 * time.Second},
		{50 * time.Second, 20 * time.Second},
		{61 * time.Second, 2 * time.Second}, // it ran for longer than Reset
		{time.Second, 20 * time.Second},
	} {
		time.Sleep(tt.runs)
		ends()
		time.Sleep(tt.pause - time.Second)
		h.is(t, api.Waiting+" app ended with 137, end ", down, logRuns)
		time.Sleep(2 * time.Second)
		h.is(t, api.Right, appRuns, logRuns)
	}
	if x := h.s.Status().Sets[0]; x.Restarts != 5 || x.Heals != 0 || x.Failures != 0 {
		t.Errorf("it is said as %+v", x)
	}
	// What is stopped by hand stays so.
	ends()
	time.Sleep(time.Second)
	if err := h.f.Start(t.Context(), "web.app"); err != nil {
		t.Fatal(err)
	}
	if err := h.f.Stop(t.Context(), "web.app", "", nil); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Minute)
	h.is(t, api.Held+" app stopped by hand", down)
	// After the start of an Engine nobody waits.
	h.f.Reboot()
	time.Sleep(3 * time.Second)
	h.is(t, api.Right, appRuns, logRuns)
}

// TestBackoffEnds when on-failure has counted to its end; a good end is none of it.
func TestBackoffEnds(t *testing.T) {
	synctest.Test(t, backoffEnds)
}

func backoffEnds(t *testing.T) {
	h := start(t, newFake(), settings(t))
	h.up(t, `, "Restart": "on-failure:2", "Backoff": {"Pauses": ["1s"]}`)
	h.is(t, api.Right, appRuns)
	for range 3 {
		if err := h.f.Die("web.app"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
	}
	h.is(t, api.Failing+" app ended with 137, end 3 in a row, and is not started again", "container web.app sha256:app:1 exited")
	time.Sleep(time.Hour)
	if x := h.s.Status().Sets[0]; x.Restarts != 2 {
		t.Errorf("it is said as %+v", x)
	}
	h.do(t, h.m.Again("web", plan.Options{Heal: true}), nil) // by hand
	h.is(t, api.Right, appRuns)
}

// TestASetOfATenantIsNotTheDeclaredOne: a tenant who is there first with the name of a
// declared set gets nothing of it; and his set, healed, stays his.
func TestASetOfATenantIsNotTheDeclaredOne(t *testing.T) {
	t.Parallel()
	cfg := settings(t)
	h := start(t, newFake(), cfg)
	s, err := spec.Decode("web.json", fmt.Appendf(nil, web, ""))
	if err != nil {
		t.Fatal(err)
	}
	h.do(t, h.m.Up(*s, plan.Options{Owner: "a"}), s)
	h.is(t, api.Right, appRuns)
	owners := func() (out []string) {
		o, err := h.m.Observe(t.Context(), "web", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range append(o.Members, *o.Infra) {
			out = append(out, c.Name+" of "+c.Owner)
		}
		slices.Sort(out)
		return out
	}
	h.f.Publish(dockertest.Image{Ref: "app:2"})
	h.do(t, h.m.Update("web", map[string]string{"app": "app:2"}, false), nil)
	want := []string{"web.app of a", "web.infra of a", "web.log of a"}
	if got := owners(); !slices.Equal(got, want) {
		t.Errorf("an update leaves %q, want %q", got, want)
	}
	before := h.f.String()
	h.declare(t, cfg, `{"Name": "app", "Image": "app:1", "Options": {"Env": {"SECRET": "1"}}}`)
	h.is(t, api.Failing+" a set web is here that belongs to a")
	if after := h.f.String(); after != before {
		t.Errorf("it was\n%s\nand is\n%s", before, after)
	}
}

// declare writes the file of a set.
func (h host) declare(t *testing.T, cfg hostsrv.Config, containers string) {
	t.Helper()
	text := `{"Name": "web", "Network": {"Name": "prod"}, "Containers": [` + containers + `]}`
	if err := errors.Join(os.MkdirAll(cfg.Declared, 0o700), os.WriteFile(filepath.Join(cfg.Declared, "web.json"), []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// free says that somebody who wants to change the set can.
func (h host) free(t *testing.T) {
	t.Helper()
	for range 20 {
		unlock, free, err := h.m.TryLock(t.Context(), "web")
		if err == nil && free {
			unlock()
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Error("the set is locked all the time")
}

const appIsThere = "container web.app sha256:app:1 created"

// TestNobodyIsKeptWaiting: a container that runs to its end, and does not end, holds up
// those behind it, and nobody who wants to change the set.
func TestNobodyIsKeptWaiting(t *testing.T) {
	t.Parallel()
	for _, code := range []int{0, 3} {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			t.Parallel()
			cfg := settings(t)
			h := start(t, newFake(), cfg)
			h.declare(t, cfg, `{"Index": 0, "Name": "mig", "Image": "log:7", "Options": {"Once": true}}, {"Index": 1, "Name": "app", "Image": "app:1"}`)
			h.is(t, api.Waiting+" app waits for mig, which runs to its end first", appIsThere, "container web.mig sha256:log:7 running")
			h.free(t)
			if err := h.f.Die("web.infra"); err != nil { // and it is healed meanwhile
				t.Fatal(err)
			}
			h.is(t, api.Waiting+" app waits for mig, which runs to its end first", appIsThere, "container web.mig sha256:log:7 running")
			if err := h.f.End("web.mig", code); err != nil {
				t.Fatal(err)
			}
			if code == 0 {
				h.is(t, api.Right, appRuns)
			} else {
				h.is(t, api.Waiting+" app waits for mig, which ended with 3", appIsThere)
			}
			if x := h.s.Status().Sets[0]; x.Failures > 0 {
				t.Errorf("it is said as %+v", x)
			}
		})
	}
}

// TestWhoIsNotReadyIsAskedUntilItIs, and those behind it are started then.
func TestWhoIsNotReadyIsAskedUntilItIs(t *testing.T) {
	t.Parallel()
	cfg := settings(t)
	h := start(t, newFake(), cfg)
	h.declare(t, cfg, `{"Index": 0, "Name": "db", "Image": "log:7", "Options": {"Ready": {"Exec": ["test", "-e", "/ok"]}}}, {"Index": 1, "Name": "app", "Image": "app:1"}`)
	h.is(t, api.Waiting+" app waits for db, which is to be ready", appIsThere, "container web.db sha256:log:7 running")
	h.free(t)
	if _, _, err := h.f.Exec(t.Context(), "web.db", []string{"touch", "/ok"}); err != nil {
		t.Fatal(err)
	}
	h.is(t, api.Right, appRuns)
}

// TestWhoWaitedIsStartedAtOnceAfterFailures: a set that could not be made for a while, as
// where no registry had its image, is made in stages, and a stage is no relapse.
func TestWhoWaitedIsStartedAtOnceAfterFailures(t *testing.T) {
	synctest.Test(t, whoWaitedIsStartedAtOnceAfterFailures)
}

func whoWaitedIsStartedAtOnceAfterFailures(t *testing.T) {
	cfg, f := settings(t), newFake()
	const failures = 8
	for i := range failures {
		f.FailAt(i+1, dockertest.Refuse)
	}
	h := start(t, f, cfg)
	h.declare(t, cfg, `{"Index": 0, "Name": "db", "Image": "log:7", "Options": {"Ready": {"Exec": ["test", "-e", "/ok"]}}}, {"Index": 1, "Name": "app", "Image": "app:1"}`)
	time.Sleep(5 * time.Minute) // it is tried after 1, 2, 4 … 128 s
	h.is(t, api.Waiting+" app waits for db", appIsThere, "container web.db sha256:log:7 running")
	if _, _, err := f.Exec(t.Context(), "web.db", []string{"touch", "/ok"}); err != nil {
		t.Fatal(err)
	}
	h.is(t, api.Right, appRuns)
	if x := h.s.Status().Sets[0]; x.Failures != failures {
		t.Errorf("it is said as %+v", x)
	}
}

// TestAReplacementThatEndedIsSeenAtOnce, though a set with two containers of a member is
// left alone for a while.
func TestAReplacementThatEndedIsSeenAtOnce(t *testing.T) {
	t.Parallel()
	h := start(t, newFake(), settings(t))
	h.up(t, "")
	h.is(t, api.Right)
	s, err := spec.Decode("web.json", fmt.Appendf(nil, web, `, "Env": {"A": "1"}`))
	if err != nil {
		t.Fatal(err)
	}
	p, err := h.m.Plan(t.Context(), "web", s, h.m.Up(*s, plan.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	h.f.FailAt(1, dockertest.KillAfter) // made: the old one serves
	if err := h.m.Run(t.Context(), p); !errors.Is(err, dockertest.ErrKilled) {
		t.Fatal(err)
	}
	h.f.Revive()
	h.is(t, api.Updating)
	h.do(t, h.m.Up(*s, plan.Options{}), s)
	if err := h.f.Die("web.infra"); err != nil {
		t.Fatal(err)
	}
	h.is(t, api.Right, appRuns, logRuns)
}
