package swarmkit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/moby/swarmkit/v2/api"
	"github.com/moby/swarmkit/v2/manager/scheduler"
	"github.com/moby/swarmkit/v2/manager/state"
	"github.com/moby/swarmkit/v2/manager/state/store"

	"github.com/mosdocker/mosdocker/scheduler/place"
)

const gib = 1 << 30

// host is one of a fleet of four sizes, in racks of 40 and three rooms; a quarter has the
// label disk=hdd.
type host struct {
	name, room, rack, disk string
	cores, memory          int64 // of thousandths, bytes
}

func fleet(n int) []host {
	sizes := []int64{96, 64, 32, 128}
	hosts := make([]host, n)
	for i := range hosts {
		cores := sizes[i*7%4]
		hosts[i] = host{
			name: fmt.Sprintf("h%05d", i), room: strconv.Itoa(i / 40 % 3), rack: strconv.Itoa(i / 40),
			disk: []string{"ssd", "ssd", "ssd", "hdd"}[i/4%4], cores: cores * 1000, memory: cores * 4 * gib,
		}
	}
	return hosts
}

// service is sets that are alike.
type service struct {
	name          string
	sets          int
	cores, memory int64
	// ssd asks for hosts of that label. apart spreads the sets over rooms and racks, and
	// has one on a host at most.
	ssd, apart bool
}

// services draws from 151 shapes after quantiles of Alibaba's cluster-trace-gpu-v2023, as
// the benchmarks of scheduler/place do.
func services(n, size int, ssd, apart bool) []service {
	r := rand.New(rand.NewPCG(1, 2))
	cores := []int64{1000, 2000, 3200, 4000, 6000, 8000, 11300, 11400, 12000, 12000, 12000, 16000, 24200, 32000}
	perCore := []int64{1, 2, 4, 4, 4, 4, 6}
	shapes := make([][2]int64, 151)
	for i := range shapes {
		c := cores[r.IntN(len(cores))]
		shapes[i] = [2]int64{c, c * perCore[r.IntN(len(perCore))] * gib / 1000}
	}
	all := make([]service, n)
	for i := range all {
		s := shapes[min(int(r.ExpFloat64()*float64(len(shapes))/6), len(shapes)-1)]
		all[i] = service{fmt.Sprintf("s%06d", i), size, s[0], s[1], ssd, apart}
	}
	return all
}

// ours is our core.
type ours struct{ c *place.Cluster }

func newOurs(hosts []host) ours {
	c := place.New(1)
	for _, h := range hosts {
		c.SetHost(place.Host{
			ID: place.HostID(h.name), Room: h.room, Rack: h.rack, Labels: map[string]string{"disk": h.disk},
			Capacity: place.Amounts{place.CPU: h.cores, place.Memory: h.memory},
		})
	}
	return ours{c}
}

// place returns nothing for a set that fits nowhere.
func (o ours) place(s service, strategy place.Strategy) []place.Placement {
	a := place.Ask{Service: place.ServiceID(s.name), Amounts: place.Amounts{place.CPU: s.cores, place.Memory: s.memory}, Strategy: strategy}
	if s.ssd {
		a.Constraints = []place.Constraint{{Key: "disk", Op: place.In, Values: []string{"ssd"}}}
	}
	if s.apart {
		a.Affinities = []place.Affinity{{Service: a.Service, Level: place.LevelHost, Anti: true, Hard: true}}
		a.Spread = []place.Spread{{Level: place.LevelRoom, MaxSkew: 1}, {Level: place.LevelRack, Weight: 5}}
	}
	ids := make([]place.SetID, s.sets)
	for i := range ids {
		ids[i] = place.SetID(s.name + "-" + strconv.Itoa(i))
	}
	placed, err := o.c.Place(&a, ids...)
	if err != nil {
		return nil
	}
	return placed
}

// theirs is swarmkit's scheduler on its memory store, which keeps no log.
type theirs struct {
	store *store.MemoryStore
	end   func()
}

