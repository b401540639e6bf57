package dockertest_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mosdocker/mosdocker/setmgr/docker/dockertest"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// drawMember is a container that gets ready in a newWorld, or with Once ends well.
func drawMember(t *rapid.T, name string, earlier []spec.Container, share float64) spec.Container {
	c := spec.Container{Name: name, Index: rapid.IntRange(0, 2).Draw(t, "index"), Image: rapid.SampledFrom([]string{"app:1", "app:2", "log:7"}).Draw(t, "image")}
	o := &c.Options
	o.CPU, o.MEM = rapid.Float64Range(5, share).Draw(t, "cpu"), rapid.Float64Range(5, share).Draw(t, "mem")
	o.Env = map[string]string{"V": strconv.Itoa(rapid.IntRange(0, 2).Draw(t, "env"))}
	o.Update.Strategy = rapid.SampledFrom([]spec.Strategy{spec.Swap, spec.Overlap, spec.Restart}).Draw(t, "strategy")
	switch {
	case rapid.IntRange(0, 5).Draw(t, "once") == 0:
		o.Once, c.Image = true, "init:1"
	case c.Image != "log:7" && rapid.Bool().Draw(t, "health"):
		o.Health = &spec.Health{Cmd: []string{"CMD", "/ok"}}
	}
	if o.Update.Strategy == spec.Overlap && o.Health == nil {
		o.Update.MinReady = spec.Duration(time.Millisecond)
	}
	if text := rapid.SampledFrom([]string{"", "conf", "other"}).Draw(t, "file"); text != "" {
		o.Files = []spec.File{{Path: "/etc/conf", Digest: spec.Digest([]byte(text))}}
	}
	for _, e := range earlier {
		if e.Index > c.Index || rapid.IntRange(0, 2).Draw(t, "depends") > 0 {
			continue
		}
		on := spec.Started
		switch {
		case e.Options.Once:
			on = spec.Completed
		case e.Options.Health != nil && rapid.Bool().Draw(t, "healthy"):
			on = spec.Healthy
		}
		o.DependsOn = append(o.DependsOn, spec.Dependency{Container: e.Name, Condition: on})
	}
	return c
}

func drawWeb(t *rapid.T, like *spec.Set) spec.Set {
	s := spec.Set{
		Name: "web", CPU: spec.Cores(rapid.IntRange(2, 6).Draw(t, "cores")), MEM: spec.Bytes(rapid.IntRange(1, 4).Draw(t, "mem")) << 30,
		Network: spec.Network{Name: "prod", IP: "10.9.0.21"}, Volume: &spec.Volume{Size: 20 << 20, Path: "/data"},
	}
	n := rapid.IntRange(1, 5).Draw(t, "members")
	for i := range n {
		name := "c" + strconv.Itoa(i)
		if like != nil && i < len(like.Containers) && rapid.Bool().Draw(t, "same") {
			same := like.Containers[i]
			if same.Options.CPU <= 100/float64(n) && same.Options.MEM <= 100/float64(n) && len(same.Options.DependsOn) == 0 {
				s.Containers = append(s.Containers, same)
				continue
			}
		}
		s.Containers = append(s.Containers, drawMember(t, name, s.Containers, 100/float64(n)))
	}
	return s
}

// guard is what must be true of the containers of a set at each moment while it is
// changed from one spec to another.
type guard struct {
	stays    map[string]string // id of the container, by members that are in both specs as they are
	overlaps map[string]bool   // members that are replaced without an outage
	bad      []string
}

func (g *guard) see(all []plan.Container) {
	live := map[string]int{}
	for _, c := range all {
		if c.State == plan.Running {
			live[c.Member]++
			live[c.Member+" "+c.ID]++
		}
	}
	for member, id := range g.stays {
		if live[member+" "+id] == 0 {
			g.bad = append(g.bad, "member "+member+", which is to stay as it is, does not run")
		}
	}
	for member := range g.overlaps {
		if live[member] == 0 {
			g.bad = append(g.bad, "member "+member+" overlaps and does not run")
		}
	}
}

