package cluster

import (
	"context"
	"math"

	volume "github.com/mosdocker/mosdocker/lvmvolume/api"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/link"
	"github.com/mosdocker/mosdocker/setmgr/docker"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/render"
)

const milli = 1000 // of a core

// FactsOf asks an Engine and mos-lvm. Cores and memory are without what the host's own sets
// take. Disk is what the default pool of mos-lvm may give to sets: what is free there and what
// volumes of ours have already; 0 without mos-lvm.
func FactsOf(open func() (*docker.Engine, error), volumes *volume.Client, ours func() map[string]bool, own func() plan.Limits) Facts {
	return func(ctx context.Context) (api.HostStatus, error) {
		e, err := open()
		if err != nil {
			return api.HostStatus{}, err
		}
		d, err := e.Describe(ctx)
		if err != nil {
			return api.HostStatus{}, err
		}
		s := api.HostStatus{
			Capacity: left(int64(d.Facts.CPUs)*milli, int64(min(d.Facts.Memory, 1<<50)), own()),
			Networks: d.Networks, Volumes: d.Volumes, Engine: d.Version,
		}
		s.Capacity.Disk = disk(ctx, volumes, ours())
		return s, nil
	}
}

// left is what a host has for a cluster beside its own sets.
func left(cpu, memory int64, own plan.Limits) api.Amounts {
	return api.Amounts{
		CPU:    max(cpu-int64(math.Ceil(float64(own.CPU)*milli-1e-6)), 0),
		Memory: max(memory-int64(min(own.MEM, 1<<50)), 0),
	}
}

func disk(ctx context.Context, c *volume.Client, ours map[string]bool) int64 {
	pools, err := c.Pools(ctx)
	if err != nil {
		return 0 // mos-lvm is not there
	}
	var free uint64
	for _, p := range pools {
		if p.Default && p.Limit > p.Virtual {
			free += p.Limit - p.Virtual
		}
	}
	have, err := c.Volumes(ctx)
	if err != nil {
		return 0
	}
	for _, v := range have {
		if ours[v.Name] {
			free += v.Size
		}
	}
	return int64(min(free, 1<<50))
}

// volumes are those of sets that are assigned.
func volumes(a link.Assignment) map[string]bool {
	names := map[string]bool{}
	for _, one := range a.Sets {
		set := one.Set.Set
		set.Name = one.Name
		if v := render.Volume(set); v != "" {
			names[v] = true
		}
	}
	return names
}
