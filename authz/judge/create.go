package judge

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"

	"github.com/mosdocker/mosdocker/authz/policy"
	"github.com/mosdocker/mosdocker/authz/request"
)

// create decides on a new container.
func (j *judge) create() *denial {
	c := j.call
	b := c.Create
	if !j.unlimited() && !policy.Is(j.l.Labels) {
		j.edit.Ours = Ours(b.Labels)
	}
	if d := j.owned(c.Action, "container", c.Param("name"), b.Labels); d != nil {
		return d
	}
	image, d := j.use(b.Image)
	if d != nil {
		return d
	}
	if j.unlimited() {
		return j.named()
	}
	if d := j.name("container", c.Param("name")); d != nil {
		return d
	}
	set, d := j.shape(image)
	if d != nil {
		return d
	}
	for _, check := range []func() *denial{
		j.named,
		j.mounts,
		func() *denial { return j.host(set) },
		func() *denial { return j.resources(&b.HostConfig.Resources, true) },
		func() *denial { return j.parent(b.HostConfig.CgroupParent, set) },
	} {
		if d := check(); d != nil {
			return d
		}
	}
	if j.front == Proxy {
		j.edit.Mounts = ownVolumes(b, image.Paths, j.self)
	}
	return nil
}

// ownVolumes are the mounts of a new container whose volumes without a name get an owner:
// those among its mounts, in its Volumes, and at paths of its image. nil is no change. That
// a volume has no name stays so, by which the Engine removes it with its container.
func ownVolumes(b *request.Create, image []string, owner string) []mount.Mount {
	h := b.HostConfig
	if len(h.Mounts)+len(b.Volumes)+len(image) == 0 { // as of most
		return nil
	}
	label := map[string]string{OwnerLabel: owner}
	mounts, changed := slices.Clone(h.Mounts), false
	taken := map[string]bool{"/": true}
	for i := range mounts {
		m := &mounts[i]
		taken[path.Clean(m.Target)] = true
		if m.Type != mount.TypeVolume || m.Source != "" {
			continue
		}
		o := mount.VolumeOptions{}
		if m.VolumeOptions != nil {
			o = *m.VolumeOptions
		}
		o.Labels = maps.Clone(o.Labels)
		if o.Labels == nil {
			o.Labels = map[string]string{}
		}
		o.Labels[OwnerLabel] = owner
		m.VolumeOptions, changed = &o, true
	}
	if len(h.VolumesFrom) > 0 { // which may have something at any path
		image = nil
	} else {
		image = slices.Concat(image, slices.Collect(maps.Keys(b.Volumes)))
	}
	for _, bind := range h.Binds {
		parts := strings.Split(bind, ":")
		taken[path.Clean(parts[min(1, len(parts)-1)])] = true
	}
	for dst := range h.Tmpfs {
		taken[path.Clean(dst)] = true
	}
	slices.Sort(image)
	for _, dst := range image {
		dst = path.Clean(dst)
		if taken[dst] || !path.IsAbs(dst) {
			continue
		}
		taken[dst], changed = true, true
		o := &mount.VolumeOptions{Labels: label}
		if h.VolumeDriver != "" {
			o.DriverConfig = &mount.Driver{Name: h.VolumeDriver}
		}
		mounts = append(mounts, mount.Mount{Type: mount.TypeVolume, Target: dst, VolumeOptions: o})
	}
	if !changed {
		return nil
	}
	return mounts
}

// named decides on the objects that a new container names: networks, volumes,
// other containers.
func (j *judge) named() *denial {
	b, h := j.call.Create, j.call.Create.HostConfig
	if d := j.networkMode(string(h.NetworkMode)); d != nil {
		return d
	}
	if b.NetworkingConfig != nil {
		for name, e := range b.NetworkingConfig.EndpointsConfig {
			if d := j.networkUse(name); d != nil {
				return d
			}
			if d := j.endpoint(e); d != nil {
				return d
			}
		}
	}
	for _, m := range []struct{ field, namespace, mode string }{
		{"IpcMode", "ipc", string(h.IpcMode)}, {"PidMode", "pid", string(h.PidMode)},
	} {
		if strings.Contains(m.mode, ":") {
			if d := j.join(m.field, m.namespace, m.mode); d != nil {
				return d
			}
		}
	}
	if d := j.links(h.Links); d != nil {
		return d
	}
	for _, from := range h.VolumesFrom {
		ref, _, _ := strings.Cut(from, ":")
		if !j.unlimited() && !policy.Is(j.l.VolumesFrom) {
			return deny("limits.volumes_from", "the volumes of another container are not allowed: name them")
		}
		if _, d := j.container("container.join", ref); d != nil {
			return d
		}
	}
	return nil
}

