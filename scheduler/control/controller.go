package control

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/link"
	"github.com/mosdocker/mosdocker/scheduler/state"
)

// Config is that of a [Controller]. Name and Log are required.
type Config struct {
	Name string // of this process among those that share the store
	Log  *slog.Logger

	Endpoints []string // at which hosts reach this process; those of all are told to all hosts

	Heartbeat time.Duration // within which a host reports, 2 s by default
	Lease     time.Duration // of silence, after which a host is lost; 8 s by default
	Grace     time.Duration // after a leader's start, in which no silence counts; 3 heartbeats by default
	Term      time.Duration // after which another leads if this process ends; 3 s by default
	Events    time.Duration // for which events are kept, an hour by default
	History   time.Duration // for which operations are kept after their end, a day by default

	// EngineAway is how long a host may be in trouble, since its Engine does not answer, until
	// it counts as lost although it is heard; a minute by default.
	EngineAway time.Duration

	// Yield is how long a set that may preempt waits for room to come by itself before sets
	// of lower priority yield; 5 s by default.
	Yield time.Duration
	// NoPreemption has no set yield, whatever services say.
	NoPreemption bool

	// More than 5, and more than 5 %, of the hosts of a room that are lost within
	// BrakeWindow (2 min by default) stop replacements there for BrakeHold (10 min) after the
	// last of them, or until hosts come back; so do 3, and more than 30 %, of all hosts.
	BrakeWindow, BrakeHold time.Duration

	Seed uint64 // decides between hosts that are equally good
}

func (c *Config) complete() {
	for _, d := range []struct {
		of        *time.Duration
		otherwise time.Duration
	}{
		{&c.Heartbeat, 2 * time.Second},
		{&c.Lease, 8 * time.Second},
		{&c.EngineAway, time.Minute},
		{&c.Term, 3 * time.Second},
		{&c.Events, time.Hour},
		{&c.History, 24 * time.Hour},
		{&c.Yield, 5 * time.Second},
		{&c.BrakeWindow, 2 * time.Minute},
		{&c.BrakeHold, 10 * time.Minute},
	} {
		if *d.of == 0 {
			*d.of = d.otherwise
		}
	}
	if c.Grace == 0 {
		c.Grace = 3 * c.Heartbeat
	}
}

// Controller decides for a cluster when it leads, and answers questions always.
type Controller struct {
	store *state.Store
	Config
	cache *cache
	was   *state.Member // until it has left; a store that was away keeps its lease for a term longer

	mu   sync.Mutex // guards all below
	lead *lead      // nil while this process does not lead
}

// lead is what a leader knows by itself.
type lead struct {
	epoch int64
	since time.Time
	over  chan struct{} // closed at its end
	news  chan struct{} // has one after a report that says anything new
	beats map[string]*beat
	fresh map[string]bool // hosts whose reports were not looked at

	endpoints []string // of all controllers
}

// beat is what was last heard of a host.
type beat struct {
	at     time.Time
	stuck  time.Time   // since when it is in trouble, as far as this leader heard
	report link.Report // without its usage and holding
	usage  *link.Usage // the last one, which is replaced as a whole; nil of a host that is lost
	// holding is what it told and the cache does not have yet.
	holding *link.Holding
}

// New makes a controller, which does nothing before [Controller.Run].
func New(s *state.Store, c Config) *Controller {
	c.complete()
	return &Controller{store: s, Config: c, cache: newCache(c.Seed)}
}

// Run follows the store, and leads whenever it may, until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	if c.Name == "" || c.Log == nil {
		return fault.Invalid("a controller needs a name and a logger")
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var all sync.WaitGroup
	all.Go(func() {
		away := false // told once, however long it lasts
		c.cache.follow(ctx, c.store, c.Heartbeat/4, func(err error) {
			if err != nil && !away {
				c.Log.WarnContext(ctx, "the store cannot be followed", "err", err)
			} else if err == nil && away {
				c.Log.InfoContext(ctx, "the store is followed again")
			}
			away = err != nil
		})
	})
	defer all.Wait()
	defer stop()
	said := ""
	for ctx.Err() == nil {
		if err := c.candidate(ctx); err != nil && ctx.Err() == nil {
			if text := err.Error(); text != said {
				c.Log.WarnContext(ctx, "not leading", "err", err)
				said = text
			}
			pause(ctx, c.Heartbeat/2)
		}
	}
	return nil
}

// candidate leads for one term.
func (c *Controller) candidate(ctx context.Context) error {
	if err := c.leave(ctx); err != nil {
		return err
	}
	m, err := c.store.Join(ctx, c.Name, c.Term, c.Endpoints...)
	if err != nil {
		return err
	}
	c.was = m
	defer func() {
		short, done := context.WithTimeout(context.WithoutCancel(ctx), c.Term)
		defer done()
		_ = c.leave(short) // else before the next term
	}()
	term, err := m.Lead(ctx)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() { // ends with this call
		select {
		case <-term.Lost():
			stop()
		case <-ctx.Done():
		}
	}()
	// All that leaders before wrote comes before this event.
	b := c.store.Batch(term)
	b.Create(event(note{on: api.Reference{Kind: api.Operations, Name: "lead"}, what: "leads", text: c.Name}))
	began, err := b.Commit(ctx)
	if err != nil {
		return err
	}
	if err := c.cache.until(ctx, began); err != nil {
		return err
	}
	l := &lead{
		epoch: term.Epoch, since: time.Now(), over: make(chan struct{}), news: make(chan struct{}, 1),
		beats: map[string]*beat{}, fresh: map[string]bool{},
	}
	c.mu.Lock()
	c.lead = l
	c.mu.Unlock()
	defer func() {
		c.cache.mu.Lock()
		c.cache.holdOnly(nil) // the next leader is told
		c.cache.mu.Unlock()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.lead = nil
		close(l.over)
	}()
	c.Log.InfoContext(ctx, "leading", "epoch", term.Epoch)
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	all.Go(func() { c.meet(ctx, l) })
	err = newLeader(c, l, term).run(ctx)
	if errors.Is(err, context.Canceled) {
		err = fault.Unavailable("the term of this process ended")
	}
	return err
}

// meet keeps the endpoints of all controllers, with a look at them each term.
func (c *Controller) meet(ctx context.Context, l *lead) {
	for ctx.Err() == nil {
		if all, _, err := c.store.Members(ctx); err == nil { // else the look after this
			var at []string
			for _, m := range all {
				at = append(at, m.Endpoints...)
			}
			slices.Sort(at)
			c.mu.Lock()
			l.endpoints = at
			c.mu.Unlock()
		}
		pause(ctx, c.Term)
	}
}

// leave ends what is left of a term before.
func (c *Controller) leave(ctx context.Context) error {
	if c.was == nil {
		return nil
	}
	err := c.was.Leave(ctx)
	if err == nil {
		c.was = nil
	}
	return err
}

func (c *Controller) leading() (*lead, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lead == nil {
		return nil, fault.Unavailable("this process does not lead: ask another controller")
	}
	return c.lead, nil
}

// Leads says whether this process leads.
func (c *Controller) Leads() bool {
	_, err := c.leading()
	return err == nil
}
