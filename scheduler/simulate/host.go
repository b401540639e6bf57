package simulate

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/link"
)

// Witness is told what is active on hosts, as it happens. Its methods are called by many
// hosts at once.
type Witness interface {
	// Starts says that a set runs from now on, or that one that runs is of another template.
	Starts(host string, a link.Assigned)
	// Ends says that nothing of a set runs any more.
	Ends(host string, a link.Assigned)
}

// Host behaves as mosd with its Engine does. Fields are not changed after Run was called.
type Host struct {
	Name    string
	Status  api.HostStatus // what it reports, to which the volumes of its sets come
	Witness Witness        // may be nil
	// ReadyAfter is how long a set takes to get ready; if negative it fails.
	ReadyAfter func(link.Assigned) time.Duration
	StopAfter  time.Duration // how long one takes to stop
	Guarded    bool          // its mosbridge goes by what the cluster gives
	Holding    *link.Holding // what it tells each leader of images and ports

	mu     sync.Mutex // guards all below
	kept   link.Assignment
	runs   map[string]*run // by name
	dead   bool
	silent bool
	// trouble is why nothing gets ready.
	trouble string
	turned  chan struct{} // closed and made anew when one of the two changed
	boots   int
	seq     int64
	inUse   map[string]bool // blocks that containers of no set have addresses of
}

// run is a set that runs.
type run struct {
	link.Assigned
	ready  time.Time // when it gets ready
	fails  bool
	stopBy time.Time // when it is stopped, if it is being so
	phase  api.Phase
	since  time.Time
}

// defaultHeartbeat holds until a lease says another.
const defaultHeartbeat = 2 * time.Second

// After a session a host waits so long for the next, as long as nobody listens.
const (
	firstRetry = 20 * time.Millisecond
	mostRetry  = 640 * time.Millisecond
)

// Run lives until ctx ends, speaking with the controller that to gives at the time.
func (h *Host) Run(ctx context.Context, to func() link.Controller) {
	h.live(ctx, func(cut <-chan struct{}) bool { return h.session(ctx, to(), cut) })
}

// live has sessions, each until it ends or is cut, while the host is not away. A session
// says whether it had a lease.
func (h *Host) live(ctx context.Context, session func(cut <-chan struct{}) bool) {
	h.mu.Lock()
	h.runs, h.turned = map[string]*run{}, make(chan struct{})
	h.mu.Unlock()
	retry := firstRetry
	for ctx.Err() == nil {
		h.mu.Lock()
		away, turned := h.dead || h.silent, h.turned
		h.mu.Unlock()
		if away {
			select {
			case <-ctx.Done():
			case <-turned:
			}
			continue
		}
		if session(turned) {
			retry = firstRetry
		}
		select {
		case <-ctx.Done():
		case <-turned:
		case <-time.After(retry):
		}
		retry = min(2*retry, mostRetry)
	}
}

// Silence cuts the host off from controllers, or lets it speak again. Its sets go on.
func (h *Host) Silence(is bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.silent = is
	h.turn()
}

// Troubled has what is to get ready fail for a reason, or try again without one.
func (h *Host) Troubled(why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trouble = why
	for _, r := range h.runs {
		if why == "" && r.phase == api.Failed {
			r.phase = api.Starting
		}
	}
}

// Kill ends the host with all of its sets.
func (h *Host) Kill() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dead = true
	for _, r := range h.runs {
		h.ends(r)
	}
	h.turn()
}

// Uses has containers of no set have addresses of a block, or not any more.
func (h *Host) Uses(block string, is bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.inUse == nil {
		h.inUse = map[string]bool{}
	}
	h.inUse[block] = is
}

// Given is what the host was told of a network of the cluster.
func (h *Host) Given(network string) (g link.Given) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range h.kept.Networks {
		if n.Network == network {
			g = n
		}
	}
	return g
}

// Boot starts a host that was killed. Its Engine starts what ran before.
func (h *Host) Boot() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dead = false
	h.boots++
	h.follow(time.Now())
	h.turn()
}

// Wipe has a host that was killed know nothing any more.
func (h *Host) Wipe() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.kept, h.Status.Volumes = link.Assignment{}, nil
}

func (h *Host) turn() {
	close(h.turned)
	h.turned = make(chan struct{})
}

// Away says whether nobody hears of the host.
func (h *Host) Away() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.dead || h.silent
}

// Running are the names of its sets that run.
func (h *Host) Running() map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := map[string]string{}
	for name, r := range h.runs {
		all[name] = r.UID
	}
	return all
}

