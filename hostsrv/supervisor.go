package hostsrv

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/internal/xexec"
	"github.com/mosdocker/mosdocker/setmgr"
	"github.com/mosdocker/mosdocker/setmgr/plan"
)

// Engine is what a supervisor needs of an Engine beside what a set manager does.
type Engine interface {
	Ping(ctx context.Context) error
	PID(ctx context.Context, id string) (int, error)
	// LiveRestores says whether containers go on while the Engine is restarted.
	LiveRestores(ctx context.Context) (bool, error)
	Sets(ctx context.Context) ([]string, error)
	Clustered(ctx context.Context) (map[string]string, error)
	Events(ctx context.Context, ready func(), each func(setmgr.Happened)) error
}

// Open makes a set manager for an Engine that answers; the supervisor calls it each
// time it has found the Engine again, which may be another then.
type Open func(ctx context.Context) (*setmgr.Manager, Engine, error)

// The times of a supervisor.
const (
	settle       = 200 * time.Millisecond // from an event on, for what comes with it
	stopTold     = 2 * time.Second        // from an end on, until an Engine has told that it was docker stop
	busy         = time.Second            // until a set that others change is looked at again
	reconnect    = 500 * time.Millisecond // until an absent Engine is asked again
	mostDelay    = 5 * time.Minute        // between two tries to heal
	relapse      = time.Minute            // a set that needs healing again before did not heal
	atOnce       = 4                      // sets that are looked at
	askAgain     = 2 * time.Second        // until a member that others wait for is asked again
	readyTimeout = time.Second            // for one answer to that
	sinceBoot    = 5 * time.Minute        // that an Engine started a set counts as its start
	mostEvents   = 1000                   // are kept for docker mos host events
)

// Supervisor keeps the sets of one Engine. Its methods may be called at once.
type Supervisor struct {
	cfg  Config
	open Open
	log  *slog.Logger
	held *held
	run  xexec.Runner  // of the command that restarts the Engine
	wake chan struct{} // of capacity 1: there is something to look at
	// known is closed when the Engine answered first, or did not.
	known chan struct{}

	// Shim, unless nil, asks the shim of a container whether it answers. It is set before
	// Run.
	Shim func(ctx context.Context, id string) error
	// EndShim, unless nil, ends that of a container which the Engine cannot start since it
	// forgot that it had begun to. It is set before Run.
	EndShim func(ctx context.Context, id string) error

	mu       sync.Mutex // guards all below
	m        *setmgr.Manager
	e        Engine
	sets     map[string]*set
	declared map[string]declared
	wishes   wishes
	faults   map[string]string
	engine   api.Engine
	answers  int // of the Engine, so far
	// restarting says that the command which restarts the Engine runs, restarted when
	// that was begun the last time, and outcome what came of it.
	restarting bool
	restarted  time.Time
	outcome    string
	events     []api.Event
	seq        uint64
	work       sync.WaitGroup // looks and probes
	slots      chan struct{}
}

// set is what is known of one set here.
type set struct {
	api.Set

	dirty   bool
	looking bool
	locked  bool // by our own look
	seen    bool // was looked at
	// restarted says that the Engine was, since the last look.
	restarted bool
	// booting says that members that were started too early, at a boot, wait still, and
	// staged that the last healing left some for later.
	booting, staged bool
	// takes is what it takes of the host, and clusters says that our cluster has it here.
	takes    plan.Limits
	clusters bool
	// wish is what a cluster wants of it, and ready says that all its containers serve.
	wish  declared
	ready bool
	away  bool // the Engine did not answer when the set failed the last time

	next, hold time.Time         // of the next look, and before which there is none
	healed     time.Time         // the last time
	ids        []string          // of its containers
	processes  []process         // of those that ran when it was looked at
	limits     map[string]string // of them, as text when they were looked at, by id
	touched    map[string]bool   // members whose limits others changed since
	probes     map[string]*probe
	ends       map[string]ends // by member that has a Backoff
}

