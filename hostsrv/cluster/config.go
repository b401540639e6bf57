package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mosdocker/mosdocker/hostsrv/names"
	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/link"
)

// Config says of which cluster a host is.
type Config struct {
	Endpoints []string        `toml:"endpoints" doc:"Where mos-schedulers of the cluster are, tried in any order: unix:///PATH of this machine, or https://HOST:PORT after docker mos host join, which keeps them by itself. Empty is no cluster."`
	Name      string          `toml:"name" doc:"The host's name in the cluster; empty is its host name. It is that of the certificate after docker mos host join."`
	Labels    []string        `toml:"labels" doc:"KEY=VALUE of the host, for the placement of sets; room and rack say where it is."`
	Domain    string          `toml:"domain" doc:"Names of services end in it: sets of the cluster that have an address of it ask this mosd for SERVICE.DOMAIN and SET.SERVICE.DOMAIN. Empty answers none. Another value makes these sets anew."`
	State     string          `toml:"state" doc:"Folder for the assignment, the certificate and the mark of the machine; they must outlive the host's start."`
	Grace     config.Duration `toml:"grace" doc:"How long a mosd that starts waits for the cluster before it goes by the assignment on its disk."`
}

// Defaults is the configuration that nobody changed.
func Defaults() Config {
	return Config{Endpoints: []string{"unix:///run/mos/scheduler.sock"}, Domain: "mos.internal", State: "/var/lib/mos/mosd/cluster", Grace: config.Duration{Duration: 3 * time.Second}}
}

// Check returns all faults of the configuration.
func (c *Config) Check() error {
	var errs []error
	for _, e := range c.Endpoints {
		if err := link.CheckEndpoint(e); err != nil {
			errs = append(errs, fmt.Errorf("endpoints: %w", err))
		}
	}
	if !filepath.IsAbs(c.State) {
		errs = append(errs, fmt.Errorf("state: want an absolute path, not %q", c.State))
	}
	errs = append(errs, named("domain", names.Check(c.Domain)))
	_, err := c.labels()
	h := api.Host{Meta: api.Meta{Name: "host"}}
	if c.Name != "" {
		h.Name = c.Name
	}
	return errors.Join(append(errs, err, h.Check())...)
}

func named(key string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

func (c *Config) labels() (map[string]string, error) {
	labels := map[string]string{}
	for _, l := range c.Labels {
		key, value, found := strings.Cut(l, "=")
		if !found {
			return nil, fmt.Errorf("labels: want KEY=VALUE, not %q", l)
		}
		labels[key] = value
	}
	h := api.Host{Meta: api.Meta{Name: "host", Labels: labels}}
	return labels, h.Check()
}

// name is that of the host, as DNS has it.
func (c *Config) name() (string, error) {
	if c.Name != "" {
		return c.Name, nil
	}
	name, err := os.Hostname()
	name = strings.ToLower(name)
	if err == nil {
		h := api.Host{Meta: api.Meta{Name: name}}
		err = h.Check()
	}
	if err != nil {
		return "", fmt.Errorf("the host's name in the cluster: %w; give one as cluster.name", err)
	}
	return name, nil
}
