package control

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/link"
)

// tick has the next pass look at who is silent, and at what waits for time.
func (l *leader) tick(now time.Time) {
	if now.Sub(l.ticked) > l.Heartbeat*3/2 {
		l.grace = maxTime(l.grace, now) // it was this process that was silent
	}
	l.ticked = now
	l.cache.mu.Lock()
	defer l.cache.mu.Unlock()
	maps.Copy(l.cache.dirty, l.late)
	maps.Copy(l.cache.reblock, l.short)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timely = true
	heard := 0
	for name, h := range l.cache.hosts {
		if l.own.beats[name] != nil {
			heard++
		}
		if is := l.health(h, now); is != h.Status.Health || is == api.Lost && (l.trouble(h, now) == "") != (h.Status.Trouble == "") {
			l.own.fresh[name] = true
		}
	}
	if heard < len(l.own.beats) { // others were removed
		maps.DeleteFunc(l.own.beats, func(name string, _ *beat) bool { return l.cache.hosts[name] == nil })
	}
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// health is that of a host now. Silence counts from the end of the grace on: by what this
// process missed no host gets worse, and none better. One that is lost and back without its
// Engine stays lost; one that is to go is not lost for it, which would be the word that nothing of
// it runs. Who calls has mu.
func (l *leader) health(h *api.Host, now time.Time) api.Health {
	was, graced := h.Status.Health, l.after(now.Sub(l.grace))
	b := l.own.beats[h.Name]
	switch {
	case b != nil:
		heard := l.after(now.Sub(b.at))
		if !b.stuck.IsZero() && (was == api.Lost || h.Deleted.IsZero() && now.Sub(b.stuck) > l.EngineAway) {
			heard = api.Lost
		}
		return worse(milder(heard, graced), milder(heard, was))
	case was == "":
		return was
	}
	return worse(was, graced)
}

// trouble is why a host is lost that is heard, by its own word; "" of one that is silent. Who
// calls has mu.
func (l *leader) trouble(h *api.Host, now time.Time) string {
	b := l.own.beats[h.Name]
	switch {
	case b != nil && b.report.Status.Machine == h.Status.Machine && l.after(now.Sub(b.at)) != api.Lost:
		return b.report.Status.Trouble
	case l.after(now.Sub(l.grace)) == api.Lost:
		return ""
	}
	return h.Status.Trouble // it may be this process that does not hear
}

// after is the health of a host that was silent for so long.
func (l *leader) after(silent time.Duration) api.Health {
	switch {
	case silent > l.Lease:
		return api.Lost
	case silent > 3*l.Heartbeat:
		return api.Suspect
	}
	return api.Healthy
}

func worse(a, b api.Health) api.Health {
	if severity(a) > severity(b) {
		return a
	}
	return b
}

func milder(a, b api.Health) api.Health {
	if severity(a) < severity(b) {
		return a
	}
	return b
}

func severity(h api.Health) int {
	return slices.Index([]api.Health{"", api.Healthy, api.Suspect, api.Lost}, h)
}

// hear drafts what hosts say, and which are not heard of.
func (l *leader) hear(d *draft) {
	l.mu.Lock()
	fresh := l.own.fresh
	l.own.fresh = map[string]bool{}
	holdings := map[string]*link.Holding{}
	reports := make(map[string]*link.Report, len(fresh))
	health := make(map[string]api.Health, len(fresh))
	for name := range fresh {
		h := d.cache.hosts[name]
		if h == nil || l.unheard(name) {
			continue
		}
		health[name] = l.health(h, d.now)
		if b := l.own.beats[name]; b != nil && b.holding != nil {
			holdings[name], b.holding = b.holding, nil
		}
		switch b := l.own.beats[name]; {
		case health[name] == api.Lost:
			r := link.Report{Status: h.Status}
			r.Status.Trouble = l.trouble(h, d.now)
			reports[name] = &r
			if b != nil {
				b.usage = nil // what it uses by now nobody knows
			}
		case b != nil && health[name] == api.Healthy:
			r := b.report
			reports[name] = &r
		}
	}
	l.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(holdings)) {
		d.setHolding(name, holdings[name])
	}
	for _, name := range slices.Sorted(maps.Keys(health)) {
		h := d.cache.hosts[name]
		d.hearHost(h, health[name], reports[name])
		d.reblock[name] = true
		l.timely = l.timely || health[name] != h.Status.Health
		if r := reports[name]; r != nil && r.Status.Machine == h.Status.Machine {
			for i := range r.Sets {
				l.hearSet(d, name, r, &r.Sets[i])
			}
		}
	}
	if l.timely {
		l.timely = false
		l.brake(d)
	}
}

// unheard says whether what a host says waits for a flight that changes the host.
func (l *leader) unheard(host string) bool {
	for _, f := range l.flights {
		if f.hosts[host] {
			f.unheard[host] = true
			return true
		}
	}
	return false
}

