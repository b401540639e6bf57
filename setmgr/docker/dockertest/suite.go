package dockertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/setmgr"
	"github.com/mosdocker/mosdocker/setmgr/infra"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/render"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// Bench is what the tests of [Suite] work on: an Engine without containers.
type Bench struct {
	Engine setmgr.Engine
	// Image is one on the Engine that has a shell.
	Image string
	// Network is one of the Engine's, beside the usual ones.
	Network string
	// Die kills a container's process behind the Engine's back.
	Die func(tb testing.TB, id string)
	// RestartEngine stops the Engine with all containers, and starts it.
	RestartEngine func(tb testing.TB)
	// Local says that Observe sees who is stranded.
	Local bool
}

// test is one test of the suite on its bench, with a set of its own.
type test struct {
	*testing.T
	Bench
	set string
}

// Suite runs the tests that the fake and real Engines both pass. They share one
// bench, which is empty again after each.
func Suite(t *testing.T, b Bench) {
	t.Helper()
	tar, err := infra.Image("")
	if err == nil {
		err = b.Engine.Load(t.Context(), tar)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		run  func(test)
	}{
		{"Repeats", test.repeats},
		{"Observe", test.observe},
		{"Names", test.names},
		{"Committed", test.committed},
		{"MembersNeedTheInfra", test.membersNeedTheInfra},
		{"AnInfraThatDiesComesBack", test.infraDies},
		{"StoppedStaysStopped", test.stopped},
		{"Health", test.health},
		{"Ends", test.ends},
		{"Exec", test.exec},
		{"Files", test.files},
		{"Limits", test.limits},
		{"Networks", test.networks},
		{"Volumes", test.volumes},
		{"Images", test.images},
		{"EngineRestart", test.engineRestart},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := test{t, b, "suite" + strings.ToLower(tt.name)}
			t.Cleanup(s.clean)
			tt.run(s)
		})
	}
}

// clean removes the set, members first.
func (s test) clean() {
	ctx := context.WithoutCancel(s.Context())
	o, err := s.Engine.Observe(ctx, s.set, nil)
	if err != nil {
		s.Error(err)
	}
	all := o.Members
	if o.Infra != nil {
		all = append(all, *o.Infra)
	}
	for _, c := range all {
		if err := s.Engine.Remove(ctx, c.ID, true); err != nil {
			s.Error(err)
		}
	}
	for _, v := range o.Left {
		if err := s.Engine.RemoveVolume(ctx, v); err != nil {
			s.Error(err)
		}
	}
}

// spec is a set of members by name and command.
func (s test) spec(members ...string) spec.Set {
	s.Helper()
	out := spec.Set{Name: s.set, CPU: 1, MEM: 200 << 20}
	for i, m := range members {
		name, command, _ := strings.Cut(m, " ")
		c := spec.Container{Index: i, Name: name, Image: s.Image}
		c.Options.CPU, c.Options.MEM, c.Options.Command = 25, 25, []string{"sleep", "100000"}
		c.Options.Stop.Grace = zero() // it hears no signal
		if command != "" {
			c.Options.Command = []string{"sh", "-c", command}
		}
		out.Containers = append(out.Containers, c)
	}
	if err := out.Check(); err != nil {
		s.Fatal(err)
	}
	return out
}

// creates are the containers of a set, to be made: the infra, then the members.
func (s test) creates(set spec.Set) []render.Create {
	s.Helper()
	o, err := s.Engine.Observe(s.Context(), s.set, nil)
	if err != nil {
		s.Fatal(err)
	}
	first, err := render.Infra(set, o.Facts)
	if err != nil {
		s.Fatal(err)
	}
	first.Config.Image = infra.Reference
	out := []render.Create{first}
	for _, c := range set.Containers {
		m, err := render.Member(set, c, o.Facts, render.InfraName(s.set), s.Image, 1)
		if err != nil {
			s.Fatal(err)
		}
		out = append(out, m)
	}
	return out
}

// up makes and starts a set. It returns the ids, the infra's first.
func (s test) up(set spec.Set) []string {
	s.Helper()
	var ids []string
	for _, c := range s.creates(set) {
		ids = append(ids, s.create(c))
		s.well(s.Engine.Start(s.Context(), ids[len(ids)-1]))
	}
	return ids
}

