package spec

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// DefaultBridge is the Open vSwitch bridge of networks that name none.
const DefaultBridge = "mosbr0"

// Option is one row of the table that option parsing, the docs and the
// completion are made from.
type Option struct {
	Key     string
	Value   string // the form of the value, for people
	Default string
	Help    string
	// Later marks an option whose name is taken but that is refused.
	Later   bool
	network func(*Network, string) error
	point   func(*Endpoint, string) error
}

// OfNetwork says that `docker network create -o` takes the option.
func (o Option) OfNetwork() bool { return o.network != nil }

// OfEndpoint says that `--driver-opt` takes the option.
func (o Option) OfEndpoint() bool { return o.point != nil }

// Options is the table of all options, sorted by key.
func Options() []Option {
	return []Option{
		{
			Key: "mos.bridge", Value: "NAME", Default: DefaultBridge,
			Help:    "Open vSwitch bridge that carries the network; made when missing.",
			network: func(n *Network, v string) (err error) { n.Bridge, err = linkName("bridge", v); return err },
		},
		{
			Key: "mos.gateway", Value: "host|external", Default: "host; external with mos.uplink",
			Help:    "who holds the gateway address: this host, which forwards and translates, or a router behind the uplink.",
			network: setGateway,
		},
		{Key: "mos.mode", Value: "bridge|vpc", Default: "bridge", Help: "vpc is not available yet.", network: setMode},
		{
			Key: "mos.mtu", Value: "BYTES", Default: "of the uplink",
			Help:    "MTU of the containers' interfaces, 576 to 65535 (1280 at least with IPv6).",
			network: setMTU,
		},
		{
			Key: "mos.nat", Value: "true|false", Default: "true with mos.gateway=host",
			Help:    "translate what leaves the network to the host's address.",
			network: setNAT,
		},
		{
			Key: "mos.rate.in", Value: "RATE", Default: "none",
			Help:    "most that a container may receive, such as 100mbit; changed live by docker mos net set.",
			network: func(n *Network, v string) (err error) { n.Rates.In, err = ParseRate(v); return err },
			point:   func(e *Endpoint, v string) (err error) { e.rates().In, err = ParseRate(v); return err },
		},
		{
			Key: "mos.rate.out", Value: "RATE", Default: "none",
			Help:    "most that a container may send.",
			network: func(n *Network, v string) (err error) { n.Rates.Out, err = ParseRate(v); return err },
			point:   func(e *Endpoint, v string) (err error) { e.rates().Out, err = ParseRate(v); return err },
		},
		{Key: "mos.secgroups", Value: "NAME,…", Help: "security groups; not available yet.", Later: true, network: laterNetwork, point: laterEndpoint},
		{Key: "mos.trunk", Value: "VLAN,…", Help: "VLANs handed to the container tagged; not available yet.", Later: true, network: laterNetwork, point: laterEndpoint},
		{
			Key: "mos.uplink", Value: "INTERFACE", Default: "none",
			Help:    "interface of the host that is put on the bridge and carries the network to other hosts.",
			network: func(n *Network, v string) (err error) { n.Uplink, err = linkName("uplink", v); return err },
		},
		{
			Key: "mos.vlan", Value: "0-4094", Default: "0",
			Help:    "VLAN tag of the network on the uplink; 0 is untagged.",
			network: setVLAN,
		},
	}
}

// rates makes room for limits of the endpoint's own.
func (e *Endpoint) rates() *Rates {
	if e.Rates == nil {
		e.Rates = &Rates{}
	}
	return e.Rates
}

func laterNetwork(*Network, string) error   { return errLater }
func laterEndpoint(*Endpoint, string) error { return errLater }

func setGateway(n *Network, v string) error {
	switch m := GatewayMode(v); m {
	case GatewayHost, GatewayExternal:
		n.Gateway = m
		return nil
	case GatewayNone:
	}
	return fault.Invalid("want host or external, not %.40q", v)
}

func setMode(_ *Network, v string) error {
	switch v {
	case "bridge":
		return nil
	case "vpc":
		return errLater
	}
	return fault.Invalid("want bridge, not %.40q", v)
}

func setMTU(n *Network, v string) error {
	i, err := strconv.Atoi(v)
	if err != nil || i < 576 || i > 65535 {
		return fault.Invalid("want 576 to 65535, not %.40q", v)
	}
	n.MTU = i
	return nil
}

func setNAT(n *Network, v string) error {
	b, err := strconv.ParseBool(v)
	if err != nil {
		return fault.Invalid("want true or false, not %.40q", v)
	}
	n.NAT = b
	return nil
}

func setVLAN(n *Network, v string) error {
	i, err := strconv.ParseUint(v, 10, 16)
	if err != nil || i > 4094 {
		return fault.Invalid("want 0 to 4094, not %.40q", v)
	}
	n.VLAN = uint16(i)
	return nil
}

// linkName checks a name the kernel and Open vSwitch both take, without
// characters that mean something to the tools between.
func linkName(what, v string) (string, error) {
	ok := len(v) > 0 && len(v) <= 15 && v[0] != '-' && v[0] != '.'
	for _, r := range v {
		ok = ok && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r))
	}
	if ok && OwnName(v) {
		return "", fault.Invalid("%s is a name that mosbridge gives to its own links: choose another", v)
	}
	if !ok {
		return "", fault.Invalid("%.40q is no name of a %s: 1 to 15 letters, digits, '.', '_' or '-'", v, what)
	}
	return v, nil
}

// foreign are option keys that Docker itself sends along and that mean nothing here.
func foreign(key string) bool { return strings.HasPrefix(key, "com.docker.network.") }

// parse walks the given options in order of their keys through one of the
// table's setters. IfName and other keys of Docker's own are skipped.
func parse(given map[string]string, set func(Option, string) error, fits func(Option) bool) error {
	table := map[string]Option{}
	var known []string
	for _, o := range Options() {
		if fits(o) {
			table[o.Key] = o
			known = append(known, o.Key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(given)) {
		if foreign(key) {
			continue
		}
		o, ok := table[key]
		if !ok {
			return fault.Invalid("option %.60q is not known: mosbridge takes %s", key, strings.Join(known, ", "))
		}
		if err := set(o, given[key]); err != nil {
			return fmt.Errorf("option %s: %w", key, err)
		}
	}
	return nil
}
