package control

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/place"
)

// goal is the template that sets are to be of.
func (k *look) goal() version {
	if s := k.of.Status; s.Stable != nil && s.Failed == k.of.hash && k.of.stable != k.of.hash {
		return k.stable()
	}
	return version{api.Version{Generation: k.of.Generation, Set: k.of.Spec.Set}, k.of.hash}
}

func (k *look) stable() version { return version{*k.of.Status.Stable, k.of.stable} }

// fresh is the template of a set that is made: where an update is not to go on, it is not
// carried further by new sets.
func (k *look) fresh(want int) version {
	if k.of.Status.Stable == nil || k.of.stable == k.target.hash {
		return k.target
	}
	updated := 0
	for _, m := range k.sets {
		if m.hash == k.target.hash {
			updated++
		}
	}
	if u := k.of.Spec.Update; u.Paused || updated >= max(want-u.Partition, 0) {
		return k.stable()
	}
	return k.target
}

// readyWithin is how long a set may take to get ready.
const readyWithin = 2 * time.Minute

// failedFor is how many heartbeats a set must have failed for to count as one that does
// not get ready.
const failedFor = 5

// serves says whether a host is heard of, and can do what it is told.
func serves(h *api.Host) bool { return h.Status.Health == api.Healthy && h.Status.Trouble == "" }

// away says what a host cannot do now and since when, "" if it serves, or is only not heard just now.
func away(h *api.Host) string {
	switch {
	case h == nil || serves(h):
	case h.Status.Health == api.Healthy:
		return fmt.Sprintf("host %s can start, change and stop no sets since %s: %s", h.Name, h.Status.TroubleSince.Format(time.RFC3339), h.Status.Trouble)
	case h.Status.Health == api.Lost:
		return fmt.Sprintf("host %s is lost since %s", h.Name, h.Status.Since.Format(time.RFC3339))
	}
	return ""
}

// await tells, once of each host, that one is waited for.
func (k *look) await(h *api.Host) {
	if text := away(h); text != "" && !slices.Contains(k.why, text) {
		k.why = append(k.why, text)
	}
}

// judge looks which sets do not get ready, and ends an update that fails.
func (k *look) judge() {
	var bad []*member
	for _, m := range k.sets {
		h := k.host(m.Spec.Host)
		if !k.available(m) && h != nil && h.Status.Health == api.Healthy { // sets of those that are lost may be replaced
			k.await(h)
		}
		if k.available(m) || h == nil || !serves(h) || stops(m.SetInstance) { // what a host cannot do is not the template's fault
			delete(k.unready, m.UID)
			continue
		}
		u := k.unready[m.UID]
		if u.generation != m.Spec.ServiceGeneration {
			u = unready{generation: m.Spec.ServiceGeneration, since: k.now}
		}
		failed := m.Status.Phase == api.Failed
		if failed && u.failed.IsZero() {
			u.failed = k.now
		}
		k.unready[m.UID], k.late[k.of.name] = u, true
		late := k.now.Sub(u.since) >= cmp.Or(time.Duration(k.of.Spec.Update.ReadyWithin)*time.Second, readyWithin)
		if m.hash == k.target.hash && (late || failed && k.now.Sub(u.failed) >= failedFor*k.Heartbeat) {
			bad = append(bad, m)
		}
	}
	if len(bad) == 0 {
		return
	}
	text := fmt.Sprintf("%s does not get ready: %s", bad[0].Name, cmp.Or(bad[0].Status.Message, "it says nothing"))
	if n := len(bad) - 1; n > 0 {
		text += fmt.Sprintf(" (nor do %d more)", n)
	}
	s := k.of.Service
	if k.target.hash != k.of.hash || s.Status.Stable == nil || k.of.stable == k.of.hash || s.Spec.Update.KeepFailed || s.Spec.Update.Paused {
		k.why = append(k.why, text)
		return
	}
	k.fail(text)
}

// fail has the template of a service count as one that failed.
func (k *look) fail(why string) {
	own := *k.of.Service
	own.Status.Failed = k.of.hash
	k.of = &service{Service: &own, name: k.of.name, hash: k.of.hash, stable: k.of.stable, sets: k.of.sets, asks: k.of.asks}
	k.target = k.stable()
	k.say("rolled-back", why, fmt.Sprintf("from generation %d to %d", own.Generation, k.target.Generation))
}