func (s test) create(c render.Create) string {
	s.Helper()
	id, err := s.Engine.Create(s.Context(), c)
	if err != nil {
		s.Fatal(err)
	}
	return id
}

func (s test) well(err error) {
	s.Helper()
	if err != nil {
		s.Error(err)
	}
}

// refused wants an error of a class, with words in it.
func (s test) refused(err error, is func(error) bool, words ...string) {
	s.Helper()
	if !is(err) {
		s.Errorf("it is not of the class: %v", err)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			s.Errorf("%q is not in: %v", w, err)
		}
	}
}

// seen is one container as it is found now; the name of a member, or "" for the infra.
func (s test) seen(member string) plan.Container {
	s.Helper()
	c, err := s.find(member)
	if err != nil {
		s.Fatal(err)
	}
	return c
}

func (s test) find(member string) (plan.Container, error) {
	o, err := s.Engine.Observe(s.Context(), s.set, nil)
	if err != nil {
		return plan.Container{}, err
	}
	if member == "" && o.Infra != nil {
		return *o.Infra, nil
	}
	i := slices.IndexFunc(o.Members, func(c plan.Container) bool { return c.Member == member })
	if i < 0 || member == "" {
		return plan.Container{}, fmt.Errorf("there is no %q", member)
	}
	return o.Members[i], nil
}

// becomes waits until a container is as it should be.
func (s test) becomes(member, what string, is func(plan.Container) bool) {
	s.Helper()
	testx.Eventually(s, 20*time.Second, func() error {
		c, err := s.find(member)
		if err == nil && !is(c) {
			err = fmt.Errorf("%q is not %s: %s, code %d, %d restarts", member, what, c.State, c.ExitCode, c.Restarts)
		}
		return err
	})
}

// soon is a context that ends soon, for what must not come.
func (s test) soon() context.Context {
	ctx, cancel := context.WithTimeout(s.Context(), 400*time.Millisecond)
	s.Cleanup(cancel)
	return ctx
}

func zero() *spec.Duration { return new(spec.Duration) }

// repeats: each call may come again.
func (s test) repeats() {
	ctx, cs := s.Context(), s.creates(s.spec("app"))
	for _, c := range cs {
		id := s.create(c)
		if again := s.create(c); again != id {
			s.Errorf("made again: %s, was %s", again, id)
		}
		for range 2 {
			s.well(s.Engine.Start(ctx, id))
		}
	}
	app := s.seen("app").ID
	for range 2 {
		s.well(s.Engine.SetRestart(ctx, app, "on-failure:3"))
		s.well(s.Engine.Rename(ctx, app, s.set+".app.r1"))
	}
	if c := s.seen("app"); c.Name != s.set+".app.r1" || c.Restart != "on-failure:3" {
		s.Errorf("it is %+v", c)
	}
	for range 2 {
		s.well(s.Engine.Stop(ctx, app, "", zero()))
		s.well(s.Engine.Kill(ctx, app, "KILL"))
	}
	s.refused(s.Engine.Kill(ctx, app, "HUP"), errdefs.IsFailedPrecondition, "start")
	for range 2 {
		s.well(s.Engine.Remove(ctx, app, false))
	}
	s.well(s.Engine.Stop(ctx, app, "", nil))
	s.refused(s.Engine.Start(ctx, app), errdefs.IsNotFound)
	s.refused(s.Engine.Rename(ctx, app, "other"), errdefs.IsNotFound)
	if pid, err := s.Engine.PID(ctx, app); pid != 0 || !errdefs.IsNotFound(err) {
		s.Errorf("one that is gone has process %d, %v", pid, err)
	}
	s.refused(s.Engine.Remove(ctx, s.seen("").ID, false), errdefs.IsFailedPrecondition, "stop")
}

