package dockertest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"

	"github.com/mosdocker/mosdocker/setmgr"
	"github.com/mosdocker/mosdocker/setmgr/docker/dockertest"
	"github.com/mosdocker/mosdocker/setmgr/infra"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

var (
	_ setmgr.Engine = (*dockertest.Fake)(nil)
	_ setmgr.Cap    = (*dockertest.Cap)(nil)
)

func TestFakeIsAnEngine(t *testing.T) {
	for _, api := range []string{"1.41", "1.55"} {
		f := dockertest.New(dockertest.Image{Ref: "app:1"})
		o, err := f.Observe(t.Context(), "x", nil)
		if err != nil {
			t.Fatal(err)
		}
		o.Facts.API = api
		f.SetFacts(o.Facts)
		f.AddNetwork("prod")
		dockertest.Suite(t, dockertest.Bench{
			Engine: f, Image: "app:1", Network: "prod", Local: true,
			Die: func(tb testing.TB, id string) {
				tb.Helper()
				if err := f.Die(id); err != nil {
					tb.Error(err)
				}
			},
			RestartEngine: func(testing.TB) { f.RestartEngine() },
		})
		if err := f.Check(); err != nil || strings.Contains(f.String(), "container") {
			t.Errorf("left are, %v:\n%s", err, f)
		}
	}
}

// world is a set manager on a fake, with a set that is to be.
type world struct {
	f *dockertest.Fake
	m *setmgr.Manager
}

func newWorld() world {
	three := 0
	f := dockertest.New(
		dockertest.Image{Ref: "app:1", Health: []string{"starting", "healthy"}}, dockertest.Image{Ref: "app:2", Health: []string{"starting", "healthy"}},
		dockertest.Image{Ref: "bad:1", Health: []string{"starting", "unhealthy"}}, dockertest.Image{Ref: "init:1", Ends: &three},
	)
	f.AddNetwork("prod")
	f.Publish(dockertest.Image{Ref: "log:7"})
	return world{f, &setmgr.Manager{
		Engine: f, Cap: f.Cap(), Infra: infra.Image, InfraName: infra.Reference,
		Arch: func(context.Context) (string, error) { return "amd64", nil },
		Grow: func(context.Context, string, spec.Bytes) error { return nil },
	}}
}

func web(t *testing.T, image, cpu string) spec.Set {
	t.Helper()
	s, err := spec.Decode("web.json", fmt.Appendf(nil, `{"Name": "web", "CPU": %s, "MEM": "1g", "Network": {"Name": "prod", "IP": "10.9.0.21"}, "Volume": {"Size": "20m", "Path": "/data"},
		"Containers": [
			{"Index": 0, "Name": "init", "Image": "init:1", "Options": {"CPU": 5, "MEM": 5, "Once": true}},
			{"Index": 1, "Name": "app", "Image": %q, "Options": {"CPU": 60, "MEM": 60, "Health": {"Cmd": ["CMD", "/ok"]}}},
			{"Index": 2, "Name": "log", "Image": "log:7", "Options": {"CPU": 10, "MEM": 10, "Env": {"FOR": %q}, "Update": {"Strategy": "restart"}}}]}`, cpu, image, image))
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.Containers[1:] {
		s.Containers[i+1].Options.Files = []spec.File{{Path: "/etc/conf", Digest: spec.Digest([]byte("conf"))}, {Path: "/etc/text", Text: "text"}}
	}
	return *s
}

// confs is what the files of containers have, as docker set reads it beside a spec.
func confs() map[string][]byte {
	out := map[string][]byte{}
	for _, text := range []string{"conf", "other"} {
		out[spec.Digest([]byte(text))] = []byte(text)
	}
	return out
}

// do plans and runs a verb.
func (w world) do(ctx context.Context, want *spec.Set, c setmgr.Change) error {
	p, err := w.m.Plan(ctx, "web", want, c)
	if err != nil {
		return err
	}
	return w.m.Run(ctx, p)
}

func (w world) up(t *testing.T, s spec.Set) {
	t.Helper()
	if err := w.do(t.Context(), &s, w.m.Up(s, plan.Options{Files: confs()})); err != nil {
		t.Fatal(err)
	}
}