func newTheirs(tb testing.TB, hosts []host) theirs {
	tb.Helper()
	s := store.NewMemoryStore(nil)
	if err := s.Update(func(tx store.Tx) error {
		for _, h := range hosts {
			n := &api.Node{
				ID:     h.name,
				Spec:   api.NodeSpec{Annotations: api.Annotations{Name: h.name, Labels: map[string]string{"disk": h.disk, "room": h.room, "rack": h.rack}}},
				Status: api.NodeStatus{State: api.NodeStatus_READY},
				Description: &api.NodeDescription{
					Engine: &api.EngineDescription{}, Resources: &api.Resources{NanoCPUs: h.cores * 1e6, MemoryBytes: h.memory},
				},
			}
			if err := store.CreateNode(tx, n); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		tb.Fatal(err)
	}
	one := scheduler.New(s)
	var work sync.WaitGroup
	work.Go(func() { _ = one.Run(context.Background()) }) // ends by Stop, without an error
	return theirs{s, func() { one.Stop(); work.Wait(); s.Close() }}
}

// tasks are those of a service, as swarmkit's orchestrator makes them.
func (s service) tasks() []*api.Task {
	spec := api.TaskSpec{
		Runtime:   &api.TaskSpec_Container{Container: &api.ContainerSpec{}},
		Resources: &api.ResourceRequirements{Reservations: &api.Resources{NanoCPUs: s.cores * 1e6, MemoryBytes: s.memory}},
		Placement: &api.Placement{},
	}
	if s.ssd {
		spec.Placement.Constraints = []string{"node.labels.disk==ssd"}
	}
	if s.apart {
		spec.Placement.MaxReplicas = 1
		for _, label := range []string{"node.labels.room", "node.labels.rack"} {
			spec.Placement.Preferences = append(spec.Placement.Preferences,
				&api.PlacementPreference{Preference: &api.PlacementPreference_Spread{Spread: &api.SpreadOver{SpreadDescriptor: label}}})
		}
	}
	all := make([]*api.Task, s.sets)
	for i := range all {
		all[i] = &api.Task{
			ID: s.name + "-" + strconv.Itoa(i), ServiceID: s.name, SpecVersion: &api.Version{Index: 1}, Slot: uint64(i + 1), //nolint:gosec // small
			DesiredState: api.TaskStateRunning, Spec: spec, ServiceAnnotations: api.Annotations{Name: s.name},
			Status: api.TaskStatus{State: api.TaskStatePending},
		}
	}
	return all
}

// place stores tasks, and waits until all have a node, or are said to fit nowhere. It returns
// how long that took from when they were stored.
func (t theirs) place(tb testing.TB, all []service) time.Duration {
	tb.Helper()
	watch, cancel := state.Watch(t.store.WatchQueue(), api.EventUpdateTask{})
	defer cancel()
	wanted := map[string]bool{}
	if err := t.store.Update(func(tx store.Tx) error {
		for _, s := range all {
			for _, task := range s.tasks() {
				wanted[task.ID] = true
				if err := store.CreateTask(tx, task); err != nil {
					return err
				}
			}
		}
		return nil
	}); err != nil {
		tb.Fatal(err)
	}
	began := time.Now()
	for late := time.After(5 * time.Minute); len(wanted) > 0; {
		select {
		case e := <-watch:
			delete(wanted, e.(api.EventUpdateTask).Task.ID)
		case <-late:
			tb.Fatalf("%d tasks have no node after 5 minutes", len(wanted))
		}
	}
	return time.Since(began)
}

// without is how many sets of services have no node.
func (t theirs) without(all []service) (n int) {
	t.store.View(func(tx store.ReadTx) {
		for _, s := range all {
			for i := range s.sets {
				if store.GetTask(tx, s.name+"-"+strconv.Itoa(i)).NodeID == "" {
					n++
				}
			}
		}
	})
	return n
}

// writes does what the scheduler writes of these services once more by the store alone,
// with somebody who watches.
func (t theirs) writes(tb testing.TB, all []service) {
	tb.Helper()
	var tasks []*api.Task
	t.store.View(func(tx store.ReadTx) {
		for _, s := range all {
			for i := range s.sets {
				tasks = append(tasks, store.GetTask(tx, s.name+"-"+strconv.Itoa(i)))
			}
		}
	})
	watch, cancel := state.Watch(t.store.WatchQueue(), api.EventUpdateTask{})
	defer cancel()
	if err := t.store.Batch(func(batch *store.Batch) error {
		for _, task := range tasks {
			if err := batch.Update(func(tx store.Tx) error { return store.UpdateTask(tx, task) }); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		tb.Fatal(err)
	}
	for range tasks {
		<-watch
	}
}

// processor is the time that this process had of processors.
func processor(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// percentile is of times that may be in any order.
func percentile(all []time.Duration, p int) float64 {
	slices.Sort(all)
	return float64(all[(len(all)-1)*p/100].Microseconds()) / 1000
}

// BenchmarkPlace fills the same hosts with the same sets, by swarmkit and by us. Each round
// is one of both, one after the other. Times are of the processor, since the machine may be
// busy; of swarmkit "decided" leaves out what the same writes cost its store alone, since our
// core writes nothing, and is what "times" compares with. A lone service is one that comes
// when nothing else does: swarmkit waits 50 ms for more before it looks at it.
func BenchmarkPlace(b *testing.B) {
	cases := []struct {
		name       string
		size       int
		ssd, apart bool
	}{
		{"single", 1, false, false},
		{"single-constrained", 1, true, false},
		{"tens", 10, false, false},
		{"tens-apart", 10, true, true},
	}
	const lone = 10
	for _, n := range []int{1_000, 5_000, 10_000} {
		for _, one := range cases {
			b.Run(fmt.Sprintf("%s/hosts=%d", one.name, n), func(b *testing.B) {
				hosts := fleet(n)
				all := services(min(3*n, 10_000)/one.size+lone, one.size, one.ssd, one.apart)
				bulk, after := all[:len(all)-lone], all[len(all)-lone:]
				sets := float64(len(bulk) * one.size)
				var mine, their, mineCPU, theirCPU, writesCPU time.Duration
				var each, late, theirLate []time.Duration
				for b.Loop() {
					t := newTheirs(b, hosts)
					cpu := processor(b)
					their += t.place(b, bulk)
					stored := processor(b)
					if n := t.without(bulk); n > 0 {
						b.Fatalf("swarmkit does not place %d sets", n)
					}
					theirCPU += stored - cpu
					t.writes(b, bulk)
					writesCPU += processor(b) - stored
					for _, s := range after {
						theirLate = append(theirLate, t.place(b, []service{s}))
					}
					t.end()

					o := newOurs(hosts)
					runtime.GC() // of theirs, which is not our time
					cpu = processor(b)
					for _, s := range bulk {
						began := time.Now()
						if len(o.place(s, place.BinPack)) != s.sets {
							b.Fatalf("service %s is not placed", s.name)
						}
						each = append(each, time.Since(began))
						mine += each[len(each)-1]
					}
					mineCPU += processor(b) - cpu
					for _, s := range after {
						began := time.Now()
						o.place(s, place.BinPack)
						late = append(late, time.Since(began))
					}
				}
				rounds := float64(b.N)
				rate := func(took time.Duration) float64 { return rounds * sets / took.Seconds() }
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(rate(mine), "sets/s")
				b.ReportMetric(rate(mineCPU), "sets/cpu-s")
				b.ReportMetric(percentile(each, 99), "call-p99-ms")
				b.ReportMetric(percentile(late, 99), "lone-p99-ms")
				b.ReportMetric(rate(their), "swarmkit-sets/s")
				b.ReportMetric(rate(theirCPU), "swarmkit-sets/cpu-s")
				b.ReportMetric(rate(theirCPU-writesCPU), "swarmkit-decided/cpu-s")
				b.ReportMetric(percentile(theirLate, 99), "swarmkit-lone-p99-ms")
				b.ReportMetric(rate(mineCPU)/rate(theirCPU-writesCPU), "times")
			})
		}
	}
}

// pieces is how many sets of 32 cores and 128 GiB go onto hosts of which so much is free.
func pieces(free map[string]place.Amounts) (n int64) {
	for _, f := range free {
		n += min(f[place.CPU]/32_000, f[place.Memory]/(128*gib))
	}
	return n
}

// BenchmarkPacking fills 5,000 hosts to 80 % of their cores and counts the sets of 32 cores
// that still fit: packed, evenly, and by swarmkit.
func BenchmarkPacking(b *testing.B) {
	hosts := fleet(5_000)
	free := func() (map[string]place.Amounts, int64) {
		out, cores := map[string]place.Amounts{}, int64(0)
		for _, h := range hosts {
			out[h.name] = place.Amounts{place.CPU: h.cores, place.Memory: h.memory}
			cores += h.cores
		}
		return out, cores
	}
	_, cores := free()
	var all []service
	for given := int64(0); ; {
		all = services(len(all)+1_000, 1, false, false)
		given = 0
		for i, s := range all {
			if given += s.cores; given >= cores*8/10 {
				all = all[:i]
				break
			}
		}
		if given >= cores*8/10 {
			break
		}
	}
	// What is most of them in any order: all that is free, in one piece.
	left, _ := free()
	var rest place.Amounts
	for _, f := range left {
		rest[place.CPU] += f[place.CPU]
		rest[place.Memory] += f[place.Memory]
	}
	for _, s := range all {
		rest[place.CPU] -= s.cores
		rest[place.Memory] -= s.memory
	}
	b.Logf("%d sets have 80 %% of the cores of 5,000 hosts; what is free would be %d sets of 32 cores in one piece", len(all), pieces(map[string]place.Amounts{"": rest}))
	for name, strategy := range map[string]place.Strategy{"packed": place.BinPack, "even": place.Even} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				left, _ := free()
				o := newOurs(hosts)
				without := 0
				for _, s := range all {
					placed := o.place(s, strategy)
					without += s.sets - len(placed)
					for _, p := range placed {
						take(left, string(p.Host), s)
					}
				}
				b.ReportMetric(float64(pieces(left)), "pieces")
				b.ReportMetric(float64(without), "not-placed")
			}
		})
	}
	b.Run("swarmkit", func(b *testing.B) {
		for b.Loop() {
			left, _ := free()
			t := newTheirs(b, hosts)
			for some := range slices.Chunk(all, 2_000) {
				t.place(b, some)
			}
			t.store.View(func(tx store.ReadTx) {
				for _, s := range all {
					if node := store.GetTask(tx, s.name+"-0").NodeID; node != "" {
						take(left, node, s)
					}
				}
			})
			b.ReportMetric(float64(pieces(left)), "pieces")
			b.ReportMetric(float64(t.without(all)), "not-placed")
			t.end()
		}
	})
}

func take(left map[string]place.Amounts, host string, s service) {
	f := left[host]
	f[place.CPU] -= s.cores
	f[place.Memory] -= s.memory
	left[host] = f
}