func (s test) observe() {
	set := s.spec("app")
	set.Containers[0].Options.Restart = "unless-stopped"
	if o, err := s.Engine.Observe(s.Context(), s.set, &set); err != nil || o.Infra != nil || len(o.Members)+len(o.Taken)+len(o.Left) > 0 || o.Images[s.Image] == "" {
		s.Errorf("nothing is there, and seen is %+v, %v", o, err)
	}
	ids := s.up(set)
	set.Network.Name, set.Networks = s.Network, []spec.Network{{Name: "nobodys"}}
	o, err := s.Engine.Observe(s.Context(), s.set, &set)
	if err != nil || o.Infra == nil || len(o.Members) != 1 || !o.Networks[s.Network] || o.Networks["nobodys"] || o.Facts.API == "" {
		s.Fatalf("seen is %+v, %v", o, err)
	}
	in, c := *o.Infra, o.Members[0]
	if in.ID != ids[0] || in.Name != s.set+".infra" || in.NetOf != "" || in.Restart != "always" || in.Nets["bridge"].IP == "" || in.Health != "" ||
		in.Limits != (plan.Limits{CPU: 1, MEM: 200 << 20}) || in.State != plan.Running || in.PID == 0 {
		s.Errorf("the infra is %+v", in)
	}
	if c.ID != ids[1] || c.Name != s.set+".app" || c.NetOf != ids[0] || c.Restart != "unless-stopped" || c.Rev != 1 || c.Stranded || c.Started.IsZero() ||
		c.Limits != (plan.Limits{CPU: 0.25, MEM: 50 << 20}) || c.State != plan.Running || c.PID == 0 || c.Hash == "" || c.ImageID != o.Images[s.Image] {
		s.Errorf("the member is %+v", c)
	}
	if names, err := s.Engine.Sets(s.Context()); err != nil || !slices.Equal(names, []string{s.set}) {
		s.Errorf("the sets are %v, %v", names, err)
	}
	if pid, err := s.Engine.PID(s.Context(), c.ID); err != nil || pid != c.PID {
		s.Errorf("its process is %d, %v", pid, err)
	}
}

// names: one name has one container, and nobody's is taken away.
func (s test) names() {
	set := s.spec("app", "log")
	ids := s.up(set)
	s.refused(s.Engine.Rename(s.Context(), ids[1], s.set+".log"), errdefs.IsAlreadyExists, s.set+".log")
	other := s.creates(set)[1]
	cfg := *other.Config
	cfg.Labels = map[string]string{}
	other.Config = &cfg
	_, err := s.Engine.Create(s.Context(), other)
	s.refused(err, errdefs.IsAlreadyExists, s.set+".app", "docker rename")
	stranger := other
	stranger.Name = s.set + ".strange"
	id := s.create(stranger)
	defer func() { s.well(s.Engine.Remove(context.WithoutCancel(s.Context()), id, true)) }()
	set.Containers[0].Name = "strange"
	if o, err := s.Engine.Observe(s.Context(), s.set, &set); err != nil || len(o.Taken) != 1 || o.Taken[stranger.Name] != id {
		s.Errorf("taken are %v, %v", o.Taken, err)
	}
}

// committed: what is run of an image that was made of a member has all its labels, and
// is nobody's.
func (s test) committed() {
	set := s.spec("app")
	s.up(set)
	stray := s.creates(set)[1]
	stray.Name = s.set + "-mine"
	id := s.create(stray)
	defer func() { s.well(s.Engine.Remove(context.WithoutCancel(s.Context()), id, true)) }()
	twin := s.creates(set)[1]
	twin.Name = s.set + ".app.r2"
	replaced := s.create(twin)
	o, err := s.Engine.Observe(s.Context(), s.set, &set)
	if err != nil || len(o.Members) != 2 || slices.ContainsFunc(o.Members, func(c plan.Container) bool { return c.ID == id }) {
		s.Errorf("%s is taken for a member: %+v, %v", stray.Name, o.Members, err)
	}
	s.well(s.Engine.Remove(s.Context(), replaced, true))
	if o, err := s.Engine.Observe(s.Context(), "", nil); err != nil || o.Infra != nil || len(o.Members) > 0 {
		s.Errorf("the set without a name has %+v, %v", o, err)
	}
}

// membersNeedTheInfra: they start only while it runs, and only beside the one that
// they were made for.
func (s test) membersNeedTheInfra() {
	ctx, set := s.Context(), s.spec("app")
	cs := s.creates(set)
	_, err := s.Engine.Create(ctx, cs[1])
	s.refused(err, errdefs.IsNotFound, s.set+".infra", s.set+".app")
	in, app := s.create(cs[0]), s.create(cs[1])
	s.refused(s.Engine.Start(ctx, app), errdefs.IsFailedPrecondition, "non running")
	s.well(s.Engine.Start(ctx, in))
	s.well(s.Engine.Start(ctx, app))
	s.well(s.Engine.Stop(ctx, app, "", zero()))
	s.well(s.Engine.Remove(ctx, in, true))
	if again := s.create(cs[0]); again == in {
		s.Error("the infra is the old one")
	} else {
		s.well(s.Engine.Start(ctx, again))
	}
	if c := s.seen("app"); c.NetOf != in {
		s.Errorf("it belongs to %s", c.NetOf)
	}
	s.refused(s.Engine.Start(ctx, app), errdefs.IsFailedPrecondition, s.set+".app", "gone")
}

