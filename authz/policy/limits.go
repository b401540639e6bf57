package policy

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
	BuildRemote    *bool    `toml:"build_remote" doc:"Builds from a context that the Engine fetches."`
	MinPort        *int     `toml:"min_port" doc:"Lowest port of the host that may be published."`
	Memory         string   `toml:"memory" doc:"Most memory of a container, such as 8g. With it, a container must have a limit."`
	Swap           *bool    `toml:"swap" doc:"Swap beyond what the Engine gives by itself."`
	CPUs           *float64 `toml:"cpus" doc:"Most processors of a container. With it, a container must have a limit."`
	PIDs           *int64   `toml:"pids" doc:"Most processes of a container. With it, a container must have a limit."`
	SHM            string   `toml:"shm" doc:"Most shared memory of a container."`

	memory, shm int64
}

// Is says whether a switch is on; one that nobody mentions is off.
func Is(b *bool) bool { return b != nil && *b }

// MaxMemory and MaxSHM are in bytes, 0 for no bound.
func (l *Limits) MaxMemory() int64 { return l.memory }

// MaxSHM is the most shared memory.
func (l *Limits) MaxSHM() int64 { return l.shm }

// In says whether one of the patterns of a limit fits.
func In(patterns []string, s string) bool { return fitsAny(patterns, s) }
