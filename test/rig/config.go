package rig

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/mosdocker/mosdocker/internal/testx"
)

// Engine says which Docker Engine the hosts run.
type Engine string

// The engines of the native rigs.
const (
	// Engine20 is the Engine of this machine's distribution, 20.10 on
	// Debian 12. It is the default.
	Engine20 Engine = "20.10"
	// EngineNew is the newest Engine, which test/setup/engine builds.
	EngineNew Engine = "new"
	// EngineNone is no Engine at all.
	EngineNone Engine = "none"
)

// Engines returns all engines that Docker-facing tests run on.
func Engines() []Engine { return []Engine{Engine20, EngineNew} }

// OneOrAll is for a long test of what is ours, where other tests see to how the engines
// differ: this engine, or all of them with MOS_FULL=1. Half of such tests have the one
// engine, half the other; test/night engines runs them all on both.
func OneOrAll(e Engine) []Engine {
	if os.Getenv("MOS_FULL") != "" {
		return Engines()
	}
	return []Engine{e}
}

// Config says what a rig is made of. The zero value is one host with the
// distribution's Engine and no Open vSwitch.
type Config struct {
	// Hosts is the number of hosts; 0 means 1.
	Hosts int
	// Engine is the Engine of all hosts; "" means [Engine20].
	Engine Engine
	// Newest is how many hosts, the last ones, have [EngineNew] where the others have
	// [Engine20]: a cluster that is being upgraded.
	Newest int
	// LiveRestore lets containers live on while dockerd is away.
	LiveRestore bool
	// Nftables makes the newest Engine write nftables rules itself. Older
	// engines refuse it. It switches forwarding on at boot, which this back
	// end leaves to the administrator and does not start without.
	Nftables bool
	// DockerdArgs are further arguments of dockerd.
	DockerdArgs []string
	// OVS starts ovsdb-server and ovs-vswitchd in each host.
	OVS bool
	// TSO switches userspace TSO on, before ovs-vswitchd starts.
	TSO bool
	// Outside adds a namespace that plays the world beyond the hosts: their
	// default route for IPv4 and IPv6.
	Outside bool
	// NoImage leaves [Image] out of the engines.
	NoImage bool
	// Dir is the folder below which the rig makes its own; "" means the
	// folder for temporary files. Keep it short, since unix socket paths
	// end at 107 bytes.
	Dir string
	// Logs is the folder of the daemons' logs; "" means one inside the
	// rig's own folder, which goes with the rig. [New] sets it.
	Logs string
}

// needs returns what the machine must have for the rig.
func (c Config) needs() []testx.Needs {
	needs := []testx.Needs{testx.Root, testx.NetNS}
	if c.Engine != EngineNone {
		needs = append(needs, testx.Docker)
	}
	if c.Engine == EngineNew || c.Newest > 0 {
		needs = append(needs, testx.Newest)
	}
	if c.OVS {
		needs = append(needs, testx.OVS)
	}
	return needs
}

// check fills in the defaults and refuses what cannot be.
func (c Config) check() (Config, error) {
	if c.Hosts == 0 {
		c.Hosts = 1
	}
	if c.Engine == "" {
		c.Engine = Engine20
	}
	switch {
	case c.Hosts < 1 || c.Hosts > 99:
		return c, fmt.Errorf("rig of %d hosts: want 1 to 99", c.Hosts)
	case c.Engine != Engine20 && c.Engine != EngineNew && c.Engine != EngineNone:
		return c, fmt.Errorf("rig with engine %q: want one of %q", c.Engine, append(Engines(), EngineNone))
	case c.Newest < 0 || c.Newest > c.Hosts || c.Newest > 0 && c.Engine != Engine20:
		return c, fmt.Errorf("rig of %d hosts with engine %q and %d newer ones", c.Hosts, c.Engine, c.Newest)
	case c.Nftables && c.Engine != EngineNew:
		return c, errors.New("rig with nftables: only the newest engine knows it")
	case c.TSO && !c.OVS:
		return c, errors.New("rig with TSO but without OVS")
	}
	return c, nil
}

// engine is the Engine of host i, counted from 1.
func (c Config) engine(i int) Engine {
	if i > c.Hosts-c.Newest {
		return EngineNew
	}
	return c.Engine
}

// path returns the PATH of nodes: the rig's own programs, the newest Engine's
// where that is in use, the distribution's, and what else this process knows.
func path(e Engine, own, old string) string {
	path := own
	if e == EngineNew {
		path += ":" + testx.EngineDir()
	}
	return path + ":/usr/sbin:/usr/bin:/sbin:/bin:" + old
}

// lookPath finds a program in a PATH that is not this process's own.
func lookPath(name, path string) (string, error) {
	if filepath.Base(name) != name {
		return name, nil
	}
	for _, dir := range filepath.SplitList(path) {
		if p, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return p, nil
		}
	}
	return "", &exec.Error{Name: name, Err: exec.ErrNotFound}
}
