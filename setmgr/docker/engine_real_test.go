package docker_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/setmgr"
	"github.com/mosdocker/mosdocker/setmgr/docker"
	"github.com/mosdocker/mosdocker/setmgr/infra"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/render"
	"github.com/mosdocker/mosdocker/setmgr/spec"
	"github.com/mosdocker/mosdocker/test/rig"
)

var _ setmgr.Engine = (*docker.Engine)(nil)

// open is an Engine of each kind on a host of its own, with a set of an infra and a
// member that run.
func open(t *testing.T, f func(t *testing.T, e *docker.Engine, h *rig.Host, s spec.Set)) {
	t.Helper()
	for _, engine := range rig.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			h := rig.New(t, rig.Config{Engine: engine}).Host(1)
			e, err := docker.Open("unix://" + h.Socket())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := e.Close(); err != nil {
					t.Error(err)
				}
			})
			if e.SharesHost(t.Context()) {
				t.Error("the rig's host has processes of its own, and is taken for this one")
			}
			s, err := spec.Decode("web.json", []byte(`{"Name": "web", "CPU": 1, "MEM": "200m", "Containers": [
				{"Index": 3, "Name": "app", "Image": "`+rig.Image+`", "Options": {"CPU": 50, "MEM": 50, "Command": ["netcheck", "serve", ":7000"], "Stop": {"Grace": "0s"},
					"Health": {"Cmd": ["CMD", "test", "-e", "/tmp/well"], "Interval": "1s", "Retries": 60}}}]}`))
			if err != nil {
				t.Fatal(err)
			}
			f(t, e, h, *s)
		})
	}
}

