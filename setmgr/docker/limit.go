package docker

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/setmgr/plan"
)

func name(in client.ContainerInspectResult) string {
	return strings.TrimPrefix(in.Container.Name, "/")
}

// Limit changes the limits of a container, also while it runs. Memory and swap go
// together, or the Engine refuses one that is above the other as it was. What an
// Engine would do without, or the kernel by killing somebody, is of class
// FailedPrecondition.
func (e *Engine) Limit(ctx context.Context, id string, l plan.Limits) error {
	in, err := e.c.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return e.told(ctx, err)
	}
	have, want := in.Container.HostConfig.Memory, int64(l.MEM)
	switch {
	case want == 0 && have > 0:
		// An Engine takes 0 for no change, and says that all is well.
		return fault.Conflict("container %s has a limit of memory, which an Engine can change but not take away: give it one, or remove the set and make it anew", name(in))
	case want > 0 && (have == 0 || want < have) && in.Container.State.Running:
		if err := e.fits(ctx, in, want); err != nil {
			return err
		}
	}
	r := &container.Resources{CPUPeriod: plan.Period, CPUQuota: plan.Quota(l.CPU), Memory: want, MemorySwap: want}
	if in.Container.HostConfig.NanoCPUs > 0 { // by docker update --cpus, which excludes a quota for good
		if l.CPU == 0 {
			return fault.Conflict("container %s has a limit of docker update --cpus, which an Engine can change but not take away: docker set up replaces it", name(in))
		}
		r.CPUPeriod, r.CPUQuota, r.NanoCPUs = 0, 0, int64(float64(l.CPU)*1e9+0.5)
	}
	_, err = e.c.ContainerUpdate(ctx, id, client.ContainerUpdateOptions{Resources: r})
	if says(err, "current usage", "device or resource busy") {
		return fault.Conflict("container %s uses more memory than that: let it use less, or stop it first: %s", name(in), said(err))
	}
	return e.told(ctx, err)
}

// fits looks whether a container that runs can live with so much memory. With
// cgroups of version 2 the kernel would take a limit below what is in use, and kill
// processes for it; what it caches of files it gives back.
func (e *Engine) fits(ctx context.Context, in client.ContainerInspectResult, memory int64) error {
	out, err := e.c.ContainerStats(ctx, in.Container.ID, client.ContainerStatsOptions{})
	if err != nil {
		return e.told(ctx, err)
	}
	defer func() { _ = out.Body.Close() }()
	var s container.StatsResponse
	if err := json.NewDecoder(out.Body).Decode(&s); err != nil {
		return e.told(ctx, err)
	}
	files := uint64(0)
	for _, list := range []string{"active_file", "inactive_file"} {
		if n, v1 := s.MemoryStats.Stats["total_"+list]; v1 {
			files += n
		} else {
			files += s.MemoryStats.Stats[list]
		}
	}
	if used := int64(s.MemoryStats.Usage) - int64(files); used > memory {
		return fault.Conflict("container %s uses %s of memory, which is more than %s: let it use less, or stop it first", name(in), units.BytesSize(float64(used)), units.BytesSize(float64(memory)))
	}
	return nil
}
