package main

import (
	"context"

	"github.com/mosdocker/mosdocker/agent"
	"github.com/mosdocker/mosdocker/agent/metric"
	"github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/setmgr/docker"
)

// imagesOf asks the Engine at host for its images.
func imagesOf(host string) func(context.Context) (api.Images, error) {
	return func(ctx context.Context) (out api.Images, err error) {
		e, err := docker.Open(host)
		if err != nil {
			return out, err
		}
		defer func() { _ = e.Close() }() // nothing is left to say
		out.Count, out.Size, err = e.Images(ctx)
		return out, err
	}
}

// spaces are those of volumes whose file system was seen.
func spaces(r api.Disk) map[string]agent.Space {
	out := map[string]agent.Space{}
	for _, v := range r.Volumes {
		if !v.Seen.IsZero() {
			out[v.Name] = agent.Space{Size: v.Used + v.Available, Used: v.Used, Available: v.Available, InodesFree: v.InodesFree}
		}
	}
	return out
}

// values are the metrics of what takes the host's space. The agent measures the file
// system of the Engine's folder itself.
func values(r api.Disk) (out []agent.Value) {
	if r.Images != nil {
		out = append(out, agent.Value{ID: metric.Images, V: float64(r.Images.Count)}, agent.Value{ID: metric.ImagesSize, V: float64(r.Images.Size)})
	}
	for _, p := range r.Pools {
		out = append(out, agent.Value{ID: metric.PoolSize, Dim: p.Name, V: float64(p.Size)},
			agent.Value{ID: metric.PoolUsed, Dim: p.Name, V: float64(p.Used)},
			agent.Value{ID: metric.PoolPercent, Dim: p.Name, V: 100 * p.Data},
			agent.Value{ID: metric.PoolMetaPercent, Dim: p.Name, V: 100 * p.Meta},
			agent.Value{ID: metric.PoolFree, Dim: p.Name, V: float64(p.Free)})
	}
	return out
}
