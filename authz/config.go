package authz

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/mosdocker/mosdocker/authz/api"
	"github.com/mosdocker/mosdocker/internal/config"
)

// Config is the daemon's configuration: flags, MOS_AUTHZ_… variables and
// /etc/mos/mos-authz.toml, see package config.
type Config struct {
	Socket     string          `toml:"socket" doc:"Unix socket that Docker calls; ignored when systemd hands one over."`
	Listen     string          `toml:"listen" doc:"The guarded socket; empty is none."`
	Group      string          `toml:"group" doc:"Group of the guarded socket. It is not docker: whose members reach the Engine's own socket."`
	Admin      string          `toml:"admin" doc:"Unix socket of the admin API, which docker mos authz uses."`
	Policy     string          `toml:"policy" doc:"Policy file. While it cannot be read, everything is denied; a change that is wrong leaves the policy before it in force."`
	DockerHost string          `toml:"docker_host" doc:"Socket of the Docker Engine, behind the guarded socket and to learn whose objects are."`
	Lookup     config.Duration `toml:"lookup" doc:"How long the Engine may take to tell whose an object is; after it the request is denied. It tells of a container that starts when that has started."`
	Interval   config.Duration `toml:"interval" doc:"Time between two looks at the policy file."`
	Audit      struct {
		File     string `toml:"file" doc:"Audit log, one line of JSON a decision; empty is none."`
		Size     int64  `toml:"size" doc:"Bytes at which it is rotated."`
		Keep     int    `toml:"keep" doc:"How many rotated ones are kept."`
		Required bool   `toml:"required" doc:"What cannot be noted is denied."`
	} `toml:"audit" doc:"The audit log."`
	Log struct {
		Level  string `toml:"level" doc:"debug, info, warn or error."`
		Format string `toml:"format" doc:"text or json."`
	} `toml:"log" doc:"What is written to standard error."`
}

// Defaults is the configuration that nobody changed.
func Defaults() Config {
	c := Config{
		Socket:     "/run/docker/plugins/mos-authz.sock",
		Listen:     "/run/mos/docker.sock",
		Group:      "mos",
		Admin:      api.DefaultSocket,
		Policy:     "/etc/mos/policy.toml",
		DockerHost: "unix:///run/docker.sock",
		Lookup:     config.Duration{Duration: 20 * time.Second}, // a first mount may check a file system
		Interval:   config.Duration{Duration: 2 * time.Second},
	}
	c.Audit.File, c.Audit.Size, c.Audit.Keep = "/var/log/mos/authz.log", 64<<20, 5
	c.Log.Level, c.Log.Format = "info", "text"
	return c
}

// Check returns all faults of the configuration.
func (c *Config) Check() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, p := range [][2]string{{"socket", c.Socket}, {"listen", c.Listen}, {"admin", c.Admin}, {"policy", c.Policy}, {"audit.file", c.Audit.File}} {
		if !filepath.IsAbs(p[1]) && (p[1] != "" || p[0] != "listen" && p[0] != "audit.file") {
			fault("%s: want an absolute path, not %q", p[0], p[1])
		}
	}
	if !strings.HasPrefix(c.DockerHost, "unix:///") {
		fault("docker_host: want unix:///PATH, not %q", c.DockerHost)
	}
	if c.Listen != "" && c.Group == "docker" {
		fault("group: members of docker reach the Engine's own socket; choose another for the guarded one")
	}
	if c.Lookup.Duration < 100*time.Millisecond {
		fault("lookup: want 100ms at least, not %v", c.Lookup)
	}
	if c.Interval.Duration < 100*time.Millisecond {
		fault("interval: want 100ms at least, not %v", c.Interval)
	}
	if c.Audit.Size < 4096 || c.Audit.Keep < 0 {
		fault("audit: want a size of 4096 at least and keep of 0 at least, not %d and %d", c.Audit.Size, c.Audit.Keep)
	}
	if c.Audit.Required && c.Audit.File == "" {
		fault("audit.required: there is no audit.file")
	}
	return errors.Join(errs...)
}