// infraDies: by its policy it comes back, and those beside it live on without it.
func (s test) infraDies() {
	ids := s.up(s.spec("app", "log"))
	in, app := s.seen(""), s.seen("app")
	s.Die(s, ids[0])
	s.becomes("", "back", func(c plan.Container) bool {
		return c.State == plan.Running && c.PID != in.PID && c.Restarts == 1
	})
	if c := s.seen("app"); c.PID != app.PID || c.State != plan.Running || s.Local && !c.Stranded {
		s.Errorf("a member after the death of the infra is %+v", c)
	}
	s.well(s.Engine.Stop(s.Context(), ids[1], "", zero()))
	s.well(s.Engine.Start(s.Context(), ids[1]))
	if c := s.seen("app"); c.State != plan.Running || c.Stranded {
		s.Errorf("started anew it is %+v", c)
	}
}

// stopped: what was stopped by hand does not come back by its policy.
func (s test) stopped() {
	ids := s.up(s.spec("app"))
	s.well(s.Engine.Stop(s.Context(), ids[1], "", zero()))
	s.well(s.Engine.Kill(s.Context(), ids[0], "KILL"))
	<-s.soon().Done()
	for _, member := range []string{"app", ""} {
		if c := s.seen(member); c.State != plan.Exited || c.PID != 0 || c.Restarts != 0 {
			s.Errorf("%q is %+v", member, c)
		}
	}
	s.well(s.Engine.Start(s.Context(), ids[0]))
	s.well(s.Engine.Start(s.Context(), ids[1]))
}

func (s test) health() {
	ctx, set := s.Context(), s.spec("app", "none")
	set.Containers[0].Options.Health = &spec.Health{Cmd: []string{"CMD", "test", "-e", "/tmp/well"}, Interval: spec.Duration(time.Second), Retries: 60}
	ids := s.up(set)
	if err := s.Engine.WaitHealthy(s.soon(), ids[1]); !errors.Is(err, context.DeadlineExceeded) {
		s.Errorf("healthy too soon: %v", err)
	}
	if c := s.seen("app"); c.Health != "starting" {
		s.Errorf("its health is %q", c.Health)
	}
	if code, out, err := s.Engine.Exec(ctx, ids[1], []string{"touch", "/tmp/well"}); code != 0 || err != nil {
		s.Errorf("touch: %d %q %v", code, out, err)
	}
	s.well(s.Engine.WaitHealthy(ctx, ids[1]))
	if c := s.seen("app"); c.Health != "healthy" {
		s.Errorf("its health is %q", c.Health)
	}
	s.refused(s.Engine.WaitHealthy(ctx, ids[2]), errdefs.IsInvalidArgument, "no health check")
	s.well(s.Engine.Stop(ctx, ids[1], "", zero()))
	s.refused(s.Engine.WaitHealthy(ctx, ids[1]), errdefs.IsFailedPrecondition)
}

// ends: a container that does its work and ends.
func (s test) ends() {
	set := s.spec("once exit 3", "app", "often exit 2")
	set.Containers[0].Options.Once, set.Containers[0].Options.Restart = true, "no"
	set.Containers[2].Options.Restart = "on-failure:2"
	ids := s.up(set)
	if code, err := s.Engine.WaitEnd(s.Context(), ids[1]); code != 3 || err != nil {
		s.Errorf("it ended with %d, %v", code, err)
	}
	if c := s.seen("once"); c.State != plan.Exited || c.ExitCode != 3 || c.Restart != "no" {
		s.Errorf("it is %+v", c)
	}
	if _, err := s.Engine.WaitEnd(s.soon(), ids[2]); !errors.Is(err, context.DeadlineExceeded) {
		s.Errorf("one that runs ended: %v", err)
	}
	s.becomes("often", "given up", func(c plan.Container) bool { return c.State == plan.Exited && c.ExitCode == 2 && c.Restarts == 2 })
}

