package plan

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/setmgr/render"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// replace puts a new container in the place of those that a member has; fresh is
// there when an earlier replacement was cut off. The one that serves now is kept,
// stopped, until the new one is ready: Undo starts it again. Others of the member
// are removed first.
func (b *builder) replace(c spec.Container, have []Container, fresh *Container, needs []int) error {
	name := render.MemberName(b.s.Name, c.Name)
	old, litter := serving(have, name)
	cause := b.why(old, c)
	if err := b.keepsData(old, "replaced", cause); err != nil {
		return err
	}
	last := 0
	for _, o := range litter {
		last = b.removeOne(o, "an update that was cut off left it", needs...)
	}
	needs = append(needs, last)
	strategy := c.Options.Update.Strategy
	if b.up != 0 || !old.live() {
		strategy = spec.Restart // there is nobody to go on serving
	}
	gone := 0
	if strategy == spec.Restart {
		gone = b.stopOld(old, cause, needs...)
	}
	next, there, err := b.next(c, fresh, cause, append(needs, gone)...)
	if err != nil {
		return err
	}
	if strategy == spec.Overlap && !b.takesOver(c, fresh) {
		b.beside(c, next, fresh, append(needs, there)...)
		return nil
	}
	if strategy != spec.Overlap && strategy != spec.Restart {
		gone = b.stopOld(old, cause, append(needs, there)...)
	}
	ready := b.bringUp(c, next, fresh, append(needs, there, gone)...)
	after := b.rename(c, &old, next, ready)
	if strategy == spec.Overlap {
		// Only now: a call that is cut off in between finds the old one serving, or
		// the new one with the name.
		after = b.stop(old, cause, after)
	}
	b.ready[c.Name] = b.touch(Step{Op: RemoveOne, Member: c.Name, Name: old.Name, Target: old.ID, Cause: "it was replaced"}, after)
	return nil
}

// takesOver says whether the old container may be stopped by this plan when the new one
// runs. With NoWait it is only where nothing is to tell that the new one is ready, or did.
func (b *builder) takesOver(c spec.Container, fresh *Container) bool {
	has, maybe := b.health(c)
	if !b.opt.NoWait || c.Options.Ready == nil && !has && !maybe {
		return true
	}
	return fresh != nil && fresh.State == Running && (fresh.Health == "" || fresh.Health == "healthy") &&
		(c.Options.Ready == nil || b.opt.Ready[c.Name])
}

// beside has the new container run while the old one serves on; a later plan, by which the
// new one is ready, goes on.
func (b *builder) beside(c spec.Container, next Step, fresh *Container, needs ...int) {
	what := cmp.Or(awaited(c), "is to be healthy")
	switch {
	case fresh == nil || fresh.State == Created || fresh.State == Exited:
		b.p.Retries = b.p.Retries || fresh != nil && fresh.State == Exited
		b.start(c, next, needs...)
	case fresh.State == Running && c.Options.Ready != nil && !b.opt.Ready[c.Name]:
		b.p.Ask = append(b.p.Ask, c.Name)
	}
	b.unready[c.Name] = what
	if b.p.Later == nil {
		b.p.Later = map[string]string{}
	}
	b.p.Later[c.Name] = "its new container, which " + what
	b.p.Beside = append(b.p.Beside, c.Name)
}

// exchange is replace in a set that is stopped: nobody is started.
func (b *builder) exchange(c spec.Container, have []Container, fresh *Container) error {
	name, cause := render.MemberName(b.s.Name, c.Name), "the set wants it"
	if fresh != nil && fresh.Name == name {
		return nil
	}
	if len(have) > 0 {
		old, _ := serving(have, name)
		cause = b.why(old, c)
		if err := b.keepsData(old, "replaced", cause); err != nil {
			return err
		}
	}
	next, there, err := b.next(c, fresh, cause)
	if err != nil {
		return err
	}
	for _, o := range have {
		there = max(there, b.removeOne(o, "it was replaced", there))
	}
	next.Op, next.Member, next.NewName, next.Cause = Rename, c.Name, name, "it serves when the set is started"
	b.touch(next, there)
	return nil
}