// TestInfraImageIsLoadedOnce: an Engine that has the image of infra containers is not
// given it again for another set.
func TestInfraImageIsLoadedOnce(t *testing.T) {
	w := newWorld()
	s := web(t, "app:1", "2")
	loads := func(name string) bool {
		s.Name = name
		p, err := w.m.Plan(t.Context(), name, &s, w.m.Up(s, plan.Options{Files: confs()}))
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(p.Steps, func(s plan.Step) bool { return s.Op == plan.LoadInfra })
	}
	if !loads("web") {
		t.Error("the first set does not load the image")
	}
	w.up(t, s)
	if loads("other") {
		t.Error("the second set loads the image again")
	}
}

// verb is one of the manager's, on a set that begin made.
type verb struct {
	name  string
	begin func(world)
	want  *spec.Set
	do    func(world) setmgr.Change
	after *spec.Set // what must be there then; nil is nothing
	down  bool      // and it must not run before it is started
}

func verbs(t *testing.T) []verb {
	t.Helper()
	one, two, small := web(t, "app:1", "2"), web(t, "app:2", "4"), web(t, "app:1", "1")
	other := web(t, "app:1", "2")
	other.Containers[1].Image = "app:2"
	shared, back := web(t, "app:1", "2"), web(t, "app:1", "4")
	shared.Containers[1].Options.CPU, shared.Containers[1].Options.MEM, shared.Containers[1].Options.Memory = 40, 0, 100<<20
	there := func(w world) { w.up(t, one) }
	up := func(s spec.Set) func(world) setmgr.Change {
		return func(w world) setmgr.Change { return w.m.Up(s, plan.Options{Files: confs()}) }
	}
	return []verb{
		{"up", func(world) {}, &one, up(one), &one, false},
		{"update", there, &two, up(two), &two, false},
		{"resize", there, nil, func(w world) setmgr.Change { return w.m.Resize("web", plan.Limits{CPU: 1}, 0) }, &small, false},
		{"share", there, nil, func(w world) setmgr.Change {
			return w.m.Reshare("web", map[string]setmgr.Share{"app": {CPU: 40, Memory: 100 << 20}})
		}, &shared, false},
		{"rollback", func(w world) { w.up(t, one); w.up(t, two) }, nil, func(w world) setmgr.Change {
			return w.m.Rollback("web", map[string]int{"app": 1, "log": 1}, false)
		}, &back, false},
		{"restart", there, nil, func(w world) setmgr.Change { return w.m.Restart("web") }, &one, false},
		{"heal", func(w world) {
			w.up(t, one)
			if err := w.f.Die("web.infra"); err != nil {
				t.Fatal(err)
			}
		}, nil, func(w world) setmgr.Change { return w.m.Again("web", plan.Options{Heal: true}) }, &one, false},
		{"boot", func(w world) {
			w.up(t, one)
			w.f.Reboot("web.log", "web.app")
		}, nil, func(w world) setmgr.Change { return w.m.Again("web", plan.Options{Heal: true}) }, &one, false},
		{"rm", there, nil, func(w world) setmgr.Change { return w.m.Remove("web", true, true) }, nil, false},
		{"update of a stopped set", func(w world) {
			w.up(t, one)
			if err := w.do(t.Context(), nil, w.m.Stop("web")); err != nil {
				t.Fatal(err)
			}
		}, nil, func(w world) setmgr.Change { return w.m.Update("web", map[string]string{"app": "app:2"}, false) }, &other, true},
	}
}

// TestEachCallMayFail: whichever call of a verb fails, and however, the same verb goes
// on from there to the same end.
func TestEachCallMayFail(t *testing.T) {
	for _, v := range verbs(t) {
		t.Run(v.name, func(t *testing.T) {
			w := newWorld()
			v.begin(w)
			before := len(w.f.Calls())
			if err := w.do(t.Context(), v.want, v.do(w)); err != nil {
				t.Fatalf("%v\n%s", err, w.f)
			}
			n := len(w.f.Calls()) - before
			if n == 0 {
				t.Error("it does nothing")
			}
			v.check(t, w, "undisturbed")
			for i := range n {
				for _, how := range []dockertest.Failure{dockertest.Refuse, dockertest.KillBefore, dockertest.KillAfter} {
					v.failAt(t, i+1, how)
				}
			}
		})
	}
}

func (v verb) failAt(t *testing.T, n int, how dockertest.Failure) {
	t.Helper()
	w := newWorld()
	v.begin(w)
	before := len(w.f.Calls())
	w.f.FailAt(n, how)
	err := w.do(t.Context(), v.want, v.do(w))
	what := fmt.Sprintf("%s, call %d fails (%d) in %q", v.name, n, how, w.f.Calls()[before:])
	if !errors.Is(err, dockertest.ErrKilled) && !errors.Is(err, dockertest.ErrRefused) {
		t.Errorf("%s: the error is %v", what, err)
	}
	w.f.Revive()
	if err := w.do(t.Context(), v.want, v.do(w)); err != nil && (v.after != nil || !strings.Contains(err.Error(), "there is no set")) {
		t.Errorf("%s: again: %v\n%s", what, err, w.f)
		return
	}
	v.check(t, w, what)
}

