package hostsrv

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/mosdocker/mosdocker/internal/config"
)

// Config says which sets are kept how.
type Config struct {
	Keep     string          `toml:"keep" doc:"Which sets are healed: all of the Engine, declared for those that files declare, or none."`
	Declared string          `toml:"declared" doc:"Folder of files that declare sets, NAME.json or NAME.yaml, as docker set up takes them."`
	Engine   string          `toml:"engine" doc:"Where the Docker Engine listens, as DOCKER_HOST has it; empty is its usual socket."`
	Resync   config.Duration `toml:"resync" doc:"How often sets are looked at without an event."`
	Restart  Restart         `toml:"restart" doc:"What is done about an Engine that hangs."`
	State    string          `toml:"state" doc:"Folder for what must outlive the daemon but not the host's start."`
}

// Defaults is the configuration that nobody changed.
func Defaults() Config {
	return Config{
		Keep: "all", Declared: "/etc/mos/sets.d", Resync: config.Duration{Duration: 30 * time.Second}, State: "/run/mos/mosd",
		Restart: Restart{After: config.Duration{Duration: 30 * time.Second}, Pause: config.Duration{Duration: 10 * time.Minute}},
	}
}

// Check returns all faults of the configuration.
func (c *Config) Check() error {
	var errs []error
	switch c.Keep {
	case "all", "declared", "none":
	default:
		errs = append(errs, fmt.Errorf("keep: want all, declared or none, not %q", c.Keep))
	}
	for key, path := range map[string]string{"declared": c.Declared, "state": c.State} {
		if !filepath.IsAbs(path) {
			errs = append(errs, fmt.Errorf("%s: want an absolute path, not %q", key, path))
		}
	}
	if c.Restart.After.Duration < hungAfter {
		errs = append(errs, fmt.Errorf("restart.after: want %v at least, which is when it hangs, not %v", hungAfter, c.Restart.After))
	}
	if c.Restart.Pause.Duration < time.Minute {
		errs = append(errs, fmt.Errorf("restart.pause: want 1m at least, not %v", c.Restart.Pause))
	}
	if c.Resync.Duration < time.Second {
		errs = append(errs, fmt.Errorf("resync: want 1s at least, not %v", c.Resync))
	}
	return errors.Join(errs...)
}