// make makes the containers of a set, and starts them.
func makeSet(t *testing.T, e *docker.Engine, s spec.Set) (infraID, memberID string) {
	t.Helper()
	ctx := t.Context()
	f, err := e.Facts(ctx)
	if err != nil {
		t.Fatal(err)
	}
	arch, err := e.Arch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	tar, err := infra.Image(arch)
	if err == nil {
		err = e.Load(ctx, tar)
	}
	if err != nil {
		t.Fatal(err)
	}
	in, err := render.Infra(s, f)
	if err != nil {
		t.Fatal(err)
	}
	in.Config.Image = infra.Reference
	m, err := render.Member(s, s.Containers[0], f, render.InfraName(s.Name), rig.Image, 1)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, c := range []render.Create{in, m} {
		id, err := e.Create(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		again, err := e.Create(ctx, c)
		if err != nil || again != id {
			t.Errorf("made again: %s, %v, was %s", again, err, id)
		}
		for range 2 {
			if err := e.Start(ctx, id); err != nil {
				t.Fatal(err)
			}
		}
		ids = append(ids, id)
	}
	other := m
	cfg := *m.Config
	cfg.Labels = map[string]string{}
	other.Config = &cfg
	if _, err := e.Create(ctx, other); !errdefs.IsAlreadyExists(err) || !strings.Contains(err.Error(), "docker rename") {
		t.Errorf("a name that another has: %v", err)
	}
	return ids[0], ids[1]
}

// TestEngine takes one set through all calls, on the oldest and the newest Engine.
func TestEngine(t *testing.T) {
	open(t, func(t *testing.T, e *docker.Engine, h *rig.Host, s spec.Set) {
		t.Helper()
		ctx := t.Context()
		in, app := makeSet(t, e, s)
		o, err := e.Observe(ctx, "web", &s)
		if err != nil {
			t.Fatal(err)
		}
		if o.Infra == nil || len(o.Members) != 1 || len(o.Taken) != 0 || o.Images[rig.Image] == "" {
			t.Fatalf("seen is %+v", o)
		}
		c := o.Members[0]
		if c.Name != "web.app" || c.Index != 3 || c.Rev != 1 || c.State != plan.Running || c.NetOf != in || c.Stranded || c.Restart != "always" ||
			c.Health != "starting" || c.Limits != (plan.Limits{CPU: 0.5, MEM: 100 << 20}) || c.Hash != spec.HashContainer(s.Containers[0]) || o.Infra.Limits != (plan.Limits{CPU: 1, MEM: 200 << 20}) {
			t.Errorf("seen is %+v, %+v", c, o.Infra)
		}
		if got, err := plan.Spec(o, "web"); err != nil || got.Containers[0].Options.CPU != 50 {
			t.Errorf("its spec is %+v, %v", got, err)
		}
		if names, err := e.Sets(ctx); err != nil || len(names) != 1 || names[0] != "web" {
			t.Errorf("the sets are %v, %v", names, err)
		}

		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		if err := e.WaitHealthy(short, app); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("healthy too soon: %v", err)
		}
		if code, out, err := e.Exec(ctx, app, []string{"sh", "-c", "echo out; echo err >&2; touch /tmp/well; exit 3"}); code != 3 || !strings.Contains(out, "out\n") || !strings.Contains(out, "err\n") || err != nil {
			t.Errorf("exec: %d %q %v", code, out, err)
		}
		if err := e.WaitHealthy(ctx, app); err != nil {
			t.Error(err)
		}
		short, cancel = context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		if _, _, err := e.Exec(short, app, []string{"sleep", "60"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a command that hangs: %v", err)
		}

		for _, l := range []plan.Limits{{CPU: 0.25, MEM: 50 << 20}, {CPU: 1, MEM: 150 << 20}} {
			if err := e.Limit(ctx, app, l); err != nil {
				t.Errorf("limit %v: %v", l, err)
			}
		}
		if err := e.SetRestart(ctx, app, "on-failure:3"); err != nil {
			t.Error(err)
		}
		h.MustDocker(t, "network", "create", "side")
		for range 2 {
			if err := e.Connect(ctx, spec.Network{Name: "side", Aliases: []string{"me"}}, in); err != nil {
				t.Error(err)
			}
			if err := e.Rename(ctx, app, "web.app.r1"); err != nil {
				t.Error(err)
			}
		}
		if o, err = e.Observe(ctx, "web", nil); err != nil {
			t.Fatal(err)
		}
		if c := o.Members[0]; c.Name != "web.app.r1" || c.Restart != "on-failure:3" || c.Limits.MEM != 150<<20 || o.Infra.Nets["side"].IP == "" || len(o.Infra.Nets["side"].ID) != 64 {
			t.Errorf("seen is %+v, %+v", c, o.Infra)
		}
		if pid, err := e.PID(ctx, app); err != nil || strconv.Itoa(pid) != strings.TrimSpace(h.MustDocker(t, "inspect", "-f", "{{.State.Pid}}", app)) {
			t.Errorf("its process is %d, %v", pid, err)
		}

		grace := spec.Duration(0)
		for range 2 {
			if err := errors.Join(
				e.Disconnect(ctx, "side", in), e.Stop(ctx, app, "", &grace), e.Remove(ctx, app, false), e.Remove(ctx, in, true),
				e.RemoveVolume(ctx, "nobodys"),
			); err != nil {
				t.Error(err)
			}
		}
		if pid, err := e.PID(ctx, app); pid != 0 || !errdefs.IsNotFound(err) {
			t.Errorf("a container that is gone has process %d, %v", pid, err)
		}
	})
}

// TestALimitByHandIsRepaired: docker update --cpus excludes a quota for good.
func TestALimitByHandIsRepaired(t *testing.T) {
	open(t, func(t *testing.T, e *docker.Engine, h *rig.Host, s spec.Set) {
		t.Helper()
		s.Containers[0].Options.CPU = 0
		_, app := makeSet(t, e, s)
		h.MustDocker(t, "update", "--cpus", "0.5", "web.app")
		member := func() plan.Container {
			o, err := e.Observe(t.Context(), "web", &s)
			if err != nil || len(o.Members) != 1 {
				t.Fatalf("seen is %+v, %v", o, err)
			}
			return o.Members[0]
		}
		if c := member(); !c.Nano || c.Limits.CPU != 0.5 {
			t.Errorf("seen is %+v", c)
		}
		if err := e.Limit(t.Context(), app, plan.Limits{CPU: 0.3, MEM: 100 << 20}); err != nil || member().Limits.CPU != 0.3 {
			t.Errorf("%v, %+v", err, member().Limits)
		}
		if err := e.Limit(t.Context(), app, plan.Limits{MEM: 100 << 20}); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "docker set up") {
			t.Errorf("it has no limit: %v", err)
		}
		if text, err := e.Tail(t.Context(), app); err != nil {
			t.Error(text, err)
		}
	})
}
