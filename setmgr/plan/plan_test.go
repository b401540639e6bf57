package plan

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// TestPlans prints the plan of each verb for a set.
func TestPlans(t *testing.T) {
	var b strings.Builder
	say := func(what string, p Plan, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		b.WriteString("== " + what + "\n" + p.String())
		for _, line := range p.Lines() {
			b.WriteString("   " + line + "\n")
		}
		for _, line := range p.Warnings {
			b.WriteString("   warning: " + line + "\n")
		}
	}
	s, w := web(t), newWorld()
	say("up", w.up(t, s), nil)
	p, err := Up(s, w.seen(), opt)
	say("up again", p, err)
	for _, strategy := range []spec.Strategy{spec.Swap, spec.Overlap, spec.Restart} {
		next := web(t)
		next.Containers[0].Image, next.Containers[0].Options.Update = "shop/app:42", spec.Update{Strategy: strategy, MinReady: spec.Duration(2e9)}
		p, err := Up(next, w.seen(), opt)
		say("update by "+string(strategy), p, err)
	}
	p, err = Resize(func() spec.Set { s := web(t); s.CPU, s.MEM, s.Volume.Size = 6, 4<<30, 40<<30; return s }(), w.seen(), true)
	say("resize", p, err)
	say("stop", Stop(s, w.seen()), nil)
	p, err = Restart(s, w.seen(), "app")
	say("restart app", p, err)
	p, err = Remove(s, w.seen(), true, true)
	say("remove", p, err)
	less := web(t)
	less.Containers = less.Containers[:2]
	p, err = Up(less, w.seen(), opt)
	say("without log", p, err)
	other := web(t)
	other.Network.IP = "10.9.0.22"
	p, err = Up(other, w.seen(), Options{InfraImage: "mos-infra:1", Recreate: true})
	say("recreate", p, err)
	free := web(t)
	free.Containers[1].Options.MEM = 0
	p, err = Up(free, w.seen(), opt)
	say("no limit of memory for cache", p, err)
	w.o.Infra.State = Exited
	p, err = Up(s, w.seen(), Options{InfraImage: "mos-infra:1", Heal: true})
	say("heal a dead infra", p, err)
	testx.Golden(t, "plans.golden", b.String())
}

func TestRefusals(t *testing.T) {
	s, w := web(t), newWorld()
	w.o.Taken["web.app"] = "1234"
	if _, err := Up(s, w.seen(), opt); !errdefs.IsAlreadyExists(err) || !strings.Contains(err.Error(), "web.app") {
		t.Error(err)
	}
	w = newWorld()
	w.o.Networks["prod"] = false
	if _, err := Up(s, w.seen(), opt); !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), "docker network create") {
		t.Error(err)
	}
	w = newWorld()
	w.up(t, s)
	for key, change := range map[string]func(*spec.Set){
		"Network": func(s *spec.Set) { s.Network.IP = "10.9.0.5" }, "Hostname": func(s *spec.Set) { s.Hostname = "other" },
		"Volume": func(s *spec.Set) { s.Volume.Path = "/elsewhere" }, "Sysctls": func(s *spec.Set) { s.Sysctls = map[string]string{"net.core.somaxconn": "4096"} },
	} {
		other := web(t)
		change(&other)
		if _, err := Up(other, w.seen(), opt); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "another "+key) {
			t.Errorf("%s: %v", key, err)
		}
	}
	if _, err := Remove(s, w.seen(), false, false); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("a running set is removed: %v", err)
	}
	if _, err := Restart(s, w.seen(), "nobody"); !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), "app, cache, log") {
		t.Error(err)
	}
	w.o.Members[1].Unnamed = []string{"/data"}
	other := web(t)
	other.Containers[1].Image = "redis:9"
	if _, err := Up(other, w.seen(), opt); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "--renew-anon-volumes") {
		t.Errorf("an unnamed volume would be lost: %v", err)
	}
	if p, err := Up(other, w.seen(), Options{InfraImage: "mos-infra:1", Renew: true}); err != nil || len(p.Steps) == 0 {
		t.Error(err)
	}
	if _, err := Spec(newWorld().seen(), "nobody"); !errdefs.IsNotFound(err) {
		t.Error(err)
	}
}