func (d *draft) hearHost(h *api.Host, health api.Health, r *link.Report) {
	is := h.Status
	if r != nil {
		is = r.Status
		is.Health, is.Since, is.Blocks, is.TroubleSince = h.Status.Health, h.Status.Since, h.Status.Blocks, h.Status.TroubleSince
		switch {
		case is.Trouble == "":
			is.TroubleSince = time.Time{}
		case is.TroubleSince.IsZero():
			is.TroubleSince = d.now
		default:
			is.Trouble = h.Status.Trouble // words of one trouble may alternate, and each change is written
		}
	}
	if health != is.Health {
		is.Health, is.Since = health, d.now
		on := api.Reference{Kind: api.Hosts, Name: h.Name}
		text := "after it was " + string(cmp.Or(h.Status.Health, "new"))
		if health == api.Lost && is.Trouble != "" {
			text += ", in trouble: " + is.Trouble
		}
		d.note("/"+h.Name, note{on: on, what: string(health), text: text})
	}
	back := health == api.Healthy && h.Spec.Fenced
	if !back && reflect.DeepEqual(is, h.Status) {
		return
	}
	to := d.editHost(h)
	to.Status = is
	if back {
		to.Spec.Fenced = false
		to.Generation++
	}
	for _, s := range d.onHost[h.Name] {
		d.dirty[s.Spec.Service] = true
	}
}

// hearSet drafts what a host says of a set. What it says of one that is not, or not any
// more, placed there, is of no account.
func (l *leader) hearSet(d *draft, host string, r *link.Report, of *link.SetReport) {
	if left := d.leftovers[host][of.Name]; left != nil && left.Spec.SetUID == of.UID {
		if of.Gone && r.Revision >= left.Revision {
			d.settle(left, "the host is back without them")
		}
		return
	}
	s := d.sets[of.Name]
	if s == nil || s.UID != of.UID || s.Spec.Host != host {
		return
	}
	if f := l.inFlight(s.Spec.Service); f != nil {
		f.unheard[host] = true
		return
	}
	switch {
	case s.stopAt > 0 && of.Gone && r.Revision >= s.stopAt:
		d.leaves(d.member(s))
	case of.Generation != s.Spec.ServiceGeneration || of.Gone:
		return // it speaks of what was before
	case of.Phase != s.Status.Phase || of.Message != s.Status.Message:
		i := d.member(s).edit()
		if of.Phase != i.Status.Phase {
			i.Status.Since = d.now
		}
		i.Status.Phase, i.Status.Message = of.Phase, of.Message
		d.dirty[s.Spec.Service] = true
	}
	if of.Phase != api.Ready || len(s.Spec.Addresses) == 0 {
		return
	}
	if needed, more := surplus(s.SetInstance); more {
		d.member(s).edit().Spec.Addresses = needed // nothing runs of the template before
		d.dirty[s.Spec.Service] = true
	}
}

// leaves has a set of which nothing is left on its host wait for another, or end.
func (d *draft) leaves(m *member) {
	d.freed = true
	d.cluster.Remove(id(m.Name))
	if l := d.abandoned(m); l != nil {
		m.left = l
	}
	if !m.Deleted.IsZero() {
		m.gone = true
		return
	}
	i := m.edit()
	i.Spec.Host, i.Spec.Leaving, i.Status = "", false, api.SetStatus{}
	i.Spec.Addresses = d.sticks(m)
}

// Limits of the brake: see [Config].
const (
	fewRoom, fewAll         = 5, 2
	percentRoom, percentAll = 5, 30
)

// brake stops replacements where hosts are lost by the many: then it is more likely that
// they cannot be heard than that they are gone.
func (l *leader) brake(d *draft) {
	lost, hosts := map[string][]time.Time{}, map[string]int{}
	for name := range d.cache.hosts {
		h := d.host(name)
		room := roomOf(h)
		if h.Deleted.IsZero() && !h.Spec.Fenced {
			hosts[room]++
			hosts[everywhere]++
			if h.Status.Health == api.Lost {
				lost[room] = append(lost[room], h.Status.Since)
				lost[everywhere] = append(lost[everywhere], h.Status.Since)
			}
		}
	}
	braked := map[string]bool{}
	for room, since := range lost {
		few, percent := fewRoom, percentRoom
		if room == everywhere {
			few, percent = fewAll, percentAll
		}
		if limit := max(few, hosts[room]*percent/100); l.many(since, limit, d.now) {
			braked[room] = true
		}
	}
	if maps.Equal(braked, l.braked) {
		return
	}
	what, text := "brake", "too many hosts are lost at a time: their sets are not replaced until some are back, %s passed, or hosts are fenced"
	if len(braked) == 0 {
		what, text = "brake-released", "sets of lost hosts are replaced again (the brake holds %s)"
	}
	for room := range braked {
		l.Log.Error("hosts are lost by the many: their sets are not replaced", "room", room, "lost", len(lost[room]), "of", hosts[room])
	}
	d.note("/", note{on: api.Reference{Kind: api.Hosts, Name: "all"}, what: what, text: fmt.Sprintf(text, l.BrakeHold)})
	l.braked = braked
	for name, h := range d.cache.hosts {
		if h.Status.Health == api.Lost {
			for _, s := range d.onHost[name] {
				d.dirty[s.Spec.Service] = true
			}
		}
	}
}

func roomOf(h *api.Host) string { return cmp.Or(h.Spec.Room, h.Status.Labels["room"]) }

// everywhere stands for all rooms; no name of a room is like it.
const everywhere = "\x00"

// many says whether more than limit hosts were lost within the window, and the last of them
// not longer ago than the brake holds.
func (l *leader) many(since []time.Time, limit int, now time.Time) bool {
	slices.SortFunc(since, time.Time.Compare)
	for i := limit; i < len(since); i++ {
		if since[i].Sub(since[i-limit]) <= l.BrakeWindow && now.Sub(since[i]) <= l.BrakeHold {
			return true
		}
	}
	return false
}
