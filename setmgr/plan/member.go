package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mosdocker/mosdocker/setmgr/label"
	"github.com/mosdocker/mosdocker/setmgr/render"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// member brings the container of one member up, after needs. Of the containers
// that the member has, at most one stays.
func (b *builder) member(c spec.Container, needs []int) error {
	hash, name := spec.HashContainer(c), render.MemberName(b.s.Name, c.Name)
	if b.o.Unkept != "" && (c.Options.Live != nil || c.Options.Backoff != nil) {
		b.warn(fmt.Sprintf("nobody starts container %s again by its %s: %s", name, map[bool]string{true: "Backoff", false: "Live"}[c.Options.Backoff != nil], b.o.Unkept))
	}
	var keep *Container
	var rest []Container
	for _, have := range b.of(c.Name) {
		if keep == nil && b.fits(have, c, hash) {
			keep = &have
		} else {
			rest = append(rest, have)
		}
	}
	inService := slices.ContainsFunc(rest, func(c Container) bool { return c.Name == name })
	if b.opt.Down {
		return b.exchange(c, rest, keep)
	}
	if b.opt.Refused[c.Name] && len(rest) > 0 {
		if keep != nil {
			rest = append([]Container{*keep}, rest...)
		}
		if done, err := b.comeBack(name, rest, needs); done || err != nil {
			return err
		}
	}
	if keep == nil && len(rest) > 0 || keep != nil && keep.Name != name && inService {
		return b.replace(c, rest, keep, needs)
	}
	if keep == nil {
		made, err := b.make(c, name, "the set wants it")
		if err != nil {
			return err
		}
		s := Step{Name: name, Made: made, Cause: "it is new"}
		put, err := b.put(c, s, made)
		if err == nil && !b.later(c, false) {
			b.start(c, s, append(needs, made, put)...)
		}
		return err
	}
	return b.keep(c, *keep, rest, needs)
}

// fits says whether a container is what the spec wants, but for its state and limits.
func (b *builder) fits(have Container, c spec.Container, hash string) bool {
	id := b.o.Images[c.Image]
	return have.Hash == hash && have.State != Dead && have.State != Removing && !b.unlimits(have, c) &&
		b.o.Infra != nil && have.NetOf == b.o.Infra.ID &&
		(id == "" || have.ImageID == id || slices.Contains(b.opt.Keep, c.Name))
}

// kept says whether a member goes on in the container that it has, without a need
// for its image.
func (b *builder) kept(c spec.Container) bool {
	return slices.Contains(b.opt.Keep, c.Name) &&
		slices.ContainsFunc(b.of(c.Name), func(have Container) bool { return b.fits(have, c, spec.HashContainer(c)) })
}

// unlimits says whether a limit is to be taken off that an Engine takes off no
// container that is there.
func (b *builder) unlimits(have Container, c spec.Container) bool {
	want := limitsOf(b.s, c)
	return have.Limits.MEM > 0 && want.MEM == 0 || have.Nano && want.CPU == 0
}

// why says what does not fit.
func (b *builder) why(have Container, c spec.Container) string {
	switch {
	case b.o.Infra == nil || have.NetOf != b.o.Infra.ID:
		return "it belongs to an infra container that is gone"
	case have.Image != c.Image:
		return fmt.Sprintf("image %s, was %s", c.Image, have.Image)
	case have.Hash != spec.HashContainer(c):
		return "another " + strings.Join(memberDiff(have, c), ", ")
	case b.unlimits(have, c):
		return "no limit of " + map[bool]string{true: "CPU", false: "memory"}[have.Nano] + ", which an Engine takes off no container that is there"
	case have.State == Dead || have.State == Removing:
		return "its container is " + string(have.State)
	}
	return "its image " + c.Image + " is another now"
}

// mark says in a container whose its set is.
func (b *builder) mark(c *render.Create) {
	if b.cluster != "" {
		c.Config.Labels[label.Cluster] = b.cluster
	}
	if _, said := c.Config.Labels[label.Owner]; b.opt.Owner != "" && !said {
		c.Config.Labels[label.Owner] = b.opt.Owner
	}
}

// make creates a container of a member.
func (b *builder) make(c spec.Container, name, cause string, needs ...int) (int, error) {
	r, err := render.Member(b.s, c, b.o.Facts, render.InfraName(b.s.Name), c.Image, b.last[c.Name]+1)
	if err != nil {
		return 0, err
	}
	r.Name = name
	b.mark(&r)
	if old, ok := b.past[c.Name]; ok {
		if h := historyAfter(old, spec.HashContainer(c), b.o.Images[c.Image]); h != "" {
			r.Config.Labels[label.History] = h
		}
	}
	return b.touch(Step{Op: Create, Member: c.Name, Name: name, Create: &r, Cause: cause}, append(needs, b.infra)...), nil
}

