// Package top tells what containers, sets and the host use right now, from the samples of
// an agent. It costs nothing while nobody asks.
package top

import (
	"context"
	"sync"
	"time"

	"github.com/mosdocker/mosdocker/agent/metric"
	"github.com/mosdocker/mosdocker/hostsrv/api"
)

// longest is what rates are of at most; who asks later waits for two new samples.
const longest = time.Minute

// poll is how often one who waits looks for the next sample.
const poll = 50 * time.Millisecond

// View lends the last sample of an agent to a function, which may not keep it.
type View func(func(*metric.Sample))

// Keeper keeps the last two samples that somebody asked about. Its methods may be called
// at once.
type Keeper struct {
	view View
	of   metric.Scope

	mu         sync.Mutex // guards all below
	older, now *moment
}

// New keeps samples of an agent.
func New(view View) *Keeper { return NewOf(view, metric.Container|metric.Set|metric.Host) }

// NewOf keeps what samples of an agent have of some scopes: what is told of others costs
// nothing.
func NewOf(view View, of metric.Scope) *Keeper { return &Keeper{view: view, of: of} }

// moment is a sample without what is not told.
type moment struct {
	at   time.Time
	host string
	all  []object
	by   map[key]int // in all
}

type key struct {
	scope metric.Scope
	id    string
}

type object struct {
	o *metric.Object
	// values of metrics without a dimension, and sums of the others; absent ones were
	// not measured.
	values map[metric.ID]float64
}

// told are the metrics that are told.
func told() []metric.ID {
	return []metric.ID{
		metric.CPUUsage, metric.CPULimit, metric.CPUThrottled, metric.MemWorkingSet, metric.MemLimit, metric.MemTotal, metric.MemAvailable,
		metric.IOReadBytes, metric.IOWriteBytes, metric.NetRxBytes, metric.NetTxBytes, metric.CPUWaiting, metric.MemWaiting, metric.IOWaiting,
		metric.Threads, metric.OOMKills, metric.Cores,
	}
}

// look copies the last sample, unless it is the one that there is already.
func (k *Keeper) look() {
	var m *moment
	k.view(func(s *metric.Sample) {
		if k.now != nil && k.now.at.Equal(s.Time) {
			return
		}
		m = &moment{at: s.Time, host: s.Host, by: map[key]int{}}
		for _, p := range s.Points {
			if p.Object.Scope&k.of == 0 {
				continue
			}
			m.by[key{p.Object.Scope, p.Object.ID}] = len(m.all)
			m.all = append(m.all, object{p.Object, valuesOf(p)})
		}
	})
	if m != nil {
		k.older, k.now = k.now, m
	}
}

func valuesOf(p *metric.Point) map[metric.ID]float64 {
	var wanted [metric.Count]bool
	for _, id := range told() {
		wanted[id] = true
	}
	out := map[metric.ID]float64{}
	for _, s := range p.Series {
		if wanted[s.ID] && s.OK {
			out[s.ID] += s.Value
		}
	}
	return out
}

// Top is what all use. It waits for the next sample when there is none to compare with.
func (k *Keeper) Top(ctx context.Context) (api.Top, error) {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		if t, ok := k.Latest(); ok {
			return t, nil
		}
		select {
		case <-ctx.Done():
			return api.Top{}, context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// Latest is what all use by the last two samples that somebody asked about, and whether there
// are two that can be compared. It waits for no other sample.
func (k *Keeper) Latest() (t api.Top, ok bool) {
	k.mu.Lock()
	k.look()
	older, now := k.older, k.now
	k.mu.Unlock()
	if older == nil || !now.at.After(older.at) || now.at.Sub(older.at) > longest {
		return api.Top{}, false
	}
	return between(older, now), true
}

// between compares two samples.
func between(older, now *moment) api.Top {
	over := now.at.Sub(older.at).Seconds()
	t := api.Top{At: now.at.UTC(), Over: over, Host: now.host, Uses: make([]api.Use, 0, len(now.all))}
	for _, x := range now.all {
		var before map[metric.ID]float64 // none of one that is new
		if i, ok := older.by[key{x.o.Scope, x.o.ID}]; ok {
			before = older.all[i].values
		}
		t.Uses = append(t.Uses, x.use(before, over))
	}
	return t
}

func (x object) use(before map[metric.ID]float64, over float64) api.Use {
	rate := func(id metric.ID) float64 {
		v, ok := x.values[id]
		was, both := before[id]
		if !ok || !both {
			return -1
		}
		return max(0, v-was) / over
	}
	get := func(id metric.ID) float64 {
		if v, ok := x.values[id]; ok {
			return v
		}
		return -1
	}
	u := api.Use{
		Scope: x.o.Scope.String(), Name: x.o.Name, Set: x.o.Set, Member: x.o.Member, Image: x.o.Image,
		CPU: rate(metric.CPUUsage), CPULimit: max(0, get(metric.CPULimit)), CPUPercent: -1, Throttled: 100 * rate(metric.CPUThrottled),
		Memory: get(metric.MemWorkingSet), MemoryLimit: max(0, get(metric.MemLimit)), MemoryPercent: -1,
		Read: rate(metric.IOReadBytes), Written: rate(metric.IOWriteBytes), Received: rate(metric.NetRxBytes), Sent: rate(metric.NetTxBytes),
		WaitCPU: 100 * rate(metric.CPUWaiting), WaitMemory: 100 * rate(metric.MemWaiting), WaitIO: 100 * rate(metric.IOWaiting),
		Threads: get(metric.Threads), Kills: get(metric.OOMKills),
	}
	if x.o.Scope == metric.Host {
		u.CPULimit, u.MemoryLimit = get(metric.Cores), get(metric.MemTotal)
		u.Memory = u.MemoryLimit - get(metric.MemAvailable)
	}
	if u.CPULimit > 0 && u.CPU >= 0 {
		u.CPUPercent = 100 * u.CPU / u.CPULimit
	}
	if u.MemoryLimit > 0 && u.Memory >= 0 {
		u.MemoryPercent = 100 * u.Memory / u.MemoryLimit
	}
	for _, percent := range []*float64{&u.Throttled, &u.WaitCPU, &u.WaitMemory, &u.WaitIO} {
		*percent = max(-1, *percent)
	}
	return u
}