// TestLabelsTellTheSpec: what was applied is read back from containers, also after
// it was resized.
func TestLabelsTellTheSpec(t *testing.T) {
	s, w := web(t), newWorld()
	w.up(t, s)
	got, err := Spec(w.seen(), "web")
	if err != nil {
		t.Fatal(err)
	}
	same(t, s, got)
	s.CPU, s.MEM = 2, 2<<30
	s.Containers[1].Options.CPU = 25
	p, err := Resize(s, w.seen(), false)
	if err == nil {
		err = w.run(p, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got, err = Spec(w.seen(), "web"); err != nil {
		t.Fatal(err)
	}
	same(t, s, got)
	if p, err := Up(got, w.seen(), opt); err != nil || len(p.Steps) != 0 {
		t.Errorf("%v\n%s", err, p)
	}
}

func same(t *testing.T, want, got spec.Set) {
	t.Helper()
	a, err := spec.Marshal(&want)
	if err != nil {
		t.Fatal(err)
	}
	b, err := spec.Marshal(&got)
	if err != nil {
		t.Fatal(err)
	}
	if string(a) != string(b) {
		t.Errorf("got  %s\nwant %s", b, a)
	}
}

// TestFailedUpdateComesBack: by each strategy, and whatever step fails.
func TestFailedUpdateComesBack(t *testing.T) {
	for _, strategy := range []spec.Strategy{spec.Swap, spec.Overlap, spec.Restart} {
		next := web(t)
		next.Containers[0].Image, next.Containers[0].Options.Update.Strategy = "sick", strategy
		w := newWorld()
		w.sick["sick"] = true
		w.up(t, web(t))
		before := w.String()
		p, err := Up(next, w.seen(), opt)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.run(p, 0); err == nil {
			t.Fatal("it got ready")
		}
		if err := w.run(Undo(next, w.seen(), nil, "app"), 0); err != nil {
			t.Fatal(err)
		}
		if got := w.String(); lines(got) != lines(before) {
			t.Errorf("%s: after it failed\n%swant\n%s", strategy, got, before)
		}
	}
}

func lines(s string) string {
	out := strings.Split(s, "\n")
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// TestEveryCutIsGoneOn: a plan that is cut off at any step is taken up by the next,
// to the same end.
func TestEveryCutIsGoneOn(t *testing.T) {
	begin := map[string]func(*world){
		"nothing": func(*world) {},
		"there":   func(w *world) { w.up(t, web(t)) },
		"stopped": func(w *world) { w.up(t, web(t)); _ = w.run(Stop(web(t), w.seen()), 0) },
		"infra":   func(w *world) { w.up(t, web(t)); _ = w.change(w.o.Infra, Step{Op: StopOne}) },
	}
	for name, setup := range begin {
		for _, strategy := range []spec.Strategy{spec.Swap, spec.Overlap, spec.Restart} {
			want := web(t)
			want.CPU = 3
			want.Containers[0].Image, want.Containers[0].Options.Update.Strategy = "shop/app:42", strategy
			want.Containers[2].Options.Env = map[string]string{"A": "b"}
			for n := 1; ; n++ {
				w := newWorld()
				setup(w)
				p, err := Up(want, w.seen(), opt)
				if err != nil {
					t.Fatal(err)
				}
				if n > len(p.Steps) {
					break
				}
				_ = w.run(p, n) // that is the cut
				w.up(t, want)
				if p, err := Up(want, w.seen(), opt); err != nil || len(p.Steps) != 0 {
					t.Fatalf("%s, %s, cut at step %d of\n%s: not settled: %v\n%s", name, strategy, n, p, err, w)
				}
				if c := len(w.o.Members); c != 3 {
					t.Errorf("%s, %s, cut at step %d: %d containers\n%s", name, strategy, n, c, w)
				}
			}
		}
	}
}

// TestCausesNameWhatChanged, for people to see why a container is replaced.
func TestCausesNameWhatChanged(t *testing.T) {
	s, w := web(t), newWorld()
	w.up(t, s)
	s.Containers[1].Options.Env = map[string]string{"A": "b"}
	s.Containers[2].Index = 2
	p, err := Up(s, w.seen(), opt)
	if err != nil {
		t.Fatal(err)
	}
	if got := p.String(); !strings.Contains(got, "stop web.cache: another Env") || !strings.Contains(got, "stop web.log: another Index") {
		t.Errorf("the plan is\n%s", got)
	}
}

// TestKeptMembersNeedNoImage: those that nobody asked to change are not pulled for,
// nor replaced when the names of their images mean another.
func TestKeptMembersNeedNoImage(t *testing.T) {
	s, w := web(t), newWorld()
	w.up(t, s)
	w.o.Images["shop/app:41"] = "sha256:another"
	delete(w.o.Images, "redis:8")
	if p, err := Up(s, w.seen(), opt); err != nil || !strings.Contains(p.String(), "pull redis:8") || !strings.Contains(p.String(), "is another now") {
		t.Errorf("up: %v\n%s", err, p)
	}
	keep := opt
	keep.Keep = []string{"app", "cache", "log"}
	if p, err := Up(s, w.seen(), keep); err != nil || len(p.Steps) != 0 {
		t.Errorf("kept: %v\n%s", err, p)
	}
	w.o.Members[1].State = Exited
	w.o.Members[1].Unnamed = []string{"/data"}
	if p, err := Up(s, w.seen(), keep); err != nil || strings.Contains(p.String(), "pull") || !strings.Contains(p.String(), "start web.cache") {
		t.Errorf("kept and down: %v\n%s", err, p)
	}
	w.o.Members[1].NetOf = "gone"
	w.o.Members[1].Unnamed = nil
	if p, err := Up(s, w.seen(), keep); err != nil || !strings.Contains(p.String(), "pull redis:8") {
		t.Errorf("to be made anew: %v\n%s", err, p)
	}
}

func TestMoreThanTheHostHasIsSaid(t *testing.T) {
	s, w := web(t), newWorld()
	w.o.Facts.CPUs, w.o.Facts.Memory = 2, 4<<30
	p, err := Up(s, w.seen(), opt)
	if got := strings.Join(p.Warnings, "\n"); err != nil || got != "set web may use 4 cores, and the host has 2\nset web may use 8g of memory, and the host has 4g" {
		t.Errorf("%v: %s", err, got)
	}
	w.o.Facts.CPUs, w.o.Facts.Memory = 4, 8<<30
	if p, err = Up(s, w.seen(), opt); err != nil || len(p.Warnings) > 0 {
		t.Errorf("%v: %v", err, p.Warnings)
	}
}

// TestRemoveTakesNobodysVolume: one that was there before the set is its owner's.
func TestRemoveTakesNobodysVolume(t *testing.T) {
	s, w := web(t), newWorld()
	w.o.Volumes["web-data"] = true
	w.up(t, s)
	p, err := Remove(s, w.seen(), true, true)
	if err != nil || strings.Contains(p.String(), "remove-volume") || len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], "docker volume rm web-data") {
		t.Errorf("%v, %v\n%s", err, p.Warnings, p)
	}
}

// TestANetworkMayBeNamedByItsID: who is connected to it already stays so.
func TestANetworkMayBeNamedByItsID(t *testing.T) {
	s, w := web(t), newWorld()
	const id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	s.Network.Name = id[:12]
	w.o.Networks[id[:12]] = true
	w.up(t, s)
	for _, tt := range []struct {
		id    string
		steps int
	}{{id, 0}, {"f" + id[1:], 1}} {
		w.o.Infra.Nets = map[string]Net{"prod": {ID: tt.id}}
		if p, err := Up(s, w.seen(), opt); err != nil || len(p.Steps) != tt.steps {
			t.Errorf("in network %s: %v\n%s", tt.id, err, p)
		}
	}
}

// TestWhoIsNotReadyIsAskedAgain: a set whose start ended at a container that did not get
// ready goes on only when it is.
func TestWhoIsNotReadyIsAskedAgain(t *testing.T) {
	s, w := web(t), newWorld()
	s.Containers[0].Options.Ready = &spec.Probe{TCP: 80}
	w.up(t, s)
	waits := func() (n int) {
		t.Helper()
		p, err := Up(s, w.seen(), opt)
		if err != nil {
			t.Fatal(err)
		}
		for _, st := range p.Steps {
			if st.Op == Wait && st.Member == s.Containers[0].Name {
				n++
			}
		}
		return n
	}
	if n := waits(); n != 0 {
		t.Errorf("in a set that is up it is asked %d times", n)
	}
	for i, c := range w.o.Members {
		if c.Member == s.Containers[len(s.Containers)-1].Name {
			w.o.Members[i].State = Created
		}
	}
	if n := waits(); n != 1 {
		t.Errorf("with others to come it is asked %d times", n)
	}
	// Nor is one that runs to its end taken for ended.
	s.Containers[0].Options.Ready, s.Containers[0].Options.Once = nil, true
	w = newWorld()
	w.up(t, s)
	for i, c := range w.o.Members {
		w.o.Members[i].State = Created
		if c.Member == s.Containers[0].Name {
			w.o.Members[i].State = Running
		}
	}
	if n := waits(); n != 1 {
		t.Errorf("one that runs to its end is waited for %d times", n)
	}
}

// has says whether a plan has a step of a kind about a name.
func has(p Plan, op Op, name string) bool {
	return slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Op == op && s.Name == name })
}

