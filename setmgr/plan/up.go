package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/drivername"
	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/setmgr/render"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// Up leads to a set that is as its spec says and runs: what is missing is made,
// what differs is changed in place, what is right is left alone. An error is of
// class NotFound for what the set needs and nobody made, AlreadyExists for names
// that others have, and FailedPrecondition for changes that need the whole set
// recreated, unless opt allows that.
func Up(s spec.Set, o Observed, opt Options) (Plan, error) {
	b := newBuilder(s, o, opt)
	if err := b.check(); err != nil {
		return b.p, err
	}
	b.beyondHost()
	if old, err := Spec(o, s.Name); err == nil && old.Overcommit != s.Overcommit {
		b.warn(fmt.Sprintf("the new Overcommit of set %s counts for docker set up; docker set resize goes by the one that the set was made with", s.Name))
	}
	diff := infraDiff(s, o)
	if text := cgroupDiff(s, o); text != "" {
		if opt.Recreate {
			diff = append(diff, "Cgroup")
		} else {
			b.warn(text)
		}
	}
	if len(diff) > 0 && !opt.Recreate {
		return b.p, &RecreateError{s.Name, diff}
	}
	if o.Infra == nil && len(s.Cgroup) > 0 && o.Unkept != "" {
		b.warn(fmt.Sprintf("nobody gives set %s its Cgroup: %s", s.Name, o.Unkept))
	}
	b.prepare(o.Infra == nil || len(diff) > 0)
	if len(diff) > 0 {
		for _, c := range o.Members {
			if err := b.keepsData(c, "replaced", "another "+strings.Join(diff, ", ")); err != nil {
				return b.p, err
			}
		}
		b.tearDown("another "+strings.Join(diff, ", "), false)
	}
	if b.o.Infra == nil {
		b.capAt(total(s), "the set as a whole has these limits")
	} else {
		b.relimit()
	}
	if err := b.makeInfra(); err != nil {
		return b.p, err
	}
	for _, wave := range waves(s) {
		if err := b.wave(wave); err != nil {
			return b.p, err
		}
	}
	return b.p, b.dropOthers()
}

// RecreateError is the error, of class FailedPrecondition, for a change that needs the
// whole set made anew, which Options allow.
type RecreateError struct {
	Set string
	For []string // what differs
}

func (m *RecreateError) Error() string {
	return fmt.Sprintf("set %s must be recreated as a whole for another %s: its containers share that through the infra container; docker set up --recreate does it", m.Set, strings.Join(m.For, ", "))
}

func (m *RecreateError) Unwrap() error { return errdefs.ErrFailedPrecondition }

// check refuses what could only fail in the middle.
func (b *builder) check() error {
	if len(b.o.Taken) > 0 {
		names := slices.Sorted(maps.Keys(b.o.Taken))
		return fault.Exists("container %s is there already and is not of set %s: remove or rename it (docker rm, docker rename), or give the set another name", strings.Join(names, ", "), b.s.Name)
	}
	if v := render.Volume(b.s); b.o.Volumes[v] && (b.s.Volume.Driver != "" || b.s.Volume.Size > 0) {
		have := b.o.Drivers[v]
		if driver, _ := VolumeOptions(*b.s.Volume); have != "" && have != driver && !drivername.Is(have, driver) {
			return fault.Conflict("volume %s is there and is of driver %s, and set %s wants one of driver %s: name another Volume, or remove that one (docker volume rm %s)", v, have, b.s.Name, driver, v)
		}
	}
	for _, n := range append([]spec.Network{b.s.Network}, b.s.Networks...) {
		switch n.Name {
		case "", "bridge", "none", "host":
			continue
		}
		if !b.o.Networks[n.Name] {
			return fault.NotFound("network %s of set %s is not there: make it, such as by docker network create -d mosbridge --ipam-driver mosbridge %s", n.Name, b.s.Name, n.Name)
		}
	}
	return nil
}

// beyondHost warns of a total that the host does not have: docker run --cpus refuses
// that, and says nothing of memory.
func (b *builder) beyondHost() {
	if n := b.o.Facts.CPUs; n > 0 && float64(b.s.CPU) > float64(n) {
		b.warn(fmt.Sprintf("set %s may use %g cores, and the host has %d", b.s.Name, float64(b.s.CPU), n))
	}
	if n := spec.Bytes(b.o.Facts.Memory); n > 0 && b.s.MEM > n {
		b.warn(fmt.Sprintf("set %s may use %s of memory, and the host has %s", b.s.Name, b.s.MEM, n))
	}
}

