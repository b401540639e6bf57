package agent

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/mosdocker/mosdocker/agent/cgroup"
	"github.com/mosdocker/mosdocker/agent/docker"
	"github.com/mosdocker/mosdocker/agent/metric"
	"github.com/mosdocker/mosdocker/agent/read"
	"github.com/mosdocker/mosdocker/hostsrv/api"
)

// Sink takes samples. Take is called by the goroutine that measures and must
// neither block nor keep the sample. Counters are what the agent's own point says of
// it: batches sent and lost, attempts that failed, bytes that wait.
type Sink interface {
	Take(s *metric.Sample)
	Name() string
	Counters() (sent, dropped, failures uint64, buffered int64)
}

// Agent measures.
type Agent struct {
	cfg   Config
	log   *slog.Logger
	tree  cgroup.Tree
	dirs  docker.Dirs
	watch *cgroup.Watch // nil where the kernel gives none
	links chan struct{} // of capacity 1: the host has others

	// OnKill, unless nil, hears of each process that was killed for want of memory. It is
	// set before Run.
	OnKill func(context.Context, api.Kill)

	mu      sync.Mutex // guards all below
	buf     read.Buffer
	host    *read.Source
	ends    *read.Ends
	self    *read.Source
	targets map[string]*target      // by cgroup path
	arounds map[string]*read.Source // of cgroups with many containers, by their path
	sample  metric.Sample
	slow    time.Time // of the last slow sample
	samples uint64
	scans   uint64
	errors  uint64 // of closed sources
	series  int    // in the sample, to see that some come
	sinks   []*feed
	warned  map[string]bool           // what was logged about containers
	seen    map[string]*metric.Object // containers by their id, also ended ones
	told    told
	spaces  map[string]Space // of volumes by their name
	// kills are those of containers by their id and of sets by their name.
	kills     map[string]*kills
	hostKills kills
}

// feed is a sink with its series in the agent's own point.
type feed struct {
	Sink
	base int
}

// Open looks for the cgroup trees and the containers in them. The caller closes it.
func Open(cfg Config, log *slog.Logger) (*Agent, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	tree, err := cgroup.Mounted(string(mounts))
	if err != nil {
		return nil, err
	}
	return open(cfg, tree, log)
}

func open(cfg Config, tree cgroup.Tree, log *slog.Logger) (*Agent, error) {
	a := &Agent{
		cfg: cfg, log: log, tree: tree, links: make(chan struct{}, 1), targets: map[string]*target{}, arounds: map[string]*read.Source{}, warned: map[string]bool{}, seen: map[string]*metric.Object{}, kills: map[string]*kills{},
		dirs: cfg.Engine(),
	}
	name := cfg.host()
	a.sample.Host = name
	var err error
	if a.ends, err = read.NewEnds(); err != nil {
		return nil, err
	}
	a.self = read.NewAgent(&metric.Object{Scope: metric.Agent, ID: name, Name: name})
	if err := a.openHost(); err != nil {
		a.ends.Close()
		return nil, err
	}
	if a.watch, err = cgroup.NewWatch(); err != nil {
		log.Warn("containers that start are seen at the next look only", "err", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, err := a.scan(); err != nil {
		return nil, errors.Join(err, a.close())
	}
	a.arrange() // also without containers
	a.measure(time.Now())
	return a, nil
}

func (a *Agent) openHost() (err error) {
	name := a.cfg.host()
	if a.host, err = read.NewHost(a.tree, &metric.Object{Scope: metric.Host, ID: name, Name: name}); err != nil {
		return err
	}
	a.ends.Follow(a.host)
	if local(a.dirs.Root) {
		a.host.AddFileSystem(read.FileSystem{Name: a.dirs.Root, Path: a.dirs.Root})
	}
	return nil
}

// Close closes all files.
func (a *Agent) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.close()
}

func (a *Agent) close() error {
	for _, t := range a.targets {
		t.source.Close()
	}
	clear(a.targets)
	for _, s := range a.arounds {
		s.Close()
	}
	a.host.Close()
	a.ends.Close()
	a.self.Close()
	if a.watch == nil {
		return nil
	}
	return a.watch.Close()
}

// SwapSinks replaces the sinks by those that swap returns, also when it returns an
// error. It is called between two samples, so that each goes to the old ones or to
// the new ones.
func (a *Agent) SwapSinks(swap func() ([]Sink, error)) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	sinks, err := swap()
	a.sample.Generation++ // the series of sinks move
	a.sinks = nil
	for _, s := range sinks {
		a.sinks = append(a.sinks, &feed{Sink: s, base: a.seriesOf(s.Name())})
	}
	return err
}

// seriesOf are the series of a sink in the agent's point; a sink that is there
// again after a change of the configuration has those it had.
func (a *Agent) seriesOf(sink string) int {
	p := a.self.Point
	for i := range p.Series {
		if s := &p.Series[i]; s.ID == metric.SinkSent && s.Dim == sink {
			return i
		}
	}
	base := p.Add(metric.SinkSent, sink)
	for id := metric.SinkSent + 1; id <= metric.SinkBuffered; id++ {
		p.Add(id, sink)
	}
	return base
}

// View calls f with the last sample, which f may not keep.
func (a *Agent) View(f func(*metric.Sample)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f(&a.sample)
}