// start starts a container of a member and waits until it is ready. s says which.
func (b *builder) start(c spec.Container, s Step, needs ...int) (ready int) {
	s.Op, s.Member = Start, c.Name
	id := b.touch(s, needs...)
	b.started[c.Name] = id
	s.ID, s.Needs = 0, nil
	if cmd := c.Options.Hooks.PostStart; len(cmd) > 0 {
		hook := s
		hook.Op, hook.Cmd, hook.Cause = Hook, cmd, "it was started"
		id = b.add(hook, id)
	}
	if b.opt.NoWait {
		b.ready[c.Name] = id
		if what := awaited(c); what != "" {
			b.unready[c.Name] = what
		}
		return id
	}
	b.ready[c.Name] = b.wait(c, s, id)
	return b.ready[c.Name]
}

// hasHealth says whether a spec has a health check; one with NONE takes that of the image away.
func hasHealth(o spec.Options) bool {
	return o.Health != nil && (len(o.Health.Cmd) == 0 || o.Health.Cmd[0] != "NONE")
}

// health says whether a container has a health check: by its spec, else by its image,
// which maybe has one when it is not there yet.
func (b *builder) health(c spec.Container) (has, maybe bool) {
	switch {
	case c.Options.Health != nil:
		return hasHealth(c.Options), false
	case b.o.has(c.Image):
		return b.o.Checked[c.Image], false
	}
	return true, true
}

// awaited is what a container that was started is to do before those that wait for it
// are, "" when they need not wait.
func awaited(c spec.Container) string {
	switch o := c.Options; {
	case o.Once:
		return "runs to its end first"
	case hasHealth(o):
		return "is to be healthy"
	case o.Ready != nil:
		return "is to be ready"
	}
	return ""
}

// later says whether a member is not to be started yet, and notes that. One that ran
// before waits for nobody who runs Once.
func (b *builder) later(c spec.Container, ran bool) bool {
	for _, d := range b.s.Containers {
		what := b.unready[d.Name]
		if what == "" || !waits(c, d) || ran && d.Options.Once {
			continue
		}
		if b.p.Later == nil {
			b.p.Later = map[string]string{}
		}
		b.p.Later[c.Name] = d.Name + ", which " + what
		b.unready[c.Name] = "waits itself"
		if d.Options.Ready != nil && len(b.of(d.Name)) > 0 && b.started[d.Name] == 0 && !slices.Contains(b.p.Ask, d.Name) {
			b.p.Ask = append(b.p.Ask, d.Name)
		}
		return true
	}
	return false
}

// deadline is how long a container may take to be healthy unless its Update says; a
// Ready probe has its own.
const deadline = spec.Duration(5 * time.Minute)

// waitFor is the step that waits for a member, whatever container that is.
func (b *builder) waitFor(c spec.Container) Step {
	s := Step{Op: Wait, Probe: c.Options.Ready, Once: c.Options.Once}
	if s.Health, s.Maybe = b.health(c); s.Once {
		s.Health, s.Maybe = false, false
	}
	if s.Within = c.Options.Update.Deadline; s.Within == 0 && s.Health {
		s.Within = deadline
	}
	return s
}

// wait waits for a container that was started, if there is anything to wait for.
func (b *builder) wait(c spec.Container, s Step, after int) int {
	w := b.waitFor(c)
	s.Op, s.Probe, s.Once, s.Health, s.Maybe, s.Within = w.Op, w.Probe, w.Once, w.Health, w.Maybe, w.Within
	switch {
	case s.Once:
		s.Cause = "others wait for its end"
	case s.Maybe && s.Probe == nil:
		s.Cause = "it is to be ready, if its image has a health check"
	case s.Probe != nil || s.Health:
		s.Cause = "it is to be ready"
	default:
		return after
	}
	return b.add(s, after)
}

