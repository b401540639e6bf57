package judge

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"

	"github.com/mosdocker/mosdocker/authz/policy"
	"github.com/mosdocker/mosdocker/authz/request"
	"github.com/mosdocker/mosdocker/internal/drivername"
	"github.com/mosdocker/mosdocker/setmgr/label"
)

// volume decides on a new volume.
func (j *judge) volume(v request.VolumeCreate) *denial {
	if d := j.reserved(v.Labels, label.Set); d != nil { // docker set rm -v finds it by that
		return d
	}
	if d := j.owned("volume.create", "volume", v.Name, v.Labels); d != nil || j.unlimited() {
		return d
	}
	if v.ClusterVolumeSpec != nil {
		return deny("limits.volume_drivers", "volumes of a swarm are not allowed")
	}
	return j.driver(v.Driver, v.DriverOpts)
}

// newVolume decides on a volume that is asked for by itself.
func (j *judge) newVolume(v request.VolumeCreate) *denial {
	if !j.unlimited() {
		j.edit.Made = j.self
	}
	if d := j.volume(v); d != nil || j.unlimited() || v.Name == "" {
		return d
	}
	f, err := j.look.Volume(v.Name)
	return j.free("volume", v.Name, f, err)
}

// driver compares a volume's driver and options with the limits.
func (j *judge) driver(driver string, options map[string]string) *denial {
	if driver == "" {
		driver = "local"
	}
	if !policy.In(j.l.VolumeDrivers, driver) {
		return deny("limits.volume_drivers", "volumes of driver %.80s are not allowed; these are: %s", driver, strings.Join(j.l.VolumeDrivers, ", "))
	}
	for k, v := range options {
		switch {
		case driver == "local" && !policy.Is(j.l.LocalOptions):
			return deny("limits.local_options", "options for the driver local are not allowed: they mount any path or device of the host")
		case driver != "local" && !policy.In(j.l.VolumeOptions, k):
			return deny("limits.volume_options", "option %.80s of volumes is not allowed; these are: %s", k, strings.Join(j.l.VolumeOptions, ", "))
		case drivername.Is(driver, "mos-lvm") && k == "from":
			name, _, _ := strings.Cut(v, "@")
			f, err := j.look.Volume(name)
			if d := j.found("volume", name, err); d != nil {
				return d
			}
			if d := j.may("volume.use", f.Object); d != nil {
				return d
			}
		}
	}
	return nil
}

// volumeUse decides on a named volume of a new container. One that is not there is
// made, which needs a proxy to give it an owner.
func (j *judge) volumeUse(v request.VolumeCreate) *denial {
	f, err := j.look.Volume(v.Name)
	if err == nil {
		return j.may("volume.use", f.Object)
	}
	if !errdefs.IsNotFound(err) {
		return j.found("volume", v.Name, err)
	}
	if j.unlimited() {
		return j.may("volume.create", policy.Object{Kind: "volume", Name: v.Name, Owner: j.self})
	}
	if j.front == Plugin {
		return deny("builtin: owner", "there is no volume %.80s: make it first, with docker volume create --label %s=%s, or use the guarded socket", v.Name, OwnerLabel, j.self)
	}
	ofContainer := j.edit.Label
	d := j.volume(v)
	j.edit.Label = ofContainer
	if d != nil {
		return d
	}
	labels := map[string]string{OwnerLabel: j.self}
	maps.Copy(labels, v.Labels)
	v.Labels = labels
	j.edit.Volumes = append(j.edit.Volumes, v)
	return nil
}

// newNetwork decides on a new network.
func (j *judge) newNetwork() *denial {
	n := j.call.Network
	if d := j.reserved(n.Labels); d != nil {
		return d
	}
	if d := j.owned("network.create", "network", n.Name, n.Labels); d != nil || j.unlimited() {
		return d
	}
	if n.ConfigOnly || n.ConfigFrom != nil || n.Ingress || n.Scope != "" && n.Scope != "local" {
		return deny("limits.network_drivers", "networks of a swarm, and those made from another's configuration, are not allowed")
	}
	drivers := []string{n.Driver}
	options := []map[string]string{n.Options}
	if n.IPAM != nil {
		drivers = append(drivers, n.IPAM.Driver)
		options = append(options, n.IPAM.Options)
	}
	for _, d := range drivers {
		if d != "" && !policy.In(j.l.NetworkDrivers, d) {
			return deny("limits.network_drivers", "networks of driver %.80s are not allowed; these are: %s", d, strings.Join(j.l.NetworkDrivers, ", "))
		}
	}
	if d := j.subnets(); d != nil {
		return d
	}
	if d := j.networkOptions(options...); d != nil {
		return d
	}
	if d := j.name("network", n.Name); d != nil {
		return d
	}
	f, err := j.look.Network(n.Name)
	return j.free("network", n.Name, f, err)
}