func (s test) exec() {
	ctx, ids := s.Context(), s.up(s.spec("app"))
	if code, out, err := s.Engine.Exec(ctx, ids[1], []string{"sh", "-c", "echo out; exit 3"}); code != 3 || out != "out\n" || err != nil {
		s.Errorf("exec: %d %q %v", code, out, err)
	}
	if _, out, err := s.Engine.Exec(ctx, ids[1], []string{"head", "-c", "100000", "/dev/zero"}); len(out) != 64<<10 || err != nil {
		s.Errorf("of much output there are %d bytes, %v", len(out), err)
	}
	if _, _, err := s.Engine.Exec(s.soon(), ids[1], []string{"sleep", "60"}); !errors.Is(err, context.DeadlineExceeded) {
		s.Errorf("a command that hangs: %v", err)
	}
	s.well(s.Engine.Stop(ctx, ids[1], "", zero()))
	_, _, err := s.Engine.Exec(ctx, ids[1], []string{"true"})
	s.refused(err, errdefs.IsFailedPrecondition)
}

// files are put into a container before its start, and read back.
func (s test) files() {
	ctx, set := s.Context(), s.spec("app")
	var ids []string
	for _, c := range s.creates(set) {
		ids = append(ids, s.create(c))
	}
	conf := spec.File{Path: "/etc/new/app.conf", Mode: "0640", User: "7:8"}
	for _, text := range []string{"port 1\n", "port 80\n"} {
		s.well(s.Engine.Put(ctx, ids[1], []plan.File{{File: conf, Data: []byte(text)}, {File: spec.File{Path: "/empty"}}}))
	}
	s.well(s.Engine.Start(ctx, ids[0]))
	s.well(s.Engine.Start(ctx, ids[1]))
	if code, out, err := s.Engine.Exec(ctx, ids[1], []string{"cat", conf.Path}); code != 0 || out != "port 80\n" || err != nil {
		s.Errorf("the container reads %d %q %v", code, out, err)
	}
	s.well(s.Engine.Stop(ctx, ids[1], "", zero()))
	for path, want := range map[string]string{conf.Path: "port 80\n", "/empty": ""} {
		if data, err := s.Engine.Get(ctx, ids[1], path); string(data) != want || err != nil {
			s.Errorf("%s has %q, %v", path, data, err)
		}
	}
	_, err := s.Engine.Get(ctx, ids[1], "/etc/none")
	s.refused(err, errdefs.IsNotFound, "/etc/none")
}

// limits become more and less, whatever came before; what an Engine cannot do is said.
func (s test) limits() {
	ctx, ids := s.Context(), s.up(s.spec("app"))
	for _, l := range []plan.Limits{{CPU: 0.25, MEM: 50 << 20}, {CPU: 1, MEM: 150 << 20}, {CPU: 1, MEM: 150 << 20}, {MEM: 60 << 20}, {CPU: 0.5, MEM: 60 << 20}} {
		s.well(s.Engine.Limit(ctx, ids[1], l))
		if c := s.seen("app"); c.Limits != l || c.State != plan.Running {
			s.Errorf("its limits are %v, want %v", c.Limits, l)
		}
	}
	s.refused(s.Engine.Limit(ctx, ids[1], plan.Limits{CPU: 0.1}), errdefs.IsFailedPrecondition, "memory", s.set+".app")
	s.refused(s.Engine.Limit(ctx, ids[1], plan.Limits{CPU: 0.1, MEM: 1 << 20}), errdefs.IsInvalidArgument)
	if c := s.seen("app"); c.Limits != (plan.Limits{CPU: 0.5, MEM: 60 << 20}) {
		s.Errorf("its limits are %v after what was refused", c.Limits)
	}
	if code, out, err := s.Engine.Exec(ctx, ids[1], []string{"sh", "-c", "head -c 30000000 /dev/zero >/dev/shm/much"}); code != 0 || err != nil {
		s.Errorf("use memory: %d %q %v", code, out, err)
	}
	s.refused(s.Engine.Limit(ctx, ids[1], plan.Limits{CPU: 0.5, MEM: 20 << 20}), errdefs.IsFailedPrecondition, s.set+".app", "memory")
	s.well(s.Engine.Limit(ctx, ids[1], plan.Limits{CPU: 0.5, MEM: 45 << 20}))
	s.well(s.Engine.Stop(ctx, ids[1], "", zero()))
	s.well(s.Engine.Limit(ctx, ids[1], plan.Limits{CPU: 0.2, MEM: 40 << 20}))
	s.well(s.Engine.Start(ctx, ids[1]))
	if c := s.seen("app"); c.Limits != (plan.Limits{CPU: 0.2, MEM: 40 << 20}) {
		s.Errorf("its limits are %v after a start", c.Limits)
	}
}

