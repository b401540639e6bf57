package agent

import (
	"context"
	"path"
	"strings"
	"time"

	"github.com/mosdocker/mosdocker/agent/cgroup"
	"github.com/mosdocker/mosdocker/agent/metric"
	"github.com/mosdocker/mosdocker/agent/oom"
	"github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/internal/logx"
)

// tellKills logs and counts who was killed for want of memory, and why.
func (a *Agent) tellKills(ctx context.Context) {
	err := oom.Watch(ctx, func(k oom.Kill) { a.killed(ctx, k) })
	if err != nil {
		a.log.WarnContext(ctx, "kills for want of memory are counted but not explained", "err", err)
	}
}

func (a *Agent) killed(ctx context.Context, k oom.Kill) {
	o := a.objectOf(k.Cgroup)
	if o == nil && k.Limit != "" {
		return // somebody else's affair
	}
	told := api.Kill{At: time.Now().UTC(), Process: k.Process, PID: k.Pid, Reason: reason(k, o), Cgroup: k.Cgroup, Limit: k.Limit}
	args := []any{"process", k.Process, "pid", k.Pid, "reason", told.Reason, "cgroup", k.Cgroup, "limit", k.Limit}
	if o != nil {
		told.Container, told.ID, told.Set, told.Member = o.Name, o.ID, o.Set, o.Member
		args = append(args, logx.KeyContainer, o.Name)
		if o.Set != "" {
			args = append(args, logx.KeySet, o.Set)
		}
	}
	a.log.WarnContext(ctx, "a process was killed for want of memory", args...)
	a.count(told)
	if a.OnKill != nil {
		a.OnKill(ctx, told)
	}
}

// reason says whose memory it was.
func reason(k oom.Kill, o *metric.Object) string {
	switch {
	case k.Limit == "":
		return api.KillByHost
	case k.Limit == k.Cgroup || strings.HasPrefix(k.Cgroup, k.Limit+"/") && strings.Contains(path.Base(k.Limit), o.ID):
		return api.KillByContainer
	case o.Set != "" && strings.HasSuffix(k.Limit, path.Dir(o.Cgroup)):
		return api.KillBySet
	}
	return api.KillByOther
}

// reasons are the dimension of [metric.OOMReasons].
func reasons() [4]string {
	return [4]string{api.KillByContainer, api.KillBySet, api.KillByHost, api.KillByOther}
}

// kills counts those of one object, also after its cgroup was made anew.
type kills struct {
	n  [4]float64
	at [4]int        // of its series
	of *metric.Point // that has them
}

// put gives a point the counts; those of the host also while they are 0.
func (k *kills) put(p *metric.Point) {
	if k.of != p {
		k.of, k.at = p, [4]int{}
	}
	for i, n := range k.n {
		if n == 0 && p.Object.Scope != metric.Host {
			continue
		}
		if k.at[i] == 0 {
			k.at[i] = p.Add(metric.OOMReasons, reasons()[i])
		}
		p.SetAt(k.at[i], n)
	}
}

// count counts a kill at its container, its set and the host.
func (a *Agent) count(k api.Kill) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.kills) > maxSeen+2*len(a.targets) {
		running := map[string]*kills{}
		for _, t := range a.targets {
			if id := t.source.Point.Object.ID; a.kills[id] != nil {
				running[id] = a.kills[id]
			}
		}
		a.kills = running
	}
	for i, r := range reasons() {
		if r != k.Reason {
			continue
		}
		a.hostKills.n[i]++
		for _, id := range []string{k.ID, k.Set} {
			if id == "" {
				continue
			}
			if a.kills[id] == nil {
				a.kills[id] = &kills{}
			}
			a.kills[id].n[i]++
		}
	}
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
