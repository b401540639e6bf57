package cluster

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mosdocker/mosdocker/hostsrv"
	hostapi "github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/hostsrv/names"
	"github.com/mosdocker/mosdocker/internal/fault"
	bridge "github.com/mosdocker/mosdocker/mosbridge/api"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/link"
	"github.com/mosdocker/mosdocker/setmgr/docker"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// Sets is what keeps the sets: a [hostsrv.Supervisor].
type Sets interface {
	Cluster(mark string)
	Wish(ctx context.Context, cluster string, all map[string]hostsrv.Wish)
	Told() map[string]hostsrv.Told
	Changed() <-chan struct{}
	Trouble() string
	Known() <-chan struct{}
	Note(ctx context.Context, kind, set, text string)
}

// Facts asks what the host has; Status.Machine and Labels are not its.
type Facts func(ctx context.Context) (api.HostStatus, error)

const (
	factsEvery = 5 * time.Second
	factsLimit = 3 * time.Second
	knownLimit = 2 * time.Second
)

// Host is this host in its cluster.
type Host struct {
	cfg    Config
	name   string
	labels map[string]string
	boot   string
	sets   Sets
	facts  Facts
	names  *names.Server
	engine func() (names.Engine, error)
	log    *slog.Logger
	reach  func() (*docker.Engine, error) // by sessions; nil has none
	change chan struct{}                  // of capacity 1
	rejoin chan struct{}                  // of capacity 1: other endpoints are to be used
	bridge Bridge                         // nil has none

	measure Measure // nil has none
	holds   Holds   // nil has none

	telling sync.Mutex // the bridge is told in the order of the record's changes

	turn sync.Mutex // what is wished of sets is wished in the order of the record's changes

	mu      sync.Mutex // guards all below
	rec     record
	seq     int64
	status  api.HostStatus
	phases  map[string]link.SetReport
	broken  map[string]string // sets that cannot be made, and why
	applied bool              // an assignment was given to sets, of this start
	linked  string
	lease   link.Lease
	since   time.Time
	err     error
	untold  string          // why mosbridge could not be told, to say it once
	given   *bridge.Cluster // what mosbridge said last that it goes by; nil if it does not

	held                  held
	used                  hostapi.Top // as measured last
	usageSaid, usageHeard time.Time   // of what was reported, and of what a leader took
}

// Open makes the host, from what is on disk. Nothing is done before [Host.Run].
func Open(cfg Config, sets Sets, facts Facts, engine func() (names.Engine, error), log *slog.Logger) (*Host, error) {
	name, err := cfg.name()
	if err != nil {
		return nil, err
	}
	labels, err := cfg.labels()
	if err != nil {
		return nil, err
	}
	rec, err := load(cfg.State)
	if err != nil {
		return nil, err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, err
	}
	answers, err := names.Open(cfg.Domain, cfg.State, log)
	if err != nil {
		return nil, err
	}
	h := &Host{
		names: answers, engine: engine, cfg: cfg, name: name, labels: labels, boot: strings.TrimSpace(string(boot)), sets: sets, facts: facts, log: log,
		change: make(chan struct{}, 1), rejoin: make(chan struct{}, 1), rec: rec, phases: map[string]link.SetReport{}, since: time.Now(),
	}
	sets.Cluster(rec.Cluster)
	return h, nil
}

// Name is the host's in the cluster.
func (h *Host) Name() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return cmp.Or(h.rec.Name, h.name)
}

// Run keeps the host in its cluster until ctx ends. What runs then goes on.
func (h *Host) Run(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	h.look(ctx)
	work.Go(func() { h.watch(ctx) })
	work.Go(func() { h.renewals(ctx) })
	work.Go(func() { h.giveAlways(ctx) })
	work.Go(func() { h.measureAlways(ctx) })
	work.Go(func() { h.holdAlways(ctx) })
	work.Go(func() { h.names.Run(ctx, h.engine) })
	work.Go(func() {
		select {
		case <-ctx.Done():
		case <-time.After(h.cfg.Grace.Duration):
			h.fromDisk(ctx)
		}
	})
	select { // it is not to say that there is trouble, and then that there is none
	case <-h.sets.Known():
	case <-time.After(knownLimit):
	case <-ctx.Done():
	}
	for ctx.Err() == nil {
		one, stop := context.WithCancel(ctx)
		work.Go(func() {
			select {
			case <-one.Done():
			case <-h.rejoin:
				stop()
			}
		})
		c := link.Client{Endpoints: h.endpoints, TLS: h.tls, Log: h.log}
		if len(h.endpoints()) == 0 {
			<-one.Done()
		} else {
			c.Run(one, h)
		}
		stop()
	}
}

func (h *Host) endpoints() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.rec.Endpoints) > 0 {
		return slices.Concat(h.rec.Endpoints, h.rec.Peers)
	}
	return h.cfg.Endpoints
}