// keepsData refuses to remove a container whose unnamed volumes would go with it.
func (b *builder) keepsData(old Container, done, cause string) error {
	if len(old.Unnamed) == 0 || b.opt.Renew {
		return nil
	}
	return fault.Conflict("container %s is to be %s (%s), and what is in %s is in an unnamed volume that would go with it: mount the set's volume or a tmpfs there, or let it go with --renew-anon-volumes", old.Name, done, cause, strings.Join(old.Unnamed, ", "))
}

// stopOld stops the container that is replaced.
func (b *builder) stopOld(old Container, cause string, needs ...int) int {
	id := b.stop(old, cause, needs...)
	if id != 0 {
		s := &b.p.Steps[id-1]
		s.Outage, s.Back = "until its new container is ready", true
	}
	return id
}

// next makes the new container, or takes the one that is there. The step that it
// returns names it; it can be started after the step there.
func (b *builder) next(c spec.Container, fresh *Container, cause string, needs ...int) (s Step, there int, err error) {
	if fresh != nil {
		s = Step{Name: fresh.Name, Target: fresh.ID, Cause: cause}
		if fresh.State == Created {
			there, err = b.put(c, s, needs...)
		}
		return s, there, err
	}
	temp := fmt.Sprintf("%s.r%d", render.MemberName(b.s.Name, c.Name), b.last[c.Name]+1)
	made, err := b.make(c, temp, cause, needs...)
	if err != nil {
		return s, 0, err
	}
	s = Step{Name: temp, Made: made, Cause: cause}
	put, err := b.put(c, s, made)
	return s, max(made, put), err
}

// bringUp starts the new container, and waits until it is and stays ready.
func (b *builder) bringUp(c spec.Container, next Step, fresh *Container, needs ...int) (ready int) {
	if fresh != nil && fresh.State == Running {
		next.Member = c.Name
		ready = b.wait(c, next, 0)
	} else {
		ready = b.start(c, next, needs...)
	}
	if ready != 0 && b.p.Steps[ready-1].Op == Wait {
		b.p.Steps[ready-1].Back = true
	}
	if long := c.Options.Update.MinReady; long > 0 && !c.Options.Once {
		next.Op, next.Member, next.For, next.Cause = Settle, c.Name, long, "it is to stay ready for a while"
		ready = b.add(next, ready)
	}
	return ready
}

// rename gives the member's name to the new container, and another to the old one.
func (b *builder) rename(c spec.Container, old *Container, next Step, after int) int {
	name := render.MemberName(b.s.Name, c.Name)
	if old.Name == name {
		old.Name = fmt.Sprintf("%s.r%d", name, old.Rev)
		after = b.touch(Step{Op: Rename, Member: c.Name, Name: name, NewName: old.Name, Target: old.ID, Cause: "its name is the new one's"}, after)
	}
	next.Op, next.Member, next.NewName, next.Cause = Rename, c.Name, name, "it serves now"
	return b.touch(next, after)
}

// serving picks of a member's containers the one that serves, or did: the one with
// the member's name, else one that lives, else the newest.
func serving(have []Container, name string) (old Container, litter []Container) {
	best := 0
	for i, c := range have {
		if c.Name == name {
			best = i
			break
		}
		if c.live() && !have[best].live() {
			best = i
		}
	}
	for i, c := range have {
		if i != best {
			litter = append(litter, c)
		}
	}
	return have[best], litter
}

// Undo leads back after an update of members that failed: where the old container
// of one is there still it serves again, and the new one is removed. stopped are the
// ids of containers that were stopped for others to take their places.
func Undo(s spec.Set, o Observed, stopped map[string]bool, members ...string) Plan {
	b := newBuilder(s, o, Options{})
	for _, m := range members {
		have := b.of(m)
		name := render.MemberName(s.Name, m)
		if len(have) == 0 || len(have) == 1 && !stopped[have[0].ID] {
			continue
		}
		old, fresh := serving(have, name)
		last := 0
		for _, c := range fresh {
			last = b.removeOne(c, "it did not get ready", last)
		}
		if old.Name != name {
			last = b.touch(Step{Op: Rename, Member: m, Name: old.Name, NewName: name, Target: old.ID, Cause: "it comes back"}, last)
		}
		// One that is run to its end is not run twice.
		own, _ := spec.DecodeContainer(old.Spec) // of an old release, maybe
		if !old.live() && !own.Options.Once {
			b.touch(Step{Op: Start, Member: m, Name: name, Target: old.ID, Cause: "it comes back"}, last)
		}
	}
	return b.p
}