func (s test) networks() {
	ctx, ids := s.Context(), s.up(s.spec("app"))
	for range 2 {
		s.well(s.Engine.Connect(ctx, spec.Network{Name: s.Network, Aliases: []string{"me"}}, ids[0]))
	}
	if c := s.seen(""); c.Nets[s.Network].IP == "" || c.Nets["bridge"].IP == "" {
		s.Errorf("its networks are %v", c.Nets)
	}
	for range 2 {
		s.well(s.Engine.Disconnect(ctx, s.Network, ids[0]))
	}
	if c := s.seen(""); len(c.Nets) != 1 {
		s.Errorf("its networks are %v", c.Nets)
	}
	s.refused(s.Engine.Connect(ctx, spec.Network{Name: "nobodys"}, ids[0]), errdefs.IsNotFound, "nobodys")
	s.well(s.Engine.Disconnect(ctx, "nobodys", ids[0]))
}

func (s test) volumes() {
	ctx, set := s.Context(), s.spec("app")
	set.Volume = &spec.Volume{Driver: "local", Path: "/data"}
	v := render.Volume(set)
	for range 2 {
		s.well(s.Engine.MakeVolume(ctx, v, "local", nil, s.set))
	}
	ids := s.up(set)
	if o, err := s.Engine.Observe(ctx, s.set, &set); err != nil || !o.Volumes[v] || !slices.Equal(o.Left, []string{v}) || len(o.Members[0].Unnamed) > 0 {
		s.Errorf("seen is %+v, %v", o, err)
	}
	s.refused(s.Engine.RemoveVolume(ctx, v), errdefs.IsFailedPrecondition, v)
	for _, id := range []string{ids[1], ids[0]} {
		s.well(s.Engine.Remove(ctx, id, true))
	}
	for range 2 {
		s.well(s.Engine.RemoveVolume(ctx, v))
	}
}

func (s test) images() {
	s.refused(s.Engine.Pull(s.Context(), "127.0.0.1:9/none:1", "", func(string, int64, int64) {}), func(err error) bool { return err != nil })
	c := s.creates(s.spec("app"))[0]
	c.Config.Image = "none:1"
	_, err := s.Engine.Create(s.Context(), c)
	s.refused(err, errdefs.IsNotFound, "none:1")
}

// engineRestart: what comes back with an Engine, and what does not.
func (s test) engineRestart() {
	ctx, set := s.Context(), s.spec("stopped", "no", "unless", "failed")
	for i, policy := range []string{"always", "no", "unless-stopped", "on-failure"} {
		set.Containers[i].Options.Restart = policy
	}
	ids := s.up(set)
	late := s.creates(set)[2]
	late.Name = s.set + ".late"
	lateID := s.create(late)
	defer func() { s.well(s.Engine.Remove(context.WithoutCancel(ctx), lateID, true)) }()
	s.well(s.Engine.Stop(ctx, ids[1], "", zero()))
	s.well(s.Engine.Stop(ctx, ids[3], "", zero()))
	s.RestartEngine(s)
	s.becomes("", "back", func(c plan.Container) bool { return c.State == plan.Running })
	for _, c := range s.all() {
		if want := map[string]plan.State{s.set + ".no": plan.Exited, s.set + ".unless": plan.Exited, s.set + ".late": plan.Created}[c.Name]; want != "" && c.State != want {
			s.Errorf("%s is %s, want %s", c.Name, c.State, want)
		}
	}
	// Those may have been tried before the infra, and are down then.
	for i, member := range []string{"stopped", "failed"} {
		if c := s.seen(member); c.State != plan.Running {
			s.Logf("%s is %s with %d", member, c.State, c.ExitCode)
			s.well(s.Engine.Start(ctx, ids[[]int{1, 4}[i]]))
		}
	}
}

func (s test) all() []plan.Container {
	s.Helper()
	o, err := s.Engine.Observe(s.Context(), s.set, nil)
	if err != nil {
		s.Fatal(err)
	}
	return o.Members
}
