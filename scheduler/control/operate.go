package control

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/state"
)

// operations are those of the cache.
type operations struct {
	all      map[string]*api.Operation
	running  map[string]*api.Operation // those that did not end, by name
	on       map[string]*api.Operation // rollouts and drains that did not end, by verb/name
	draining map[string]bool           // hosts that are to be empty
}

func newOperations() operations {
	return operations{map[string]*api.Operation{}, map[string]*api.Operation{}, map[string]*api.Operation{}, map[string]bool{}}
}

func subject(verb, name string) string { return verb + "/" + name }

// set takes one over, or takes it away.
func (o *operations) set(name string, is *api.Operation) {
	if was := o.all[name]; was != nil {
		delete(o.running, name)
		if at := subject(was.Spec.Verb, was.Spec.On.Name); o.on[at] == was {
			delete(o.on, at)
		}
	}
	delete(o.all, name)
	if is == nil {
		return
	}
	o.all[name] = is
	if is.Status.Outcome == "" {
		o.running[name] = is
		if is.Spec.Verb != api.Rebalance {
			o.on[subject(is.Spec.Verb, is.Spec.On.Name)] = is
		}
	}
}

// noteDrain keeps which hosts are to be empty. One that is gone is nil.
func (o *operations) noteDrain(name string, h *api.Host) {
	if h != nil && (h.Spec.Availability == api.Draining || !h.Deleted.IsZero()) {
		o.draining[name] = true
	} else {
		delete(o.draining, name)
	}
}

// labelOf has the UID of what an operation is on: another may have its name and generation
// while the operation is kept.
const labelOf = "uid"

// isOf says whether an operation is on this very resource. One of an earlier release does not
// tell.
func isOf(o *api.Operation, uid string) bool {
	return o.Labels[labelOf] == "" || o.Labels[labelOf] == uid
}

// begin drafts an operation on a resource, unless it was there.
func (d *draft) begin(o *api.Operation, on *api.Meta) {
	if was := d.ops.all[o.Name]; was != nil && !isOf(was, on.UID) {
		const some = 8
		o.Name += "." + on.UID[max(0, len(on.UID)-some):]
	}
	if d.ops.all[o.Name] != nil {
		return
	}
	if o.Labels == nil {
		o.Labels = map[string]string{}
	}
	o.Labels[labelOf] = on.UID
	d.begun = append(d.begun, o)
}

// operate drafts how far operations are, and what they do next. They concern services that are
// not looked at, so all that is on its way is waited for.
func (l *leader) operate(d *draft) {
	if len(d.ops.running)+len(d.ops.draining) == 0 {
		return
	}
	if len(l.flights) > 0 {
		l.quiet = l.quiet || d.now.Sub(l.worked) > l.Heartbeat
		return
	}
	l.worked = d.now
	for _, name := range slices.Sorted(maps.Keys(d.ops.draining)) {
		if h := d.host(name); h != nil && d.ops.on[subject(api.Drain, name)] == nil && len(d.onHost[name]) > 0 {
			d.begin(&api.Operation{
				Meta:   api.Meta{Name: fmt.Sprintf("drain.%s.%d", name, h.Generation)},
				Spec:   api.OperationSpec{Verb: api.Drain, On: api.Reference{Kind: api.Hosts, Name: name}},
				Status: api.OperationStatus{Phase: "emptying", Of: len(d.onHost[name])},
			}, &h.Meta)
		}
	}
	balancing := ""
	for _, o := range named(d.ops.running) {
		own := *o
		switch own.Spec.Verb {
		case api.Drain:
			l.drained(d, &own)
		case api.Rollout:
			d.rolled(&own)
		case api.Rebalance:
			if balancing != "" {
				own.Status.Phase = "waiting"
				own.Status.Message = "for " + balancing
			} else if l.rebalance(d, &own); own.Status.Outcome == "" {
				balancing = own.Name
			}
		default:
			end(&own, api.Broken, d.now, "there is no such verb")
		}
		if !reflect.DeepEqual(own.Status, o.Status) {
			d.told = append(d.told, &own)
		}
	}
}

func end(o *api.Operation, how api.Outcome, now time.Time, format string, args ...any) {
	o.Status.Outcome, o.Status.Ended, o.Status.Phase = how, now, ""
	o.Status.Message = fmt.Sprintf(format, args...)
}

// drained drafts how far a host is emptied.
func (l *leader) drained(d *draft, o *api.Operation) {
	h := d.host(o.Spec.On.Name)
	if h == nil || !isOf(o, h.UID) {
		end(o, api.Succeeded, d.now, "the host is out of the cluster")
		return
	}
	left := d.onHost[h.Name]
	o.Status.Of = max(o.Status.Of, len(left))
	o.Status.Done = o.Status.Of - len(left)
	leaves := !h.Deleted.IsZero()
	switch {
	case h.Spec.Availability != api.Draining && !leaves:
		end(o, api.Canceled, d.now, "the host is not drained any more")
		return
	case o.Spec.Cancel && !leaves:
		to := d.editHost(h)
		to.Spec.Availability = api.Cordoned
		to.Generation++
		end(o, api.Canceled, d.now, "the host keeps what it has, and takes no more")
		return
	case len(left) == 0:
		end(o, api.Succeeded, d.now, "no set is on the host")
		return
	}
	var say []string
	if o.Spec.Cancel {
		say = append(say, "a host that leaves the cluster is emptied in any case")
	}
	if text := away(h); text != "" {
		say = append(say, text)
	} else if text := l.staying(left); text != "" {
		say = append(say, text)
	}
	bound := 0
	for _, s := range left {
		if volume(s.Name, &s.Spec.Set.Set) != "" {
			bound++
		}
	}
	if bound > 0 && !leaves {
		say = append(say, fmt.Sprintf("%d sets stay, since their volumes cannot move", bound))
	}
	o.Status.Message = strings.Join(say, "; ")
}

