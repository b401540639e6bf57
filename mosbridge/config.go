package mosbridge

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/mosbridge/ipam"
)

// Config is the daemon's configuration: flags, MOS_MOSBRIDGE_… variables and
// /etc/mos/mosbridge.toml, see package config.
type Config struct {
	Socket      string          `toml:"socket" doc:"Unix socket that Docker calls; ignored when systemd hands one over."`
	Admin       string          `toml:"admin" doc:"Unix socket of the admin API, which docker mos net uses."`
	StateDir    string          `toml:"state_dir" doc:"Directory of the record. Losing it loses the networks."`
	DockerHost  string          `toml:"docker_host" doc:"Socket of the Docker Engine, read beside the calls to learn names and what still exists."`
	OVSRunDir   string          `toml:"ovs_run_dir" doc:"Directory with the sockets of Open vSwitch."`
	Datapath    string          `toml:"datapath" doc:"auto, kernel or userspace: the datapath of new bridges; auto takes the kernel's where there is one."`
	IPTables    string          `toml:"iptables" doc:"Program for the rules of Docker that ours must stand beside: iptables, iptables-nft or iptables-legacy, and those named alike for IPv6."`
	RestoreWait bool            `toml:"restore_wait" doc:"Make a starting ovs-vswitchd wait for the replay of flows, where all bridges are ours."`
	Interval    config.Duration `toml:"interval" doc:"Time between two repairs."`
	RepairLimit config.Duration `toml:"repair_limit" doc:"Time that one repair may take."`
	Grace       config.Duration `toml:"grace" doc:"How long Docker must not know an endpoint or network before it is collected."`
	Pools       []PoolRange     `toml:"pools" doc:"Ranges for networks without --subnet, each with the length to cut it in, such as 10.200.0.0/14:24."`
	Log         struct {
		Level  string `toml:"level" doc:"debug, info, warn or error."`
		Format string `toml:"format" doc:"text or json."`
	} `toml:"log" doc:"What is written to standard error."`
}

// Defaults is the configuration that nobody changed.
func Defaults() Config {
	c := Config{
		Socket:      "/run/docker/plugins/mosbridge.sock",
		Admin:       "/run/mos/mosbridge.sock",
		StateDir:    "/var/lib/mos/mosbridge",
		DockerHost:  "unix:///run/docker.sock",
		OVSRunDir:   "/run/openvswitch",
		Datapath:    "auto",
		IPTables:    "iptables",
		RestoreWait: true,
		Interval:    config.Duration{Duration: 30 * time.Second},
		RepairLimit: config.Duration{Duration: 30 * time.Second},
		Grace:       config.Duration{Duration: 2 * time.Minute},
		Pools: []PoolRange{
			{netip.MustParsePrefix("10.200.0.0/14"), 24},
			{netip.MustParsePrefix("fd6d:6f73:6272::/48"), 64},
		},
	}
	c.Log.Level, c.Log.Format = "info", "text"
	return c
}

// Check returns all faults of the configuration.
func (c *Config) Check() error {
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, ok := datapaths()[c.Datapath]; !ok {
		fault("datapath: want auto, kernel or userspace, not %q", c.Datapath)
	}
	if !slices.Contains([]string{"iptables", "iptables-nft", "iptables-legacy"}, c.IPTables) {
		fault("iptables: want iptables, iptables-nft or iptables-legacy, not %q", c.IPTables)
	}
	for key, v := range map[string]string{"socket": c.Socket, "admin": c.Admin, "state_dir": c.StateDir, "ovs_run_dir": c.OVSRunDir} {
		if !strings.HasPrefix(v, "/") {
			fault("%s: want an absolute path, not %q", key, v)
		}
	}
	for key, v := range map[string]config.Duration{"interval": c.Interval, "repair_limit": c.RepairLimit, "grace": c.Grace} {
		if v.Duration < 100*time.Millisecond {
			fault("%s: want 100ms at least, not %v", key, v)
		}
	}
	return errors.Join(errs...)
}

// datapaths gives Open vSwitch's names of datapath types.
func datapaths() map[string]string {
	return map[string]string{"auto": "", "kernel": "system", "userspace": "netdev"}
}

// PoolRange is a range that is cut in subnets of one length: 10.200.0.0/14:24.
type PoolRange struct {
	Prefix netip.Prefix
	Bits   int
}

// UnmarshalText reads the form PREFIX:LENGTH.
func (r *PoolRange) UnmarshalText(text []byte) error {
	i := strings.LastIndexByte(string(text), ':')
	if i < 0 {
		return fmt.Errorf("want PREFIX:LENGTH such as 10.200.0.0/14:24, not %.60q", text)
	}
	p, err := netip.ParsePrefix(string(text[:i]))
	if err != nil {
		return err
	}
	bits, err := strconv.Atoi(string(text[i+1:]))
	if err != nil || bits < p.Bits() || bits > p.Addr().BitLen()-2 {
		return fmt.Errorf("%.60q: want a length between %d and %d behind the colon", text, p.Bits(), p.Addr().BitLen()-2)
	}
	*r = PoolRange{p.Masked(), bits}
	return nil
}

// MarshalText is the form PREFIX:LENGTH.
func (r PoolRange) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%s:%d", r.Prefix, r.Bits), nil
}

// ranges are the configured pools as IPAM takes them.
func (c *Config) ranges() []ipam.Range {
	var rs []ipam.Range
	for _, r := range c.Pools {
		rs = append(rs, ipam.Range{Prefix: r.Prefix, Bits: r.Bits})
	}
	return rs
}
