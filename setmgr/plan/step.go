package plan

import (
	"time"

	"github.com/mosdocker/mosdocker/setmgr/render"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// Op is what a step does. Each may be repeated.
type Op string

// The steps.
const (
	LoadInfra  Op = "load-infra"  // our image of the infra container
	Pull       Op = "pull"        // an image
	MakeVolume Op = "make-volume" // of the set
	SetCap     Op = "cap"         // limits of the cgroup parent
	DropCap    Op = "uncap"       // the cgroup parent
	Create     Op = "create"      // a container
	Put        Op = "put"         // files into a container that was not started yet
	Start      Op = "start"
	Wait       Op = "wait"   // until it is ready, or with Once has ended well
	Settle     Op = "settle" // look that it stays ready
	Hook       Op = "hook"   // a command in a container
	Limit      Op = "limit"  // limits of a container, online
	Policy     Op = "restart-policy"
	StopOne    Op = "stop"
	Kill       Op = "kill"
	Rename     Op = "rename"
	RemoveOne  Op = "remove"
	Connect    Op = "connect" // the infra to a further network
	Disconnect Op = "disconnect"
	Grow       Op = "grow" // the set's volume
	DropVolume Op = "remove-volume"
)

// Step is one change of the outside.
type Step struct {
	// ID is unique in the plan, and Needs are the steps that must be over before it.
	ID    int
	Needs []int

	Op     Op
	Member string // whose container it is about; "" is the infra or the set
	Name   string // of the container, image, volume or network
	// Target is the id of a container that is there; without one it is that which
	// the step Made made.
	Target string
	Made   int

	Create  *render.Create // Create
	NewName string         // Rename
	Limits  Limits         // SetCap, Limit
	Policy  string         // Policy
	Net     spec.Network   // Connect
	// Container is the name of the infra container, of Connect and Disconnect.
	Container string
	Volume    spec.Volume    // MakeVolume, Grow
	Probe     *spec.Probe    // Wait
	Health    bool           // Wait: for the Engine's health check
	Maybe     bool           // Wait: of an image that is not there yet, and may have none
	Once      bool           // Wait: for the end
	For       spec.Duration  // Settle
	Within    spec.Duration  // Wait, Hook; 0 is what package setmgr has
	Cmd       []string       // Hook
	Signal    string         // Stop, Kill
	Grace     *spec.Duration // Stop
	// MayFail says that the plan goes on without this step, also when that takes
	// longer than Within.
	MayFail bool
	Files   []File // Put
	// From is the container whose files those of Put are that have no Data.
	From string
	// Back says of a Stop that the container is to run again when the plan fails, and
	// of a Wait that another one is down until it is over.
	Back bool

	Cause string
	// Outage says from when to when a member does not serve because of this step.
	Outage string
}

// ProbeDeadline is how long a probe that names no Deadline may take.
const ProbeDeadline = time.Minute

// Limit is how long a Wait may take, 0 is as long as it likes: for the end of one that says
// nothing.
func (s Step) Limit() time.Duration {
	switch {
	case !s.Once && s.Probe != nil && s.Probe.Deadline > 0:
		return time.Duration(s.Probe.Deadline)
	case s.Within > 0 || s.Once:
		return time.Duration(s.Within)
	}
	return ProbeDeadline
}

// File is one with what is in it, nil when that is in another container.
type File struct {
	spec.File
	Data []byte
}

// Plan is the steps of one verb on one set. Steps stand in an order in which they
// may be done one after the other.
type Plan struct {
	Set   string
	Steps []Step
	// Later are members that are not started yet, and what each waits for; of those
	// that they wait for Ask are to be asked whether they are ready.
	Later map[string]string
	Ask   []string
	// Beside are members whose new container is not ready yet and whose old one is kept, with
	// NoWait: a later plan goes on. Retries says that one of them ended and is started again,
	// and Lost why the new container of one, for which the old one is down, does not get ready.
	Beside  []string
	Retries bool
	Lost    map[string]string
	// Warnings are what the user should know and nobody does anything about.
	Warnings []string
}

// Options change what Up does.
type Options struct {
	InfraImage string // of sets that name none
	// Cluster is the label that containers get, of a set that has none. Others keep theirs.
	Cluster string
	// Owner is label.Owner of containers that are made, where the spec does not say it.
	Owner string
	// Files is what is in files that have a Digest, by that.
	Files map[string][]byte
	// Renew lets replaced containers lose their unnamed volumes.
	Renew bool
	// Heal leaves what the user stopped as it is.
	Heal bool
	// Boot says that the Engine has just started all that it found: members that were
	// started before one that they wait for are started again.
	Boot bool
	// NoWait leaves for later who waits for one that is not ready yet: Plan.Later tells. So
	// it leaves the end of the old container of one that is replaced.
	NoWait bool
	// Now is the time by which Plan.Lost is told, with NoWait.
	Now time.Time
	// Refused are members whose new container is not to be tried: the old one serves.
	Refused map[string]bool
	// Ready are members that answered their Ready probes just now, with NoWait.
	Ready map[string]bool
	// Keep are members that nobody asked to change: their containers stay, whatever
	// the names of their images mean by now.
	Keep []string
	// Leave are members that stay down where they are.
	Leave []string
	// Down says that the set was stopped by hand, and stays so.
	Down bool
	// Recreate allows to make the whole set anew where its infra must change.
	Recreate bool
}
