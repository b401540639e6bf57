package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"

	"github.com/mosdocker/mosdocker/agent"
	"github.com/mosdocker/mosdocker/agent/sink"
	"github.com/mosdocker/mosdocker/agent/sink/cat"
	"github.com/mosdocker/mosdocker/agent/sink/falcon"
	"github.com/mosdocker/mosdocker/agent/sink/otlp"
	"github.com/mosdocker/mosdocker/agent/sink/remotewrite"
	"github.com/mosdocker/mosdocker/agent/sink/zabbix"
)

// made is a back end that the configuration names.
type made struct {
	name    string
	cfg     sink.Config
	backend sink.Backend
}

// backends makes the back ends of a configuration, or returns all its faults.
func backends(c *Config) (out []made, err error) {
	add := func(name string, cfg sink.Config, makeIt func() (sink.Backend, error)) {
		if cfg.URL == "" {
			return
		}
		b, berr := makeIt()
		err = errors.Join(err, in(name, berr))
		out = append(out, made{name, cfg, b})
	}
	add("remote_write", c.RemoteWrite.Config, func() (sink.Backend, error) { return remotewrite.New(c.RemoteWrite) })
	add("otlp", c.OTLP.Config, func() (sink.Backend, error) { return otlp.New(c.OTLP) })
	add("zabbix", c.Zabbix.Config, func() (sink.Backend, error) { return zabbix.New(c.Zabbix) })
	add("falcon", c.Falcon.Config, func() (sink.Backend, error) {
		return falcon.New(c.Falcon, max(c.Falcon.Interval.Duration, c.Agent.Interval.Duration))
	})
	add("cat", c.CAT.Config, func() (sink.Backend, error) { return cat.New(c.CAT) })
	return out, err
}

// running is the sinks that run.
type running struct {
	stop context.CancelFunc
	work sync.WaitGroup
}

// end stops the sinks; what they did not deliver waits on disk. Ending twice does nothing.
func (r *running) end() {
	if r.stop != nil {
		r.stop()
		r.work.Wait()
	}
}

// start runs the back ends' sinks until end is called.
func (r *running) start(ctx context.Context, list []made, state string, log *slog.Logger) (sinks []agent.Sink, err error) {
	ctx, r.stop = context.WithCancel(ctx)
	for _, m := range list {
		p, perr := sink.NewPush(m.name, filepath.Join(state, "sink"), m.cfg, m.backend, log)
		if perr != nil {
			err = errors.Join(err, fmt.Errorf("sink %s: %w", m.name, perr))
			continue
		}
		sinks = append(sinks, p)
		r.work.Go(func() {
			if err := p.Run(ctx); err != nil {
				log.WarnContext(ctx, "a buffer was not closed well", "sink", m.name, "err", err)
			}
		})
	}
	return sinks, err
}