// warned says whether a plan warns of something.
func warned(p Plan, text string) bool {
	return slices.ContainsFunc(p.Warnings, func(w string) bool { return strings.Contains(w, text) })
}

// TestTheEnginesOwnBridgeIsConnectedAgain, unless the Engine has none.
func TestTheEnginesOwnBridgeIsConnectedAgain(t *testing.T) {
	s, w := web(t), newWorld()
	s.Network = spec.Network{}
	w.up(t, s)
	for name, want := range map[string]bool{"": true, "bridge": false, "none": false} {
		w.o.Infra.Nets = map[string]Net{}
		if name != "" {
			w.o.Infra.Nets[name] = Net{}
		}
		if p, err := Up(s, w.seen(), opt); err != nil || has(p, Connect, "bridge") != want {
			t.Errorf("connected to %q: %v\n%s", name, err, p)
		}
	}
}

// TestAVolumeGrowsWithItsFile, does not shrink, and is not another driver's.
func TestAVolumeGrowsWithItsFile(t *testing.T) {
	s, w := web(t), newWorld()
	w.up(t, s)
	size := s.Volume.Size
	for _, tt := range []struct {
		have        spec.Bytes
		grows, warn bool
	}{{size, false, false}, {size / 2, true, false}, {size + size/20, false, false}, {2 * size, false, true}, {0, false, false}} {
		w.o.Sizes = map[string]spec.Bytes{"web-data": tt.have}
		if p, err := Up(s, w.seen(), opt); err != nil || has(p, Grow, "web-data") != tt.grows || warned(p, "do not shrink") != tt.warn {
			t.Errorf("%v where %v is wanted: %v\n%s%q", tt.have, size, err, p, p.Warnings)
		}
	}
	w.o.Drivers = map[string]string{"web-data": "local"}
	if _, err := Up(s, w.seen(), opt); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "is of driver local") {
		t.Errorf("a volume of another driver: %v", err)
	}
}

