package lvmvolume

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/lvmvolume/api"
	"github.com/mosdocker/mosdocker/lvmvolume/plan"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// Config is the daemon's configuration: flags, MOS_LVM_… variables and
// /etc/mos/mos-lvm.toml, see package config.
type Config struct {
	Socket      string          `toml:"socket" doc:"Unix socket that Docker calls; ignored when systemd hands one over."`
	Admin       string          `toml:"admin" doc:"Unix socket of the admin API, which docker mos volume uses."`
	StateDir    string          `toml:"state_dir" doc:"Directory of mount points, loop images and trial groups."`
	MountDir    string          `toml:"mount_dir" doc:"Directory that volumes are mounted in; empty is mnt in the state directory."`
	LVMDir      string          `toml:"lvm_dir" doc:"System directory of LVM, which has the devices file."`
	DockerHost  string          `toml:"docker_host" doc:"Socket of the Docker Engine, used beside the calls to learn names and to pause containers."`
	Type        string          `toml:"type" doc:"Type of volumes that name none: auto, thin, linear, striped or loop. Auto is thin where a volume group has a thin pool, else linear, else loop."`
	VG          string          `toml:"vg" doc:"Volume group of volumes that name none; empty is the first of those that mos-lvm init knows."`
	Pool        string          `toml:"pool" doc:"Name of the thin pool in a volume group that has several."`
	DevicesFile string          `toml:"devices_file" doc:"LVM devices file that lists our disks, in devices below lvm_dir. Groups on other disks are never touched."`
	Udev        bool            `toml:"udev" doc:"LVM waits for udev, which makes the nodes of devices. Without, LVM makes them and waits for nobody, as it must in a container."`
	LoopSpare   Size            `toml:"loop_spare" doc:"What loop images leave free on their file system."`
	Linger      config.Duration `toml:"linger" doc:"How long a volume stays mounted after its last container."`
	Interval    config.Duration `toml:"interval" doc:"Time between two looks at all that there is."`
	Trim        config.Duration `toml:"trim" doc:"Time between two trims of mounted thin volumes; 0s is never."`
	Trash       struct {
		Keep config.Duration `toml:"keep" doc:"How long a removed volume stays in the recycle bin, and an hour more, should the clock be wrong; 0s removes at once. It is purged earlier when space is needed."`
	} `toml:"trash" doc:"The recycle bin."`
	Thin struct {
		Overcommit float64         `toml:"overcommit" doc:"How much of a thin pool, with what it can grow by, may be promised; 1 is no more than there is. Snapshots and the recycle bin count."`
		Spare      Size            `toml:"spare" doc:"What is never promised."`
		Extend     float64         `toml:"extend" doc:"Fill at which a pool is grown by a fifth from its volume group; 0 is never."`
		Warn       float64         `toml:"warn" doc:"Fill, of data or metadata, at which the log warns."`
		Refuse     float64         `toml:"refuse" doc:"Fill at which new volumes, growth and snapshots are refused."`
		Pause      float64         `toml:"pause" doc:"Fill at which containers with volumes of the pool are paused, before their writes could get lost; 0 is never."`
		Interval   config.Duration `toml:"interval" doc:"Time between two looks at the pools; four times as often when one is above warn."`
	} `toml:"thin" doc:"Thin pools."`
	Log struct {
		Level  string `toml:"level" doc:"debug, info, warn or error."`
		Format string `toml:"format" doc:"text or json."`
	} `toml:"log" doc:"What is written to standard error."`
}

// Defaults is the configuration that nobody changed.
func Defaults() Config {
	c := Config{
		Socket:      "/run/docker/plugins/mos-lvm.sock",
		Admin:       api.DefaultSocket,
		StateDir:    api.DefaultState,
		LVMDir:      "/etc/lvm",
		DockerHost:  "unix:///run/docker.sock",
		Type:        "auto",
		Pool:        "mos-pool",
		DevicesFile: "mos-lvm.devices",
		Udev:        true,
		LoopSpare:   512 << 20,
		Linger:      config.Duration{Duration: 10 * time.Second},
		Interval:    config.Duration{Duration: time.Minute},
		Trim:        config.Duration{Duration: 24 * time.Hour},
	}
	c.Trash.Keep = config.Duration{Duration: 72 * time.Hour}
	c.Thin.Overcommit, c.Thin.Extend, c.Thin.Warn, c.Thin.Refuse, c.Thin.Pause = 1, 0.7, 0.8, 0.95, 0.97
	c.Thin.Interval = config.Duration{Duration: 5 * time.Second}
	c.Log.Level, c.Log.Format = "info", "text"
	return c
}