// update changes sets to the template that is wished, as many as may be unavailable.
func (k *look) update(want int) {
	if k.of.Service == nil || !k.of.Deleted.IsZero() {
		return
	}
	u := k.of.Spec.Update
	back := k.target.hash != k.of.hash // a failed update is taken back whole
	var old []*member
	for _, m := range k.sets {
		if m.hash != k.target.hash && m.Spec.Host != "" && !m.Spec.Leaving {
			old = append(old, m)
		}
	}
	may := len(old)
	if !back {
		may = max(min(may, want-u.Partition-(len(k.sets)-len(old))), 0)
	}
	if u.Paused && !back || may == 0 {
		return
	}
	slices.SortStableFunc(old, func(a, b *member) int {
		return cmp.Or(truth(k.available(a))-truth(k.available(b)), cmp.Compare(b.Spec.Slot, a.Spec.Slot))
	})
	for _, m := range old[:may] {
		if h := k.host(m.Spec.Host); h == nil || !serves(h) {
			k.await(h)
			continue // nobody would hear of it; it counts as unavailable
		}
		served := k.available(m)
		if served && k.budget <= 0 {
			return
		}
		own, err := k.address(&k.target.Set.Set, m.Spec.Addresses)
		if err != nil {
			k.why = append(k.why, m.Name+" is not updated: "+err.Error())
			continue
		}
		if why := k.inPlace(m, own); why != "" {
			if volume(m.Name, &m.Spec.Set.Set) != "" {
				k.why = append(k.why, fmt.Sprintf("%s cannot be changed on host %s, and its volume cannot move: %s", m.Name, m.Spec.Host, why))
				continue
			}
			m.edit().Spec.Leaving = true
			k.say("leaves", "its host cannot hold the new template: "+why, m.Name)
		}
		if served {
			k.budget--
		}
	}
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// inPlace has a set changed where it is, if its host can hold that; else it says why not.
func (k *look) inPlace(m *member, own []api.SetAddress) string {
	a, err := k.of.ask(k.target.hash, &k.target.Set.Set)
	if err != nil {
		return err.Error()
	}
	k.cluster.Remove(id(m.Name))
	was, _ := k.of.ask(m.hash, &m.Spec.Set.Set) // of which nothing is known, nothing is its own
	if why := cannotHold(k.cluster, a, was, m.Spec.Host, mates(m.Spec.Service)); why != "" {
		k.book(m.was)
		return why
	}
	_ = k.cluster.Add(id(m.Name), a, place.HostID(m.Spec.Host)) // the host is known: it was asked
	had := addresses(m.SetInstance)
	k.turnTo(m, k.target)
	for _, a := range had { // until nothing runs of the template before
		if !slices.Contains(own, a) {
			own = append(own, a)
		}
	}
	m.edit().Spec.Addresses = own
	k.say("updated", "", m.Name)
	return ""
}

// cannotHold says why a set that is on a host, but not booked there, cannot be changed in
// place to what is asked; "" when it can. Ports that it had there by what was asked before it may
// have again, whoever else is said to have them: it cannot be refused what is its own.
func cannotHold(c *place.Cluster, a, was *place.Ask, host string, tell func(place.SetID) bool) string {
	if was != nil && len(was.Ports) > 0 {
		own := *a
		own.Ports = slices.DeleteFunc(slices.Clone(a.Ports), func(p place.Port) bool { return slices.Contains(was.Ports, p) })
		a = &own
	}
	v, err := c.WhyFor(a, place.HostID(host), tell)
	if err != nil {
		return err.Error()
	}
	for _, r := range v.Reasons {
		switch r.Filter { //nolint:exhaustive // the others are about where a set is put
		case place.FilterNetwork, place.FilterAddress, place.FilterPort, place.FilterCPU, place.FilterMemory, place.FilterDisk:
			return r.Text
		}
	}
	return ""
}

// mates says which sets the tenant of a service knows, who reads its events.
func mates(service string) func(place.SetID) bool {
	tenant := api.TenantOf(service)
	return func(id place.SetID) bool { return tenant == "" || api.OwnerOf(string(id)) == tenant }
}

// turnTo gives a set another template.
func (k *look) turnTo(m *member, v version) {
	i := m.edit()
	i.Spec.ServiceGeneration, i.Spec.Set = v.Generation, v.Set
	m.hash = v.hash
	if i.Spec.Host != "" {
		i.Status = api.SetStatus{Phase: api.Starting, Since: k.now}
	}
}
