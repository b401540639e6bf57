package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/setmgr/render"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// Stop stops a set: later indices first, the infra last. Restart policies are set
// aside, so that it stays stopped when the Engine starts.
func Stop(s spec.Set, o Observed) Plan {
	b := newBuilder(s, o, Options{})
	const cause = "asked for"
	var last []int
	for _, wave := range stopOrder(o.Members) {
		var now []int
		for _, c := range wave {
			after := append([]int{}, last...)
			if c.Restart != "no" {
				after = append(after, b.touch(Step{Op: Policy, Member: c.Member, Name: c.Name, Target: c.ID, Policy: "no", Cause: "it is to stay stopped"}, last...))
			}
			now = append(now, after...)
			now = append(now, b.stop(c, cause, after...))
		}
		last = now
	}
	if inf := o.Infra; inf != nil {
		if inf.Restart != "no" {
			last = append(last, b.touch(Step{Op: Policy, Name: inf.Name, Target: inf.ID, Policy: "no", Cause: "it is to stay stopped"}, last...))
		}
		if inf.live() {
			b.touch(Step{Op: StopOne, Name: inf.Name, Target: inf.ID, Cause: cause}, last...)
		}
	}
	return b.p
}

// Restart stops and starts members, all without names but those that ran Once and ended
// well. The infra stays, and with it the network. Unknown names are of class NotFound,
// and a set that does not run of class FailedPrecondition.
func Restart(s spec.Set, o Observed, names ...string) (Plan, error) {
	b := newBuilder(s, o, Options{})
	if o.Infra == nil || !o.Infra.live() {
		return b.p, fault.Conflict("set %s does not run: docker set start %s starts it", s.Name, s.Name)
	}
	chosen := func(c string) bool { return len(names) == 0 }
	if len(names) > 0 {
		set := map[string]bool{}
		for _, n := range names {
			if _, ok := named(s, n); !ok {
				return b.p, NoMember(s, n)
			}
			set[n] = true
		}
		chosen = func(c string) bool { return set[c] }
	}
	stopped := map[string]bool{}
	var last []int
	for _, wave := range stopOrder(o.Members) {
		var now []int
		for _, c := range wave {
			own, _ := named(s, c.Member)
			done := own.Options.Once && c.State == Exited && c.ExitCode == 0 && len(names) == 0
			if chosen(c.Member) && !done && c.Name == render.MemberName(s.Name, c.Member) {
				stopped[c.Member] = true
				if id := b.stop(c, "it is to be restarted", last...); id != 0 {
					now = append(now, id)
				}
			}
		}
		if len(now) > 0 {
			last = now
		}
	}
	for _, wave := range waves(s) {
		var after []int
		for _, id := range b.ready {
			after = append(after, id)
		}
		for _, c := range inOrder(wave) {
			for _, have := range b.of(c.Name) {
				if stopped[c.Name] && have.Name == render.MemberName(s.Name, c.Name) {
					b.start(c, Step{Name: have.Name, Target: have.ID, Cause: "asked for"}, append(append(after, last...), b.up)...)
				}
			}
		}
	}
	return b.p, nil
}

// NoMember is the error for a container that a set does not have.
func NoMember(s spec.Set, name string) error {
	var have []string
	for _, c := range s.Containers {
		have = append(have, c.Name)
	}
	return fault.NotFound("set %s has no container %.80s: it has %s", s.Name, name, strings.Join(have, ", "))
}

// Remove removes a set, and what is left of one whose removal was cut off. A running
// one is of class FailedPrecondition without force. The volumes that were made
// for it stay without volumes, and one that was there before it stays in any case.
func Remove(s spec.Set, o Observed, force, volumes bool) (Plan, error) {
	b := newBuilder(s, o, Options{})
	for _, c := range append(o.Members, infraOf(o)...) {
		if c.live() && !force {
			return b.p, fault.Conflict("set %s runs: stop it first (docker set stop %s), or remove it as it is with --force", s.Name, s.Name)
		}
	}
	b.tearDown("asked for", true)
	if volumes {
		if v := render.Volume(s); v != "" && !slices.Contains(o.Left, v) {
			b.warn(fmt.Sprintf("volume %s was not made for set %s: it stays; docker volume rm %s removes it", v, s.Name, v))
		}
		for _, v := range o.Left {
			b.touch(Step{Op: DropVolume, Name: v, Cause: "asked for"})
		}
	}
	return b.p, nil
}