// Check returns all faults of the configuration.
func (c *Config) Check() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.Type != "auto" && !slices.Contains(spec.Types(), spec.Type(c.Type)) {
		fault("type: want auto, thin, linear, striped or loop, not %q", c.Type)
	}
	for _, p := range [][2]string{{"socket", c.Socket}, {"admin", c.Admin}, {"state_dir", c.StateDir}, {"mount_dir", c.mountDir()}, {"lvm_dir", c.LVMDir}} {
		if !filepath.IsAbs(p[1]) {
			fault("%s: want an absolute path, not %q", p[0], p[1])
		}
	}
	if strings.Contains(c.DevicesFile, "/") || c.DevicesFile == "" {
		fault("devices_file: want a name without a folder, not %q", c.DevicesFile)
	}
	if c.Interval.Duration < time.Second {
		fault("interval: want 1s at least, not %v", c.Interval)
	}
	if c.Linger.Duration < 200*time.Millisecond {
		fault("linger: want 200ms at least, not %v: a container takes a while to start", c.Linger)
	}
	if c.Thin.Interval.Duration < 100*time.Millisecond {
		fault("thin.interval: want 100ms at least, not %v", c.Thin.Interval)
	}
	if c.Thin.Overcommit < 0.1 || c.Thin.Overcommit > 100 {
		fault("thin.overcommit: want 0.1 to 100, not %v", c.Thin.Overcommit)
	}
	if l := c.levels(); l.Warn <= 0 || l.Warn > l.Refuse || l.Refuse > 1 || l.Pause < 0 || l.Pause > 1 || l.Pause > 0 && l.Pause < l.Refuse {
		fault("thin: want 0 < warn <= refuse <= pause <= 1, not %v, %v, %v", l.Warn, l.Refuse, l.Pause)
	}
	if e := c.Thin.Extend; e < 0 || e > 1 {
		fault("thin.extend: want 0 to 1, not %v", e)
	}
	for _, t := range []struct {
		key string
		config.Duration
	}{{"trim", c.Trim}, {"trash.keep", c.Trash.Keep}} {
		if t.Duration.Duration < 0 {
			fault("%s: want 0s at least, not %v", t.key, t.Duration)
		}
	}
	return errors.Join(errs...)
}

func (c *Config) levels() plan.Levels {
	return plan.Levels{Extend: c.Thin.Extend, Warn: c.Thin.Warn, Refuse: c.Thin.Refuse, Pause: c.Thin.Pause}
}

// loopDir, mountDir and trialDir are below the state directory, unless the mount
// directory is elsewhere.
func (c *Config) loopDir() string  { return filepath.Join(c.StateDir, "loop") }
func (c *Config) mountDir() string { return cmp.Or(c.MountDir, filepath.Join(c.StateDir, "mnt")) }
func (c *Config) trialDir() string { return filepath.Join(c.StateDir, "disk") }

// Size is a number of bytes that reads and writes "20g" in binary units.
type Size uint64

// UnmarshalText sets s from text such as "512m"; "0" is zero.
func (s *Size) UnmarshalText(text []byte) error {
	if string(text) == "0" {
		*s = 0
		return nil
	}
	n, err := spec.ParseSize(string(text))
	*s = Size(n)
	return err
}

// MarshalText returns a form that UnmarshalText reads, exact.
func (s Size) MarshalText() ([]byte, error) {
	for _, u := range []struct {
		shift  int
		letter string
	}{{40, "t"}, {30, "g"}, {20, "m"}, {10, "k"}} {
		if n := uint64(s) >> u.shift; n > 0 && n<<u.shift == uint64(s) {
			return fmt.Appendf(nil, "%d%s", n, u.letter), nil
		}
	}
	return fmt.Appendf(nil, "%d", uint64(s)), nil
}
