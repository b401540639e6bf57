package render

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/network"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/setmgr/label"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// Member is a container that works in a set, the rev-th of its member, beside the
// infra container infra: an id, or a name, which an Engine keeps as the id that it
// has now. image is what the container's image was resolved to. What stands in its
// EnvFiles must be in Env already. An error is of class InvalidArgument, or
// NotImplemented for what an Engine of this age cannot do.
func Member(s spec.Set, c spec.Container, f Facts, infra, image string, rev int) (Create, error) {
	o := c.Options
	text, err := spec.MarshalContainer(&c)
	if err != nil {
		return Create{}, fmt.Errorf("label of container %s: %w", c.Name, err)
	}
	cfg := &container.Config{
		User: o.User, Tty: o.TTY, AttachStdout: true, AttachStderr: true, Image: image, WorkingDir: o.WorkDir,
		Env: lines(o.Env, "="), Cmd: slices.Clone(o.Command), Healthcheck: health(o.Health), StopSignal: o.Stop.Signal,
		Labels: labels(o.Labels, map[string]string{
			label.Set: s.Name, label.Role: label.RoleMember, label.Member: c.Name, label.Index: strconv.Itoa(c.Index),
			label.Rev: strconv.Itoa(rev), label.Hash: spec.HashContainer(c), label.Spec: string(text),
		}),
	}
	if len(o.Entrypoint) > 0 { // docker takes one word of it
		cfg.Entrypoint, cfg.Cmd = o.Entrypoint[:1:1], slices.Concat(o.Entrypoint[1:], o.Command)
	}
	if g := o.Stop.Grace; g != nil {
		seconds := int(math.Ceil(time.Duration(*g).Seconds()))
		cfg.StopTimeout = &seconds
	}
	cpu, mem := s.LimitsOf(c)
	host := hostConfig(f, s, cpu, mem, o.Annotations)
	host.CPUShares = shares(cpu, s.CPU)
	beside := "container:" + infra
	host.NetworkMode, host.IpcMode = container.NetworkMode(beside), container.IpcMode(beside)
	if s.PID {
		host.PidMode = container.PidMode(beside)
	}
	if err := options(host, c); err != nil {
		return Create{}, err
	}
	if host.Mounts, err = mounts(s, c, f); err != nil {
		return Create{}, err
	}
	return Create{Name: MemberName(s.Name, c.Name), Config: cfg, Host: host, Net: &network.NetworkingConfig{}}, nil
}

// options are those of a container that are no limits and no mounts.
func options(h *container.HostConfig, c spec.Container) (err error) {
	o := c.Options
	of := " of container " + c.Name
	h.GroupAdd = slices.Clone(o.Groups)
	h.CapAdd, h.CapDrop = capabilities(o.CapAdd), capabilities(o.CapDrop)
	h.Privileged, h.ReadonlyRootfs, h.OomScoreAdj = o.Privileged, o.ReadOnly, o.OOMScoreAdj
	h.LogConfig = container.LogConfig{Type: o.Log.Driver, Config: maps.Clone(o.Log.Options)}
	if o.Init {
		h.Init = &o.Init
	}
	if n := int64(o.PIDs); n > 0 {
		h.PidsLimit = &n
	}
	if h.RestartPolicy, err = restart(o); err != nil {
		return fault.Invalid("restart policy%s: %w", of, err)
	}
	if h.Ulimits, err = ulimits(o.Ulimits); err != nil {
		return fault.Invalid("limit%s: %w", of, err)
	}
	if h.Devices, h.DeviceRequests, err = devices(o.Devices); err != nil {
		return fault.Invalid("device%s: %w", of, err)
	}
	if err = security(h, o.SecurityOpt); err != nil {
		return fault.Invalid("security option%s: %w", of, err)
	}
	return nil
}

// mounts are a container's, and the set's volume where it names no place for that.
func mounts(s spec.Set, c spec.Container, f Facts) ([]mount.Mount, error) {
	var out []mount.Mount
	has := func(m spec.Mount) bool { return m.Type == spec.MountSet || m.Type == "" }
	if s.Volume != nil && s.Volume.Path != "" && !slices.ContainsFunc(c.Options.Mounts, has) {
		out = append(out, mount.Mount{Type: mount.TypeVolume, Source: Volume(s), Target: s.Volume.Path})
	}
	for _, m := range c.Options.Mounts {
		one := mount.Mount{Type: mount.Type(m.Type), Source: m.Source, Target: m.Path, ReadOnly: m.ReadOnly}
		switch m.Type {
		case spec.MountSet, "":
			if s.Volume == nil {
				return nil, fault.Invalid("mount %s of container %s: set %s has no volume: give it one, or the mount another type", m.Path, c.Name, s.Name)
			}
			one.Type, one.Source = mount.TypeVolume, Volume(s)
			if m.Subpath != "" {
				one.VolumeOptions = &mount.VolumeOptions{Subpath: m.Subpath}
			}
		case spec.MountTmpfs:
			if one.Source = ""; m.Size > 0 {
				one.TmpfsOptions = &mount.TmpfsOptions{SizeBytes: int64(m.Size)}
			}
		case spec.MountBind, spec.MountVolume:
		default:
			return nil, fault.Invalid("mount %s of container %s: there is no type %.20q: it is set, bind, volume or tmpfs", m.Path, c.Name, m.Type)
		}
		if one.VolumeOptions != nil && !f.AtLeast("1.45") {
			return nil, fault.Later("mount %s of container %s: a directory of a volume needs Engine 26 or newer, this one speaks API %s: mount the whole volume", m.Path, c.Name, f.API)
		}
		out = append(out, one)
	}
	return out, nil
}