func infraOf(o Observed) []Container {
	if o.Infra == nil {
		return nil
	}
	return []Container{*o.Infra}
}

// Resize brings the limits of a set and of its containers to those of its spec,
// and its volume to its size, while all run. At no moment is the sum of the new
// limits above that of the old or of the new: the set grows first, then all that
// becomes less does, the set shrinks, then all that becomes more does.
func Resize(s spec.Set, o Observed, volume bool) (Plan, error) {
	b := newBuilder(s, o, Options{})
	if o.Infra == nil {
		return b.p, fault.NotFound("there is no set %s", s.Name)
	}
	b.beyondHost()
	b.relimit()
	if volume {
		b.touch(Step{Op: Grow, Name: render.Volume(s), Volume: *s.Volume, Cause: "asked for"})
	}
	return b.p, nil
}

// relimit brings the limits of all that is there to those of the spec.
func (b *builder) relimit() {
	want, have := total(b.s), b.o.Cap
	changes := b.o.Infra != nil && !b.o.Infra.Limits.near(want)
	b.capAt(most(have, want), "the set grows before its containers do")
	b.limits(least, "what becomes less does so first")
	if b.o.CanCap == "" {
		b.o.Cap = most(have, want)
		b.capAt(want, "the set has its new total")
		b.o.Cap = want
	} else if changes && want != (Limits{}) {
		b.warn("the set as a whole keeps the cap that it has, if any: " + b.o.CanCap)
	}
	b.limits(func(_, want Limits) Limits { return want }, "it has its new limits")
}

// limits changes those of the containers; the infra has the total, and counts as one.
func (b *builder) limits(to func(have, want Limits) Limits, cause string) {
	var ids []int
	for i, c := range b.o.Members {
		want := least(c.Limits, total(b.s)) // of one that goes: no more than the whole
		if own, ok := named(b.s, c.Member); ok {
			want = limitsOf(b.s, own)
		}
		next := to(c.Limits, want)
		if next.MEM == 0 {
			next.MEM = c.Limits.MEM // a new container has none
		}
		if next.CPU == 0 && c.Nano {
			next.CPU = c.Limits.CPU
		}
		if !c.Limits.near(next) {
			ids = append(ids, b.touch(Step{Op: Limit, Member: c.Member, Name: c.Name, Target: c.ID, Limits: next, Cause: fmt.Sprintf("%s instead of %s: %s", next, c.Limits, cause)}))
			b.o.Members[i].Limits = next
		}
	}
	// The infra comes after the others: its limits are the record of the total, by
	// which a call that goes on from here tells their shares.
	if inf := b.o.Infra; !inf.Limits.near(to(inf.Limits, total(b.s))) {
		c := *inf
		c.Limits = to(c.Limits, total(b.s))
		ids = append(ids, b.touch(Step{Op: Limit, Name: c.Name, Target: c.ID, Limits: c.Limits, Cause: cause}, ids...))
		b.o.Infra = &c
	}
	b.before = append(b.before, ids...)
}

// most and least compare limits, of which 0 is none.
func most(a, b Limits) Limits { return Limits{pick(a.CPU, b.CPU, true), pick(a.MEM, b.MEM, true)} }

func least(a, b Limits) Limits {
	return Limits{pick(a.CPU, b.CPU, false), pick(a.MEM, b.MEM, false)}
}

func pick[T spec.Cores | spec.Bytes](a, b T, most bool) T {
	switch {
	case a == 0 && b == 0:
		return 0
	case a == 0 || b == 0:
		if most {
			return 0
		}
		return max(a, b)
	case most:
		return max(a, b)
	}
	return min(a, b)
}