func newGuard(t *rapid.T, w world, from, to spec.Set) *guard {
	g := &guard{stays: map[string]string{}, overlaps: map[string]bool{}}
	o, err := w.f.Observe(t.Context(), "web", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range from.Containers {
		i := slices.IndexFunc(to.Containers, func(d spec.Container) bool { return d.Name == c.Name })
		j := slices.IndexFunc(o.Members, func(m plan.Container) bool { return m.Member == c.Name })
		if i < 0 || j < 0 || c.Options.Once || to.Containers[i].Options.Once {
			continue
		}
		if spec.HashContainer(c) == spec.HashContainer(to.Containers[i]) {
			g.stays[c.Name] = o.Members[j].ID
		} else if to.Containers[i].Options.Update.Strategy == spec.Overlap {
			g.overlaps[c.Name] = true
		}
	}
	return g
}

// TestAnyChangeGoesOn: of any two sets, the change of one into the other may fail at
// any call in any way: meanwhile what stays as it is runs and what overlaps serves;
// after a refused call each member has its old or its new container running; heal
// does no harm; and the same change again reaches its end.
func TestAnyChangeGoesOn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from := drawWeb(t, nil)
		to := drawWeb(t, &from)
		if err := errors.Join(from.Check(), to.Check()); err != nil {
			t.Fatal(err)
		}
		begin := func() world {
			w := newWorld()
			if err := w.do(t.Context(), &from, w.m.Up(from, plan.Options{Files: confs()})); err != nil {
				t.Fatalf("the first: %v\n%s", err, w.f)
			}
			return w
		}
		whole := rapid.IntRange(0, 7).Draw(t, "recreate") == 0
		if whole {
			to.Network.IP = "10.9.0.22"
		}
		up := func(w world) error {
			return w.do(t.Context(), &to, w.m.Up(to, plan.Options{Recreate: true, Files: confs()}))
		}
		w := begin()
		before := len(w.f.Calls())
		if err := up(w); err != nil {
			t.Fatalf("undisturbed: %v\n%s", err, w.f)
		}
		calls := len(w.f.Calls()) - before
		if calls == 0 {
			return
		}
		n := rapid.IntRange(1, calls).Draw(t, "call")
		how := rapid.SampledFrom([]dockertest.Failure{dockertest.Refuse, dockertest.KillBefore, dockertest.KillAfter}).Draw(t, "how")
		w = begin()
		before = len(w.f.Calls())
		g := newGuard(t, w, from, to)
		if !whole {
			w.f.Watch(g.see)
		}
		w.f.FailAt(n, how)
		err := up(w)
		said := fmt.Sprintf("%q, of which number %d failed (%d): %v", w.f.Calls()[before:], n, how, err)
		if !errors.Is(err, dockertest.ErrKilled) && !errors.Is(err, dockertest.ErrRefused) {
			t.Errorf("the error of %s", said)
		}
		if how == dockertest.Refuse && !whole {
			g.serving(t, w, from, to, said)
		}
		w.f.Revive()
		if rapid.Bool().Draw(t, "heal") && !whole {
			// Of a container that was made and not started nobody but the spec's file
			// has the files.
			if err := w.do(t.Context(), nil, w.m.Again("web", plan.Options{Heal: true})); err != nil && !strings.Contains(err.Error(), "/etc/conf") {
				t.Errorf("heal after %s: %v\n%s", said, err, w.f)
			}
		}
		if err := up(w); err != nil {
			t.Fatalf("again after %s: %v\n%s", said, err, w.f)
		}
		w.f.Watch(nil)
		for _, bad := range slices.Compact(g.bad) {
			t.Errorf("%s, in %s", bad, said)
		}
		for _, c := range to.Containers {
			for _, f := range c.Options.Files {
				if got, err := w.f.Get(t.Context(), "web."+c.Name, f.Path); spec.Digest(got) != f.Digest {
					t.Errorf("file of %s has %q, %v after %s", c.Name, got, err, said)
				}
			}
		}
		p, err := w.m.Plan(t.Context(), "web", &to, w.m.Up(to, plan.Options{Files: confs()}))
		if err != nil || len(p.Steps) > 0 || w.f.Check() != nil || strings.Contains(w.f.String(), "stranded") {
			t.Errorf("after %s there is more to do: %v, %v\n%s%s", said, err, w.f.Check(), p, w.f)
		}
	})
}

// serving checks that each member that is in both specs has a container that runs.
func (g *guard) serving(t *rapid.T, w world, from, to spec.Set, said string) {
	o, err := w.m.Observe(t.Context(), "web", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range from.Containers {
		i := slices.IndexFunc(to.Containers, func(d spec.Container) bool { return d.Name == c.Name })
		runs := slices.ContainsFunc(o.Members, func(m plan.Container) bool { return m.Member == c.Name && m.State == plan.Running })
		if i >= 0 && !c.Options.Once && !to.Containers[i].Options.Once && !runs {
			t.Errorf("member %s does not run after %s\n%s", c.Name, said, w.f)
		}
	}
}