// TestWhatOnlyTheFileSaysIsWarnedOf: labels of containers that stay do not change.
func TestWhatOnlyTheFileSaysIsWarnedOf(t *testing.T) {
	s, w := web(t), newWorld()
	w.up(t, s)
	s.Overcommit, s.Containers[0].Options.Update.Strategy = !s.Overcommit, spec.Restart
	p, err := Up(s, w.seen(), opt)
	if err != nil || len(p.Steps) > 0 || !warned(p, "Overcommit of set web") || !warned(p, "Update of container web."+s.Containers[0].Name) {
		t.Errorf("%v\n%s%q", err, p, p.Warnings)
	}
}

// TestAnotherCgroupOfTheSetIsWarnedOf with the command that changes it, and comes with a
// set that is made anew.
func TestAnotherCgroupOfTheSetIsWarnedOf(t *testing.T) {
	s, w := web(t), newWorld()
	s.Cgroup = map[string]string{"memory.high": "1g", "pids.max": "100"}
	w.up(t, s)
	s.Cgroup = map[string]string{"memory.high": "2g", "io.max": "/dev/vda wbps=1m"}
	p, err := Up(s, w.seen(), opt)
	if err != nil || len(p.Steps) > 0 || !warned(p, `docker mos cgroup set set/web "io.max=/dev/vda wbps=1m" "memory.high=2g" changes it now; pids.max stays until then`) {
		t.Errorf("%v\n%s%q", err, p, p.Warnings)
	}
	if d := Diff(s, w.seen(), p); len(d) > 0 {
		t.Errorf("what up does nothing about differs: %v", d)
	}
	again := opt
	again.Recreate = true
	p, err = Up(s, w.seen(), again)
	if err != nil || len(p.Steps) == 0 || len(p.Warnings) > 0 {
		t.Errorf("%v\n%s%q", err, p, p.Warnings)
	}
	o := w.seen()
	o.Infra, o.Members, o.Unkept = nil, nil, "mosd does that, and does not run on this host"
	if p, err = Up(s, o, opt); err != nil || !warned(p, "nobody gives set web its Cgroup: mosd does that") {
		t.Errorf("%v %q", err, p.Warnings)
	}
}

