package spec

import (
	"strconv"
	"strings"
	"time"
)

// Set is a set as its file says: an infra container, which holds network, volume
// and IPC, and the containers that share them. The names of the keys in a file are
// those of the fields.
type Set struct {
	Name string
	// CPU is how many cores the set may use in all, and MEM how many bytes; 0 is
	// no limit, and then containers cannot have percents of it.
	CPU Cores
	MEM Bytes
	// Overcommit allows the CPU percents of the containers to add up to more than 100.
	Overcommit bool
	// Cgroup is settings of the set as a whole, see that of Options.
	Cgroup map[string]string

	Network  Network
	Networks []Network // further ones, connected beside the first
	Volume   *Volume
	Hostname string // the name of the set by default
	DNS      DNS
	Hosts    map[string]string // NAME: ADDRESS lines of /etc/hosts
	Ports    []string          // as docker run -p
	SHM      Bytes             // size of the shared /dev/shm; 0 is the engine's 64m
	Sysctls  map[string]string // of the network, IPC and message queue namespaces, see check_set.go
	PID      bool              // the containers see each other's processes
	Infra    Infra

	Labels      map[string]string
	Annotations map[string]string // of engines from 24 on
	Containers  []Container
}

// Network is one that the set is connected to.
type Network struct {
	Name    string // "bridge" by default for the first; "none" and "host" are allowed there
	IP, IP6 string
	MAC     string
	Aliases []string
	Options map[string]string // driver options of the endpoint
}

// Volume is the one that the set's containers share. It outlives the set.
type Volume struct {
	Name    string // "<set>-data" by default
	Driver  string // "mos-lvm" by default
	Size    Bytes  // option size of the driver; needs Driver mos-lvm
	Options map[string]string
	Path    string // where all containers have it that name no mount of it themselves
}

// DNS is what /etc/resolv.conf of the set says.
type DNS struct {
	Servers, Search, Options []string
}

// Infra changes the infra container.
type Infra struct {
	Image      string // our own by default
	Privileged bool
}

// Container is one that works in the set.
type Container struct {
	// Index orders: containers of one index are started together, when those of
	// the index before are ready, and stopped in the reverse order.
	Index   int
	Name    string
	Image   string
	Options Options
}

// Options are the options of a container.
type Options struct {
	// CPU and MEM are percents of the set; Cores and Memory are absolute and
	// take their place. 0 is no limit but the set's; a file cannot say 0 percent.
	CPU, MEM float64
	Cores    Cores
	Memory   Bytes

	Command    []string // the arguments behind the image
	Entrypoint []string
	Env        map[string]string
	EnvFiles   []string // relative to the set's file; what Env says wins
	User       string
	Groups     []string
	WorkDir    string
	TTY        bool

	Mounts  []Mount
	Files   []File
	Ulimits map[string]string // NAME: SOFT[:HARD]
	CapAdd  []string
	CapDrop []string
	Devices []string // as docker run --device

	SecurityOpt []string
	ReadOnly    bool
	Privileged  bool
	Init        bool // an init of the engine reaps processes
	PIDs        int  // the most processes; 0 is no limit
	// Cgroup is settings beyond the Engine's, see package setting; mosd keeps them.
	Cgroup      map[string]string
	OOMScoreAdj int

	// Once marks an init container: it runs to its end, with code 0, before those
	// of later indices are started.
	Once      bool
	DependsOn []Dependency
	Health    *Health
	Ready     *Probe
	Live      *Live
	Restart   string // no, on-failure[:N], always, unless-stopped; "always" by default, "no" with Once
	Backoff   *Backoff
	Hooks     Hooks
	Stop      Stop
	Update    Update
	Log       Log

	Labels      map[string]string
	Annotations map[string]string
}

// Mount is something that a container has at a path.
type Mount struct {
	Type     MountType // "set" by default
	Source   string    // of bind and volume
	Subpath  string    // of set: a directory of the set's volume; made when missing by engines from 26 on only
	Path     string
	ReadOnly bool
	Size     Bytes // of tmpfs
}

// File is one that is put into a container before its first start: configuration, or
// a secret. One of Source and Text is given. Labels have Digest in place of Source, so
// that what is in the file stands nowhere but in the container.
type File struct {
	Path   string
	Source string // relative to the set's file
	Text   string
	Digest string // sha256:HEX of what Source has
	Mode   string // octal, "0444" by default
	User   string // UID or UID:GID, 0:0 by default
}