// check looks for what the verb was to lead to, and for what must not be there.
func (v verb) check(t *testing.T, w world, what string) {
	t.Helper()
	if err := w.f.Check(); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if v.after == nil {
		for _, line := range []string{"container", "volume", "cap"} {
			if strings.Contains(w.f.String(), line) {
				t.Errorf("%s: left are\n%s", what, w.f)
			}
		}
		return
	}
	if v.down {
		if s := w.f.String(); strings.Contains(s, "running") {
			t.Errorf("%s: it runs:\n%s", what, s)
		}
		if err := w.do(t.Context(), nil, w.m.Again("web", plan.Options{})); err != nil {
			t.Errorf("%s: start: %v", what, err)
		}
	}
	for _, name := range []string{"web.app", "web.log"} {
		for path, want := range map[string]string{"/etc/conf": "conf", "/etc/text": "text"} {
			if got, err := w.f.Get(t.Context(), name, path); string(got) != want {
				t.Errorf("%s: %s of %s has %q, %v", what, path, name, got, err)
			}
		}
	}
	p, err := w.m.Plan(t.Context(), "web", v.after, w.m.Up(*v.after, plan.Options{Files: confs()}))
	if err != nil || len(p.Steps) > 0 {
		t.Errorf("%s: there is more to do: %v\n%s%s", what, err, p, w.f)
	}
	if strings.Contains(w.f.String(), "stranded") {
		t.Errorf("%s: stranded:\n%s", what, w.f)
	}
}

// TestABadUpdateIsTakenBack: one that gets unhealthy leaves the old container serving.
func TestABadUpdateIsTakenBack(t *testing.T) {
	w, one, bad := newWorld(), web(t, "app:1", "2"), web(t, "bad:1", "2")
	w.up(t, one)
	err := w.do(t.Context(), &bad, w.m.Up(bad, plan.Options{Files: confs()}))
	if err == nil || !strings.Contains(err.Error(), "unhealthy") || !strings.Contains(err.Error(), "the old container serves again") {
		t.Errorf("the error is %v", err)
	}
	if s := w.f.String(); !strings.Contains(s, "container web.app sha256:app:1 running") || strings.Contains(s, "sha256:bad:1 running") {
		t.Errorf("what serves is\n%s", s)
	}
}

// TestTheTrapsOfUpdate are those of docker update: see [dockertest.Fake.Update].
func TestTheTrapsOfUpdate(t *testing.T) {
	w := newWorld()
	w.up(t, web(t, "app:1", "2"))
	for _, tt := range []struct {
		r    container.Resources
		want string
	}{
		{container.Resources{Memory: 2 << 30}, "memoryswap limit"},
		{container.Resources{NanoCPUs: 1e9}, "CPU Quota has already been set"},
		{container.Resources{Memory: 1 << 20}, "6MB"},
		{container.Resources{CPUQuota: 10}, "1ms"},
		{container.Resources{}, ""},
	} {
		if err := w.f.Update(t.Context(), "web.app", tt.r); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v, want %q", tt.r, err, tt.want)
		}
	}
}

// TestBootOrder: before Engine 29 a member that comes before its infra stays down.
func TestBootOrder(t *testing.T) {
	for api, want := range map[string]bool{"1.41": false, "1.52": true} {
		w := newWorld()
		w.up(t, web(t, "app:1", "2"))
		o, err := w.f.Observe(t.Context(), "web", nil)
		if err != nil {
			t.Fatal(err)
		}
		o.Facts.API = api
		w.f.SetFacts(o.Facts)
		w.f.RestartEngine("web.app")
		if o, err = w.f.Observe(t.Context(), "web", nil); err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(o.Members, func(c plan.Container) bool { return c.Member == "app" })
		if up := o.Members[i].State == plan.Running; up != want {
			t.Errorf("API %s: it is %s\n%s", api, o.Members[i].State, w.f)
		}
	}
}