// staying says which of the sets of a drained host has nowhere to go, and why.
func (l *leader) staying(left map[string]*set) string {
	text, more := "", 0
	for _, s := range named(left) {
		switch why := l.stays[s.Name]; {
		case why == "":
		case text == "":
			text = s.Name + " has nowhere to go: " + why
		default:
			more++
		}
	}
	if more > 0 {
		text += fmt.Sprintf(" (nor have %d more)", more)
	}
	return text
}

// labelTemplate has the hash of the template that a rollout brings.
const labelTemplate = "template"

// rollout begins an operation for a template that is new.
func (k *look) rollout(is *api.ServiceStatus, want int) {
	if want == 0 || is.Failed != "" || is.Stable == nil || is.Stable != k.of.Status.Stable || k.of.stable == k.of.hash ||
		k.ops.on[subject(api.Rollout, k.of.name)] != nil {
		return
	}
	k.begin(&api.Operation{
		Meta:   api.Meta{Name: fmt.Sprintf("rollout.%s.%d", k.of.name, k.of.Generation), Labels: map[string]string{labelTemplate: k.of.hash}},
		Spec:   api.OperationSpec{Verb: api.Rollout, On: k.on()},
		Status: api.OperationStatus{Phase: "updating", Of: want},
	}, &k.of.Meta)
}

// recall takes back a rollout that is canceled.
func (k *look) recall() {
	o := k.ops.on[subject(api.Rollout, k.of.name)]
	if s := k.of.Service; o != nil && o.Spec.Cancel && isOf(o, s.UID) && s.Status.Stable != nil && k.of.stable != k.of.hash &&
		o.Labels[labelTemplate] == k.of.hash && s.Status.Failed != k.of.hash {
		k.fail("it was canceled")
	}
}

// rolled drafts how far a rollout is.
func (d *draft) rolled(o *api.Operation) {
	s := d.services[o.Spec.On.Name]
	if s == nil || s.Service == nil || !s.Deleted.IsZero() || !isOf(o, s.UID) {
		end(o, api.Canceled, d.now, "the service is removed")
		return
	}
	updated := 0
	var failing *set // the first, or each look would tell of another
	for _, i := range s.sets {
		switch h := d.host(i.Spec.Host); {
		case i.hash != s.hash || stops(i.SetInstance):
		case i.Status.Phase == api.Ready:
			updated++
		case i.Status.Phase == api.Failed && h != nil && serves(h) && (failing == nil || i.Name < failing.Name):
			failing = i
		}
	}
	waits := s.Status.Reason
	if failing != nil {
		waits = failing.Name + ": " + failing.Status.Message
	}
	u := s.Spec.Update
	switch {
	case o.Labels[labelTemplate] != s.hash:
		end(o, api.Canceled, d.now, "another template took its place")
		return
	case s.Status.Failed == s.hash:
		how := api.Broken
		if o.Spec.Cancel {
			how = api.Canceled
		}
		end(o, how, d.now, "it is taken back to generation %d", s.Status.Stable.Generation)
		return
	case s.stable == s.hash:
		o.Status.Done, o.Status.Of = updated, s.Spec.Replicas
		end(o, api.Succeeded, d.now, "all sets are ready")
		return
	case u.Paused:
		o.Status.Phase = "paused"
	case updated >= s.Spec.Replicas-u.Partition && u.Partition > 0:
		o.Status.Phase = "partitioned"
	default:
		o.Status.Phase = "updating"
	}
	o.Status.Done, o.Status.Of, o.Status.Message = updated, max(s.Spec.Replicas-u.Partition, 0), waits
}

// operationChanges are those of the draft.
func (d *draft) operationChanges() []change {
	var all []change
	for _, o := range d.begun {
		all = append(all, change{ops: 1, fill: func(b *state.Batch) { b.Create(o) }})
	}
	for _, o := range d.told {
		all = append(all, change{ops: 1, fill: func(b *state.Batch) { b.Update(o) }})
	}
	return all
}

// sweepOperations deletes operations that ended before a time.
func (l *leader) sweepOperations(ctx context.Context, before time.Time) error {
	l.cache.mu.Lock()
	var old []*api.Operation
	for _, o := range named(l.cache.ops.all) {
		if o.Status.Outcome != "" && o.Status.Ended.Before(before) && len(old) < batchOps {
			old = append(old, o)
		}
	}
	l.cache.mu.Unlock()
	if len(old) == 0 {
		return nil
	}
	b := l.store.Batch(l.term)
	for _, o := range old {
		b.Delete(o)
	}
	_, err := b.Commit(ctx)
	return err
}
