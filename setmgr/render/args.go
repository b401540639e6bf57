package render

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"
)

// Args are the arguments of docker that make the same container. Flags stand in a
// fixed order, and only those that differ from what docker does without them.
func (c Create) Args() []string {
	a := args{"create"}
	a.text("name", c.Name)
	a.text("hostname", c.Config.Hostname)
	a.network(c.Host.NetworkMode, c.Net)
	for _, ip := range c.Host.DNS {
		a.text("dns", ip.String())
	}
	a.each("dns-search", c.Host.DNSSearch)
	a.each("dns-option", c.Host.DNSOptions)
	a.each("add-host", c.Host.ExtraHosts)
	a.publish(c.Host.PortBindings)
	a.text("ipc", string(c.Host.IpcMode))
	a.text("pid", string(c.Host.PidMode))
	a.number("shm-size", c.Host.ShmSize)
	a.each("sysctl", lines(c.Host.Sysctls, "="))
	a.resources(c.Host)
	for _, m := range c.Host.Mounts {
		a.text("mount", mountFlag(m))
	}
	a.rights(c.Config, c.Host)
	a.process(c.Config)
	a.on("init", c.Host.Init != nil && *c.Host.Init)
	a.health(c.Config.Healthcheck)
	if r := c.Host.RestartPolicy; !r.IsNone() {
		value := string(r.Name)
		if r.MaximumRetryCount > 0 {
			value += ":" + strconv.Itoa(r.MaximumRetryCount)
		}
		a.text("restart", value)
	}
	a.text("stop-signal", c.Config.StopSignal)
	if t := c.Config.StopTimeout; t != nil {
		a.add("stop-timeout", strconv.Itoa(*t)) // 0 is not the default
	}
	a.text("log-driver", c.Host.LogConfig.Type)
	a.each("log-opt", lines(c.Host.LogConfig.Config, "="))
	a.each("label", lines(c.Config.Labels, "="))
	a.each("annotation", lines(c.Host.Annotations, "="))
	return append(append(a, c.Config.Image), c.Config.Cmd...)
}

// Lost is what the line of docker cannot say, a sentence each.
func (c Create) Lost() []string {
	var out []string
	if h := c.Config.Healthcheck; h != nil && len(h.Test) > 0 && h.Test[0] == "CMD" {
		out = append(out, "the health check runs without a shell")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Net.EndpointsConfig)) {
		ep := c.Net.EndpointsConfig[name]
		opts := strings.Join(lines(ep.DriverOpts, "="), ", ")
		if all := name + opts; opts != "" && all != strings.ToLower(all) {
			out = append(out, "docker makes lower case of the letters in network "+name+" and its options "+opts)
		}
	}
	return out
}

// args collects arguments; what is empty is left out.
type args []string

func (a *args) add(flag, value string) { *a = append(*a, "--"+flag+"="+value) }

func (a *args) text(flag, value string) {
	if value != "" {
		a.add(flag, value)
	}
}

func (a *args) number(flag string, value int64) {
	if value != 0 {
		a.add(flag, strconv.FormatInt(value, 10))
	}
}

func (a *args) each(flag string, values []string) {
	for _, v := range values {
		a.add(flag, v)
	}
}

func (a *args) on(flag string, value bool) {
	if value {
		*a = append(*a, "--"+flag)
	}
}

// network uses the long form for driver options only: docker makes lower case of
// all in it, and old ones know no addresses there.
func (a *args) network(mode container.NetworkMode, net *network.NetworkingConfig) {
	ep := net.EndpointsConfig[string(mode)]
	if ep == nil {
		a.text("network", string(mode))
		return
	}
	if len(ep.DriverOpts) == 0 {
		a.text("network", string(mode))
	} else {
		fields := []string{"name=" + string(mode)}
		for _, o := range lines(ep.DriverOpts, "=") {
			fields = append(fields, "driver-opt="+o)
		}
		a.add("network", record(fields))
	}
	if ip := ep.IPAMConfig; ip != nil && ip.IPv4Address.IsValid() {
		a.add("ip", ip.IPv4Address.String())
	}
	if ip := ep.IPAMConfig; ip != nil && ip.IPv6Address.IsValid() {
		a.add("ip6", ip.IPv6Address.String())
	}
	a.text("mac-address", ep.MacAddress.String())
	a.each("network-alias", ep.Aliases)
}