// prepare gets the images and the volume before anything is touched.
func (b *builder) prepare(infra bool) {
	var last []int
	if image := b.infraImage(); infra && !b.o.has(image) {
		op := Pull
		if b.s.Infra.Image == "" {
			op = LoadInfra
		}
		last = append(last, b.add(Step{Op: op, Name: image, Cause: "the infra container needs it"}))
	}
	done := map[string]bool{}
	for _, c := range b.s.Containers {
		if done[c.Image] || b.o.has(c.Image) || b.kept(c) {
			continue
		}
		done[c.Image] = true
		last = append(last, b.add(Step{Op: Pull, Name: c.Image, Member: c.Name, Cause: "it is not on this Engine"}))
	}
	switch v := render.Volume(b.s); {
	case v == "":
	case !b.o.Volumes[v]:
		last = append(last, b.add(Step{Op: MakeVolume, Name: v, Volume: *b.s.Volume, Cause: "the set's containers share it"}))
	case b.s.Volume.Size > b.o.Sizes[v] && b.o.Sizes[v] > 0:
		last = append(last, b.add(Step{Op: Grow, Name: v, Volume: *b.s.Volume, Cause: "it has " + b.o.Sizes[v].String()}))
	case b.s.Volume.Size > 0 && b.o.Sizes[v] > b.s.Volume.Size+b.s.Volume.Size/10: // drivers round up
		b.warn(fmt.Sprintf("volume %s has %s, and the set says %s: volumes do not shrink, and it stays as it is", v, b.o.Sizes[v], b.s.Volume.Size))
	}
	b.before = append(b.before, last...)
}

// infraImage is the image of the infra container.
func (b *builder) infraImage() string {
	if b.s.Infra.Image != "" {
		return b.s.Infra.Image
	}
	return b.opt.InfraImage
}

// has says whether an image is on the Engine.
func (o Observed) has(image string) bool { return o.Images[image] != "" }

// capAt brings the cgroup parent to limits, if they are others.
func (b *builder) capAt(want Limits, cause string) {
	if want == (Limits{}) && b.o.Cap == (Limits{}) || b.o.Cap.near(want) {
		return
	}
	if b.o.CanCap != "" {
		b.warn("the set as a whole is not capped, only its containers are: " + b.o.CanCap)
		return
	}
	b.before = append(b.before, b.touch(Step{Op: SetCap, Name: render.Parent(b.o.Facts, b.s.Name), Limits: want, Cause: cause}))
}

// makeInfra makes the infra container and starts it.
func (b *builder) makeInfra() error {
	name, inf := render.InfraName(b.s.Name), b.o.Infra
	if inf == nil {
		c, err := render.Infra(b.s, b.o.Facts)
		if err != nil {
			return err
		}
		c.Config.Image = b.infraImage()
		b.mark(&c)
		b.infra = b.touch(Step{Op: Create, Name: name, Create: &c, Cause: "it holds network, volume and IPC of the set"})
		b.up = b.touch(Step{Op: Start, Name: name, Made: b.infra, Cause: "all others live in its network"}, b.infra)
		b.connect(b.up)
		return nil
	}
	if b.opt.Down {
		return nil
	}
	if inf.Restart != "always" {
		b.touch(Step{Op: Policy, Name: name, Target: inf.ID, Policy: "always", Cause: "the set is to run"})
	}
	if inf.State != Running {
		b.up = b.touch(Step{Op: Start, Name: name, Target: inf.ID, Cause: "it is " + string(inf.State)})
	}
	b.connect(b.up)
	return nil
}

// connect connects the infra to the networks that it lacks.
func (b *builder) connect(after int) {
	for i, n := range append([]spec.Network{b.s.Network}, b.s.Networks...) {
		if i == 0 && n.Name == "" {
			n.Name = "bridge" // an Engine without one gives none
		}
		if n.Name == "" || n.Name == "none" || n.Name == "host" || i == 0 && b.o.Infra != nil && b.o.Infra.connected("none") {
			continue
		}
		cause := "the set is to be connected to it"
		s := Step{Op: Connect, Name: n.Name, Net: n, Made: b.infra, Container: render.InfraName(b.s.Name)}
		if b.o.Infra != nil {
			if b.o.Infra.connected(n.Name) {
				continue
			}
			s.Target, cause = b.o.Infra.ID, "somebody disconnected the set from network "+n.Name
		} else if i == 0 {
			continue // it is made with it
		}
		s.Cause = cause
		b.touch(s, after)
	}
}