func (j *judge) mounts() *denial {
	b, h := j.call.Create, j.call.Create.HostConfig
	if h.VolumeDriver != "" && !policy.In(j.l.VolumeDrivers, h.VolumeDriver) {
		return deny("limits.volume_drivers", "volumes of driver %.80s are not allowed", h.VolumeDriver)
	}
	for dst := range b.Volumes {
		if strings.Contains(dst, ":") {
			return deny("limits.binds", "volume %.80q is no path of the container", dst)
		}
	}
	for _, bind := range h.Binds {
		if d := j.bind(bind, h.VolumeDriver); d != nil {
			return d
		}
	}
	for i := range h.Mounts {
		if d := j.mount(&h.Mounts[i], h.VolumeDriver); d != nil {
			return d
		}
	}
	for _, options := range h.Tmpfs {
		if d := j.tmpfs([]string{options}); d != nil {
			return d
		}
	}
	return nil
}

// bind reads SOURCE:PATH[:OPTIONS], and PATH alone.
func (j *judge) bind(text, driver string) *denial {
	parts := strings.Split(text, ":")
	if len(parts) > 3 {
		return deny("limits.binds", "%.80q has too many parts for a mount", text)
	}
	if len(parts) == 3 {
		for o := range strings.SplitSeq(parts[2], ",") {
			switch o {
			case "", "ro", "rw", "z", "Z", "nocopy", "private", "rprivate", "consistent", "cached", "delegated":
			default:
				return deny("limits.binds", "option %.40q of a mount is not allowed", o)
			}
		}
	}
	switch src := parts[0]; {
	case len(parts) == 1: // a volume without a name
		return nil
	case strings.HasPrefix(src, "/"):
		return j.hostPath(src)
	case strings.ContainsAny(src, "/\\"):
		return deny("limits.binds", "%.80q is neither a path nor the name of a volume", src)
	default:
		return j.volumeUse(request.VolumeCreate{Name: src, Driver: driver})
	}
}

func (j *judge) hostPath(p string) *denial {
	if strings.HasPrefix(p, "/") && (path.Clean(p) == p || path.Clean(p)+"/" == p) && policy.In(j.l.Binds, p) {
		return nil
	}
	return deny("limits.binds", "path %.120s of the host may not be mounted", p)
}

func (j *judge) mount(m *mount.Mount, driver string) *denial {
	switch m.Type {
	case mount.TypeBind:
		if o := m.BindOptions; o != nil && o.Propagation != "" && o.Propagation != mount.PropagationPrivate && o.Propagation != mount.PropagationRPrivate {
			return deny("limits.binds", "propagation %.20s of a mount is not allowed", o.Propagation)
		}
		return j.hostPath(m.Source)
	case mount.TypeVolume:
		v := request.VolumeCreate{Name: m.Source, Driver: driver}
		if o := m.VolumeOptions; o != nil {
			v.Labels = o.Labels
			if d := j.reserved(o.Labels); d != nil {
				return d
			}
			if o.DriverConfig != nil {
				v.Driver, v.DriverOpts = o.DriverConfig.Name, o.DriverConfig.Options
				if d := j.driver(v.Driver, v.DriverOpts); d != nil {
					return d
				}
			}
		}
		if v.Name == "" {
			if o := v.Labels[OwnerLabel]; o != "" && o != j.self {
				return deny("builtin: owner", "label %s must be %s, not %.80s", OwnerLabel, j.self, o)
			}
			return nil
		}
		return j.volumeUse(v)
	case mount.TypeTmpfs:
		if o := m.TmpfsOptions; o != nil {
			for _, words := range o.Options {
				if d := j.tmpfs(words); d != nil {
					return d
				}
			}
		}
		return nil
	case mount.TypeImage:
		_, d := j.use(m.Source)
		return d
	case mount.TypeNamedPipe, mount.TypeCluster:
	}
	return deny("limits.binds", "mounts of type %.20q are not allowed", m.Type)
}

