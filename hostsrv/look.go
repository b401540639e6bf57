package hostsrv

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/setmgr"
	"github.com/mosdocker/mosdocker/setmgr/label"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// look heals a set, if there is anything to heal.
func (s *Supervisor) look(ctx context.Context, name string) {
	s.mu.Lock()
	m, d, x := s.m, s.declared[name], s.of(name)
	first, restarted, booting := !x.seen, x.restarted, x.booting
	s.mu.Unlock()
	unlock, free, err := m.TryLock(ctx, name)
	if err != nil || !free {
		s.later(name, busy)
		return
	}
	s.mu.Lock()
	x.locked = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		x.locked = false
		s.mu.Unlock()
		unlock()
	}()
	held := s.held.of(name) // before it is looked: who is stopped meanwhile is found running
	o, err := m.Observe(ctx, name, s.maybe(name, d))
	if err != nil {
		s.failed(ctx, name, fmt.Errorf("look: %w", err))
		return
	}
	s.mu.Lock()
	x.takes = takes(o)
	_, x.clusters = s.wishes.has(o.Cluster())
	s.mu.Unlock()
	d, over := s.wished(ctx, m, name, o, d)
	if over {
		return
	}
	s.mu.Lock()
	x.wish = d
	s.mu.Unlock()
	if o.Infra == nil && len(o.Members) == 0 && d.set == nil {
		s.forget(name)
		return
	}
	for _, c := range o.Members {
		if c.State == plan.Running && slices.Contains(held, c.Member) {
			s.held.remove(name, c.Member) // its start was not heard
		}
	}
	s.drift(ctx, name, d, o)
	if (first || restarted) && !s.held.mends(name) {
		s.findHeld(name, o, restarted)
	}
	run := processes(m, o)
	s.mu.Lock()
	x.seen, x.restarted, x.ids, x.processes = true, false, nil, run
	for _, c := range append(slices.Clone(o.Members), infraOf(o)...) {
		x.ids = append(x.ids, c.ID)
	}
	s.mu.Unlock()
	if o.Infra != nil && o.Infra.Restart == "no" {
		s.held.see(name)
		s.held.mend(name, false)
		s.state(name, api.Stopped, "by docker set stop")
		s.probe(ctx, name, plan.Observed{})
		return
	}
	replaced, leave := s.replacements(name, d, o)
	if wait := s.mayBeByHand(name, o, held, replaced); wait > 0 && d.mark == "" && !first && !restarted {
		s.later(name, wait)
		return
	}
	for _, member := range replaced {
		s.held.remove(name, member) // it was stopped for the other
	}
	if leave > 0 && d.mark == "" { // a cluster's set is changed by us alone
		s.state(name, api.Updating, "a container is being replaced")
		s.later(name, leave)
		return
	}
	s.heal(ctx, m, name, d, o, replaced, first || restarted, booting || (restarted || first && s.held.unseen(name)) && booted(o))
}

// booted says whether the Engine started the set anew a short while ago.
func booted(o plan.Observed) bool {
	return o.Infra != nil && o.Infra.State == plan.Running && time.Since(o.Infra.Started) < sinceBoot
}