// TestHealAfterACut: wherever an update is cut off, heal loses no member, whichever
// of its two containers serves then; the same update goes on from there.
func TestHealAfterACut(t *testing.T) {
	one, two := web(t, "app:1", "2"), web(t, "app:2", "4")
	begin := func() (world, setmgr.Change) {
		w := newWorld()
		w.up(t, one)
		return w, w.m.Up(two, plan.Options{Files: confs()})
	}
	w, update := begin()
	before := len(w.f.Calls())
	if err := w.do(t.Context(), &two, update); err != nil {
		t.Fatal(err)
	}
	for n := range len(w.f.Calls()) - before {
		for _, how := range []dockertest.Failure{dockertest.KillBefore, dockertest.KillAfter} {
			w, update := begin()
			w.f.FailAt(n+1, how)
			if err := w.do(t.Context(), &two, update); !errors.Is(err, dockertest.ErrKilled) {
				t.Fatal(err)
			}
			w.f.Revive()
			if err := w.do(t.Context(), nil, w.m.Again("web", plan.Options{Heal: true})); err != nil {
				t.Errorf("call %d (%d): heal: %v\n%s", n+1, how, err, w.f)
			}
			o, err := w.m.Observe(t.Context(), "web", nil)
			if err != nil || len(o.Members) != 3 || !strings.Contains(w.f.String(), "container web.log sha256:log:7 running") {
				t.Errorf("call %d (%d): after heal there are, %v\n%s", n+1, how, err, w.f)
			}
			if err := w.do(t.Context(), &two, w.m.Up(two, plan.Options{Files: confs()})); err != nil {
				t.Errorf("call %d (%d): again: %v\n%s", n+1, how, err, w.f)
			}
		}
	}
}

// TestHealKeepsWhatRuns: an image whose name means another by now is taken by up
// alone; heal, start and an update of another member leave the container, and what
// is in its unnamed volume.
func TestHealKeepsWhatRuns(t *testing.T) {
	w, one := newWorld(), web(t, "db:1", "2")
	w.f.Publish(dockertest.Image{Ref: "db:1", Health: []string{"healthy"}, Volumes: []string{"/var/lib/db"}})
	w.up(t, one)
	w.f.Publish(dockertest.Image{Ref: "db:1", ID: "sha256:newer", Health: []string{"healthy"}})
	w.f.Publish(dockertest.Image{Ref: "log:8"})
	if err := w.f.Pull(t.Context(), "db:1", "", nil); err != nil {
		t.Fatal(err)
	}
	if err := w.f.Die("web.infra"); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []setmgr.Change{
		w.m.Again("web", plan.Options{Heal: true}), w.m.Again("web", plan.Options{}),
		w.m.Update("web", map[string]string{"log": "log:8"}, false), w.m.Rollback("web", map[string]int{"log": 0}, false),
	} {
		if err := w.do(t.Context(), nil, verb); err != nil {
			t.Error(err)
		}
	}
	if s := w.f.String(); !strings.Contains(s, "container web.app sha256:db:1 running") || strings.Contains(s, "stranded") {
		t.Errorf("what serves is\n%s", s)
	}
	if err := w.do(t.Context(), &one, w.m.Up(one, plan.Options{})); err == nil || !strings.Contains(err.Error(), "--renew-anon-volumes") {
		t.Errorf("up: %v", err)
	}
}

// TestABadPreStopKeepsNobody: neither the old container from coming back, nor a set
// from being removed.
func TestABadPreStopKeepsNobody(t *testing.T) {
	w, one, bad := newWorld(), web(t, "app:1", "2"), web(t, "bad:1", "2")
	bad.Containers[1].Options.Hooks.PreStop = []string{"/not/there"}
	w.up(t, one)
	if err := w.do(t.Context(), &bad, w.m.Up(bad, plan.Options{})); err == nil || !strings.Contains(err.Error(), "the old container serves again") {
		t.Errorf("the error is %v", err)
	}
	if s := w.f.String(); !strings.Contains(s, "container web.app sha256:app:1 running") || strings.Contains(s, "bad:1 running") {
		t.Errorf("what serves is\n%s", s)
	}
	one.Containers[1].Options.Hooks.PreStop = bad.Containers[1].Options.Hooks.PreStop
	w.up(t, one)
	if err := w.do(t.Context(), nil, w.m.Remove("web", true, true)); err != nil {
		t.Error(err)
	}
	if s := w.f.String(); strings.Contains(s, "container") {
		t.Errorf("left is\n%s", s)
	}
}

