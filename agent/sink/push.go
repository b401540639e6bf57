package sink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/agent/metric"
	"github.com/mosdocker/mosdocker/agent/sink/spool"
	"github.com/mosdocker/mosdocker/internal/config"
)

// Config says where a back end is and how it is served. The options of one
// protocol stand beside these.
type Config struct {
	URL       string          `toml:"url" doc:"Where to send; empty is nowhere."`
	Interval  config.Duration `toml:"interval" doc:"Time between two batches; 0s sends each sample."`
	Timeout   config.Duration `toml:"timeout" doc:"Time that one delivery may take."`
	Retry     config.Duration `toml:"retry" doc:"Pause before a failed delivery is tried again; it doubles up to 30s."`
	BufferMiB int64           `toml:"buffer_mib" doc:"Room on disk for what the back end does not take; the oldest goes first."`
	BufferAge config.Duration `toml:"buffer_age" doc:"What is older than this is not sent any more."`
	Options
}

// Defaults are those of all back ends.
func Defaults() Config {
	return Config{
		Timeout: config.Duration{Duration: 10 * time.Second}, Retry: config.Duration{Duration: time.Second}, BufferMiB: 64,
		BufferAge: config.Duration{Duration: 6 * time.Hour},
	}
}

// Check returns all faults but those of the URL, which the back end checks.
func (c *Config) Check() error {
	errs := []error{c.Options.Check()}
	if c.Timeout.Duration < 100*time.Millisecond {
		errs = append(errs, fmt.Errorf("timeout: want 100ms at least, not %v", c.Timeout))
	}
	if c.Retry.Duration < time.Millisecond || c.Retry.Duration > lastPause {
		errs = append(errs, fmt.Errorf("retry: want 1ms to %v, not %v", lastPause, c.Retry))
	}
	if c.BufferMiB < 1 || c.BufferMiB > 1<<20 {
		errs = append(errs, fmt.Errorf("buffer_mib: want 1 to %d, not %d", 1<<20, c.BufferMiB))
	}
	if c.BufferAge.Duration < time.Minute {
		errs = append(errs, fmt.Errorf("buffer_age: want 1m at least, not %v", c.BufferAge))
	}
	return errors.Join(errs...)
}

// Batch is what is sent of one sample.
type Batch struct {
	Time    time.Time
	Host    string // name of this host
	Items   []Item
	Changed bool // Items is another list than the time before
}

// Backend speaks the protocol of a back end.
type Backend interface {
	// Encode appends a batch in the form in which it waits and is delivered; an
	// empty one is not. It is called by the goroutine that measures, and must not
	// block. Values without a reading are left out.
	Encode(b []byte, in *Batch) []byte
	// Deliver hands a batch over. An [errdefs.ErrInvalidArgument] says that the
	// back end will never take it; all other errors that it may later. It must be
	// safe to deliver the same batch again.
	Deliver(ctx context.Context, batch []byte) error
}

// waiting is how many batches may wait for the goroutine that delivers: enough for
// one delivery that runs into its limit.
const waiting = 32

// Push delivers samples to a back end. What it does not take waits on disk, and is
// delivered in order later.
type Push struct {
	name     string
	cfg      Config
	log      *slog.Logger
	backend  Backend
	selector *Selector
	spool    *spool.Spool
	in       chan batch
	free     chan []byte // buffers to use again
	batch    Batch
	last     time.Time

	sent, dropped, failures atomic.Uint64
	buffered                atomic.Int64
}

type batch struct {
	at   time.Time
	data []byte
}

// NewPush makes the sink of a back end. Its buffer is the folder name below dir.
// [Push.Run] must run and end for it to deliver and keep what is left.
func NewPush(name, dir string, cfg Config, b Backend, log *slog.Logger) (*Push, error) {
	selector, err := NewSelector(cfg.Options)
	if err != nil {
		return nil, err
	}
	sp, faults, err := spool.Open(filepath.Join(dir, name), cfg.BufferMiB<<20, cfg.BufferAge.Duration)
	if err != nil {
		return nil, err
	}
	log = log.With("sink", name)
	for _, f := range faults {
		log.Warn("a part of the buffer is lost", "err", f)
	}
	p := &Push{name: name, cfg: cfg, log: log, backend: b, selector: selector, spool: sp, in: make(chan batch, waiting), free: make(chan []byte, waiting)}
	p.buffered.Store(sp.Size())
	return p, nil
}

