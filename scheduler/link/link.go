package link

import (
	"context"
	"iter"
	"time"

	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/scheduler/api"
)

// Assignment is all that one host is to run. What it does not name, of the sets that the
// host had from this cluster, is stopped and removed before anything is started.
type Assignment struct {
	// Cluster tells clusters apart, also one that was made anew at the same place. The
	// link's server fills it in.
	Cluster string `json:"cluster,omitzero"`
	Host    string `json:"host"`
	// Epoch is that of the leader's term, and Revision grows within it.
	Epoch    int64      `json:"epoch"`
	Revision int64      `json:"revision"`
	Sets     []Assigned `json:"sets,omitzero"`
	// Networks are those of the cluster, for the host's mosbridge: in their subnets nobody
	// gets addresses that are not the host's.
	Networks []Given `json:"networks,omitzero"`
	// Names are those that sets of the host may ask, in place of those before; nil if they
	// are as they were.
	Names *Names `json:"names,omitzero"`
}

// Given is what a host may give out in a network of the cluster: to any container what is in its
// blocks, and to its sets the addresses that they have.
type Given struct {
	Network string            `json:"network"`
	Pools   []api.AddressPool `json:"pools"`
	Blocks  []api.HostBlock   `json:"blocks,omitzero"`
	Sets    map[string]string `json:"sets,omitzero"` // by address: the set's name
}

// Names are of the sets in the cluster's networks that the host's sets are in.
type Names struct {
	Revision int64             `json:"revision"` // of the store
	Networks map[string][]Name `json:"networks"`
	Cut      []string          `json:"cut,omitzero"` // networks of which there are more than MostNames
}

// MostNames is how many names of one network a host is told.
const MostNames = 10_000

// Name is of one set in a network.
type Name struct {
	Set       string   `json:"set"`
	Service   string   `json:"service"`
	Addresses []string `json:"addresses"`
	Ready     bool     `json:"ready,omitzero"` // it stands behind its service's name
	Ports     []string `json:"ports,omitzero"` // on which it serves, as tcp/80
}

// Assigned is one set.
type Assigned struct {
	Name    string `json:"name"`
	UID     string `json:"uid"`
	Service string `json:"service"`
	// Generation is that of the service's template, which Set is. It is named by Name.
	Generation int64        `json:"generation"`
	Set        api.Template `json:"set"`
	// Stop says that the set is to be gone, and that the leader waits for a report of that.
	Stop bool `json:"stop,omitzero"`
}

// Report is what a host says of itself.
type Report struct {
	Host string `json:"host"`
	// Boot tells the starts of the host apart, and Seq grows from one report to the next
	// of one mosd.
	Boot string    `json:"boot"`
	Seq  int64     `json:"seq"`
	Sent time.Time `json:"sent"`
	// Epoch and Revision are of the assignment that the host has, 0 if none. It may not
	// be applied yet: that is what Sets tell.
	Epoch    int64 `json:"epoch,omitzero"`
	Revision int64 `json:"revision,omitzero"`
	// Guarded says that the host's mosbridge gives out only what the host was given.
	Guarded bool `json:"guarded,omitzero"`
	// Returned are blocks that leave, of which nothing is in use and nothing is given out any
	// more.
	Returned []api.HostBlock `json:"returned,omitzero"`
	// Status is what the host knows of itself: all but Health, Since and Blocks.
	Status api.HostStatus `json:"status"`
	// Sets are all sets of the cluster that are on the host, and those that are assigned.
	Sets []SetReport `json:"sets,omitzero"`
	// Usage is what was measured since the report before, nil if nothing was. By itself it is
	// no news: no report is sent for it.
	Usage *Usage `json:"usage,omitzero"`
	// Holding is what the host has of images and ports, nil if this leader was told. It is no
	// news either.
	Holding *Holding `json:"holding,omitzero"`
}

// SetReport is how one set does.
type SetReport struct {
	Name string `json:"name"`
	UID  string `json:"uid"`
	// Generation is that of the template by which the set was last made or changed, or by
	// which that fails.
	Generation int64     `json:"generation,omitzero"`
	Phase      api.Phase `json:"phase,omitzero"`
	Since      time.Time `json:"since,omitzero"`
	Message    string    `json:"message,omitzero"`
	// Gone says that nothing runs of a set that is assigned to stop; it is reported until
	// the set is assigned no more.
	Gone bool `json:"gone,omitzero"`
}

// Lease is the answer to a report.
type Lease struct {
	Epoch int64 `json:"epoch"` // of who leads
	// TTL is how long after this the host counts as there, and Heartbeat when the next
	// report is due at the latest.
	TTL       config.Duration `json:"ttl"`
	Heartbeat config.Duration `json:"heartbeat"`
	// Endpoints are where the cluster's controllers are reached, so that a host that joined
	// at one finds the others.
	Endpoints []string `json:"endpoints,omitzero"`
}

// Controller is what the link's server asks of the process that it runs in. On one that
// does not lead reports and assignments fail with class Unavailable.
type Controller interface {
	// Host is a host of the cluster; NotFound if there is none of the name.
	Host(ctx context.Context, name string) (*api.Host, error)
	// Join makes a host, with what it says of itself, or gives the name of one that is
	// lost to another machine (status.machine), which only the leader does. Who may join was
	// asked before. A host that is live on another machine is of class AlreadyExists.
	Join(ctx context.Context, name string, status api.HostStatus) error
	// Report takes a report of a host that joined. It is quick: it writes transitions
	// later.
	Report(ctx context.Context, r Report) (Lease, error)
	// Assignments are those of a host, the current one at once and one after each change;
	// some between may be left out. They end with an error when the process does not lead
	// any more, and without one when ctx ends.
	Assignments(ctx context.Context, host string) iter.Seq2[Assignment, error]
}