// subnets compares those of a new network with the limits: the host sends there
// what is meant for the real ones.
func (j *judge) subnets() *denial {
	ipam := j.call.Network.IPAM
	if ipam == nil {
		return nil
	}
	for _, c := range ipam.Config {
		if !c.Subnet.IsValid() {
			continue
		}
		within := slices.ContainsFunc(j.l.Subnets, func(allowed string) bool {
			p, err := netip.ParsePrefix(allowed)
			return err == nil && p.Bits() <= c.Subnet.Bits() && p.Contains(c.Subnet.Addr())
		})
		if !within {
			or := ""
			if len(j.l.Subnets) > 0 {
				or = ", or choose one within " + strings.Join(j.l.Subnets, ", ")
			}
			return deny("limits.subnets", "subnet %s may not be taken: leave it to Docker%s", c.Subnet, or)
		}
	}
	return nil
}

func (j *judge) networkOptions(maps ...map[string]string) *denial {
	for _, m := range maps {
		for k := range m {
			if !policy.In(j.l.NetworkOptions, k) {
				return deny("limits.network_options", "option %.80s of networks is not allowed; these are: %s", k, strings.Join(j.l.NetworkOptions, ", "))
			}
		}
	}
	return nil
}

// endpoint compares what a container wants of a network with the limits.
func (j *judge) endpoint(e *network.EndpointSettings) *denial {
	if e == nil {
		return nil
	}
	if e.NetworkID != "" { // which Engines heed before the name
		if d := j.networkUse(e.NetworkID); d != nil {
			return d
		}
	}
	if j.unlimited() {
		return nil
	}
	if d := j.links(e.Links); d != nil {
		return d
	}
	return j.networkOptions(e.DriverOpts)
}

// links decides on the containers that a new one shall know by name.
func (j *judge) links(links []string) *denial {
	for _, l := range links {
		ref, _, _ := strings.Cut(l, ":")
		if _, d := j.container("container.join", ref); d != nil {
			return d
		}
	}
	return nil
}

// networkUse decides on a network that a container, or a step of a build, joins.
func (j *judge) networkUse(name string) *denial {
	_, d := j.network(name)
	return d
}

// network is [judge.networkUse], with the network's id, or the name of one that is always there.
func (j *judge) network(name string) (string, *denial) {
	switch name {
	case "", "default", "bridge":
		return name, j.may("network.use", policy.Object{Kind: "network", Name: "bridge"})
	case "none":
		return name, j.may("network.use", policy.Object{Kind: "network", Name: name})
	case "host":
		if j.unlimited() || policy.In(j.l.HostNamespaces, "network") {
			return name, nil
		}
		return name, deny("limits.host_namespaces", "the host's network is not allowed")
	}
	f, err := j.look.Network(name)
	if d := j.found("network", name, err); d != nil {
		return name, d
	}
	if f.Name == "host" {
		return j.network("host")
	}
	return f.ID, j.may("network.use", j.veiled(f, name))
}

// networkMode is [judge.networkUse], with the namespaces of other containers.
func (j *judge) networkMode(mode string) *denial {
	if strings.Contains(mode, ":") {
		return j.join("NetworkMode", "network", mode)
	}
	return j.networkUse(mode)
}

// join decides on a mode that names a namespace of another container.
func (j *judge) join(field, namespace, mode string) *denial {
	ref, ok := strings.CutPrefix(mode, "container:")
	if !ok || ref == "" {
		if j.unlimited() {
			return nil
		}
		return deny("limits.host_namespaces", "%s namespace %.80q is not allowed", namespace, mode)
	}
	f, d := j.container("container.join", ref)
	if d == nil && j.front == Proxy {
		j.peer(field, f.ID)
	}
	return d
}