// Name is the sink's.
func (p *Push) Name() string { return p.name }

// Counters say what was done.
func (p *Push) Counters() (sent, dropped, failures uint64, buffered int64) {
	return p.sent.Load(), p.dropped.Load(), p.failures.Load(), p.buffered.Load()
}

// Take encodes a sample, unless the interval is not over, and hands it to the
// goroutine that delivers.
func (p *Push) Take(s *metric.Sample) {
	// A clock that jumps back does not stop the sink.
	if since := s.Time.Sub(p.last); since >= 0 && since < p.cfg.Interval.Duration-p.cfg.Interval.Duration/20 {
		return
	}
	p.last = s.Time
	p.batch.Time, p.batch.Host = s.Time, s.Host
	p.batch.Items, p.batch.Changed = p.selector.Items(s)
	var b []byte
	select {
	case b = <-p.free:
	default:
	}
	b = p.backend.Encode(b[:0], &p.batch)
	if len(b) == 0 {
		return
	}
	select {
	case p.in <- batch{s.Time, b}:
	default: // the one that delivers hangs, on a full disk perhaps
		p.dropped.Add(1)
	}
}

// lastPause is the longest pause between two attempts.
const lastPause = 30 * time.Second

// Run delivers until ctx ends; what was not delivered then waits on disk.
func (p *Push) Run(ctx context.Context) error {
	retry := time.NewTimer(0) // what waits since before the start
	defer retry.Stop()
	pause := p.cfg.Retry.Duration
	for {
		var ok bool
		select {
		case <-ctx.Done():
			p.collect()
			return p.spool.Close()
		case b := <-p.in:
			if p.spool.Len() > 0 {
				p.keep(b)
				continue
			}
			if ok = p.deliver(ctx, b.at, b.data); !ok {
				p.keep(b)
			} else {
				p.release(b.data)
			}
		case <-retry.C:
			ok = p.replay(ctx)
		}
		if ok {
			pause = p.cfg.Retry.Duration
			continue
		}
		// Not all hosts at once, when a back end comes back.
		retry.Reset(pause/2 + rand.N(pause)) //nolint:gosec // to spread, not to keep a secret
		pause = min(2*pause, lastPause)
	}
}

// deliver hands over one batch. false means: later.
func (p *Push) deliver(ctx context.Context, at time.Time, data []byte) bool {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout.Duration)
	defer cancel()
	err := p.backend.Deliver(ctx, data)
	switch {
	case err == nil:
		p.sent.Add(1)
		return true
	case errdefs.IsInvalidArgument(err):
		p.dropped.Add(1)
		p.log.WarnContext(ctx, "the back end refuses a batch, which is dropped", "of", at, "err", err)
		return true
	}
	if p.spool.Len() == 0 {
		p.log.WarnContext(ctx, "the back end does not take a batch; it and what follows wait", "err", err)
	} else {
		p.log.DebugContext(ctx, "the back end does not take a batch", "err", err)
	}
	p.failures.Add(1)
	return false
}

// replay delivers what waits. false means that some is left.
func (p *Push) replay(ctx context.Context) bool {
	n := p.spool.Len()
	if n == 0 {
		return true
	}
	for ctx.Err() == nil {
		at, data, dropped, ok := p.spool.Next(time.Now())
		p.dropped.Add(uint64(dropped))
		if !ok {
			p.buffered.Store(p.spool.Size())
			p.log.InfoContext(ctx, "all that waited was delivered", "batches", n)
			return true
		}
		if !p.deliver(ctx, at, data) {
			return false
		}
		p.spool.Done()
		p.collect()
	}
	return false
}

// collect keeps what came meanwhile.
func (p *Push) collect() {
	for {
		select {
		case b := <-p.in:
			p.keep(b)
		default:
			p.buffered.Store(p.spool.Size())
			return
		}
	}
}

func (p *Push) keep(b batch) {
	dropped, err := p.spool.Append(b.at, b.data)
	if err != nil {
		dropped++
		p.log.Warn("a batch is lost", "err", err)
	}
	p.dropped.Add(uint64(dropped))
	p.buffered.Store(p.spool.Size())
	p.release(b.data)
}

func (p *Push) release(b []byte) {
	select {
	case p.free <- b:
	default:
	}
}
