package plan

import (
	"time"

	"github.com/mosdocker/mosdocker/setmgr/render"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// Observed is what there is of one set on an Engine.
type Observed struct {
	Facts render.Facts
	// Infra is the infra container, nil without one.
	Infra *Container
	// Members are all containers of members, also those that are being replaced.
	Members []Container
	// Taken are names that the set wants and containers of others have, with the
	// id of each.
	Taken map[string]string
	// Networks, Volumes and Images say of each that the spec names whether it is
	// there; of an image its id.
	Networks, Volumes map[string]bool
	Images            map[string]string
	// Checked are the images that have a health check of their own.
	Checked map[string]bool
	// Drivers and Sizes are of volumes; a driver that does not tell has 0.
	Drivers map[string]string
	Sizes   map[string]spec.Bytes
	// Left are the volumes that were made for the set.
	Left []string
	// Cap is what the cgroup parent of the set holds, and HasCap whether there is one.
	Cap    Limits
	HasCap bool
	// CanCap says whether this process may write the cgroup parent, else why not.
	CanCap string
	// Unkept is why nobody asks members by their Live and starts them by their Backoff,
	// "" when mosd does, or when that is not known.
	Unkept string
}

// Stopped says whether docker set stop stopped the set.
func (o Observed) Stopped() bool {
	return o.Infra != nil && o.Infra.Restart == "no" && !o.Infra.live()
}

// Cluster is the mark of the cluster that has the set here, and the set's UID in it, ""
// of a set that no cluster has.
func (o Observed) Cluster() string {
	if o.Infra != nil {
		return o.Infra.Cluster
	}
	for _, c := range o.Members {
		if c.Cluster != "" {
			return c.Cluster
		}
	}
	return ""
}

// Owner is whose the set is, "" of one that has no owner or no infra container.
func (o Observed) Owner() string {
	if o.Infra == nil {
		return ""
	}
	return o.Infra.Owner
}

// Container is one of a set's containers as it is found.
type Container struct {
	ID, Name string
	Member   string // "" of an infra container
	Index    int
	Rev      int
	Hash     string // label.Hash
	Spec     string // label.Spec
	History  string // label.History
	Cluster  string // label.Cluster
	Owner    string // label.Owner
	Image    string // as it was named
	ImageID  string
	State    State
	ExitCode int
	// Failed is why the Engine could not start it the last time.
	Failed string
	OOM    bool
	// Health is "" without a health check, else starting, healthy or unhealthy.
	Health   string
	Started  time.Time
	Finished time.Time // of one that ended
	Created  time.Time
	Restarts int
	PID      int
	// NetOf is the id of the container whose network it shares, "" of an infra.
	NetOf string
	// Stranded says that its network namespace is not the one of the infra any more.
	Stranded bool
	Restart  string // restart policy, as in a spec
	// Unnamed are the paths that are in unnamed volumes, by VOLUME of its image: these
	// go with the container.
	Unnamed []string
	Limits  Limits
	// Nano says that its CPU was limited by docker update --cpus: an Engine takes that
	// limit off no container that is there.
	Nano bool
	// Nets are the networks that an infra container is connected to, with addresses.
	Nets map[string]Net
}

// Net is one connection.
type Net struct{ ID, IP, IP6, MAC string }

// State is a state of a container as the Engine names it.
type State string

// The states.
const (
	Created    State = "created"
	Running    State = "running"
	Paused     State = "paused"
	Restarting State = "restarting"
	Exited     State = "exited"
	Dead       State = "dead"
	Removing   State = "removing"
)

// Limits are amounts of cores and memory; 0 is none.
type Limits struct {
	CPU spec.Cores
	MEM spec.Bytes
}

// Serves says whether a container serves, or did the work that it is there for and is
// not to run again.
func (c Container) Serves() bool {
	if c.State != Exited {
		return c.State == Running && !c.Stranded && (c.Health == "" || c.Health == "healthy")
	}
	own, err := spec.DecodeContainer(c.Spec)
	if err != nil {
		return false // of another release
	}
	// The policy of the container itself says no more once the set was stopped.
	opt := own.Options
	ends := opt.Backoff == nil && (opt.Restart == "no" || opt.Restart == "" && opt.Once)
	return ends && c.ExitCode == 0
}