// New makes a supervisor; Run runs it.
func New(cfg Config, open Open, log *slog.Logger) *Supervisor {
	s := &Supervisor{
		cfg: cfg, open: open, log: log, held: openHeld(cfg.State, log), run: xexec.Host{}, wake: make(chan struct{}, 1), known: make(chan struct{}),
		wishes: newWishes(), sets: map[string]*set{}, declared: map[string]declared{}, faults: map[string]string{},
		engine: api.Engine{State: api.Absent, Since: time.Now()}, slots: make(chan struct{}, atOnce),
	}
	if cfg.Keep == "none" {
		close(s.known) // nobody asks
	}
	return s
}

// Run keeps the sets until ctx ends. It waits for an Engine that is absent.
func (s *Supervisor) Run(ctx context.Context) {
	defer s.work.Wait()
	if s.cfg.Keep == "none" {
		<-ctx.Done()
		return
	}
	s.work.Go(func() { s.schedule(ctx) })
	s.work.Go(func() { s.watchFiles(ctx) })
	s.work.Go(func() { s.watchEngine(ctx) })
	s.work.Go(func() { s.watchContainers(ctx) })
	for ctx.Err() == nil {
		err := s.listen(ctx)
		if ctx.Err() == nil {
			s.log.DebugContext(ctx, "no events of the Engine", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(reconnect):
		}
	}
}

// listen hears the Engine's events until it goes away.
func (s *Supervisor) listen(ctx context.Context) error {
	// One that hangs at once is not found, and cannot be watched.
	hangs := time.AfterFunc(hungAfter, func() { s.answered(ctx, hungAfter, context.DeadlineExceeded) })
	defer hangs.Stop()
	m, e, err := s.open(ctx)
	if err != nil {
		s.lost(ctx, err)
		return err
	}
	ready := func() {
		s.mu.Lock()
		s.m, s.e = m, e
		s.mu.Unlock()
		hangs.Stop()
		s.learn(ctx, e)
		s.answered(ctx, 0, nil)
		s.all(ctx, e)
	}
	err = e.Events(ctx, ready, func(h setmgr.Happened) { s.heard(ctx, h) })
	if ctx.Err() == nil {
		s.lost(ctx, err)
		s.held.clear()
		s.mu.Lock()
		for _, x := range s.sets {
			x.restarted = true
		}
		s.mu.Unlock()
	}
	return err
}

// all marks every set of the Engine, and every declared one, as to be looked at.
func (s *Supervisor) all(ctx context.Context, e Engine) {
	names, err := e.Sets(ctx)
	if err != nil {
		s.log.WarnContext(ctx, "cannot list the sets", "err", err)
		return
	}
	s.findDoomed(ctx, e)
	s.mu.Lock()
	for name := range s.declared {
		names = append(names, name)
	}
	for name := range s.wishes.all {
		names = append(names, name)
	}
	for name := range s.sets { // also those that are gone
		names = append(names, name)
	}
	s.mu.Unlock()
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		s.mark(name, 0)
	}
}

// heard takes an event of the Engine.
func (s *Supervisor) heard(ctx context.Context, h setmgr.Happened) {
	switch h.Action {
	case "stop":
		if h.Member != "" && !s.held.mends(h.Set) && s.byHand(ctx, h.Set) {
			s.held.add(h.Set, h.Member)
		}
	case "start":
		s.held.remove(h.Set, h.Member)
	case "update":
		s.touch(ctx, h.Set, h.Member)
	case "die", "destroy", "rename", "health_status", "unpause":
	default:
		return // exec_start and such
	}
	s.mark(h.Set, settle)
}

// byHand says whether nobody who changes sets is at this one right now.
func (s *Supervisor) byHand(ctx context.Context, name string) bool {
	s.mu.Lock()
	m, x := s.m, s.sets[name]
	own := x != nil && x.locked
	s.mu.Unlock()
	if own {
		return true // our look has the lock, and who asks knows that it mends nothing
	}
	unlock, free, err := m.TryLock(ctx, name)
	if err != nil || !free {
		return false
	}
	unlock()
	return true
}