// TestRestartIsForSetsThatRun, and runs nothing again that ran once.
func TestRestartIsForSetsThatRun(t *testing.T) {
	s, w := web(t), newWorld()
	s.Containers[0].Options.Once = true
	w.up(t, s)
	once := "web." + s.Containers[0].Name
	for i, c := range w.o.Members {
		if c.Name == once {
			w.o.Members[i].State, w.o.Members[i].ExitCode = Exited, 0
		}
	}
	if p, err := Restart(s, w.seen()); err != nil || len(p.Steps) == 0 || has(p, Start, once) {
		t.Errorf("%v\n%s", err, p)
	}
	if p, err := Restart(s, w.seen(), s.Containers[0].Name); err != nil || !has(p, Start, once) {
		t.Errorf("asked for: %v\n%s", err, p)
	}
	w.o.Infra.State = Exited
	if _, err := Restart(s, w.seen()); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "docker set start web") {
		t.Errorf("a set that is down: %v", err)
	}
}

// TestSmallAmountsOfProcessorsCount: what systemd rounds is the same, all else is not.
func TestSmallAmountsOfProcessorsCount(t *testing.T) {
	for _, tt := range []struct {
		have, want spec.Cores
		near       bool
	}{{0.06, 0.05, false}, {1, 1.01, false}, {1.01, 1.005, true}, {0.5, 0.5, true}, {0.34, 0.333, true}, {0.34, 0.345, false}} {
		if got := (Limits{CPU: tt.have}).near(Limits{CPU: tt.want}); got != tt.near {
			t.Errorf("%v where %v is wanted: near is %v", tt.have, tt.want, got)
		}
	}
}