// MountType is a kind of mount.
type MountType string

// The kinds of mounts.
const (
	MountSet    MountType = "set" // the set's volume
	MountBind   MountType = "bind"
	MountVolume MountType = "volume"
	MountTmpfs  MountType = "tmpfs"
)

// Dependency says what must be true of another container before one is started.
type Dependency struct {
	Container string
	Condition Condition // "started" by default
}

// Condition is a state of a container that others wait for.
type Condition string

// The conditions.
const (
	Started   Condition = "started"
	Healthy   Condition = "healthy" // its Ready or Health says so
	Completed Condition = "completed"
)

// Health is the engine's own health check. A container that has one is ready when
// it is healthy.
type Health struct {
	Cmd         []string // CMD ARG... or CMD-SHELL LINE, as in a Dockerfile
	Interval    Duration
	Timeout     Duration
	StartPeriod Duration
	Retries     int
}

// Probe asks a container whether it is ready, at its start only. One of Exec, HTTP
// and TCP is given.
type Probe struct {
	Exec     []string
	HTTP     *HTTPProbe
	TCP      int // port
	Interval Duration
	Timeout  Duration
	Deadline Duration // for all tries; 60s by default
}

// Live asks a container again and again whether it works; mosd does so, and restarts
// one that does not. One of Exec, HTTP, TCP and Health is given.
type Live struct {
	Exec     []string
	HTTP     *HTTPProbe
	TCP      int      // port
	Health   bool     // what the engine's health check says, which asks at its own times
	Interval Duration // 10s by default
	Timeout  Duration // 2s by default
	Failures int      // in a row until it is restarted; 3 by default
}

// Probe is the question of l, none of its Health.
func (l Live) Probe() Probe {
	return Probe{Exec: l.Exec, HTTP: l.HTTP, TCP: l.TCP, Interval: l.Interval, Timeout: l.Timeout}
}

// Backoff says when a container that ended is started again. mosd does that then, and
// not the engine, whose pauses are 100ms, doubled with each end up to 1m, and forgotten
// after 10s.
type Backoff struct {
	Pauses []Duration // the first after the first end; the last one for all after it
	Reset  Duration   // who ran so long has the first pause again; 10m by default
}

// StartsAgain says whether the container is to be started again after an end with an
// exit code, not counting how often it ended before.
func (o Options) StartsAgain(exit int) bool {
	switch policy, _, _ := strings.Cut(o.Restart, ":"); policy {
	case "":
		return !o.Once
	case "no":
		return false
	case "on-failure":
		return exit != 0
	}
	return true
}

// Most is how often in a row an on-failure container is started again, 0 without end.
func (o Options) Most() int {
	_, count, _ := strings.Cut(o.Restart, ":")
	n, err := strconv.Atoi(count)
	if err != nil {
		return 0 // none is given
	}
	return n
}

// HTTPProbe is well with a status of 200 to 399.
type HTTPProbe struct {
	Port int
	Path string
}

// Hooks are commands in a container: after its start, and before it is stopped.
type Hooks struct {
	PostStart, PreStop []string
}

// Stop says how a container is stopped.
type Stop struct {
	Signal string
	Grace  *Duration // until it is killed; the engine's 10s by default
}

// Update says how a container is replaced.
type Update struct {
	Strategy Strategy // "swap" by default
	MinReady Duration // how long the new one must be ready before the old one goes
	Deadline Duration // for the new one to be ready; 60s by default
}

// Strategy is a way to replace a container.
type Strategy string

// The strategies.
const (
	Overlap Strategy = "overlap" // the new one runs beside the old one until it is ready
	Swap    Strategy = "swap"    // the new one is made, then the old one stopped and the new one started
	Restart Strategy = "restart" // the old one is stopped, then the new one is made and started
)

// Log is where the engine puts what a container writes.
type Log struct {
	Driver  string
	Options map[string]string
}

// Cores is an amount of processors, in cores, with three digits behind the point.
// A file has a number, or text as "1.5" or "1500m".
type Cores float64

// Bytes is a size. A file has a number, or text as "512m" or "8g" (of 1024).
type Bytes uint64

// Duration is a time as "1m30s" in a file.
type Duration time.Duration
