package control

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/mosdocker/mosdocker/scheduler"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/place"
)

func id(name string) place.SetID { return place.SetID(name) }

// look is one service in a draft.
type look struct {
	*leader
	*draft
	of      *service
	was     *api.Service // as it is stored
	sets    []*member    // that are not asked to go, by slot
	all     map[int]bool
	parting map[int]bool // slots of sets that their hosts are taking away right now
	target  version
	budget  int      // how many more sets may become unavailable
	why     []string // it does not get on
}

// version is a template with its hash.
type version struct {
	api.Version
	hash string
}

// look drafts what a service is to be.
func (l *leader) look(d *draft, of *service) {
	k := &look{leader: l, draft: d, of: of, was: of.Service, all: map[int]bool{}, parting: map[int]bool{}}
	delete(l.waiting, of.name)
	delete(l.late, of.name)
	for _, s := range named(of.sets) {
		k.take(d.member(s))
	}
	slices.SortFunc(k.sets, func(a, b *member) int { return cmp.Compare(a.Spec.Slot, b.Spec.Slot) })
	want := 0
	if of.Service != nil && of.Deleted.IsZero() {
		want = of.Spec.Replicas
		k.recall()
		k.target = k.goal()
		k.judge()
	}
	k.scaleDown(want)
	k.replace()
	k.budget = k.left(want)
	k.update(want)
	k.drain()
	k.scaleUp(want)
	k.place()
	k.tell(want)
}

// take has a look at one set: whether it ends, leaves, or counts.
func (k *look) take(m *member) {
	k.all[m.Spec.Slot] = true // one that is gone in this draft has its name until that is written
	delete(k.stays, m.Name)
	switch {
	case m.gone:
		delete(k.unready, m.UID)
		k.parting[m.Spec.Slot] = true
		return
	case stops(m.SetInstance) && k.silent(m):
		k.leaves(m)
	}
	if m.Deleted.IsZero() {
		k.sets = append(k.sets, m)
		return
	}
	h := k.host(m.Spec.Host)
	k.parting[m.Spec.Slot] = h == nil || h.Status.Health != api.Lost
}

// silent says whether a set that stops need not be waited for.
func (k *look) silent(m *member) bool {
	h := k.host(m.Spec.Host)
	switch {
	case h == nil: // or it has none
		return true
	case h.Status.Health != api.Lost:
		return false
	}
	return !h.Deleted.IsZero() || h.Spec.Fenced || lossPolicy(k.of.Service, m.SetInstance) == api.Replace
}

// available says whether a set serves.
func (k *look) available(m *member) bool {
	h := k.host(m.Spec.Host)
	return h != nil && h.Status.Health == api.Healthy && m.Status.Phase == api.Ready && !stops(m.SetInstance)
}

// left is how many sets may be taken away.
func (k *look) left(want int) int {
	if k.of.Service == nil {
		return 0
	}
	n := max(k.of.Spec.Update.MaxUnavailable, 1) - want
	for _, m := range k.sets {
		if k.available(m) {
			n++
		}
	}
	return n
}

// spend says whether a set may be taken away, and counts it.
func (k *look) spend(m *member) bool {
	if !k.available(m) {
		return true
	}
	if k.budget <= 0 {
		return false
	}
	k.budget--
	return true
}

func (k *look) on() api.Reference { return api.Reference{Kind: api.Services, Name: k.of.name} }

func (k *look) say(what, cause, text string) {
	k.note(k.of.name, note{on: k.on(), what: what, cause: cause, text: text})
}

// scaleUp makes the sets that are missing. Where each has a volume, one that still goes is waited
// for, and not passed over: the next of its name has what is in its volume.
func (k *look) scaleUp(want int) {
	slot := 1
	for n := len(k.sets); n < want; n++ {
		v := k.fresh(want)
		waits := v.Set.Volume != nil && v.Set.Volume.Name == ""
		for k.all[slot] && (!waits || !k.parting[slot]) {
			slot++
		}
		if k.all[slot] {
			k.why = append(k.why, k.of.Named(slot).Name+" is made again, with its volume, when the one before is gone")
			slot++
			continue
		}
		k.all[slot] = true
		i := &api.SetInstance{Spec: api.SetSpec{Service: k.of.name, Slot: slot, ServiceGeneration: v.Generation, Set: v.Set}}
		set := k.of.Named(slot)
		i.Name = set.Name
		m := &member{SetInstance: i, hash: v.hash, edited: true}
		k.members[i.Name] = m
		k.sets = append(k.sets, m)
	}
}

// scaleDown asks the sets to go that are too many.
func (k *look) scaleDown(want int) {
	for len(k.sets) > want {
		i := k.worst()
		m := k.sets[i]
		k.sets = slices.Delete(k.sets, i, i+1)
		m.edit().Deleted = k.now
		if k.silent(m) {
			k.leaves(m)
		}
		cause := "scale"
		if want == 0 {
			cause = "no replicas are wished"
		}
		k.say("removed", cause, m.Name)
	}
}