// fromDisk goes by the assignment on disk, if the cluster was not heard yet.
func (h *Host) fromDisk(ctx context.Context) {
	h.turn.Lock()
	defer h.turn.Unlock()
	h.mu.Lock()
	a, todo := h.rec.Assignment, !h.applied && h.rec.Cluster != ""
	h.applied = h.applied || todo
	h.mu.Unlock()
	if todo {
		h.log.InfoContext(ctx, "the cluster is not heard: going by the assignment on disk", "epoch", a.Epoch, "revision", a.Revision)
		h.apply(ctx, a)
	}
}

// Assign takes an assignment over: it is on disk, then it is what is wished. One that is
// refused is of class FailedPrecondition.
func (h *Host) Assign(ctx context.Context, a link.Assignment) error {
	if a.Cluster == "" || a.Host != h.Name() {
		return fault.Conflict("it is of host %q of cluster %q, and this is host %s", a.Host, a.Cluster, h.Name())
	}
	h.turn.Lock()
	defer h.turn.Unlock()
	h.mu.Lock()
	rec := h.rec
	had := rec.Assignment
	switch {
	case rec.Cluster == "" && len(rec.Endpoints) == 0 && len(h.cfg.Endpoints) == 0: // it left, and its link is about to end
		h.mu.Unlock()
		return fault.Conflict("this host is of no cluster")
	case rec.Cluster != "" && rec.Cluster != a.Cluster:
		h.mu.Unlock()
		return fault.Conflict("it is of cluster %s, and this host is of cluster %s: docker mos host leave takes it from that", a.Cluster, rec.Cluster)
	case a.Epoch < had.Epoch || a.Epoch == had.Epoch && a.Revision < had.Revision:
		h.mu.Unlock()
		return fault.Conflict("it is of epoch %d, revision %d, and the host has epoch %d, revision %d", a.Epoch, a.Revision, had.Epoch, had.Revision)
	}
	news := a.Names
	a.Names = nil // they are kept by themselves
	if news != nil {
		if err := h.names.Take(*news); err != nil {
			h.log.WarnContext(ctx, "names of the cluster are not kept on disk", "err", err)
		}
	}
	same := news != nil && h.applied && a.Epoch == had.Epoch && reflect.DeepEqual(a.Sets, had.Sets)
	rec.Cluster, rec.Assignment = a.Cluster, a
	if a.Epoch != had.Epoch || a.Revision != had.Revision || h.rec.Cluster == "" {
		if err := rec.save(h.cfg.State); err != nil {
			h.mu.Unlock()
			return err
		}
	}
	h.rec, h.applied = rec, true
	h.mu.Unlock()
	h.tellBridge(ctx) // before sets ask for their addresses
	if !same {
		h.apply(ctx, a)
	}
	h.nudge() // that it has it
	return nil
}

// apply has the sets of an assignment kept.
func (h *Host) apply(ctx context.Context, a link.Assignment) {
	all, broken, asking := map[string]hostsrv.Wish{}, map[string]string{}, map[string]bool{}
	for _, one := range a.Sets {
		w := hostsrv.Wish{UID: one.UID, Generation: one.Generation}
		if !one.Stop {
			set := one.Set.Set
			set.Name = one.Name
			if why := cannot(&set); why != "" {
				broken[one.Name] = why
				continue // what runs of it goes on
			}
			h.names.Give(&set)
			if names.Asks(&set) {
				asking[one.Name] = true
			}
			w.Set = &set
		}
		all[one.Name] = w
	}
	h.mu.Lock()
	h.broken = broken
	for name, p := range h.phases {
		if !slices.ContainsFunc(a.Sets, func(one link.Assigned) bool { return one.Name == name && one.UID == p.UID }) {
			delete(h.phases, name)
		}
	}
	h.mu.Unlock()
	h.names.Serve(asking)
	h.sets.Wish(ctx, a.Cluster, all)
}

// cannot says why a set cannot be made on a host, "" if it can.
func cannot(set *spec.Set) string {
	if err := set.Check(); err != nil {
		return err.Error()
	}
	for _, c := range set.Containers {
		if len(c.Options.EnvFiles) > 0 {
			return "container " + c.Name + " has EnvFiles, which a host of a cluster does not have: say Env"
		}
		for _, f := range c.Options.Files {
			if f.Source != "" || f.Digest != "" {
				return "file " + f.Path + " of container " + c.Name + " has a Source, which a host of a cluster does not have: say Text"
			}
		}
	}
	return ""
}

