package main

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"github.com/mosdocker/mosdocker/agent"
	"github.com/mosdocker/mosdocker/agent/sink"
	"github.com/mosdocker/mosdocker/agent/sink/cat"
	"github.com/mosdocker/mosdocker/agent/sink/falcon"
	"github.com/mosdocker/mosdocker/agent/sink/zabbix"
	"github.com/mosdocker/mosdocker/hostsrv"
	"github.com/mosdocker/mosdocker/hostsrv/cluster"
	"github.com/mosdocker/mosdocker/internal/config"
)

// Config is the daemon's configuration: flags, MOS_MOSD_… variables and
// /etc/mos/mosd.toml, see package config.
type Config struct {
	Socket      string          `toml:"socket" doc:"Unix socket that serves /metrics; ignored when systemd hands one over."`
	Listen      string          `toml:"listen" doc:"Address, such as 127.0.0.1:9641, that serves /metrics too; empty is none. Whoever reaches it may read all."`
	StateDir    string          `toml:"state_dir" doc:"Folder in which waits what back ends do not take."`
	Agent       agent.Config    `toml:"agent" doc:"What is measured."`
	Sets        hostsrv.Config  `toml:"sets" doc:"Which sets are kept."`
	Cluster     cluster.Config  `toml:"cluster" doc:"The cluster that this host is of; its sets are kept unless sets.keep is none."`
	Prometheus  sink.Options    `toml:"prometheus" doc:"What /metrics shows."`
	RemoteWrite sink.HTTPConfig `toml:"remote_write" doc:"A receiver of Prometheus's remote write, such as http://HOST:9090/api/v1/write."`
	OTLP        sink.HTTPConfig `toml:"otlp" doc:"A receiver of OpenTelemetry's protocol over HTTP, such as http://HOST:4318/v1/metrics."`
	Zabbix      zabbix.Config   `toml:"zabbix" doc:"A Zabbix server or proxy, such as tcp://HOST:10051, or tls://HOST:10051 with certificates."`
	Falcon      falcon.Config   `toml:"falcon" doc:"An agent or transfer of Open-Falcon, such as http://127.0.0.1:1988/v1/push or tcp://HOST:8433."`
	CAT         cat.Config      `toml:"cat" doc:"The router of a CAT, such as http://HOST:8080, or one of its servers, such as tcp://HOST:2280."`
	Log         struct {
		Level  string `toml:"level" doc:"debug, info, warn or error."`
		Format string `toml:"format" doc:"text or json."`
	} `toml:"log" doc:"What is written to standard error."`
}

// Defaults is the configuration that nobody changed.
func Defaults() Config {
	c := Config{Socket: "/run/mos/mosd.sock", StateDir: "/var/lib/mos/mosd", Agent: agent.Defaults(), Sets: hostsrv.Defaults(), Cluster: cluster.Defaults()}
	for _, s := range []*sink.Config{&c.RemoteWrite.Config, &c.OTLP.Config, &c.Zabbix.Config, &c.Falcon.Config, &c.CAT.Config} {
		*s = sink.Defaults()
	}
	for _, s := range []*sink.Config{&c.Zabbix.Config, &c.Falcon.Config, &c.CAT.Config} {
		s.Interval = config.Duration{Duration: time.Minute}
	}
	c.Falcon.Endpoint, c.CAT.Domain = "host", "mos."
	c.Log.Level, c.Log.Format = "info", "text"
	return c
}

// Check returns all faults of the configuration.
func (c *Config) Check() error {
	var errs []error
	for key, path := range map[string]string{"socket": c.Socket, "state_dir": c.StateDir} {
		if !filepath.IsAbs(path) {
			errs = append(errs, fmt.Errorf("%s: want an absolute path, not %q", key, path))
		}
	}
	if c.Listen != "" {
		if _, _, err := net.SplitHostPort(c.Listen); err != nil {
			errs = append(errs, fmt.Errorf("listen: want HOST:PORT, not %q", c.Listen))
		}
	}
	return errors.Join(append(errs, in("agent", c.Agent.Check()), in("sets", c.Sets.Check()), in("cluster", c.Cluster.Check()), in("prometheus", c.Prometheus.Check()),
		in("remote_write", c.RemoteWrite.Check()), in("otlp", c.OTLP.Check()),
		in("zabbix", c.Zabbix.Check()), in("falcon", c.Falcon.Check()), in("cat", c.CAT.Check()))...)
}

// late are the keys and tables that differ from those that mosd was started with, and that
// count from its next start on.
func (c *Config) late(old *Config) []string {
	parts := func(c *Config) map[string]any {
		return map[string]any{
			"socket": c.Socket, "listen": c.Listen, "state_dir": c.StateDir, "agent": c.Agent, "sets": c.Sets, "cluster": c.Cluster, "log.format": c.Log.Format,
		}
	}
	now, before := parts(c), parts(old)
	return slices.DeleteFunc(slices.Sorted(maps.Keys(now)), func(k string) bool { return reflect.DeepEqual(now[k], before[k]) })
}

// in names the table of faults.
func in(table string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("table %s: %w", table, err)
}