// TestAFailedOnceIsNotFollowedByTheOldOne: what is run to its end is not run again
// when a newer one fails.
func TestAFailedOnceIsNotFollowedByTheOldOne(t *testing.T) {
	w, one, two := newWorld(), web(t, "app:1", "2"), web(t, "app:1", "2")
	w.up(t, one)
	two.Containers[0].Image, two.Containers[0].Options.Command = "app:1", []string{"false"}
	before := len(w.f.Calls())
	if err := w.do(t.Context(), &two, w.m.Up(two, plan.Options{})); err == nil {
		t.Error("it ended well")
	}
	for _, call := range w.f.Calls()[before:] {
		if strings.HasPrefix(call, "start web.init") && !strings.Contains(call, ".r2") {
			t.Errorf("after it failed: %s", call)
		}
	}
	if s := w.f.String(); !strings.Contains(s, "container web.init sha256:init:1 exited") || strings.Contains(s, ".r2") {
		t.Errorf("there are\n%s", s)
	}
}

// TestUnnamedVolumesStay also of a container that the file names no more, which may
// be a slip.
func TestUnnamedVolumesStay(t *testing.T) {
	w, one, less := newWorld(), web(t, "db:1", "2"), web(t, "db:1", "2")
	w.f.Publish(dockertest.Image{Ref: "db:1", Health: []string{"healthy"}, Volumes: []string{"/var/lib/db"}})
	w.up(t, one)
	less.Containers = slices.Delete(less.Containers, 1, 2)
	if err := w.do(t.Context(), &less, w.m.Up(less, plan.Options{})); err == nil || !strings.Contains(err.Error(), "is to be removed") {
		t.Errorf("the error is %v", err)
	}
	if err := w.do(t.Context(), &less, w.m.Up(less, plan.Options{Renew: true})); err != nil {
		t.Error(err)
	}
}

// TestALimitByHandIsRepaired: docker update --cpus excludes for good what sets limit by.
func TestALimitByHandIsRepaired(t *testing.T) {
	w, s := newWorld(), web(t, "app:1", "2")
	s.Containers[1].Options.CPU = 0
	w.up(t, s)
	if err := w.f.Update(t.Context(), "web.app", container.Resources{NanoCPUs: 5e8}); err != nil {
		t.Fatal(err)
	}
	s.Containers[1].Options.CPU = 10
	w.up(t, s)
	s.Containers[1].Options.CPU = 0
	w.up(t, s)
	if p, err := w.m.Plan(t.Context(), "web", &s, w.m.Up(s, plan.Options{})); err != nil || len(p.Steps) > 0 {
		t.Errorf("%v\n%s", err, p)
	}
}

// TestOneThatFallsIsNotWaitedFor to the end of its deadline while the old one is down,
// and what it wrote is told, since it goes.
func TestOneThatFallsIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, one, two := newWorld(), web(t, "app:1", "2"), web(t, "crash:1", "2")
		three := 3
		w.f.Publish(dockertest.Image{Ref: "crash:1", Ends: &three, Says: "no such\x1b[2J table"})
		w.up(t, one)
		two.Containers[1].Options.Ready = &spec.Probe{Exec: []string{"true"}, Deadline: spec.Duration(time.Hour)}
		two.Containers[1].Options.Health = nil
		begin := time.Now()
		err := w.do(t.Context(), &two, w.m.Up(two, plan.Options{}))
		if err == nil || !strings.Contains(err.Error(), "it wrote last:\n  no such [2J table\n") || !strings.Contains(err.Error(), "the old container serves again") {
			t.Errorf("the error is %v", err)
		}
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("the old container was down for %v", took)
		}
		if s := w.f.String(); !strings.Contains(s, "container web.app sha256:app:1 running") || strings.Contains(s, ".r2") {
			t.Errorf("there are\n%s", s)
		}
	})
}

// TestProbesThatCannotBeAskedAreSaidFirst, before the old container is touched.
func TestProbesThatCannotBeAskedAreSaidFirst(t *testing.T) {
	w, one, two := newWorld(), web(t, "app:1", "2"), web(t, "app:2", "2")
	w.up(t, one)
	two.Containers[1].Options.Ready = &spec.Probe{TCP: 80}
	before := len(w.f.Calls())
	if err := w.do(t.Context(), &two, w.m.Up(two, plan.Options{})); !errdefs.IsNotImplemented(err) || !strings.Contains(err.Error(), "Ready.Exec") {
		t.Errorf("the error is %v", err)
	}
	if calls := w.f.Calls(); len(calls) > before {
		t.Errorf("done was %v", calls[before:])
	}
}
