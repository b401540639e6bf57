package main

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"

	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/scheduler/client"
)

// Config is the daemon's configuration: flags, MOS_SCHEDULER_… variables and
// /etc/mos/mos-scheduler.toml, see package config.
type Config struct {
	Name     string          `toml:"name" doc:"Name of this process among those of the cluster; empty is the host's."`
	Socket   string          `toml:"socket" doc:"Unix socket of the API. Whoever may open it is an admin; ignored when systemd hands one over."`
	Listen   string          `toml:"listen" doc:"Address, such as 0.0.0.0:7443, on which the API is served by TLS to hosts and users; empty is none."`
	Data     string          `toml:"data" doc:"Folder of the state: etcd's, unless etcd is elsewhere."`
	Etcd     []string        `toml:"etcd" doc:"Endpoints of an etcd elsewhere, https://HOST:PORT; empty runs one in this process."`
	EtcdCA   string          `toml:"etcd_ca" doc:"File of who signed the certificates of that etcd."`
	EtcdCert string          `toml:"etcd_cert" doc:"File of our certificate for that etcd."`
	EtcdKey  string          `toml:"etcd_key" doc:"File of its key."`
	Quota    int64           `toml:"quota" doc:"Bytes that the database of the etcd in this process may have."`
	History  config.Duration `toml:"history" doc:"How long a watch may be behind, with the etcd in this process."`
	Log      struct {
		Level  string `toml:"level" doc:"debug, info, warn or error."`
		Format string `toml:"format" doc:"text or json."`
	} `toml:"log" doc:"What is written to standard error. Changes are audited there at level info."`
}

// Defaults is the configuration that nobody changed.
func Defaults() Config {
	c := Config{Socket: client.DefaultSocket, Data: "/var/lib/mos/scheduler", Quota: 8 << 30}
	c.History.Duration = defaultHistory
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
	if len(c.Etcd) == 0 && c.EtcdCA+c.EtcdCert+c.EtcdKey != "" {
		errs = append(errs, errors.New("etcd_ca, etcd_cert and etcd_key are for an etcd elsewhere: name its endpoints in etcd"))
	}
	return errors.Join(errs...)
}