// keep leaves a container that fits, and mends what can be mended in it.
func (b *builder) keep(c spec.Container, have Container, rest []Container, needs []int) (err error) {
	name := render.MemberName(b.s.Name, c.Name)
	last := 0
	for _, other := range rest { // of an update that was cut off, or is taken back
		last = b.removeOne(other, map[bool]string{true: "it is not wanted any more", false: "it was replaced"}[other.Rev > have.Rev], needs...)
	}
	if have.Name != name {
		last = b.touch(Step{Op: Rename, Member: c.Name, Name: have.Name, NewName: name, Target: have.ID, Cause: "its update was cut off"}, last)
	}
	stopped := b.opt.Heal && have.Restart == "no" && policyOf(c) != "no"
	if want := policyOf(c); have.Restart != want && !stopped {
		last = b.touch(Step{Op: Policy, Member: c.Name, Name: name, Target: have.ID, Policy: want, Cause: "it has " + have.Restart}, last)
	}
	if own, err := spec.DecodeContainer(have.Spec); err == nil && own.Options.Update != c.Options.Update {
		b.warn(fmt.Sprintf("the new Update of container %s counts when docker set up replaces it; docker set update and rollback go by the one that it was made with", name))
	}
	s := Step{Name: name, Target: have.ID}
	switch {
	case c.Options.Once && have.State == Exited && have.ExitCode == 0:
		return nil // it did its work
	case stopped && !have.live():
		b.warn(fmt.Sprintf("container %s was stopped by hand: it is left so", name))
	case have.State == Exited && slices.Contains(b.opt.Leave, c.Name):
		b.warn(fmt.Sprintf("container %s was stopped by hand: it is left so", name))
		if c.Options.Once {
			b.unready[c.Name] = fmt.Sprintf("ended with %d", have.ExitCode)
		}
	case have.State == Running && (have.Stranded || b.up != 0 || b.early(c) != ""):
		s.Cause = "its network is not that of the infra any more"
		if !have.Stranded && b.up == 0 {
			s.Cause = fmt.Sprintf("it was started before %s, which it waits for", b.early(c))
		}
		if b.later(c, true) {
			return nil
		}
		stop := b.stop(have, s.Cause, append(needs, last)...)
		b.start(c, s, stop)
	case have.State == Running:
		b.ready[c.Name] = 0
		switch ask := c.Options.Once || c.Options.Ready != nil; {
		case b.opt.NoWait && have.Health == "starting":
			b.unready[c.Name] = "is to be healthy"
		case b.opt.NoWait && ask && !b.opt.Ready[c.Name]:
			b.unready[c.Name] = awaited(c)
		case !b.opt.NoWait && (have.Health == "starting" || ask && b.followed(c)):
			s.Member = c.Name
			b.ready[c.Name] = b.wait(c, s, last)
		}
	case have.State == Restarting, have.State == Paused:
		b.warn(fmt.Sprintf("container %s is %s: it is left so", name, have.State))
	default:
		if have.State == Created {
			if last, err = b.put(c, s, last); err != nil {
				return err
			}
		}
		if b.later(c, have.State != Created) {
			return nil
		}
		s.Cause = "it is " + string(have.State)
		b.start(c, s, append(needs, last)...)
	}
	return nil
}

// waits says whether c waits for d.
func waits(c, d spec.Container) bool {
	return slices.ContainsFunc(c.Options.DependsOn, func(x spec.Dependency) bool { return x.Container == d.Name }) ||
		d.Index < c.Index && (d.Options.Ready != nil || hasHealth(d.Options) || d.Options.Once)
}

// ahead says whether c waits for d and was, after a boot, not started after it.
func (b *builder) ahead(c, d spec.Container) bool {
	if !b.opt.Boot || !waits(c, d) || d.Options.Once || slices.Contains(b.opt.Leave, d.Name) {
		return false
	}
	return slices.ContainsFunc(b.of(c.Name), func(have Container) bool {
		return b.started[d.Name] != 0 || slices.ContainsFunc(b.of(d.Name), func(first Container) bool { return first.Started.After(have.Started) })
	})
}

// early is the name of one that c is ahead of.
func (b *builder) early(c spec.Container) string {
	for _, d := range b.s.Containers {
		if b.ahead(c, d) {
			return d.Name
		}
	}
	return ""
}

// followed says whether one that waits for c is to be started: a call that ended before
// it was may have ended because c did not get ready.
func (b *builder) followed(c spec.Container) bool {
	return slices.ContainsFunc(b.s.Containers, func(d spec.Container) bool {
		return waits(d, c) && !slices.Contains(b.opt.Leave, d.Name) && (b.ahead(d, c) || !slices.ContainsFunc(b.of(d.Name), func(have Container) bool {
			return have.live() || d.Options.Once && have.State == Exited && have.ExitCode == 0
		}))
	})
}

func (b *builder) removeOne(c Container, cause string, needs ...int) int {
	stop := b.stop(c, cause, needs...)
	return b.touch(Step{Op: RemoveOne, Member: c.Member, Name: c.Name, Target: c.ID, Cause: cause}, append(needs, stop)...)
}

func (l Limits) String() string {
	cpu, mem := "no limit of CPU", "no limit of memory"
	if l.CPU > 0 {
		cpu = fmt.Sprintf("%.2f cores", float64(l.CPU))
	}
	if l.MEM > 0 {
		mem = l.MEM.String()
	}
	return cpu + " and " + mem
}