// worst is the set that goes first: one that does not serve, then one in the part of the
// cluster that has the most.
func (k *look) worst() int {
	type spot struct{ room, rack string }
	spots := map[string]spot{}
	rooms, racks, hosts := map[string]int{}, map[spot]int{}, map[string]int{}
	for _, m := range k.sets {
		if h := k.host(m.Spec.Host); h != nil {
			p := scheduler.Host(h)
			at := spot{p.Room, p.Rack}
			spots[m.Name] = at
			rooms[at.room]++
			racks[at]++
			hosts[h.Name]++
		}
	}
	rank := func(m *member) []int {
		at, placed := spots[m.Name]
		if !placed {
			return []int{5}
		}
		serves := 0
		if h := k.host(m.Spec.Host); h.Status.Health == api.Lost {
			serves = 4
		} else if stops(m.SetInstance) {
			serves = 3
		} else if !k.available(m) {
			serves = 2
		} else if h.Spec.Availability == api.Draining || !h.Deleted.IsZero() {
			serves = 1
		}
		return []int{serves, rooms[at.room], racks[at], hosts[m.Spec.Host], m.Spec.Slot}
	}
	worst := 0
	for i := range k.sets {
		if slices.Compare(rank(k.sets[i]), rank(k.sets[worst])) >= 0 {
			worst = i
		}
	}
	return worst
}

// replace places sets elsewhere whose hosts are lost, where their policy lets it.
func (k *look) replace() {
	for _, m := range k.sets {
		h := k.host(m.Spec.Host)
		if m.Spec.Host == "" || h != nil && h.Status.Health != api.Lost {
			continue
		}
		if h != nil && h.Status.Trouble == "" && (m.Status.Phase != "" || m.Status.Message == "") { // else it is heard, and what it ran may run on
			m.edit().Status = api.SetStatus{Since: k.now, Message: "host " + h.Name + " is lost"}
		}
		from := m.Spec.Host
		switch {
		case h == nil || !h.Deleted.IsZero(): // it will not come back
			k.leaves(m)
		case !k.mayReplace(m, h):
			continue
		case k.put(m) != nil: // it may be that its host comes back
			k.waiting[k.of.name] = true
			continue
		}
		k.say("replaced", "host "+from+" is lost", m.Name)
	}
}

func (k *look) mayReplace(m *member, h *api.Host) bool {
	policy := lossPolicy(k.of.Service, m.SetInstance)
	switch {
	case h.Spec.Fenced && policy != api.Keep:
		return true
	case policy != api.Replace:
		k.await(h)
		return false
	case k.braked[everywhere] || k.braked[roomOf(h)]:
		k.why = append(k.why, "too many hosts are lost at a time to replace sets")
		return false
	}
	return true
}

// drain takes sets off hosts that are to be empty, where others take them. What a host could not
// stop now serves there until it can.
func (k *look) drain() {
	for _, m := range k.sets {
		h := k.host(m.Spec.Host)
		if h == nil || m.Spec.Leaving || h.Spec.Availability != api.Draining && h.Deleted.IsZero() || !serves(h) {
			continue
		}
		if volume(m.Name, &m.Spec.Set.Set) != "" && h.Deleted.IsZero() {
			k.why = append(k.why, fmt.Sprintf("%s stays on host %s, which is drained: its volume cannot move", m.Name, h.Name))
			continue
		}
		if err := k.fits(m); err != nil {
			k.waiting[k.of.name] = true
			k.why = append(k.why, fmt.Sprintf("%s stays on host %s, which is drained: %v", m.Name, h.Name, err))
			k.stays[m.Name] = err.Error()
			if r, is := errors.AsType[*place.RefusedError](err); is {
				k.stays[m.Name] = r.Why.String()
			}
			continue
		}
		if k.spend(m) {
			m.edit().Spec.Leaving = true
			k.say("leaves", "host "+h.Name+" is drained", m.Name)
		}
	}
}

// fits says whether another host takes a set, and changes nothing.
func (k *look) fits(m *member) error {
	a, err := k.ask(m)
	if err != nil {
		return err
	}
	defer k.book(m.was)
	k.cluster.Remove(id(m.Name))
	_, err = k.cluster.Place(a, id(m.Name))
	return err
}

