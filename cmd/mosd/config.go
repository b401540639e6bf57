package main

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"

	"github.com/mosdocker/mosdocker/agent"
	"github.com/mosdocker/mosdocker/agent/sink"
)

// Config is the daemon's configuration: flags, MOS_MOSD_… variables and
// /etc/mos/mosd.toml, see package config.
type Config struct {
	Socket     string       `toml:"socket" doc:"Unix socket that serves /metrics; ignored when systemd hands one over."`
	Listen     string       `toml:"listen" doc:"Address, such as 127.0.0.1:9641, that serves /metrics too; empty is none. Whoever reaches it may read all."`
	Agent      agent.Config `toml:"agent" doc:"What is measured."`
	Prometheus sink.Options `toml:"prometheus" doc:"What /metrics shows."`
	Log        struct {
		Level  string `toml:"level" doc:"debug, info, warn or error."`
		Format string `toml:"format" doc:"text or json."`
	} `toml:"log" doc:"What is written to standard error."`
}

// Defaults is the configuration that nobody changed.
func Defaults() Config {
	c := Config{Socket: "/run/mos/mosd.sock", Agent: agent.Defaults()}
	c.Log.Level, c.Log.Format = "info", "text"
	return c
}

// Check returns all faults of the configuration.
func (c *Config) Check() error {
	var errs []error
	if !filepath.IsAbs(c.Socket) {
		errs = append(errs, fmt.Errorf("socket: want an absolute path, not %q", c.Socket))
	}
	if c.Listen != "" {
		if _, _, err := net.SplitHostPort(c.Listen); err != nil {
			errs = append(errs, fmt.Errorf("listen: want HOST:PORT, not %q", c.Listen))
		}
	}
	return errors.Join(append(errs, in("agent", c.Agent.Check()), in("prometheus", c.Prometheus.Check()))...)
}

// in names the table of faults.
func in(table string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("table %s: %w", table, err)
}