// connected says whether a container is in a network, by its name or by twelve digits of
// its id at least.
func (c Container) connected(network string) bool {
	if _, there := c.Nets[network]; there {
		return true
	}
	for _, n := range c.Nets {
		if len(network) >= 12 && strings.HasPrefix(n.ID, network) {
			return true
		}
	}
	return false
}

// wave brings the containers of one index up, beside each other.
func (b *builder) wave(cs []spec.Container) error {
	var after []int
	for _, id := range b.ready {
		after = append(after, id)
	}
	for _, c := range inOrder(cs) {
		needs := slices.Clone(after)
		for _, d := range c.Options.DependsOn {
			if d.Condition == spec.Started {
				needs = append(needs, b.started[d.Container])
			} else {
				needs = append(needs, b.ready[d.Container])
			}
		}
		if err := b.member(c, append(needs, b.up)); err != nil {
			return err
		}
	}
	return nil
}

// inOrder are containers of one index with those that others depend on before these.
func inOrder(cs []spec.Container) []spec.Container {
	var out []spec.Container
	var visit func(c spec.Container)
	done := map[string]bool{}
	visit = func(c spec.Container) {
		if done[c.Name] {
			return
		}
		done[c.Name] = true
		for _, d := range c.Options.DependsOn {
			for _, other := range cs {
				if other.Name == d.Container {
					visit(other)
				}
			}
		}
		out = append(out, c)
	}
	for _, c := range cs {
		visit(c)
	}
	return out
}

// dropOthers removes members that the spec does not name any more.
func (b *builder) dropOthers() error {
	const cause = "the set has no such container any more"
	var gone []Container
	for _, c := range b.o.Members {
		if _, wanted := named(b.s, c.Member); wanted {
			continue
		}
		if err := b.keepsData(c, "removed", cause); err != nil {
			return err
		}
		gone = append(gone, c)
	}
	b.removeAll(gone, cause)
	return nil
}

// removeAll stops and removes containers of members, later indices first. It
// returns the last steps.
func (b *builder) removeAll(cs []Container, cause string) (last []int) {
	for _, wave := range stopOrder(cs) {
		var now []int
		for _, c := range wave {
			stop := b.stop(c, cause, last...)
			now = append(now, b.touch(Step{Op: RemoveOne, Member: c.Member, Name: c.Name, Target: c.ID, Cause: cause}, append(last, stop)...))
		}
		last = now
	}
	return last
}

// preStop is how long a container's PreStop may take, or as long as its Grace if that
// is more. What it was made with must not keep it from being stopped.
const preStop = spec.Duration(time.Minute)

// stop stops a container that lives; its own spec says how.
func (b *builder) stop(c Container, cause string, needs ...int) int {
	if !c.live() {
		return 0
	}
	s := Step{Op: StopOne, Member: c.Member, Name: c.Name, Target: c.ID, Cause: cause}
	var own spec.Container
	if cs, err := spec.DecodeContainer(c.Spec); err == nil {
		own = cs
	}
	s.Signal, s.Grace = own.Options.Stop.Signal, own.Options.Stop.Grace
	if cmd := own.Options.Hooks.PreStop; len(cmd) > 0 && c.State == Running {
		hook := Step{Op: Hook, Member: c.Member, Name: c.Name, Target: c.ID, Cmd: cmd, MayFail: true, Within: preStop, Cause: "it is to be stopped"}
		if s.Grace != nil {
			hook.Within = max(hook.Within, *s.Grace)
		}
		needs = append(needs, b.touch(hook, needs...))
	}
	return b.touch(s, needs...)
}

// tearDown removes what there is, so that all can be made anew, or with uncap for
// good. The infra goes last: without it nobody would know of the set.
func (b *builder) tearDown(cause string, uncap bool) {
	last := b.removeAll(b.o.Members, cause)
	inf := b.o.Infra
	if inf != nil && inf.live() {
		last = append(last, b.touch(Step{Op: StopOne, Name: inf.Name, Target: inf.ID, Cause: cause}, last...))
	}
	if uncap && b.o.HasCap && b.o.CanCap == "" {
		last = append(last, b.touch(Step{Op: DropCap, Name: render.Parent(b.o.Facts, b.s.Name), Cause: "nobody is in it any more"}, last...))
	}
	if inf != nil {
		last = []int{b.touch(Step{Op: RemoveOne, Name: inf.Name, Target: inf.ID, Cause: cause}, last...)}
	}
	b.before = append(b.before, last...)
	b.o.Infra, b.o.Members, b.torn = nil, nil, true
}