func (a *args) publish(m network.PortMap) {
	order := func(x, y network.Port) int {
		return cmp.Or(cmp.Compare(x.Num(), y.Num()), cmp.Compare(x.Proto(), y.Proto()))
	}
	for _, p := range slices.SortedFunc(maps.Keys(m), order) {
		for _, b := range m[p] {
			host := b.HostPort + ":"
			switch {
			case b.HostIP.Is4():
				host = b.HostIP.String() + ":" + host
			case b.HostIP.IsValid():
				host = "[" + b.HostIP.String() + "]:" + host
			case b.HostPort == "":
				host = ""
			}
			a.add("publish", host+strings.TrimSuffix(p.String(), "/tcp"))
		}
	}
}

func (a *args) resources(h *container.HostConfig) {
	a.text("cgroup-parent", h.CgroupParent)
	a.number("cpu-period", h.CPUPeriod)
	a.number("cpu-quota", h.CPUQuota)
	a.number("cpu-shares", h.CPUShares)
	a.number("memory", h.Memory)
	a.number("memory-swap", h.MemorySwap)
	if h.PidsLimit != nil {
		a.number("pids-limit", *h.PidsLimit)
	}
	for _, u := range h.Ulimits {
		a.add("ulimit", u.String())
	}
	a.number("oom-score-adj", int64(h.OomScoreAdj))
}

func (a *args) rights(cfg *container.Config, h *container.HostConfig) {
	a.text("user", cfg.User)
	a.each("group-add", h.GroupAdd)
	a.on("privileged", h.Privileged)
	a.on("read-only", h.ReadonlyRootfs)
	a.each("cap-add", h.CapAdd)
	a.each("cap-drop", h.CapDrop)
	for _, d := range h.Devices {
		a.add("device", d.PathOnHost+":"+d.PathInContainer+":"+d.CgroupPermissions)
	}
	for _, r := range h.DeviceRequests {
		a.each("device", r.DeviceIDs)
	}
	a.each("security-opt", h.SecurityOpt)
	if h.MaskedPaths != nil {
		a.add("security-opt", "systempaths=unconfined")
	}
}

func (a *args) process(cfg *container.Config) {
	a.text("workdir", cfg.WorkingDir)
	a.on("tty", cfg.Tty)
	a.each("env", cfg.Env)
	a.each("entrypoint", cfg.Entrypoint)
}

func (a *args) health(h *container.HealthConfig) {
	if h == nil {
		return
	}
	if len(h.Test) > 0 {
		switch h.Test[0] {
		case "NONE":
			a.on("no-healthcheck", true)
			return
		case "CMD-SHELL":
			a.text("health-cmd", strings.Join(h.Test[1:], " "))
		default:
			a.text("health-cmd", Line(h.Test[1:]))
		}
	}
	if h.Interval > 0 {
		a.add("health-interval", h.Interval.String())
	}
	if h.Timeout > 0 {
		a.add("health-timeout", h.Timeout.String())
	}
	if h.StartPeriod > 0 {
		a.add("health-start-period", h.StartPeriod.String())
	}
	a.number("health-retries", int64(h.Retries))
}

func mountFlag(m mount.Mount) string {
	fields := []string{"type=" + string(m.Type)}
	if m.Source != "" {
		fields = append(fields, "source="+m.Source)
	}
	fields = append(fields, "target="+m.Target)
	if m.ReadOnly {
		fields = append(fields, "readonly")
	}
	if v := m.VolumeOptions; v != nil && v.Subpath != "" {
		fields = append(fields, "volume-subpath="+v.Subpath)
	}
	if t := m.TmpfsOptions; t != nil {
		fields = append(fields, "tmpfs-size="+strconv.FormatInt(t.SizeBytes, 10))
	}
	return record(fields)
}

// record is a line of comma-separated values, as docker reads the fields of a flag.
func record(fields []string) string {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	_ = w.Write(fields) // a buffer takes all
	w.Flush()
	return strings.TrimSuffix(b.String(), "\n")
}