// settle is how long after folders changed a look waits for further changes: an
// Engine makes a container's folder in one tree after the other.
const settle = 30 * time.Millisecond

// again is how long after new containers a further look is taken: the Engine
// writes some of what is known of a container once it runs.
const again = 2 * time.Second

// Run measures until ctx ends.
func (a *Agent) Run(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { a.tellKills(ctx) })
	work.Go(func() { a.listEnds(ctx) })
	tick := time.NewTicker(a.cfg.Interval.Duration)
	defer tick.Stop()
	rescan := time.NewTimer(again)
	defer rescan.Stop()
	var changed <-chan struct{}
	if a.watch != nil {
		changed = a.watch.C
	}
	for {
		var look bool
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			look = a.round(now)
		case <-rescan.C:
			look = true
		case <-changed:
			wait(ctx, settle)
			look = true
		}
		if look {
			rescan.Reset(a.look())
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// round takes a sample and lends it to the sinks. It reports whether containers ended.
func (a *Agent) round(now time.Time) (ended bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	ended = a.measure(now)
	for _, s := range a.sinks {
		s.Take(&a.sample)
	}
	return ended
}

// look scans and returns when to do it again.
func (a *Agent) look() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	fresh, err := a.scan()
	if err != nil {
		a.warn("scan", "containers cannot be looked for", err)
	}
	if fresh {
		return again
	}
	return a.cfg.Rescan.Duration
}

// warn logs a fault once, and again after some hundred scans.
func (a *Agent) warn(key, msg string, err error) {
	if !a.warned[key] {
		a.warned[key] = true
		a.log.Warn(msg, "err", err) //nolint:sloglint // the callers' messages are constant
	}
}

// listEnds keeps the list of the host's ends of links that of the links it has.
func (a *Agent) listEnds(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.links:
		}
		a.mu.Lock()
		names, _ := a.ends.Names()
		a.mu.Unlock()
		list, err := read.ListEnds()
		a.mu.Lock()
		if now, _ := a.ends.Names(); err == nil && now == names {
			a.ends.Know(names, list)
		}
		a.mu.Unlock()
		if err != nil {
			a.log.DebugContext(ctx, "links of containers are all read", "err", err)
			wait(ctx, again)
		}
	}
}

// measure takes the values of all objects.
func (a *Agent) measure(now time.Time) (ended bool) {
	slow := now.Sub(a.slow) >= a.cfg.SlowInterval.Duration-a.cfg.Interval.Duration/2 || now.Before(a.slow)
	if slow {
		a.slow = now
	}
	begin := time.Now()
	a.host.Sample(&a.buf, now, slow) // first: by it is known which links of others are quiet
	if _, known := a.ends.Names(); !known {
		select {
		case a.links <- struct{}{}:
		default:
		}
	}
	for _, s := range a.arounds {
		if !s.Sample(&a.buf, now, slow) {
			s.Close() // it has ended; the look that follows takes it away
		}
	}
	ended = a.measureAll(metric.Set, now, slow) // the cgroups around those of containers first
	ended = a.measureAll(metric.Container, now, slow) || ended
	if ended {
		a.arrange()
	}
	a.hostKills.put(a.host.Point)
	a.told.put(a.host.Point)
	if slow && a.host.Stale() {
		a.reopenHost()
	}
	a.sample.Time = now
	a.samples++
	a.ownPoint(begin, slow)
	if n := a.countSeries(); n != a.series {
		a.series = n
		a.sample.Generation++
	}
	return ended
}

func (a *Agent) measureAll(scope metric.Scope, now time.Time, slow bool) (ended bool) {
	for _, t := range a.targets {
		o := t.source.Point.Object
		if o.Scope != scope {
			continue
		}
		if !t.measure(&a.buf, now, slow) {
			ended = true
			a.drop(t)
			continue
		}
		if slow {
			t.putSpaces(a.spaces)
		}
		if k := a.kills[o.ID]; k != nil {
			k.put(t.source.Point)
		}
	}
	return ended
}

// countSeries tells when the sample has another shape: between two calls of
// arrange, series only come.
func (a *Agent) countSeries() (n int) {
	for _, p := range a.sample.Points {
		n += len(p.Series)
	}
	return n
}

func (a *Agent) reopenHost() {
	old := a.host
	if err := a.openHost(); err != nil {
		a.host = old
		a.warn("host", "the files of the host cannot be opened again", err)
		return
	}
	a.errors += old.Errors
	old.Close()
	a.arrange()
}

func (a *Agent) ownPoint(begin time.Time, slow bool) {
	a.self.SampleAgent(&a.buf, slow)
	p := a.self.Point
	errs, containers := a.errors+a.host.Errors, 0
	for _, t := range a.targets {
		errs += t.source.Errors
		if t.source.Point.Object.Scope == metric.Container {
			containers++
		}
	}
	p.Set(metric.AgentSamples, float64(a.samples))
	p.Set(metric.AgentScans, float64(a.scans))
	p.Set(metric.AgentContainers, float64(containers))
	p.Set(metric.AgentReadErrors, float64(errs))
	for _, s := range a.sinks {
		sent, dropped, failures, buffered := s.Counters()
		for i, v := range [...]float64{float64(sent), float64(dropped), float64(failures), float64(buffered)} {
			p.SetAt(s.base+i, v)
		}
	}
	p.Set(metric.AgentSampleTime, time.Since(begin).Seconds())
}
