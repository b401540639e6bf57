package lvmvolume

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestConfigRefusals(t *testing.T) {
	good := Defaults()
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for name, set := range map[string]func(*Config){
		"type": func(c *Config) { c.Type = "raid" }, "socket": func(c *Config) { c.Socket = "x" }, "admin": func(c *Config) { c.Admin = "" },
		"state_dir": func(c *Config) { c.StateDir = "." }, "devices_file": func(c *Config) { c.DevicesFile = "a/b" },
		"interval": func(c *Config) { c.Interval.Duration = 0 }, "thin.interval": func(c *Config) { c.Thin.Interval.Duration = 1 },
		"overcommit": func(c *Config) { c.Thin.Overcommit = 0 }, "warn": func(c *Config) { c.Thin.Warn = 0.99 },
		"pause": func(c *Config) { c.Thin.Pause = 0.5 }, "extend": func(c *Config) { c.Thin.Extend = 70 },
		"linger": func(c *Config) { c.Linger.Duration = 0 }, "trash.keep": func(c *Config) { c.Trash.Keep.Duration = -1 },
	} {
		c := Defaults()
		set(&c)
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestSizesOfTheConfiguration(t *testing.T) {
	for text, want := range map[string]Size{"0": 0, "512m": 512 * mib, "1536m": 1536 * mib, "3g": 3 * gib, "2t": 2 << 40, "1025": 1025} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%s: got %d, %v", text, s, err)
		}
		b, err := s.MarshalText()
		if d := cmp.Diff(text, string(b)); err != nil || d != "" {
			t.Error(err, d)
		}
	}
	var s Size
	if s.UnmarshalText([]byte("x")) == nil || s.UnmarshalText(nil) == nil {
		t.Error("no size is taken")
	}
}
