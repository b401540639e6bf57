package setmgr

import (
	"context"
	"io"
	"time"

	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/render"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// Engine is what sets need of a Docker Engine. All calls may be repeated: one
// whose work is done already is well. Package docker has it.
type Engine interface {
	// Observe finds what there is of a set; want, unless nil, names the images,
	// networks and volumes to look for.
	Observe(ctx context.Context, set string, want *spec.Set) (plan.Observed, error)
	Sets(ctx context.Context) ([]string, error)

	Create(ctx context.Context, c render.Create) (id string, err error)
	// Put puts files into a container, and Get reads one of them.
	Put(ctx context.Context, id string, files []plan.File) error
	Get(ctx context.Context, id, path string) ([]byte, error)
	Start(ctx context.Context, id string) error
	Stop(ctx context.Context, id, signal string, grace *spec.Duration) error
	Kill(ctx context.Context, id, signal string) error
	Remove(ctx context.Context, id string, force bool) error
	Rename(ctx context.Context, id, name string) error
	Limit(ctx context.Context, id string, l plan.Limits) error
	SetRestart(ctx context.Context, id, policy string) error
	WaitEnd(ctx context.Context, id string) (code int, err error)
	WaitHealthy(ctx context.Context, id string) error
	Exec(ctx context.Context, id string, cmd []string) (code int, output string, err error)
	PID(ctx context.Context, id string) (int, error)
	// Tail is the last lines that a container wrote.
	Tail(ctx context.Context, id string) (string, error)

	Connect(ctx context.Context, n spec.Network, id string) error
	Disconnect(ctx context.Context, network, id string) error
	MakeVolume(ctx context.Context, name, driver string, options map[string]string, set string) error
	RemoveVolume(ctx context.Context, name string) error
	Pull(ctx context.Context, ref, auth string, progress func(status string, done, total int64)) error
	Load(ctx context.Context, tar io.Reader) error
}

// Happened is something that happened to a container of a set.
type Happened struct {
	At          time.Time
	ID, Name    string
	Set, Member string // Member is "" of an infra
	// Action is the Engine's word, such as start, die, stop or health_status, and
	// Detail what stands behind its colon, such as unhealthy.
	Action, Detail string
}

// Cap caps a set as a whole, by its cgroup parent. Package cgroup has it.
type Cap interface {
	Set(ctx context.Context, parent string, l plan.Limits) error
	Read(ctx context.Context, parent string) (l plan.Limits, there bool, err error)
	Drop(ctx context.Context, parent string) error
}