// mark says that a set is to be looked at after a while.
func (s *Supervisor) mark(name string, after time.Duration) {
	s.mu.Lock()
	if s.cfg.Keep == "all" || s.declared[name].path != "" || s.sets[name] != nil || s.wishes.about(name) {
		x := s.of(name)
		at := time.Now().Add(after)
		if at.Before(x.hold) {
			at = x.hold
		}
		if !x.dirty || at.Before(x.next) {
			x.next = at
		}
		x.dirty = true
	}
	s.mu.Unlock()
	s.nudge()
}

func (s *Supervisor) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// of is what is known of a set. The caller holds mu.
func (s *Supervisor) of(name string) *set {
	x := s.sets[name]
	if x == nil {
		x = &set{Set: api.Set{Name: name, State: api.Unknown, Since: time.Now()}, probes: map[string]*probe{}, touched: map[string]bool{}, ends: map[string]ends{}}
		s.sets[name] = x
	}
	return x
}

// schedule looks at sets that are due.
func (s *Supervisor) schedule(ctx context.Context) {
	resync := time.NewTicker(s.cfg.Resync.Duration)
	defer resync.Stop()
	for {
		wait := s.due(ctx)
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-time.After(wait):
		case <-resync.C:
			s.mu.Lock()
			e := s.e
			s.mu.Unlock()
			if e != nil {
				s.all(ctx, e)
			}
		}
	}
}

// due begins to look at all sets that are due, and returns how long none is.
func (s *Supervisor) due(ctx context.Context) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	wait := time.Hour
	if s.m == nil {
		return wait
	}
	for _, name := range slices.Sorted(maps.Keys(s.sets)) {
		x := s.sets[name]
		if !x.dirty || x.looking {
			continue
		}
		if until := time.Until(x.next); until > 0 {
			wait = min(wait, until)
			continue
		}
		x.dirty, x.looking = false, true
		s.work.Go(func() {
			select {
			case s.slots <- struct{}{}:
				defer func() { <-s.slots }()
			case <-ctx.Done():
				return
			}
			s.look(ctx, name)
			s.mu.Lock()
			x.looking = false
			s.mu.Unlock()
			s.nudge()
		})
	}
	return wait
}

// Note keeps an event of another part of the daemon. Its set is "" for none.
func (s *Supervisor) Note(ctx context.Context, kind, set, text string) {
	s.note(ctx, kind, set, "", text)
}

// Killed keeps that a process was killed for want of memory.
func (s *Supervisor) Killed(_ context.Context, k api.Kill) {
	why := map[string]string{
		api.KillByContainer: "limit of the container", api.KillBySet: "limit of the set", api.KillByHost: "the host has no more",
		api.KillByOther: "limit of cgroup " + k.Limit,
	}[k.Reason]
	of := "cgroup " + k.Cgroup
	if k.Container != "" {
		of = "container " + k.Container
	}
	s.keep(api.Event{At: k.At, Kind: "oom", Set: k.Set, Member: k.Member, Kill: &k, Text: fmt.Sprintf("process %s (%d) of %s was killed for want of memory: %s", k.Process, k.PID, of, why)})
}

// note keeps an event for those who ask. The caller does not hold mu.
func (s *Supervisor) note(ctx context.Context, kind, set, member, text string) {
	s.log.InfoContext(ctx, "noted", "kind", kind, "set", set, "member", member, "text", text)
	s.keep(api.Event{At: time.Now().UTC(), Kind: kind, Set: set, Member: member, Text: text})
}

func (s *Supervisor) keep(e api.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	e.Seq = s.seq
	s.events = append(s.events, e)
	if n := len(s.events) - mostEvents; n > 0 {
		s.events = slices.Delete(s.events, 0, n)
	}
}