// heal plans on what is there, and runs the plan. replaced are the members that have two
// containers; started says that the Engine was, or this daemon; boot that the Engine started
// the set.
func (s *Supervisor) heal(ctx context.Context, m *setmgr.Manager, name string, d declared, o plan.Observed, replaced []string, started, boot bool) {
	held, refused := s.held.of(name), s.held.refusals(name, d.set, o)
	s.mu.Lock()
	old := d.path != "" && s.declared[name].stamp != d.stamp
	s.mu.Unlock()
	if old { // what was refused of it may be forgotten
		s.later(name, 0)
		return
	}
	leave := slices.DeleteFunc(ended(o, started), func(member string) bool { // it was stopped for the other
		return slices.Contains(replaced, member) || s.held.mends(name) && s.held.replaces(name, member)
	})
	// It never waits for a container with the set's lock in hand: who waits for one that
	// is not ready is started, and who is replaced by one that is not is removed, by a later look.
	opt := plan.Options{Heal: true, Leave: append(leave, held...), Boot: boot, NoWait: true, Now: time.Now(), Ready: map[string]bool{}, Refused: members(refused)}
	p, err := s.planAsked(ctx, m, name, d, o, opt)
	var lost error
	if err == nil && len(p.Lost) > 0 {
		lost = s.giveUp(ctx, m, name, d, o, p.Lost)
		opt.Refused = members(s.held.refusals(name, d.set, o))
		p, err = s.planAsked(ctx, m, name, d, o, opt)
	}
	if err != nil {
		s.failed(ctx, name, err)
		return
	}
	s.held.keepReplaced(name, o, p)
	s.mu.Lock()
	x := s.of(name)
	x.booting = boot && len(p.Later) > 0
	staged := x.staged && !p.Retries
	x.staged = len(p.Later) > 0
	s.mu.Unlock()
	if len(p.Steps) == 0 && len(p.Later) > 0 {
		s.held.mend(name, false)
		var text []string
		for _, member := range slices.Sorted(maps.Keys(p.Later)) {
			text = append(text, member+" waits for "+p.Later[member])
		}
		s.state(name, api.Waiting, strings.Join(text, "; "))
		s.probe(ctx, name, o)
		again := askAgain
		if len(p.Beside) > 0 {
			again = unreadyAgain
		}
		s.later(name, again)
		return
	}
	if len(p.Steps) == 0 {
		s.held.see(name)
		s.right(ctx, m, name, held, refused, o)
		return
	}
	s.mu.Lock()
	wait := x.delay() - time.Since(x.healed)
	s.mu.Unlock()
	if wait > 0 && lost == nil && !staged { // what was left for later is no relapse
		s.state(name, api.Failing, "it was healed, and that did not last: "+causes(p))
		s.notBefore(name, wait)
		return
	}
	starts := 0
	for _, st := range p.Steps {
		if st.Op == plan.Start {
			starts++
		}
	}
	s.state(name, api.Healing, "")
	s.note(ctx, "heal", name, "", causes(p))
	begun := time.Now()
	s.held.mend(name, true)
	s.held.keepLimits(name, nil) // ours may be others now
	err = run(ctx, m, p)
	s.mu.Lock()
	x.Heals++
	if err == nil {
		x.Restarts += starts
	}
	x.limits = nil // as above
	again := !staged && time.Since(x.healed) < relapse
	x.healed = time.Now()
	if err == nil && again {
		x.Failures++ // it did not last
	}
	s.mu.Unlock()
	if err = errors.Join(lost, err); err != nil {
		s.endLeft(ctx, m, name, err)
		s.failed(ctx, name, err)
		return
	}
	s.note(ctx, "healed", name, "", fmt.Sprintf("%d steps in %v, %d containers started", len(p.Steps), time.Since(begun).Round(time.Millisecond), starts))
	if d.mark != "" || len(p.Beside) > 0 {
		s.later(name, 0) // somebody waits for it
		return
	}
	s.later(name, settle) // and look whether all is right
}

// planAsked plans, and asks those on whom the plan depends whether they are ready.
func (s *Supervisor) planAsked(ctx context.Context, m *setmgr.Manager, name string, d declared, o plan.Observed, opt plan.Options) (plan.Plan, error) {
	p, err := s.plan(ctx, m, name, d, o, opt)
	for more := true; err == nil && more; {
		more = false
		for _, member := range p.Ask {
			if !opt.Ready[member] && s.isReady(ctx, m, o, member) {
				opt.Ready[member], more = true, true
			}
		}
		if more {
			p, err = s.plan(ctx, m, name, d, o, opt)
		}
	}
	return p, err
}

// endLeft ends what keeps containers from being started, so that the next try may do it.
func (s *Supervisor) endLeft(ctx context.Context, m *setmgr.Manager, name string, err error) {
	if s.EndShim == nil || !taskLeft(err) {
		return
	}
	o, err := m.Observe(ctx, name, nil)
	if err != nil {
		return // the next look is refused the same
	}
	for _, c := range append(slices.Clone(o.Members), infraOf(o)...) {
		if c.State != plan.Created && c.State != plan.Exited {
			continue
		}
		switch err := s.EndShim(ctx, c.ID); {
		case err == nil:
			s.note(ctx, "left", name, c.Member, "the Engine was killed while it started this container: what it left of that is ended")
		case !errdefs.IsNotFound(err):
			s.log.WarnContext(ctx, "what an Engine left of a start cannot be ended", "set", name, "container", c.Name, "err", err)
		}
	}
}

// stopLimit is how long a daemon that is told to end goes on healing: a member may be
// stopped and not started again yet.
const stopLimit = time.Minute

// run takes the steps of a plan, for a while also when ctx ends.
func run(ctx context.Context, m *setmgr.Manager, p plan.Plan) error {
	going, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	late := context.AfterFunc(ctx, func() {
		select {
		case <-going.Done():
		case <-time.After(stopLimit):
			cancel()
		}
	})
	defer late()
	return m.Run(going, p)
}