// place finds hosts for the sets that have none.
func (k *look) place() {
	refused, hungry := false, false
	defer func() {
		if !hungry {
			delete(k.hungry, k.of.name)
		}
	}()
	for _, m := range k.sets {
		if m.Spec.Host != "" {
			continue
		}
		pinned := k.pinned(m) != nil
		if refused && !pinned {
			continue // it is like one that was
		}
		if v := k.fresh(len(k.sets)); m.was != nil && m.hash != v.hash && m.hash != k.target.hash {
			k.turnTo(m, v) // nothing runs of it, so it need not be as it was
		}
		if why := k.overQuota(m); why != "" {
			refused = true
			k.waiting[k.of.name] = true
			k.why = append(k.why, why)
			continue
		}
		kept, _ := k.cluster.Where(id(m.Name))
		err := k.put(m)
		if err == nil {
			k.charge(m)
			continue
		}
		k.waiting[k.of.name] = true
		hungry = hungry || k.mayPreempt(m, err)
		if text := k.makeRoom(m, err, kept); text != "" {
			k.why = append(k.why, text)
			continue
		}
		refused = refused || !pinned
		k.why = append(k.why, k.sentence(m, err))
	}
}

// sentence says why a set has no host.
func (k *look) sentence(m *member, err error) string {
	var r *place.RefusedError
	if !errors.As(err, &r) {
		return m.Name + ": " + err.Error()
	}
	return r.Error()
}

// put books a host for a set and has it go there.
func (k *look) put(m *member) error {
	a, err := k.ask(m)
	if err != nil {
		return err
	}
	had := m.Spec.Host
	k.cluster.Remove(id(m.Name))
	placed, err := k.cluster.Place(a, id(m.Name))
	if err != nil {
		if had != "" {
			k.book(m.was)
		}
		return err
	}
	left := k.abandoned(m)
	own := m.Spec.Addresses
	if left != nil || m.left != nil {
		own = nil
	}
	has, err := k.address(&m.Spec.Set.Set, own)
	if err != nil {
		k.cluster.Remove(id(m.Name))
		if had != "" {
			k.book(m.was)
		}
		return err
	}
	if left != nil {
		m.left = left
	}
	i := m.edit()
	i.Spec.Host, i.Spec.Leaving, i.Spec.Addresses = string(placed[0].Host), false, has
	i.Status = api.SetStatus{}
	k.say("placed", "", m.Name+" on "+i.Spec.Host)
	return nil
}

// ask is what a set needs of a host, with its volume where that exists already.
func (k *look) ask(m *member) (*place.Ask, error) {
	a, err := k.pulling(k.of, m.hash, &m.Spec.Set.Set)
	if err != nil {
		return nil, err
	}
	pin, away := k.pinned(m), k.away(m.Name)
	if pin == nil && away == nil {
		return a, nil
	}
	own := *a
	own.Volumes = pin
	if away != nil {
		own.Constraints = append(slices.Clone(own.Constraints), place.Constraint{Key: "host", Op: place.NotIn, Values: away})
	}
	return &own, nil
}

// pinned is the volume that a set has to go to. One on hosts that are lost is given up by
// sets that may be replaced.
func (k *look) pinned(m *member) []string {
	name := volume(m.Name, &m.Spec.Set.Set)
	for host := range k.volumes[name] {
		if h := k.host(host); h.Deleted.IsZero() && (h.Status.Health != api.Lost || !k.mayGiveUp(m, h)) {
			return []string{name}
		}
	}
	return nil
}

func (k *look) mayGiveUp(m *member, h *api.Host) bool {
	policy := lossPolicy(k.of.Service, m.SetInstance)
	return policy == api.Replace || policy == api.ReplaceFenced && h.Spec.Fenced
}

// tell drafts the status of a service, and its end.
func (k *look) tell(want int) {
	s := k.of.Service
	if s == nil {
		return
	}
	if !s.Deleted.IsZero() && len(k.of.sets) == 0 {
		k.ends = append(k.ends, s)
		return
	}
	is := s.Status
	is.ObservedGeneration, is.Replicas, is.Placed, is.Ready, is.Updated = s.Generation, len(k.sets), 0, 0, 0
	for _, m := range k.sets {
		if m.Spec.Host != "" {
			is.Placed++
		}
		if k.available(m) {
			is.Ready++
		}
		if m.hash == k.of.hash {
			is.Updated++
		}
	}
	if is.Ready == want && is.Updated == want && want > 0 && k.target.hash == k.of.hash && (is.Stable == nil || k.of.stable != k.of.hash) {
		is.Previous = is.Stable
		stable := k.target.Version
		is.Stable = &stable
	}
	if is.Failed != "" && is.Failed != k.of.hash {
		is.Failed = ""
	}
	is.Reason = ""
	if len(k.why) > 0 {
		is.Reason = k.why[0]
		if n := len(k.why) - 1; n > 0 {
			is.Reason += fmt.Sprintf(" (and %d more)", n)
		}
	}
	k.rollout(&is, want)
	if is == k.was.Status {
		return
	}
	if is.Reason != k.was.Status.Reason && is.Reason != "" && k.reasons[k.of.name] != is.Reason {
		k.reasons[k.of.name] = is.Reason
		k.say("waits", "", is.Reason)
	}
	own := *s
	own.Status = is
	k.statuses = append(k.statuses, &own)
}
