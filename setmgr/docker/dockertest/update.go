package dockertest

import (
	"context"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

func absentIsWell(err error) error {
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}

// Put implements [setmgr.Engine].
func (f *Fake) Put(ctx context.Context, id string, files []plan.File) error {
	return f.about(ctx, "put", id, func(b *box) error {
		for _, file := range files {
			b.files[file.Path] = append([]byte{}, file.Data...)
		}
		return nil
	})
}

// Get implements [setmgr.Engine].
func (f *Fake) Get(ctx context.Context, id, path string) (data []byte, err error) {
	err = f.ask(ctx, func() error {
		b, err := f.find(id)
		if err != nil {
			return err
		}
		var there bool
		if data, there = b.files[path]; !there {
			return fault.NotFound("there is no file %s in container %s", path, b.name)
		}
		return nil
	})
	return data, err
}

// Limit implements [setmgr.Engine].
func (f *Fake) Limit(ctx context.Context, id string, l plan.Limits) error {
	return f.about(ctx, "limit", id, func(b *box) error {
		if l.MEM == 0 && b.host.Memory > 0 {
			return fault.Conflict("container %s has a limit of memory, which an Engine can change but not take away: give it one, or remove the set and make it anew", b.name)
		}
		if err := f.fits(b, l); err != nil {
			return err
		}
		r := container.Resources{CPUPeriod: plan.Period, CPUQuota: plan.Quota(l.CPU), Memory: int64(l.MEM), MemorySwap: int64(l.MEM)}
		if b.host.NanoCPUs > 0 {
			if l.CPU == 0 {
				return fault.Conflict("container %s has a limit of docker update --cpus, which an Engine can change but not take away: docker set up replaces it", b.name)
			}
			r.CPUPeriod, r.CPUQuota, r.NanoCPUs = 0, 0, int64(float64(l.CPU)*1e9+0.5)
		}
		defer f.tell(b, "update")
		return b.update(r)
	})
}

// Update is what somebody else does by docker update, with its traps: 0 is no
// change, and memory must stay below the memory with swap that was set before.
func (f *Fake) Update(ctx context.Context, id string, r container.Resources) error {
	return f.about(ctx, "update", id, func(b *box) error {
		defer f.tell(b, "update")
		return b.update(r)
	})
}

func (b *box) update(r container.Resources) error {
	h := &b.host
	const least = 6 << 20
	switch {
	case r.Memory > 0 && r.Memory < least:
		return fault.Invalid("Minimum memory limit allowed is 6MB")
	case r.MemorySwap > 0 && r.Memory > r.MemorySwap:
		return fault.Invalid("Minimum memoryswap limit should be larger than memory limit, see usage")
	case r.Memory > h.MemorySwap && r.MemorySwap == 0 && h.MemorySwap != 0:
		return fault.Conflict("Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time")
	case r.NanoCPUs > 0 && (h.CPUQuota > 0 || h.CPUPeriod > 0):
		return fault.Conflict("Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set")
	case (r.CPUQuota > 0 || r.CPUPeriod > 0) && h.NanoCPUs > 0:
		return fault.Conflict("Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set")
	case r.CPUQuota > 0 && r.CPUQuota < 1000:
		return fault.Invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)")
	case b.live() && r.Memory > 0 && r.Memory < b.image.Uses+b.uses:
		return fault.Conflict("container %s uses %d bytes of memory, which is more than %d: let it use less, or stop it first", b.name, b.image.Uses+b.uses, r.Memory)
	}
	for _, v := range []struct {
		to   *int64
		from int64
	}{{&h.Memory, r.Memory}, {&h.MemorySwap, r.MemorySwap}, {&h.CPUQuota, r.CPUQuota}, {&h.CPUPeriod, r.CPUPeriod}, {&h.NanoCPUs, r.NanoCPUs}} {
		if v.from != 0 {
			*v.to = v.from
		}
	}
	return nil
}

// Connect implements [setmgr.Engine].
func (f *Fake) Connect(ctx context.Context, n spec.Network, id string) error {
	return f.about(ctx, "connect "+n.Name, id, func(b *box) error {
		switch {
		case !f.networks[n.Name]:
			return fault.NotFound("network %s not found", n.Name)
		case b.netOf != "":
			return fault.Conflict("container sharing network namespace with another container or host cannot be connected to any other network")
		}
		if _, there := b.nets[n.Name]; there {
			return nil
		}
		b.nets[n.Name] = plan.Net{}
		if n.IP != "" {
			b.wish[n.Name] = n.IP
		}
		if b.state == plan.Running {
			return f.attach(b)
		}
		return nil
	})
}

// Disconnect implements [setmgr.Engine].
func (f *Fake) Disconnect(ctx context.Context, network, id string) error {
	return absentIsWell(f.about(ctx, "disconnect "+network, id, func(b *box) error {
		delete(b.nets, network)
		return nil
	}))
}

// MakeVolume implements [setmgr.Engine].
func (f *Fake) MakeVolume(ctx context.Context, name, _ string, _ map[string]string, set string) error {
	return f.call(ctx, "make-volume "+name, func() error {
		if _, there := f.volumes[name]; !there {
			f.volumes[name] = set
		}
		return nil
	})
}

// RemoveVolume implements [setmgr.Engine].
func (f *Fake) RemoveVolume(ctx context.Context, name string) error {
	return f.call(ctx, "remove-volume "+name, func() error {
		for _, b := range f.boxes {
			for _, m := range b.host.Mounts {
				if m.Source == name {
					return fault.Conflict("volume %s is in use by container %s: remove that first", name, b.name)
				}
			}
		}
		delete(f.volumes, name)
		return nil
	})
}
