package api

import "time"

// Operation is something that takes its time: a rollout, a drain, a rebalance. It stays for a
// while after its end, to be asked about.
type Operation struct {
	Meta
	Spec   OperationSpec   `json:"spec,omitzero"`
	Status OperationStatus `json:"status,omitzero"`
}

// The verbs.
const (
	Drain     = "drain"     // a host: leaders make it of hosts that are to be empty
	Rollout   = "rollout"   // a service: leaders make it of a template that is new
	Rebalance = "rebalance" // all services, or one: users make it
)

// OperationSpec is what is done to what. Users change Cancel only.
type OperationSpec struct {
	Verb string    `json:"verb"`
	On   Reference `json:"on"` // services/* is all of them
	By   string    `json:"by,omitzero"`
	// Cancel ends it: a rollout goes back to the template before, a drained host keeps what
	// it has and takes no more, a rebalance makes no more moves.
	Cancel bool `json:"cancel,omitzero"`
	// Of a rebalance: how many moves it makes at most (100 by default), how many at a time (2),
	// and how many points of score a set must gain to be moved (1). A set whose host breaks a
	// rule of its service is moved whatever it gains.
	Most   int     `json:"most,omitzero"`
	AtOnce int     `json:"atOnce,omitzero"`
	Gain   float64 `json:"gain,omitzero"`
}

// OperationStatus is how far it is.
type OperationStatus struct {
	Outcome Outcome   `json:"outcome,omitzero"`
	Phase   string    `json:"phase,omitzero"` // of one that goes on, in a word
	Done    int       `json:"done,omitzero"`
	Of      int       `json:"of,omitzero"`
	Message string    `json:"message,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	// Moves are those of a rebalance, and Before and After what they make better.
	Moves  []Move   `json:"moves,omitzero"`
	Before *Balance `json:"before,omitzero"`
	After  *Balance `json:"after,omitzero"`
}

// Move is a set that goes to another host: to To, if that is the best one still when its turn
// comes.
type Move struct {
	Set   string    `json:"set"`
	From  string    `json:"from"`
	To    string    `json:"to"`
	Gain  float64   `json:"gain,omitzero"` // points of score
	Rule  string    `json:"rule,omitzero"` // that From breaks
	State MoveState `json:"state,omitzero"`
	Since time.Time `json:"since,omitzero"`
}

// MoveState is how far a move is. One that has not begun has none.
type MoveState string

// The states.
const (
	Moving  MoveState = "moving"
	Moved   MoveState = "moved"
	Skipped MoveState = "skipped" // it was not better any more, or not possible
	Stuck   MoveState = "failed"
)

// Balance is how well sets are placed. Parts in use are percent, of processors or memory,
// whatever is more.
type Balance struct {
	Broken   int     `json:"broken"`   // sets whose host breaks a rule of their service
	Score    float64 `json:"score"`    // points of a set, on average
	Hosts    int     `json:"hosts"`    // that have sets
	Fullest  int     `json:"fullest"`  // part in use of the host that has the most
	Emptiest int     `json:"emptiest"` // and the least
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

// MostMoves bounds what one operation does.
const MostMoves = 1000

// Kind is Operations.
func (o *Operation) Kind() Kind { return Operations }

// Head is the operation's Meta.
func (o *Operation) Head() *Meta { return &o.Meta }

// Check says all that is wrong with an operation. The error is of class InvalidArgument.
func (o *Operation) Check() error {
	var f flaws
	f.meta(&o.Meta, "operation", longestHost+longestLabel, true)
	if !dnsName(o.Spec.Verb, false) {
		f.add("spec.verb", "%.60q is no verb", o.Spec.Verb)
	}
	f.reference("spec.on", o.Spec.On)
	within(&f, "spec.most", int64(o.Spec.Most), 0, MostMoves)
	within(&f, "spec.atOnce", int64(o.Spec.AtOnce), 0, MostMoves)
	if g := o.Spec.Gain; g != 0 && !(g >= 0.01 && g <= 1000) {
		f.add("spec.gain", "%v is not between 0.01 and 1000 points", g)
	}
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
