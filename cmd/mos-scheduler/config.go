package main

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/scheduler/client"
)

// Config is the daemon's configuration: flags, MOS_SCHEDULER_… variables and
// /etc/mos/mos-scheduler.toml, see package config.
type Config struct {
	Name         string          `toml:"name" doc:"Name of this process among those of the cluster; empty is the host's."`
	Socket       string          `toml:"socket" doc:"Unix socket of the API. Whoever may open it is an admin; ignored when systemd hands one over."`
	Listen       string          `toml:"listen" doc:"Address, such as 0.0.0.0:7443, on which the API is served by TLS to hosts and users; empty is none."`
	Names        []string        `toml:"names" doc:"Names and addresses by which others reach it: its certificate has them, and hosts that joined at one mos-scheduler are told those of all, with the port of listen."`
	Data         string          `toml:"data" doc:"Folder of the state: etcd's, unless etcd is elsewhere."`
	Etcd         []string        `toml:"etcd" doc:"Endpoints of an etcd elsewhere, https://HOST:PORT; empty runs one in this process."`
	EtcdCA       string          `toml:"etcd_ca" doc:"File of who signed the certificates of that etcd."`
	EtcdCert     string          `toml:"etcd_cert" doc:"File of our certificate for that etcd."`
	EtcdKey      string          `toml:"etcd_key" doc:"File of its key."`
	Quota        int64           `toml:"quota" doc:"Bytes that the database of the etcd in this process may have."`
	History      config.Duration `toml:"history" doc:"How long a watch may be behind, with the etcd in this process."`
	Tenants      string          `toml:"tenants" doc:"Policy, as mos-authz has them, for what sets of tenants may be, who are known by common names there; empty is its profile tenant for all."`
	Rate         float64         `toml:"rate" doc:"Requests a second that each user may make over TLS or with a token; 0 is no bound. Links of hosts are not bounded."`
	Burst        int             `toml:"burst" doc:"Requests that each may make at once."`
	Heartbeat    config.Duration `toml:"heartbeat" doc:"Within which a host reports."`
	Lease        config.Duration `toml:"lease" doc:"Of silence, after which a host is lost."`
	EngineAway   config.Duration `toml:"engine_away" doc:"How long the Engine of a host may not answer until the host counts as lost."`
	Events       config.Duration `toml:"events" doc:"For how long events are kept."`
	Preemption   bool            `toml:"preemption" doc:"Whether sets that are preemptible yield to those of a higher priority that preempt."`
	PreemptAfter config.Duration `toml:"preempt_after" doc:"How long a set that preempts waits for room to come by itself."`
	Log          struct {
		Level  string `toml:"level" doc:"debug, info, warn or error."`
		Format string `toml:"format" doc:"text or json."`
	} `toml:"log" doc:"What is written to standard error. Changes are audited there at level info."`
}

// Defaults is the configuration that nobody changed.
func Defaults() Config {
	c := Config{Socket: client.DefaultSocket, Data: "/var/lib/mos/scheduler", Quota: 8 << 30}
	c.History.Duration = defaultHistory
	c.Heartbeat.Duration, c.Lease.Duration, c.Events.Duration = 2*time.Second, 8*time.Second, time.Hour
	c.EngineAway.Duration = time.Minute
	c.Rate, c.Burst = 100, 200
	c.Preemption, c.PreemptAfter.Duration = true, 5*time.Second
	c.Log.Level, c.Log.Format = "info", "text"
	return c
}

// Check returns all faults of the configuration.
func (c *Config) Check() error {
	var errs []error
	for key, path := range map[string]string{"socket": c.Socket, "data": c.Data} {
		if !filepath.IsAbs(path) {
			errs = append(errs, fmt.Errorf("%s: want an absolute path, not %q", key, path))
		}
	}
	if c.Listen != "" {
		if _, _, err := net.SplitHostPort(c.Listen); err != nil {
			errs = append(errs, fmt.Errorf("listen: want HOST:PORT, not %q", c.Listen))
		}
	}
	const least = 16 << 20
	if c.Quota < least {
		errs = append(errs, fmt.Errorf("quota: %d bytes are too few: take %d or more", c.Quota, least))
	}
	if c.History.Duration < leastHistory {
		errs = append(errs, fmt.Errorf("history: %s is too short: take %s or more", c.History, leastHistory))
	}
	if c.Heartbeat.Duration < 100*time.Millisecond || c.Lease.Duration < 3*c.Heartbeat.Duration {
		errs = append(errs, fmt.Errorf("lease: %s is too short for a heartbeat of %s: three of them at least, and these of 100ms at least", c.Lease, c.Heartbeat))
	}
	if c.EngineAway.Duration < c.Lease.Duration {
		errs = append(errs, fmt.Errorf("engine_away: %s is too short: take the lease, %s, or more", c.EngineAway, c.Lease))
	}
	if c.Events.Duration < time.Minute {
		errs = append(errs, fmt.Errorf("events: %s is too short: take 1m or more", c.Events))
	}
	if c.Rate < 0 || c.Rate > 0 && c.Burst < 1 {
		errs = append(errs, fmt.Errorf("rate: %v with a burst of %d lets nobody in: take a rate of 0 for no bound, or a burst of 1 or more", c.Rate, c.Burst))
	}
	if c.PreemptAfter.Duration < 100*time.Millisecond {
		errs = append(errs, fmt.Errorf("preempt_after: %s is too short: take 100ms or more", c.PreemptAfter))
	}
	if len(c.Etcd) == 0 && c.EtcdCA+c.EtcdCert+c.EtcdKey != "" {
		errs = append(errs, errors.New("etcd_ca, etcd_cert and etcd_key are for an etcd elsewhere: name its endpoints in etcd"))
	}
	return errors.Join(errs...)
}