// TestContainersTellOfTheirCluster: all that a cluster's set has made, by whomever; and a set
// of nobody's stays so.
func TestContainersTellOfTheirCluster(t *testing.T) {
	s, w := web(t), newWorld()
	marks := func(p Plan, err error) (out []string) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		for _, st := range p.Steps {
			if st.Op == Create {
				out = append(out, st.Create.Config.Labels["mos.cluster"])
			}
		}
		return slices.Compact(out)
	}
	with := opt
	with.Cluster = "c1/u1"
	if got := marks(Up(s, w.seen(), with)); !slices.Equal(got, []string{"c1/u1"}) {
		t.Errorf("made with %q", got)
	}
	w.up(t, s)
	next := web(t)
	next.Containers[0].Image = "shop/app:42"
	if got := marks(Up(next, w.seen(), with)); !slices.Equal(got, []string{""}) {
		t.Errorf("a container of a local set got %q", got)
	}
	w.o.Infra.Cluster = "c1/u1"
	if got := marks(Up(next, w.seen(), opt)); !slices.Equal(got, []string{"c1/u1"}) {
		t.Errorf("changed by hand: %q", got)
	}
	next.Network.IP = "10.9.0.22"
	again := opt
	again.Recreate = true
	if got := marks(Up(next, w.seen(), again)); !slices.Equal(got, []string{"c1/u1"}) {
		t.Errorf("recreated by hand: %q", got)
	}
}

// TestWhenANewContainerIsGivenUp: its time begins when the old one is down, and not anew
// with each restart by its policy.
func TestWhenANewContainerIsGivenUp(t *testing.T) {
	s, w := web(t), newWorld()
	s.Containers[0].Options.Ready = &spec.Probe{Exec: []string{"true"}, Deadline: spec.Duration(20 * time.Second)}
	w.up(t, s)
	begun := time.Unix(1e9, 0)
	ago := func(seconds int) time.Time { return begun.Add(time.Duration(-seconds) * time.Second) }
	next := web(t)
	next.Containers[0].Image, next.Containers[0].Options.Ready = "shop/app:42", s.Containers[0].Options.Ready
	wait := Options{InfraImage: "mos-infra:1", NoWait: true}
	p, err := Up(next, w.seen(), wait)
	if err != nil || len(p.Beside) != 1 {
		t.Fatalf("%v, %s", err, p)
	}
	for _, st := range p.Steps {
		if st.Op == RemoveOne || st.Op == Rename {
			t.Errorf("the old one is not kept: %s", p)
		}
	}
	if err := w.run(p, 0); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		finished time.Time // of the old one
		fresh    Container
		want     string
	}{
		{"a moment ago", ago(5), Container{State: Running, Started: ago(5)}, ""},
		{"long ago", ago(21), Container{State: Running, Started: ago(21)}, "it is not ready after 20s"},
		{"made long ago, started now", ago(500), Container{State: Running, Created: ago(400), Started: ago(5)}, ""},
		{"restarted by its policy", ago(21), Container{State: Running, Started: ago(1), Restarts: 9}, "it is not ready after 20s"},
		{"between two restarts", ago(5), Container{State: Restarting, Started: ago(4), Finished: ago(2), Restarts: 1}, ""},
		{"down", ago(5), Container{State: Restarting, Started: ago(5), Finished: ago(4), Restarts: 1}, "it does not stay up"},
		{"unhealthy", ago(5), Container{State: Running, Started: ago(5), Health: "unhealthy"}, "it is unhealthy"},
	} {
		o := w.seen()
		o.Infra.Started = ago(1000)
		for i, have := range o.Members {
			switch {
			case have.Name == "web.app":
				o.Members[i].Finished = c.finished
			case have.Member == "app":
				o.Members[i].State, o.Members[i].Created, o.Members[i].Started, o.Members[i].Finished = c.fresh.State, c.fresh.Created, c.fresh.Started, c.fresh.Finished
				o.Members[i].Restarts, o.Members[i].Health = c.fresh.Restarts, c.fresh.Health
			}
		}
		wait.Now = begun
		if p, err := Up(next, o, wait); err != nil || p.Lost["app"] != c.want || len(p.Steps) > 0 {
			t.Errorf("%s: %v, lost %q, want %q, %s", c.name, err, p.Lost, c.want, p)
		}
		wait.Refused = map[string]bool{"app": true}
		if p, err := Up(next, o, wait); err != nil || len(p.Beside) > 0 || !strings.Contains(p.String(), "it comes back") && !strings.Contains(p.String(), "it is exited") {
			t.Errorf("%s: refused it is %v, %s", c.name, err, p)
		}
		wait.Refused = nil
	}
}