func (j *judge) tmpfs(options []string) *denial {
	for _, o := range options {
		for word := range strings.SplitSeq(o, ",") { // Engines join them by that
			switch word {
			case "exec", "suid", "dev":
				if !policy.Is(j.l.TmpfsExec) {
					return deny("limits.tmpfs_exec", "option %s of a tmpfs is not allowed", word)
				}
			}
		}
	}
	return nil
}

// host compares what is left of the HostConfig with the limits.
func (j *judge) host(set bool) *denial {
	b, h, l := j.call.Create, j.call.Create.HostConfig, j.l
	switch {
	case h.Privileged && !policy.Is(l.Privileged):
		return deny("limits.privileged", "privileged containers are not allowed")
	case h.Cgroup != "":
		return deny("limits", "the cgroup of another container is not allowed")
	case (h.MaskedPaths != nil || h.ReadonlyPaths != nil) && !policy.Is(l.Unmask):
		return deny("limits.unmask", "paths that Docker masks must stay masked")
	case len(h.StorageOpt) > 0 && !policy.Is(l.StorageOpts):
		return deny("limits.storage_opts", "options of the storage driver are not allowed")
	case h.Runtime != "" && !policy.In(l.Runtimes, h.Runtime):
		return deny("limits.runtimes", "runtime %.80s is not allowed", h.Runtime)
	case h.Isolation != "" && h.Isolation != "default":
		return deny("limits", "isolation is not allowed")
	case h.OomScoreAdj < 0 && !policy.Is(l.OOM) && (!set || h.OomScoreAdj != infraShield):
		return deny("limits.oom", "a container may not be shielded when memory runs out")
	case l.MaxSHM() > 0 && h.ShmSize > l.MaxSHM():
		return deny("limits.shm", "shared memory is %d bytes, %s are allowed", h.ShmSize, l.SHM)
	case h.LogConfig.Type != "" && !policy.In(l.LogDrivers, h.LogConfig.Type):
		return deny("limits.log_drivers", "log driver %.80s is not allowed; these are: %s", h.LogConfig.Type, strings.Join(l.LogDrivers, ", "))
	case b.MacAddress != "" && strings.Contains(string(h.NetworkMode), ":"):
		return deny("limits", "a container without a network of its own has no MAC address")
	}
	if d := j.namespaces(h); d != nil {
		return d
	}
	if d := j.lists(h); d != nil {
		return d
	}
	for _, bindings := range h.PortBindings {
		for _, p := range bindings {
			if d := j.port(p.HostPort); d != nil {
				return d
			}
		}
	}
	return nil
}

func (j *judge) namespaces(h *request.HostConfig) *denial {
	for _, m := range []struct{ name, mode string }{
		{"pid", string(h.PidMode)}, {"ipc", string(h.IpcMode)}, {"uts", string(h.UTSMode)}, {"user", string(h.UsernsMode)}, {"cgroup", string(h.CgroupnsMode)},
	} {
		switch m.mode {
		case "", "private":
		case "host":
			if !policy.In(j.l.HostNamespaces, m.name) {
				return deny("limits.host_namespaces", "the host's %s namespace is not allowed", m.name)
			}
		case "none", "shareable":
			if m.name != "ipc" {
				return deny("limits.host_namespaces", "%s namespace %s is not allowed", m.name, m.mode)
			}
		default: // containers were judged by name
			if !strings.HasPrefix(m.mode, "container:") || m.name != "pid" && m.name != "ipc" {
				return deny("limits.host_namespaces", "%s namespace %.80s is not allowed", m.name, m.mode)
			}
		}
	}
	return nil
}

// lists compares the lists of a HostConfig with those of the limits.
func (j *judge) lists(h *request.HostConfig) *denial {
	l := j.l
	for _, c := range h.CapAdd {
		if !policy.In(l.Capabilities, strings.TrimPrefix(strings.ToUpper(c), "CAP_")) {
			return deny("limits.capabilities", "capability %.40s is not allowed", c)
		}
	}
	for _, o := range h.SecurityOpt {
		if !policy.In(l.SecurityOpts, o) {
			return deny("limits.security_opts", "security option %.80s is not allowed; these are: %s", o, strings.Join(l.SecurityOpts, ", "))
		}
	}
	for _, g := range h.GroupAdd {
		if !policy.In(l.Groups, g) {
			return deny("limits.groups", "further group %.40s is not allowed", g)
		}
	}
	for _, m := range []struct {
		rule, what string
		allowed    []string
		has        map[string]string
	}{
		{"limits.sysctls", "sysctl", l.Sysctls, h.Sysctls},
		{"limits.annotations", "annotation", l.Annotations, h.Annotations},
		{"limits.log_options", "log option", l.LogOptions, h.LogConfig.Config},
	} {
		for k := range m.has {
			if !policy.In(m.allowed, k) {
				return deny(m.rule, "%s %.80s is not allowed", m.what, k)
			}
		}
	}
	return nil
}

