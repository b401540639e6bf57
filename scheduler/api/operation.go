package api

import "time"

// Operation is something that takes its time: a rollout, a drain. It stays for a while
// after its end, to be asked about.
type Operation struct {
	Meta
	Spec   OperationSpec   `json:"spec,omitzero"`
	Status OperationStatus `json:"status,omitzero"`
}

// OperationSpec is what is done to what.
type OperationSpec struct {
	Verb string    `json:"verb"`
	On   Reference `json:"on"`
	By   string    `json:"by,omitzero"` // who asked
}

// OperationStatus is how far it is.
type OperationStatus struct {
	Outcome Outcome   `json:"outcome,omitzero"`
	Done    int       `json:"done,omitzero"`
	Of      int       `json:"of,omitzero"`
	Message string    `json:"message,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
}

// Outcome is how an operation ended. One that goes on has none.
type Outcome string

// The outcomes.
const (
	Succeeded Outcome = "succeeded"
	Broken    Outcome = "failed"
	Canceled  Outcome = "canceled"
)

// Reference names a resource.
type Reference struct {
	Kind Kind   `json:"kind"`
	Name string `json:"name"`
}

// Kind is Operations.
func (o *Operation) Kind() Kind { return Operations }

// Head is the operation's Meta.
func (o *Operation) Head() *Meta { return &o.Meta }

// Check says all that is wrong with an operation. The error is of class InvalidArgument.
func (o *Operation) Check() error {
	var f flaws
	f.meta(&o.Meta, "operation", longestHost, false)
	if !dnsName(o.Spec.Verb, false) {
		f.add("spec.verb", "%.60q is no verb", o.Spec.Verb)
	}
	f.reference("spec.on", o.Spec.On)
	oneOf(&f, "status.outcome", o.Status.Outcome, "", Succeeded, Broken, Canceled)
	return f.err()
}

func (f *flaws) reference(at string, r Reference) {
	oneOf(f, at+".kind", r.Kind, Kinds()...)
	if r.Name == "" {
		f.add(at+".name", "it names nothing")
	}
}

// Event is something that happened, with its cause. It is not changed and goes after a while.
type Event struct {
	Meta
	Spec EventSpec `json:"spec,omitzero"`
}

// EventSpec is what happened.
type EventSpec struct {
	On    Reference `json:"on"`
	What  string    `json:"what"` // one word, such as placed
	Cause string    `json:"cause,omitzero"`
	Text  string    `json:"text,omitzero"`
}

// Kind is Events.
func (e *Event) Kind() Kind { return Events }

// Head is the event's Meta.
func (e *Event) Head() *Meta { return &e.Meta }

// Check says all that is wrong with an event. The error is of class InvalidArgument.
func (e *Event) Check() error {
	var f flaws
	f.meta(&e.Meta, "event", longestHost, false)
	f.reference("spec.on", e.Spec.On)
	if !dnsName(e.Spec.What, false) {
		f.add("spec.what", "%.60q is no word for what happened", e.Spec.What)
	}
	return f.err()
}
