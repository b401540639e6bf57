package policy

import (
	"cmp"
	"fmt"
	"strings"
)

// Limits bound what a container, volume, network or image may be made of. What a
// profile does not mention, it takes from the one that it is based on; what none
// mentions is refused, or has no bound where it is a number.
type Limits struct {
	Unlimited      *bool    `toml:"unlimited" doc:"Nothing below is looked at."`
	Privileged     *bool    `toml:"privileged" doc:"Privileged containers and exec."`
	Capabilities   []string `toml:"capabilities" doc:"Capabilities that may be added, without CAP_."`
	Devices        []string `toml:"devices" doc:"Devices of the host, by patterns on their path."`
	DeviceRequests *bool    `toml:"device_requests" doc:"Devices by driver, such as GPUs."`
	HostNamespaces []string `toml:"host_namespaces" doc:"Namespaces of the host: network, pid, ipc, uts, user, cgroup."`
	Binds          []string `toml:"binds" doc:"Paths of the host that may be mounted, by patterns. A path that its user may change is as good as all paths, since he can make a link of it."`
	VolumesFrom    *bool    `toml:"volumes_from" doc:"All volumes of another container of the same owner."`
	VolumeDrivers  []string `toml:"volume_drivers" doc:"Drivers of new volumes."`
	VolumeOptions  []string `toml:"volume_options" doc:"Options of new volumes that the driver local does not get, since its device and o mount anything."`
	LocalOptions   *bool    `toml:"local_options" doc:"Options for the driver local."`
	NetworkDrivers []string `toml:"network_drivers" doc:"Drivers of new networks and of their addresses."`
	NetworkOptions []string `toml:"network_options" doc:"Options of new networks and of endpoints, by patterns on their key."`
	Subnets        []string `toml:"subnets" doc:"Subnets within which new networks may choose theirs. Else Docker chooses."`
	SecurityOpts   []string `toml:"security_opts" doc:"Security options, as docker run takes them."`
	Unmask         *bool    `toml:"unmask" doc:"Paths of /proc and /sys that are masked or read-only may be opened."`
	Sysctls        []string `toml:"sysctls" doc:"Sysctls, by patterns."`
	CgroupParents  []string `toml:"cgroup_parents" doc:"Cgroup parents, by patterns. Those of sets need not be named."`
	Cgroup         []string `toml:"cgroup" doc:"Settings of cgroups that files of sets may have, by patterns, such as memory.high."`
	Runtimes       []string `toml:"runtimes" doc:"Runtimes other than the Engine's default."`
	LogDrivers     []string `toml:"log_drivers" doc:"Log drivers."`
	LogOptions     []string `toml:"log_options" doc:"Options of log drivers."`
	Ulimits        []string `toml:"ulimits" doc:"Ulimits by name."`
	Groups         []string `toml:"groups" doc:"Further groups of processes in containers."`
	Annotations    []string `toml:"annotations" doc:"Annotations, by patterns on their key; runtimes obey some."`
	StorageOpts    *bool    `toml:"storage_opts" doc:"Options of the storage driver."`
	TmpfsExec      *bool    `toml:"tmpfs_exec" doc:"Tmpfs mounts with exec, suid or dev."`
	OOM            *bool    `toml:"oom" doc:"Shielding from the kernel's choice when memory runs out."`
	Realtime       *bool    `toml:"realtime" doc:"Real-time scheduling."`
	Labels         *bool    `toml:"labels" doc:"Labels whose key begins with mos., beside the owner's and those of a set of the right shape."`
	Images         []string `toml:"images" doc:"Images to pull and run, by patterns on their full name: docker.io/library/*, or with @sha256: and a digest."`
	Tags           []string `toml:"tags" doc:"Names that images may be given, by patterns on their full name. One that has an image of somebody else is refused anyway."`
	BuildRemote    *bool    `toml:"build_remote" doc:"Builds from a context that the Engine fetches, and whose images nobody judges."`
	MinPort        *int     `toml:"min_port" doc:"Lowest port of the host that may be published."`
	Memory         string   `toml:"memory" doc:"Most memory of a container, such as 8g. With it, a container must have a limit."`
	Swap           *bool    `toml:"swap" doc:"Swap beyond what the Engine gives by itself."`
	CPUs           *float64 `toml:"cpus" doc:"Most processors of a container. With it, a container must have a limit."`
	PIDs           *int64   `toml:"pids" doc:"Most processes of a container. With it, a container must have a limit."`
	SHM            string   `toml:"shm" doc:"Most shared memory of a container."`
	Requests       *float64 `toml:"requests" doc:"Requests a second of one user at the guarded socket; 500 where nobody says, 0 for no limit."`
	Burst          *int     `toml:"burst" doc:"Requests of one user that may come at once, before those a second count; 2000 where nobody says."`
	Connections    *int     `toml:"connections" doc:"Open connections of one user at the guarded socket, each docker logs -f, events, attach or exec that runs being one; 500 where nobody says, 0 for no limit."`

	memory, shm int64
}

// Share is how much of the guarded socket one user may have. Zero is no limit.
type Share struct {
	Requests    float64 // a second
	Burst       int     // at once
	Connections int
}

// Share is that of a user whom the limits are about. More than people, scripts and compose
// need, and less than what keeps others waiting.
func (l *Limits) Share() Share {
	if Is(l.Unlimited) {
		return Share{}
	}
	s := Share{Requests: 500, Burst: 2000, Connections: 500}
	if l.Requests != nil {
		s.Requests = *l.Requests
	}
	if l.Burst != nil {
		s.Burst = *l.Burst
	}
	if l.Connections != nil {
		s.Connections = *l.Connections
	}
	return s
}

// Share is that of a client, the name of the subject that he is, and what becomes of what
// exceeds it. Whom the policy does not know has a share, too: he is refused one by one.
func (p *Policy) Share(w Who) (s Share, subject string, m Mode) {
	found := p.Find(w)
	if found == nil {
		return new(Limits).Share(), "", p.Mode
	}
	pr := p.Profiles[found.Profile]
	return pr.Limits.Share(), found.Name, cmp.Or(pr.Mode, p.Mode)
}

// String is the share in a few words.
func (s Share) String() string {
	var parts []string
	if s.Requests > 0 {
		parts = append(parts, fmt.Sprintf("%g requests a second, %d at once", s.Requests, s.Burst))
	}
	if s.Connections > 0 {
		parts = append(parts, fmt.Sprintf("%d connections", s.Connections))
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, "; ")
}

// Is says whether a switch is on; one that nobody mentions is off.
func Is(b *bool) bool { return b != nil && *b }

// MaxMemory and MaxSHM are in bytes, 0 for no bound.
func (l *Limits) MaxMemory() int64 { return l.memory }

// MaxSHM is the most shared memory.
func (l *Limits) MaxSHM() int64 { return l.shm }

// In says whether one of the patterns of a limit fits.
func In(patterns []string, s string) bool { return fitsAny(patterns, s) }
