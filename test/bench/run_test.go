package bench

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// newLab is a lab whose daemon works as on a real host, not as in other tests.
func newLab(b *testing.B, cfg rig.Config, args ...string) *lab.Host {
	b.Helper()
	return lab.New(b, cfg, append([]string{"-log.level=info", "-interval=30s", "-grace=2s"}, args...)...).Hosts[0]
}

// timed is how many milliseconds a docker command takes.
func timed(b *testing.B, h *lab.Host, args ...string) float64 {
	b.Helper()
	start := time.Now()
	h.D(args...)
	return float64(time.Since(start).Microseconds()) / 1000
}

// turn rotates the order of the peers, so that none is always the first.
func turn(round int, peers ...string) []string {
	k := round % len(peers)
	return append(slices.Clone(peers[k:]), peers[:k]...)
}

// BenchmarkRun compares starting a container in the background, and starting
// one until it has ended and is removed.
func BenchmarkRun(b *testing.B) {
	for _, engine := range rig.Engines() {
		b.Run(string(engine), func(b *testing.B) {
			h := newLab(b, rig.Config{Engine: engine, Outside: true})
			worked := networks(b, h)
			bg, whole := map[string][]float64{}, map[string][]float64{}
			var up, down, bare []float64
			calls := map[string][]float64{}
			round := 0
			for b.Loop() {
				for _, p := range turn(round, mos, bridge, macvlan, noop, pair) {
					before, idle := callTimes(b, h), worked.ms()
					bg[p] = append(bg[p], timed(b, h, "run", "-d", "--network", network(p), "--name", "c1", rig.Image, "sleep", "1000"))
					between := callTimes(b, h)
					if p == pair {
						bare = append(bare, worked.ms()-idle)
					}
					h.D("rm", "-f", "c1")
					if p == mos {
						here := since(before, between)
						up = append(up, sum(here))
						there := since(between, callTimes(b, h))
						down = append(down, sum(there))
						maps.Copy(here, there)
						for m, t := range here {
							calls[m] = append(calls[m], t)
						}
					}
				}
				for _, p := range turn(round, mos, bridge, macvlan, noop, pair) {
					whole[p] = append(whole[p], timed(b, h, "run", "--rm", "--network", network(p), rig.Image, "true"))
				}
				round++
			}
			name := "engine " + string(engine) + ": "
			for _, q := range []struct {
				name  string
				at    float64
				limit float64
			}{{"p50", 0.5, 20}, {"p99", 0.99, 60}} {
				ours, theirs := quantile(q.at, up), quantile(q.at, bare)
				results.add(figure{
					name: name + "our share of docker run, " + q.name, unit: "ms", value: ours, goal: goal{limit: q.limit},
					peer: pair, other: theirs, ratio: ours / theirs,
				})
			}
			results.add(figure{name: name + "our share of docker rm, p50", unit: "ms", value: median(down)})
			for _, m := range slices.Sorted(maps.Keys(calls)) {
				b.Logf("%s: p50 %.2f ms, p99 %.2f ms", m, median(calls[m]), quantile(0.99, calls[m]))
			}
			for _, p := range []string{bridge, macvlan, noop, pair} {
				g := goal{}
				if p == bridge {
					g = goal{limit: 1, ofRatio: true}
				}
				results.add(against(name+"docker run -d", "ms", bg[mos], p, bg[p], g))
				results.add(against(name+"docker run --rm true", "ms", whole[mos], p, whole[p], g))
			}
		})
	}
}

// parallel is how many containers BenchmarkParallel starts at once.
const parallel = 8

// BenchmarkParallel compares starting several containers at once.
func BenchmarkParallel(b *testing.B) {
	for _, engine := range rig.Engines() {
		b.Run(string(engine), func(b *testing.B) {
			h := newLab(b, rig.Config{Engine: engine, Outside: true})
			networks(b, h)
			took := map[string][]float64{}
			var share []float64
			round := 0
			for b.Loop() {
				for _, p := range turn(round, mos, bridge, macvlan, noop, pair) {
					before := callTimes(b, h)
					took[p] = append(took[p], together(b, h, p))
					if p == mos {
						share = append(share, sum(since(before, callTimes(b, h)))/parallel)
					}
					h.D(append([]string{"rm", "-f"}, strings.Fields(h.D("ps", "-aq"))...)...)
				}
				round++
			}
			name := "engine " + string(engine) + ": "
			for _, p := range []string{noop, pair, bridge, macvlan} {
				g := goal{}
				if p == noop {
					g = goal{limit: 1.1, ofRatio: true}
				}
				results.add(against(fmt.Sprintf("%s%d docker run at once", name, parallel), "ms", took[mos], p, took[p], g))
			}
			results.add(figure{name: fmt.Sprintf("%sour share of each of %d at once", name, parallel), unit: "ms", value: median(share)})
		})
	}
}

// together starts containers at once and returns the milliseconds until all run.
func together(b *testing.B, h *lab.Host, peer string) float64 {
	b.Helper()
	var work sync.WaitGroup
	start := time.Now()
	for range parallel {
		work.Go(func() {
			if _, err := h.Docker("run", "-d", "--network", network(peer), rig.Image, "sleep", "1000"); err != nil {
				b.Error(err)
			}
		})
	}
	work.Wait()
	return float64(time.Since(start).Microseconds()) / 1000
}
