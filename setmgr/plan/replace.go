package plan

import (
	"cmp"
	"fmt"
	"strings"
	"time"

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
	waits := !b.takesOver(c, old, fresh)
	if strategy == spec.Overlap && waits {
		b.beside(c, next, fresh, append(needs, there)...)
		return nil
	}
	if strategy != spec.Overlap && strategy != spec.Restart {
		gone = b.stopOld(old, cause, append(needs, there)...)
	}
	if waits {
		b.instead(c, next, old, fresh, append(needs, there, gone)...)
		return nil
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

// takesOver says whether this plan may end the old container once the new one runs. With
// NoWait it is only where nothing is to tell that the new one is ready, or did, or where the
// old one could not come back.
func (b *builder) takesOver(c spec.Container, old Container, fresh *Container) bool {
	has, maybe := b.health(c)
	switch {
	case !b.opt.NoWait, c.Options.Ready == nil && !has && !maybe && !c.Options.Once, !b.comesBack(old):
		return true
	case fresh == nil:
		return false
	case c.Options.Once:
		return fresh.ended()
	}
	return fresh.State == Running && !fresh.Stranded && b.up == 0 && (fresh.Health == "" || fresh.Health == "healthy") &&
		(c.Options.Ready == nil || b.opt.Ready[c.Name])
}

// comesBack says whether a container that is being replaced could serve again.
func (b *builder) comesBack(old Container) bool {
	return b.o.Infra != nil && old.NetOf == b.o.Infra.ID && old.State != Dead && old.State != Removing
}

// ended says whether a container has done its work.
func (c Container) ended() bool { return c.State == Exited && c.ExitCode == 0 }

// beside has the new container run while the old one serves on; a later plan, by which the
// new one is ready, goes on.
func (b *builder) beside(c spec.Container, next Step, fresh *Container, needs ...int) {
	switch {
	case fresh == nil || fresh.State == Created || fresh.State == Exited:
		b.p.Retries = b.p.Retries || fresh != nil && fresh.State == Exited
		b.start(c, next, needs...)
	case fresh.State == Running && c.Options.Ready != nil && !b.opt.Ready[c.Name]:
		b.p.Ask = append(b.p.Ask, c.Name)
	}
	b.leaves(c)
}

// instead has the new container run while the old one is down; a later plan goes on when
// the new one is ready, or says that it does not get so.
func (b *builder) instead(c spec.Container, next Step, old Container, fresh *Container, needs ...int) {
	switch {
	case fresh == nil || fresh.State == Created || !fresh.live() && (b.up != 0 || !fresh.Finished.After(b.o.Infra.Started)):
		b.start(c, next, needs...)
	case fresh.live() && (b.up != 0 || fresh.Stranded):
		b.start(c, next, append(needs, b.stop(*fresh, "its network is not that of the infra any more"))...)
	case !old.live(): // else its time begins when that one is stopped
		b.giveUp(c, old, *fresh)
		fallthrough
	default:
		if fresh.State == Running && c.Options.Ready != nil && !c.Options.Once && !b.opt.Ready[c.Name] {
			b.p.Ask = append(b.p.Ask, c.Name)
		}
	}
	b.leaves(c)
}

// leaves has a later plan go on with a member whose new container is not ready.
func (b *builder) leaves(c spec.Container) {
	what := cmp.Or(awaited(c), "is to be healthy")
	b.unready[c.Name] = what
	if b.p.Later == nil {
		b.p.Later = map[string]string{}
	}
	b.p.Later[c.Name] = "its new container, which " + what
	b.p.Beside = append(b.p.Beside, c.Name)
}

// DownLimit is how long a new container may be down, between two restarts maybe, while
// the old one waits for it.
const DownLimit = 3 * time.Second

// giveUp says of a new container for which an old one is down that it does not get ready,
// by what a Wait goes by. Its time begins when both are there and the old one is down; a
// restart by its policy does not begin it anew.
func (b *builder) giveUp(c spec.Container, old, fresh Container) {
	begun := fresh.Created
	for _, at := range []time.Time{old.Finished, fresh.Started} {
		if at.After(begun) && (at != fresh.Started || fresh.Restarts == 0) {
			begun = at
		}
	}
	wait := b.waitFor(c)
	limit, why := wait.Limit(), ""
	switch {
	case b.opt.Now.IsZero():
	case c.Options.Once && fresh.State == Exited:
		why = fmt.Sprintf("it ended with code %d", fresh.ExitCode)
	case c.Options.Once && limit > 0 && b.opt.Now.Sub(begun) > limit:
		why = fmt.Sprintf("it did not end within %v", limit)
	case c.Options.Once:
	case fresh.Health == "unhealthy" && fresh.State == Running:
		why = "it is unhealthy"
	case fresh.State != Running && fresh.State != Paused && b.opt.Now.Sub(fresh.Finished) > DownLimit:
		why = "it does not stay up"
	case b.opt.Now.Sub(begun) > limit:
		why = fmt.Sprintf("it is not ready after %v", limit)
	}
	if why == "" {
		return
	}
	if b.p.Lost == nil {
		b.p.Lost = map[string]string{}
	}
	b.p.Lost[c.Name] = why
}

// comeBack has the old container of a member serve, whose new one is not to be tried now,
// if it is there and not of another release.
func (b *builder) comeBack(name string, have []Container, needs []int) (done bool, err error) {
	old, rest := serving(have, name)
	if own, err := spec.DecodeContainer(old.Spec); err == nil && b.comesBack(old) {
		return true, b.keep(own, old, rest, needs)
	}
	return false, nil
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
	switch {
	case fresh != nil && fresh.State == Running:
		next.Member = c.Name
		ready = b.wait(c, next, 0)
	case fresh != nil && c.Options.Once && fresh.ended(): // it is not run twice
	default:
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
