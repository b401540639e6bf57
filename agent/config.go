package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/mosdocker/mosdocker/agent/docker"
	"github.com/mosdocker/mosdocker/internal/config"
)

// Config says what is measured and how often.
type Config struct {
	Interval     config.Duration `toml:"interval" doc:"Time between two samples."`
	SlowInterval config.Duration `toml:"slow_interval" doc:"Time between two readings of what changes slowly or costs more: limits, processes, open files, states of TCP, space on volumes."`
	Rescan       config.Duration `toml:"rescan" doc:"Time between two looks for containers, beside those when the kernel says that some came or went."`
	HostName     string          `toml:"host_name" doc:"Name of this host in all that is sent; empty is the kernel's."`
	DockerRoot   string          `toml:"docker_root" doc:"Data root of the Engine; empty is that of its daemon.json, else /var/lib/docker."`
	DockerExec   string          `toml:"docker_exec_root" doc:"Exec root of the Engine; empty is that of its daemon.json, else /run/docker."`
	DaemonJSON   string          `toml:"docker_config" doc:"Configuration file of the Engine."`
}

// Defaults is the configuration that nobody changed.
func Defaults() Config {
	return Config{
		Interval:     config.Duration{Duration: 5 * time.Second},
		SlowInterval: config.Duration{Duration: 30 * time.Second},
		Rescan:       config.Duration{Duration: 30 * time.Second},
		DaemonJSON:   "/etc/docker/daemon.json",
	}
}

// Check returns all faults of the configuration.
func (c *Config) Check() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Interval.Duration < 100*time.Millisecond {
		fault("interval: want 100ms at least, not %v", c.Interval)
	}
	if c.SlowInterval.Duration < c.Interval.Duration {
		fault("slow_interval: want the interval of %v at least, not %v", c.Interval, c.SlowInterval)
	}
	if c.Rescan.Duration < time.Second {
		fault("rescan: want 1s at least, not %v", c.Rescan)
	}
	for key, v := range map[string]string{"docker_root": c.DockerRoot, "docker_exec_root": c.DockerExec, "docker_config": c.DaemonJSON} {
		if v != "" && !filepath.IsAbs(v) {
			fault("%s: want an absolute path, not %q", key, v)
		}
	}
	return errors.Join(errs...)
}

// Engine is where the Engine keeps things.
func (c *Config) Engine() docker.Dirs {
	daemonJSON, _ := os.ReadFile(c.DaemonJSON) // an Engine needs none
	return docker.Dirs{Root: c.DockerRoot, Exec: c.DockerExec}.FindDirs(daemonJSON)
}

func (c *Config) host() string {
	if c.HostName != "" {
		return c.HostName
	}
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}
