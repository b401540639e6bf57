package state_test

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/state"
	"github.com/mosdocker/mosdocker/scheduler/state/statetest"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// set is a replica as services have them, with its place.
func set(i int) *api.SetInstance {
	return &api.SetInstance{
		Meta: api.Meta{Name: fmt.Sprintf("web%d-%d", i/10, i%10)},
		Spec: api.SetSpec{
			Service: fmt.Sprintf("web%d", i/10), Slot: i % 10, ServiceGeneration: 1, Host: fmt.Sprintf("h%d.example", i%5000),
			Set: api.Template{Set: spec.Set{
				CPU: 4, MEM: 8 << 30, Network: spec.Network{Name: "prod"}, Volume: &spec.Volume{Size: 20 << 30, Path: "/data"},
				Containers: []spec.Container{{Name: "app", Image: "registry.example/shop/app:41", Options: spec.Options{CPU: 80, MEM: 70}}},
			}},
		},
	}
}

// place adds set number i to a batch, with an address and a volume of its own.
func place(b *state.Batch, i int) {
	s := set(i)
	b.Create(s)
	by := state.Holder{Name: s.Name, UID: s.UID}
	b.Claim(state.Address("prod", netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})), by)
	b.Claim(state.Volume(s.Name+"-data"), by)
}

func benchmark(b *testing.B, s *state.Store) {
	b.Helper()
	m, err := s.Join(b.Context(), "leader", 10*time.Second)
	must(b, err)
	defer m.Leave(b.Context())
	term, err := m.Lead(b.Context())
	must(b, err)
	var next atomic.Int64 // sets
	for _, c := range []struct{ callers, each int }{{1, 1}, {64, 1}, {32, 10}, {8, 100}} {
		b.Run(fmt.Sprintf("callers=%d/sets=%d", c.callers, c.each), func(b *testing.B) {
			took := make([][]time.Duration, c.callers)
			left := atomic.Int64{}
			left.Store(int64(b.N))
			b.ResetTimer()
			began, cpu := time.Now(), processor(b)
			var all sync.WaitGroup
			for k := range c.callers {
				all.Go(func() {
					for left.Add(int64(-c.each)) > int64(-c.each) {
						start := time.Now()
						batch := s.Batch(term)
						first := int(next.Add(int64(c.each)))
						for i := range c.each {
							place(batch, first+i)
						}
						if _, err := batch.Commit(b.Context()); err != nil {
							b.Error(err)
							return
						}
						took[k] = append(took[k], time.Since(start))
					}
				})
			}
			all.Wait()
			wall, cpu := time.Since(began), processor(b)-cpu
			times := slices.Concat(took...)
			slices.Sort(times)
			ms := func(part float64) float64 {
				return float64(times[int(part*float64(len(times)-1))].Microseconds()) / 1000
			}
			b.ReportMetric(float64(len(times)*c.each)/wall.Seconds(), "sets/s")
			b.ReportMetric(float64(len(times)*c.each)/cpu.Seconds(), "sets/cpu-s")
			b.ReportMetric(ms(0.5), "ms-p50")
			b.ReportMetric(ms(0.99), "ms-p99")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// processor is the time that this process had of the processors.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	must(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkEmbedded commits placed sets, each with an address and a volume of its own,
// under a term, to a server in this process that syncs its log.
func BenchmarkEmbedded(b *testing.B) { benchmark(b, open(b, start(b))) }

// BenchmarkCluster does so to three servers on this machine over TLS.
func BenchmarkCluster(b *testing.B) { benchmark(b, open(b, statetest.Start(b, 3).Client(b))) }
