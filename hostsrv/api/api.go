// Package api is what the host daemon tells of its sets and its Engine, over its unix
// socket, and a client for that.
package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/mosdocker/mosdocker/internal/adminapi"
)

// DefaultSocket is where mosd listens.
const DefaultSocket = "/run/mos/mosd.sock"

// Status is all of a host.
type Status struct {
	Engine Engine `json:"engine"`
	Sets   []Set  `json:"sets"`
	// Declared are the files that could not be read, and why.
	Faults map[string]string `json:"faults,omitempty"`
}

// Engine is how the Docker Engine does.
type Engine struct {
	// State is absent, well, slow or hung.
	State string    `json:"state"`
	Since time.Time `json:"since"`
	// Took is how long the last answer took, in milliseconds.
	Took  float64 `json:"took_ms"`
	Error string  `json:"error,omitempty"`
	// Hung are containers whose shim does not answer, or about which the Engine does not,
	// while it does about others.
	Hung []string `json:"hung,omitempty"`
	// LiveRestore is on, off, or "" while that is not known.
	LiveRestore string `json:"live_restore,omitempty"`
	// Recovery is what is done about an Engine that hangs, or why nothing is, and
	// Restarts how often mosd had it restarted.
	Recovery string `json:"recovery,omitempty"`
	Restarts int    `json:"restarts"`
}

// The states of an Engine.
const (
	Absent = "absent"
	Well   = "well"
	Slow   = "slow"
	Hung   = "hung"
)

// Whether containers go on while the Engine is restarted.
const (
	LiveRestoreOn  = "on"
	LiveRestoreOff = "off"
)

// Set is how one set does.
type Set struct {
	Name string `json:"name"`
	// State is one of the states of sets, and Detail says why.
	State  string    `json:"state"`
	Detail string    `json:"detail,omitempty"`
	Since  time.Time `json:"since"`
	// Declared is the file that declares it.
	Declared string `json:"declared,omitempty"`
	// Cluster is the mark of the cluster that wants it, and the set's UID there.
	Cluster string `json:"cluster,omitempty"`
	// Heals is how often it was healed since mosd runs, and Restarts how many of its
	// containers were started for that.
	Heals    int `json:"heals"`
	Restarts int `json:"restarts"`
	// Failures is how often in a row healing did not help, and Next when it is tried
	// again.
	Failures int       `json:"failures"`
	Next     time.Time `json:"next,omitzero"`
}

// The states of sets.
const (
	Right    = "right"    // as it is to be
	Healing  = "healing"  // right now
	Updating = "updating" // somebody replaces one of its containers
	Stopped  = "stopped"  // by docker set stop
	Held     = "held"     // some of its containers were stopped by hand and are left so
	Failing  = "failing"  // healing does not help
	Waiting  = "waiting"  // some of its containers ended and are started again later, by their Backoff
	Removing = "removing" // its cluster does not want it here any more
	Unknown  = "unknown"  // not looked at yet
)

// Event is something that mosd did or saw.
type Event struct {
	// Seq counts events since mosd runs, from 1 on.
	Seq    uint64    `json:"seq"`
	At     time.Time `json:"at"`
	Kind   string    `json:"kind"` // heal, healed, failed, live, restart, engine, end, declared, drift, cgroup, oom
	Set    string    `json:"set,omitempty"`
	Member string    `json:"member,omitempty"`
	Text   string    `json:"text"`
	Kill   *Kill     `json:"kill,omitempty"` // of kind oom
}

// Kill is a process that the kernel killed for want of memory.
type Kill struct {
	At      time.Time `json:"at"`
	Process string    `json:"process"` // its name
	PID     int       `json:"pid"`     // on the host
	// Container is its name, "" when it was in none; then the host had no more memory.
	Container string `json:"container,omitempty"`
	ID        string `json:"id,omitempty"`
	Set       string `json:"set,omitempty"`
	Member    string `json:"member,omitempty"`
	// Reason is one of the reasons of kills: whose memory it was.
	Reason string `json:"reason"`
	Cgroup string `json:"cgroup"`          // where it was, as the kernel names that
	Limit  string `json:"limit,omitempty"` // the cgroup whose limit was reached
}

// The reasons of kills.
const (
	KillByContainer = "container" // its limit was reached
	KillBySet       = "set"       // that of the set
	KillByHost      = "host"      // the host had no more
	KillByOther     = "other"     // the limit of a cgroup above
)

// Client asks mosd.
type Client struct{ c *adminapi.Client }

// New returns a client for a socket.
func New(socket string) *Client { return &Client{adminapi.New("mosd", socket)} }

// Status asks how the host does.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return adminapi.Get[Status](ctx, c.c, "/v1/status")
}

// SetLogLevel changes what mosd logs, until its configuration is read again.
func (c *Client) SetLogLevel(ctx context.Context, l adminapi.LogLevel) error {
	_, err := adminapi.Send[struct{}](ctx, c.c, http.MethodPut, "/v1/loglevel", l)
	return err
}

// Events asks for the events after one, of a set or of all.
func (c *Client) Events(ctx context.Context, after uint64, set string) ([]Event, error) {
	q := url.Values{"after": {strconv.FormatUint(after, 10)}, "set": {set}}
	return adminapi.Get[[]Event](ctx, c.c, "/v1/events?"+q.Encode())
}
