package agent

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/mosdocker/mosdocker/agent/cgroup"
	"github.com/mosdocker/mosdocker/agent/metric"
	"github.com/mosdocker/mosdocker/agent/oom"
	"github.com/mosdocker/mosdocker/internal/logx"
)

// OnKill has f called with each process that is killed for want of memory, and why; set is
// "" for one of none. It is called before Run.
func (a *Agent) OnKill(f func(ctx context.Context, set, text string)) { a.onKill = f }

// tellKills tells who of a container was killed for want of memory, and why.
func (a *Agent) tellKills(ctx context.Context) {
	err := oom.Watch(ctx, func(k oom.Kill) {
		o := a.objectOf(k.Cgroup)
		if o == nil && k.Limit != "" {
			return // somebody else's affair
		}
		why, who, set := reason(k, o), "cgroup "+k.Cgroup, ""
		args := []any{"process", k.Process, "pid", k.Pid, "reason", why, "cgroup", k.Cgroup}
		if o != nil {
			who, set = "container "+o.Name, o.Set
			args = append(args, logx.KeyContainer, o.Name)
			if o.Set != "" {
				args = append(args, logx.KeySet, o.Set)
			}
		}
		if a.onKill != nil {
			a.onKill(ctx, set, fmt.Sprintf("process %s (%d) of %s was killed for want of memory: %s", k.Process, k.Pid, who, why))
		}
		a.log.WarnContext(ctx, "a process was killed for want of memory", args...)
	})
	if err != nil {
		a.log.WarnContext(ctx, "kills for want of memory are counted but not explained", "err", err)
	}
}

// reason says whose memory it was.
func reason(k oom.Kill, o *metric.Object) string {
	switch {
	case k.Limit == "":
		return "the host has no more"
	case k.Limit == k.Cgroup || strings.HasPrefix(k.Cgroup, k.Limit+"/") && strings.Contains(path.Base(k.Limit), o.ID):
		return "limit of the container"
	case o.Set != "" && strings.HasSuffix(k.Limit, path.Dir(o.Cgroup)):
		return "limit of the set"
	}
	return "limit of cgroup " + k.Limit
}

// objectOf is the container that a cgroup belongs to, or nil. The kernel's path may
// begin above what this process takes for the root of the tree, and the container
// may have ended by its kill.
func (a *Agent) objectOf(group string) *metric.Object {
	a.mu.Lock()
	defer a.mu.Unlock()
	for part := range strings.SplitSeq(group, "/") {
		if id, ok := cgroup.ID(part); ok {
			return a.seen[id]
		}
	}
	return nil
}

// maxSeen is how many containers are remembered beside those that run.
const maxSeen = 1000

// remember keeps what is known of a container for some time after its end.
func (a *Agent) remember(o *metric.Object) {
	if len(a.seen) > maxSeen+2*len(a.targets) {
		clear(a.seen)
		for _, t := range a.targets {
			if o := t.source.Point.Object; o.Scope == metric.Container {
				a.seen[o.ID] = o
			}
		}
	}
	a.seen[o.ID] = o
}
