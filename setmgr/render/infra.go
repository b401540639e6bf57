package render

import (
	"fmt"
	"maps"
	"slices"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/setmgr/label"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// infraVolume is where the infra container has the set's volume: it holds it as long
// as the set lives, also while no member does.
const infraVolume = "/mnt/set"

// Infra is the infra container of a set. Its image is the one that the set names;
// one that names none has Config.Image to be filled in. An error is of class
// InvalidArgument, or NotImplemented for what an Engine of this age cannot do.
func Infra(s spec.Set, f Facts) (Create, error) {
	net, err := networking(s, f)
	if err != nil {
		return Create{}, err
	}
	exposed, published, err := ports(s)
	if err != nil {
		return Create{}, err
	}
	dns, err := addresses("DNS server of set "+s.Name, s.DNS.Servers)
	if err != nil {
		return Create{}, err
	}
	part := s
	part.Containers = nil
	text, err := spec.Marshal(&part)
	if err != nil {
		return Create{}, fmt.Errorf("label of set %s: %w", s.Name, err)
	}
	second := 1
	cfg := &container.Config{
		Hostname: s.Hostname, ExposedPorts: exposed, AttachStdout: true, AttachStderr: true,
		// A shell, which is what BusyBox runs, ends without one.
		Tty:         s.Infra.Image != "",
		Image:       s.Infra.Image,
		Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
		StopTimeout: &second,
		Labels: labels(s.Labels, map[string]string{
			label.Set: s.Name, label.Role: label.RoleInfra, label.Hash: spec.HashSet(s), label.Spec: string(text),
		}),
	}
	if cfg.Hostname == "" {
		cfg.Hostname = s.Name
	}
	host := hostConfig(f, s, s.CPU, s.MEM, s.Annotations)
	host.NetworkMode, host.IpcMode = container.NetworkMode(first(s)), container.IPCModeShareable
	host.PortBindings = published
	host.DNS, host.DNSSearch, host.DNSOptions = dns, s.DNS.Search, s.DNS.Options
	host.ExtraHosts = lines(s.Hosts, ":")
	host.ShmSize, host.Sysctls = int64(s.SHM), maps.Clone(s.Sysctls)
	host.RestartPolicy.Name = container.RestartPolicyAlways
	if !f.Unprotected {
		host.OomScoreAdj = -998
	}
	host.PidsLimit = infraPIDs(s)
	host.ReadonlyRootfs, host.SecurityOpt = true, []string{"no-new-privileges"}
	if host.Privileged = s.Infra.Privileged; !host.Privileged {
		host.CapDrop = []string{"ALL"}
	}
	host.LogConfig.Type = "none"
	if v := Volume(s); v != "" {
		host.Mounts = []mount.Mount{{Type: mount.TypeVolume, Source: v, Target: infraVolume}}
	}
	return Create{Name: InfraName(s.Name), Config: cfg, Host: host, Net: net}, nil
}

// infraPIDs is room for one process and those of a runtime that looks into the
// container; with a shared PID namespace, for orphans that wait to be reaped.
func infraPIDs(s spec.Set) *int64 {
	n := int64(16)
	if s.PID {
		n = 64
	}
	return &n
}

// first is the network that the infra container is made in.
func first(s spec.Set) string {
	if s.Network.Name == "" {
		return "bridge"
	}
	return s.Network.Name
}

// networking is what the set wants of its first network, empty when that is nothing.
func networking(s spec.Set, f Facts) (*network.NetworkingConfig, error) {
	ep, err := Endpoint(s.Network)
	if err != nil {
		return nil, fmt.Errorf("set %s: %w", s.Name, err)
	}
	// Older ones take a MAC beside the networks, where the types of today have no field.
	if len(ep.MacAddress) > 0 && !f.AtLeast("1.44") {
		return nil, fault.Later("MAC address of set %s: that needs Engine 25 or newer, this one speaks API %s: leave it to the network's driver", s.Name, f.API)
	}
	out := &network.NetworkingConfig{}
	if ep.IPAMConfig != nil || len(ep.Aliases)+len(ep.DriverOpts)+len(ep.MacAddress) > 0 {
		out.EndpointsConfig = map[string]*network.EndpointSettings{first(s): ep}
	}
	return out, nil
}

// Endpoint is what an Engine is told of one connection of a set.
func Endpoint(n spec.Network) (*network.EndpointSettings, error) {
	ep := &network.EndpointSettings{Aliases: slices.Clone(n.Aliases), DriverOpts: maps.Clone(n.Options)}
	ips, err := addresses("address in network "+n.Name, slices.DeleteFunc([]string{n.IP, n.IP6}, func(a string) bool { return a == "" }))
	if err != nil {
		return nil, err
	}
	for _, ip := range ips {
		if ep.IPAMConfig == nil {
			ep.IPAMConfig = &network.EndpointIPAMConfig{}
		}
		if ip.Is4() {
			ep.IPAMConfig.IPv4Address = ip
		} else {
			ep.IPAMConfig.IPv6Address = ip
		}
	}
	if n.MAC != "" {
		if err := ep.MacAddress.UnmarshalText([]byte(n.MAC)); err != nil {
			return nil, fault.Invalid("MAC address %.40q is not of the form 02:42:0a:09:00:15", n.MAC)
		}
	}
	return ep, nil
}
