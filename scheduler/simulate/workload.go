package simulate

import (
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

const gib = 1 << 30

// fleet is hosts of four sizes, in racks of 40 and three rooms.
func fleet(n int) []*Host {
	sizes := []api.Amounts{
		{CPU: 96_000, Memory: 384 * gib, Disk: 4096 * gib},
		{CPU: 64_000, Memory: 256 * gib, Disk: 2048 * gib},
		{CPU: 32_000, Memory: 128 * gib, Disk: 8192 * gib},
		{CPU: 128_000, Memory: 512 * gib, Disk: 4096 * gib},
	}
	hosts := make([]*Host, n)
	for i := range hosts {
		name := fmt.Sprintf("h%05d", i)
		hosts[i] = &Host{Name: name, Status: api.HostStatus{
			Capacity: sizes[i*7%4], Machine: name, Engine: "29.1.0", Networks: map[string]string{"prod": strconv.Itoa(i / 40)},
			Labels: map[string]string{"room": "room" + strconv.Itoa(i/40%3), "rack": "rack" + strconv.Itoa(i/40)},
		}}
	}
	return hosts
}

// Most shapes of sets, as in Alibaba's cluster-trace-gpu-v2023, which has 151 among 8,152.
const mostShapes = 151

// workload is services with so many sets in sum, which want a part of the cores of a fleet.
// Sizes are drawn from the quantiles of Alibaba's cluster-trace-gpu-v2023 (CPU p10 to p99 of
// 3.2, 11.3, 12, 24.2 and 32 cores, most often 4 GiB a core), disk and the number of replicas
// (p50 43, p90 437) from those of cluster-trace-gpu-v2025; all sizes are then scaled to the part.
// A fifth has volumes.
func workload(chance *rand.Rand, sets int, fleet []*Host, part float64) []*api.Service {
	cores := []float64{1, 2, 3.2, 4, 6, 8, 11.3, 11.4, 12, 12, 12, 16, 24.2, 32}
	perCore := []float64{1, 2, 4, 4, 4, 4, 6}
	disk := []float64{10, 20, 50, 100, 255}
	replicas := []int{1, 1, 2, 3, 3, 5, 10, 20, 43, 43, 60, 90, 150, 437}
	type shape struct{ cpu, mem, disk float64 }
	shapes := make([]shape, mostShapes)
	for i := range shapes {
		cpu := cores[chance.IntN(len(cores))]
		shapes[i] = shape{cpu, cpu * perCore[chance.IntN(len(perCore))], disk[chance.IntN(len(disk))]}
	}
	var all []*api.Service
	var drawn []shape
	var wanted float64
	for left := sets; left > 0; {
		n := min(left, replicas[chance.IntN(len(replicas))])
		left -= n
		of := shapes[min(int(chance.ExpFloat64()*mostShapes/6), mostShapes-1)]
		s := &api.Service{Meta: api.Meta{Name: fmt.Sprintf("app%05d", len(all))}, Spec: api.ServiceSpec{Replicas: n}}
		s.Spec.Placement.Spread = []api.Spread{{Level: api.LevelRoom, MaxSkew: max(1, n/4)}, {Level: api.LevelRack, Weight: 5}, {Level: api.LevelHost, Weight: 10}}
		if len(all)%5 == 0 {
			s.Spec.Set.Volume = &spec.Volume{Path: "/data"}
		}
		all, drawn = append(all, s), append(drawn, of)
		wanted += of.cpu * float64(n)
	}
	var have float64
	for _, h := range fleet {
		have += float64(h.Status.Capacity.CPU) / 1000
	}
	scale := part * have / wanted
	for i, s := range all {
		of := drawn[i]
		set := &s.Spec.Set.Set
		set.CPU = spec.Cores(max(0.1, float64(int(of.cpu*scale*10))/10))
		set.MEM = spec.Bytes(max(64<<20, int64(of.mem*scale*1024)<<20))
		set.Network.Name = "prod"
		set.Containers = []spec.Container{{Name: "app", Image: "registry.example/shop/app:41", Options: spec.Options{CPU: 80, MEM: 70}}}
		if set.Volume != nil {
			set.Volume.Size = spec.Bytes(max(1, int64(of.disk*scale)) << 30)
		}
	}
	return all
}