// port reads a port of the host or a range of them; none is one that the Engine
// chooses, above all that are reserved.
func (j *judge) port(text string) *denial {
	if text == "" || j.l.MinPort == nil {
		return nil
	}
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	for _, n := range []string{first, last} {
		if v, ok := number(n); !ok || v < *j.l.MinPort && (v != 0 || isRange) {
			return deny("limits.min_port", "port %.20s of the host is not allowed, from %d on they are", text, *j.l.MinPort)
		}
	}
	return nil
}

func number(s string) (int, bool) {
	n := 0
	for _, c := range s {
		if c < '0' || c > '9' || n > 65535 {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, s != ""
}

// resources compares what a container may use with the limits. What an update
// does not name stays as it is.
func (j *judge) resources(r *container.Resources, whole bool) *denial {
	l := j.l
	for _, d := range r.Devices {
		if p := d.PathOnHost; path.Clean(p) != p || !policy.In(l.Devices, p) {
			return deny("limits.devices", "device %.80s is not allowed", p)
		}
	}
	switch {
	case len(r.DeviceCgroupRules) > 0:
		return deny("limits.devices", "rules on devices are not allowed: name the devices")
	case len(r.DeviceRequests) > 0 && !policy.Is(l.DeviceRequests):
		return deny("limits.device_requests", "devices by driver are not allowed")
	case (r.CPURealtimePeriod != 0 || r.CPURealtimeRuntime != 0) && !policy.Is(l.Realtime):
		return deny("limits.realtime", "real-time scheduling is not allowed")
	case r.OomKillDisable != nil && *r.OomKillDisable && !policy.Is(l.OOM):
		return deny("limits.oom", "a container may not be shielded when memory runs out")
	}
	if !whole && r.CgroupParent != "" {
		return deny("limits.cgroup_parents", "the cgroup parent of a container cannot be changed")
	}
	for _, u := range r.Ulimits {
		if u == nil || !policy.In(l.Ulimits, u.Name) {
			return deny("limits.ulimits", "a ulimit is not allowed; these are: %s", strings.Join(l.Ulimits, ", "))
		}
	}
	return j.amounts(r, whole)
}

func (j *judge) amounts(r *container.Resources, whole bool) *denial {
	l := j.l
	if limit := l.MaxMemory(); limit > 0 {
		if r.Memory > limit || r.Memory < 0 || whole && r.Memory == 0 {
			return deny("limits.memory", "a container must have a memory limit of %s at most: docker run --memory", l.Memory)
		}
		if !policy.Is(l.Swap) && (r.MemorySwap < 0 || r.MemorySwap > 2*limit || r.Memory > 0 && r.MemorySwap > 2*r.Memory) {
			return deny("limits.swap", "a container may have as much swap as memory")
		}
	}
	if l.CPUs != nil {
		cpus := float64(r.NanoCPUs) / 1e9
		if r.CPUQuota != 0 {
			period := r.CPUPeriod
			if period == 0 {
				period = 100_000
			}
			cpus = max(cpus, float64(r.CPUQuota)/float64(period))
			if !whole && r.CPUPeriod == 0 { // what period it has is not known here
				return deny("limits.cpus", "a change of the CPU quota must name the period, too: docker update --cpu-period, or --cpus")
			}
		}
		if cpus > *l.CPUs || r.CPUQuota < 0 || r.NanoCPUs < 0 || r.CPUPeriod < 0 || whole && cpus == 0 || !whole && r.CPUPeriod != 0 && r.CPUQuota == 0 {
			return deny("limits.cpus", "a container must have a limit of %v processors at most: docker run --cpus", *l.CPUs)
		}
	}
	if l.PIDs != nil {
		if p := r.PidsLimit; p == nil && whole || p != nil && (*p <= 0 || *p > *l.PIDs) {
			return deny("limits.pids", "a container must have a limit of %d processes at most: docker run --pids-limit", *l.PIDs)
		}
	}
	return nil
}