// Report is how the host does now.
func (h *Host) Report(context.Context) link.Report {
	told, trouble := h.sets.Told(), h.sets.Trouble()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seq++
	a := h.rec.Assignment
	r := link.Report{Host: cmp.Or(h.rec.Name, h.name), Boot: h.boot, Seq: h.seq, Epoch: a.Epoch, Revision: a.Revision, Status: h.status}
	r.Status.Machine, r.Status.Labels, r.Status.Trouble = h.rec.Machine, h.labels, trouble
	r.Guarded, r.Returned = h.given != nil, returned(h.given)
	r.Usage, r.Holding = h.usage(told), h.held.report()
	for _, one := range a.Sets {
		t, known := told[one.Name]
		now := link.SetReport{Name: one.Name, UID: one.UID, Phase: api.Starting}
		switch {
		case h.broken[one.Name] != "":
			now.Generation, now.Phase, now.Message = one.Generation, api.Failed, h.broken[one.Name]
		case known && t.UID == one.UID:
			now.Generation, now.Phase, now.Message, now.Gone = t.Generation, phase(t), strings.ReplaceAll(t.Detail, "\n", "; "), t.Gone && one.Stop
		case one.Stop:
			now.Phase, now.Message = api.Running, "it is not stopped yet"
		}
		r.Sets = append(r.Sets, h.dated(now))
		delete(told, one.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(told)) { // those that are being removed
		t := told[name]
		r.Sets = append(r.Sets, link.SetReport{Name: name, UID: t.UID, Phase: phase(t), Message: t.Detail, Gone: t.Gone})
	}
	return r
}

// dated adds since when a set is in its phase. The caller holds mu.
func (h *Host) dated(now link.SetReport) link.SetReport {
	was, had := h.phases[now.Name]
	now.Since = time.Now().UTC().Truncate(time.Millisecond)
	if had && was.UID == now.UID && was.Phase == now.Phase {
		now.Since = was.Since
	}
	h.phases[now.Name] = now
	return now
}

// phase is a supervisor's state as the cluster has it.
func phase(t hostsrv.Told) api.Phase {
	switch {
	case t.Ready:
		return api.Ready
	case t.Gone:
		return api.Stopped
	}
	switch t.State {
	case hostapi.Stopped:
		return api.Stopped
	case hostapi.Failing:
		return api.Failed
	case hostapi.Right, hostapi.Held, hostapi.Waiting, hostapi.Updating, hostapi.Removing:
		return api.Running
	}
	return api.Starting
}

// Changed gives a value after what is to be reported changed.
func (h *Host) Changed() <-chan struct{} { return h.change }

func (h *Host) nudge() {
	select {
	case h.change <- struct{}{}:
	default:
	}
}

// Linked keeps how the link does.
func (h *Host) Linked(endpoint string, lease link.Lease, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.linked != endpoint {
		h.since = time.Now()
	}
	h.linked, h.lease, h.err = endpoint, lease, err
	h.held.linked(lease.Epoch)
	h.usageHeard = time.Time{} // the next leader knows nothing yet
	if err == nil {
		h.usageHeard = h.usageSaid
		h.hear(lease.Endpoints)
	}
}

// mostPeers is how many endpoints are kept beside those of the join.
const mostPeers = 16

// hear keeps the endpoints that a leader tells a host which joined. One that is told no more
// may come back: it is kept until as many others are told. The caller holds mu.
func (h *Host) hear(told []string) {
	rec := h.rec
	told = slices.DeleteFunc(slices.Clone(told), func(e string) bool {
		return slices.Contains(rec.Endpoints, e) || !strings.HasPrefix(e, "https://") || link.CheckEndpoint(e) != nil
	})
	known := func(e string) bool { return slices.Contains(rec.Peers, e) }
	if len(rec.Endpoints) == 0 || !slices.ContainsFunc(told, func(e string) bool { return !known(e) }) {
		return
	}
	if len(told) < len(rec.Peers) {
		told = append(slices.DeleteFunc(told, known), rec.Peers...)
	}
	rec.Peers = told[:min(len(told), mostPeers)]
	if err := rec.save(h.cfg.State); err != nil {
		h.log.Warn("endpoints of the cluster are not kept on disk", "err", err)
		return
	}
	h.rec = rec
	h.log.Info("the cluster told where it is reached", "endpoints", rec.Peers)
}

// watch passes on what changes, and asks again what the host has.
func (h *Host) watch(ctx context.Context) {
	tick := time.NewTicker(factsEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.sets.Changed():
			h.nudge()
		case <-tick.C:
			if h.isLinked() && h.look(ctx) { // nobody asks a host that is of no cluster
				h.nudge()
			}
		}
	}
}

func (h *Host) isLinked() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.linked != ""
}

// look asks what the host has, and says whether that is something else than before. What
// cannot be asked right now, such as of an Engine that is down, stays as it was.
func (h *Host) look(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, factsLimit)
	defer cancel()
	now, err := h.facts(ctx)
	if err != nil {
		h.log.DebugContext(ctx, "what the host has is not known", "err", err)
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	changed := !reflect.DeepEqual(now, h.status)
	h.status = now
	return changed
}

// Volumes are the names of those of sets that are assigned.
func (h *Host) Volumes() map[string]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return volumes(h.rec.Assignment)
}