// session speaks with one controller until that refuses, or the host is cut off, and says
// whether it was listened to.
func (h *Host) session(ctx context.Context, c link.Controller, cut <-chan struct{}) (heard bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	first := h.report()
	first.Holding = h.Holding
	if _, err := c.Host(ctx, h.Name); err != nil && c.Join(ctx, h.Name, first.Status) != nil {
		return false
	}
	lease, err := c.Report(ctx, first)
	if err != nil {
		return false
	}
	assigned := make(chan link.Assignment)
	var wait sync.WaitGroup
	defer wait.Wait()
	defer cancel()
	wait.Go(func() {
		defer close(assigned)
		for a, err := range c.Assignments(ctx, h.Name) {
			if err != nil {
				return
			}
			select {
			case assigned <- a:
			case <-ctx.Done():
				return
			}
		}
	})
	beat := lease.Heartbeat.Duration
	if beat <= 0 {
		beat = defaultHeartbeat
	}
	due := time.Now().Add(beat)
	timer := time.NewTimer(beat)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return true
		case <-cut:
			return true
		case a, ok := <-assigned:
			if !ok || !h.take(a) {
				return true
			}
			due = time.Time{}
		case <-timer.C:
		}
		now := time.Now()
		changed, next := h.progress(now)
		if h.Away() {
			return true // what was due is not said any more: it would be heard much later
		}
		if changed || !now.Before(due) {
			if _, err := c.Report(ctx, h.report()); err != nil {
				return true
			}
			due = now.Add(beat)
		}
		wait := time.Until(due)
		if !next.IsZero() {
			wait = min(wait, time.Until(next))
		}
		timer.Reset(max(wait, 0))
	}
}

// take keeps an assignment, unless it is of a leader before.
func (h *Host) take(a link.Assignment) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.dead || h.silent {
		return false // it came after the cut
	}
	if a.Epoch < h.kept.Epoch || a.Epoch == h.kept.Epoch && a.Revision < h.kept.Revision {
		return false
	}
	h.kept = a
	h.follow(time.Now())
	return true
}

// follow does what the kept assignment says: first it stops, then it starts.
func (h *Host) follow(now time.Time) {
	want := map[string]link.Assigned{}
	for _, a := range h.kept.Sets {
		if !a.Stop {
			want[a.Name] = a
		}
	}
	for name, r := range h.runs {
		if a, ok := want[name]; ok && a.UID == r.UID {
			continue
		}
		if r.stopBy.IsZero() {
			r.stopBy = now.Add(h.StopAfter)
		}
	}
	for _, r := range h.runs {
		if r.stopBy.IsZero() {
			continue
		}
		if now.Before(r.stopBy) {
			return // nothing is started before
		}
		h.ends(r)
	}
	for _, a := range h.kept.Sets {
		r := h.runs[a.Name]
		if a.Stop || r != nil && r.Generation == a.Generation {
			continue
		}
		r = &run{Assigned: a, phase: api.Starting, since: now, ready: now}
		if h.ReadyAfter != nil {
			d := h.ReadyAfter(a)
			r.ready, r.fails = now.Add(max(d, 0)), d < 0
		}
		h.runs[a.Name] = r
		if v := a.Set.Volume; v != nil {
			name := cmp.Or(v.Name, a.Name+"-data")
			if i, there := slices.BinarySearch(h.Status.Volumes, name); !there {
				h.Status.Volumes = slices.Insert(slices.Clone(h.Status.Volumes), i, name)
			}
		}
		if h.Witness != nil {
			h.Witness.Starts(h.Name, a)
		}
	}
}

func (h *Host) ends(r *run) {
	delete(h.runs, r.Name)
	if h.Witness != nil {
		h.Witness.Ends(h.Name, r.Assigned)
	}
}

// progress goes on with what takes time, and says when there is more to do.
func (h *Host) progress(now time.Time) (changed bool, next time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	sooner := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	for _, r := range h.runs {
		switch {
		case !r.stopBy.IsZero() && !now.Before(r.stopBy):
			changed = true
		case !r.stopBy.IsZero():
			sooner(r.stopBy)
		case r.phase != api.Starting:
		case now.Before(r.ready):
			sooner(r.ready)
		default:
			r.phase, r.since, changed = api.Ready, now, true
			if r.fails || h.trouble != "" {
				r.phase = api.Failed
			}
		}
	}
	if changed {
		h.follow(now)
		for _, r := range h.runs {
			if r.phase == api.Starting {
				sooner(r.ready)
			}
		}
	}
	return changed, next
}

func (h *Host) report() link.Report {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seq++
	r := link.Report{
		Host: h.Name, Boot: strconv.Itoa(h.boots), Seq: h.seq, Sent: time.Now(),
		Epoch: h.kept.Epoch, Revision: h.kept.Revision, Status: h.Status,
	}
	r.Guarded, r.Status.Trouble = h.Guarded, h.trouble
	for _, n := range h.kept.Networks {
		for _, b := range n.Blocks {
			if h.Guarded && b.Leaving && !h.inUse[b.Prefix] {
				r.Returned = append(r.Returned, b)
			}
		}
	}
	for _, a := range h.kept.Sets {
		if h.runs[a.Name] == nil && a.Stop {
			r.Sets = append(r.Sets, link.SetReport{Name: a.Name, UID: a.UID, Gone: true})
		}
	}
	for _, n := range h.runs {
		s := link.SetReport{Name: n.Name, UID: n.UID, Generation: n.Generation, Phase: n.phase, Since: n.since}
		if n.fails {
			s.Message = "it exits"
		}
		r.Sets = append(r.Sets, s)
	}
	slices.SortFunc(r.Sets, func(a, b link.SetReport) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID)) })
	return r
}