// causes are those of a plan, each once.
func causes(p plan.Plan) string {
	var out []string
	for _, st := range p.Steps {
		c := st.Cause
		if st.Member != "" {
			c = st.Member + ": " + c
		}
		if !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	const most = 6
	if n := len(out) - most; n > 0 {
		out = append(out[:most], fmt.Sprintf("and %d more", n))
	}
	return strings.Join(out, "; ")
}

// right says that there is nothing to heal, but members that end again and again, maybe, or
// whose new container is not tried now.
func (s *Supervisor) right(ctx context.Context, m *setmgr.Manager, name string, held []string, refused map[string]refusal, o plan.Observed) {
	s.held.mend(name, false)
	s.mu.Lock()
	x := s.of(name)
	if time.Since(x.healed) > relapse {
		x.Failures = 0
	}
	not, until := refusedNow(refused)
	x.Next = until
	s.mu.Unlock()
	state, detail := s.startAgain(ctx, m, name, held, o)
	if state == api.Right && len(held) > 0 {
		state, detail = api.Held, strings.Join(held, ", ")+" stopped by hand"
	}
	if not != "" {
		state, detail = api.Failing, not
	}
	detail = s.whetherReady(ctx, m, name, o, detail)
	s.state(name, state, detail)
	s.probe(ctx, name, o)
}

// delay is the least time between two tries to heal a set. The caller holds mu.
func (x *set) delay() time.Duration {
	if x.Failures == 0 {
		return 0
	}
	return min(time.Second<<min(x.Failures-1, 20), mostDelay)
}

// failed says that a set could not be healed, and tries again, later and later; at once where that
// was for an Engine that answers again.
func (s *Supervisor) failed(ctx context.Context, name string, err error) {
	if ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	e, answers := s.e, s.answers
	s.mu.Unlock()
	away := e == nil
	if !away {
		_, noAnswer := timed(ctx, e.Ping)
		away = noAnswer != nil
	}
	s.mu.Lock()
	x := s.of(name)
	said := x.State == api.Failing && x.Detail == err.Error()
	x.away = away
	x.Failures++
	x.Next = time.Now().Add(x.delay())
	x.dirty, x.hold, x.next = true, x.Next, x.Next
	s.put(name, x, api.Failing, err.Error())
	if away && s.answers != answers {
		x.back()
	}
	s.mu.Unlock()
	if !said {
		s.note(ctx, "failed", name, "", err.Error())
	}
	s.nudge()
}

// back has a set looked at: what it failed by is over. The caller holds mu.
func (x *set) back() {
	x.away, x.Failures, x.hold, x.next, x.dirty = false, 0, time.Time{}, time.Time{}, true
}

// later looks at a set again after a while, or when something happens to it.
func (s *Supervisor) later(name string, after time.Duration) {
	s.mu.Lock()
	x := s.of(name)
	x.dirty, x.next = true, time.Now().Add(after)
	s.mu.Unlock()
	s.nudge()
}

// notBefore looks at a set again after a while, whatever happens to it.
func (s *Supervisor) notBefore(name string, after time.Duration) {
	s.mu.Lock()
	x := s.of(name)
	x.hold = time.Now().Add(after)
	x.Next = x.hold
	s.mu.Unlock()
	s.later(name, after)
}

// maybe is what a set is to be made of, if its look finds nothing that forbids it: the look
// sees all that a plan of it needs, which is not asked again.
func (s *Supervisor) maybe(name string, d declared) *spec.Set {
	if d.set != nil {
		return d.set
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wishes.all[name].Set
}

// plan is how a set that was seen is healed, or made as its file says.
func (s *Supervisor) plan(ctx context.Context, m *setmgr.Manager, name string, d declared, o plan.Observed, opt plan.Options) (plan.Plan, error) {
	if d.set == nil {
		return m.Again(name, opt)(ctx, o)
	}
	opt.Keep, opt.Files = names(*d.set), d.files
	if d.mark != "" {
		opt.Cluster, opt.Recreate = d.mark, true
	}
	// Who put his own infra container there would have what this set keeps from others.
	if owner := o.Owner(); owner != d.set.Labels[label.Owner] && owner != "" {
		return plan.Plan{}, fault.Exists("a set %s is here that belongs to %s (label %s): remove it (docker set rm %s), or give this one another name", name, owner, label.Owner, name)
	}
	return m.Up(*d.set, opt)(ctx, o)
}

// isReady asks a member that runs its Ready probe, once; of two containers the new one.
func (s *Supervisor) isReady(ctx context.Context, m *setmgr.Manager, o plan.Observed, member string) bool {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	var asked plan.Container
	var probe *spec.Probe
	for _, c := range o.Members {
		own, err := spec.DecodeContainer(c.Spec)
		if err == nil && c.Member == member && c.State == plan.Running && own.Options.Ready != nil && (probe == nil || c.Rev > asked.Rev) {
			asked, probe = c, own.Options.Ready
		}
	}
	return probe != nil && m.Ask(ctx, *probe, asked.ID) == nil
}

// state says how a set does.
func (s *Supervisor) state(name, state, detail string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(name, s.of(name), state, detail)
}

// put is state for a caller that holds mu.
func (s *Supervisor) put(name string, x *set, state, detail string) {
	defer func() { s.wishes.tellState(name, x) }()
	if x.State != state {
		x.Since = time.Now()
	}
	x.State, x.Detail, x.Declared, x.Cluster = state, detail, s.declared[name].path, x.wish.mark
}

// forget drops what is known of a set that is gone.
func (s *Supervisor) forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x := s.sets[name]; x != nil {
		x.stopProbes()
		delete(s.sets, name)
	}
	s.held.forget(name)
}

// names are those of a set's containers.
func names(s spec.Set) (out []string) {
	for _, c := range s.Containers {
		out = append(out, c.Name)
	}
	return out
}

func infraOf(o plan.Observed) []plan.Container {
	if o.Infra == nil {
		return nil
	}
	return []plan.Container{*o.Infra}
}
