package bench

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/internal/xexec"
	"github.com/mosdocker/mosdocker/mosbridge/flow"
	"github.com/mosdocker/mosdocker/mosbridge/ovs"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
	"github.com/mosdocker/mosdocker/test/rig"
)

// replayed is how many flows the goal speaks of.
const replayed = 10000

// network10k has as many endpoints as it takes to have that many flows.
func network10k() []flow.Network {
	nets := []flow.Network{{Object: 1}, {Object: 2}, {Object: 3}, {Object: 4}}
	four, six := netip.MustParseAddr("10.96.0.10"), netip.MustParseAddr("fd00:96::10")
	for i := 0; len(flow.Full(1, nets)) < replayed; i++ {
		for range 20 {
			n := &nets[i%len(nets)]
			number := uint32(100 + i*20 + len(n.Ports)%20)
			n.Ports = append(n.Ports, flow.Port{Ofport: number, Object: number, MAC: spec.DeriveMAC("bench", four), IPv4: four, IPv6: six})
			four, six = four.Next(), six.Next()
		}
	}
	return nets
}

// BenchmarkReplay measures how long it takes to make all rules of a bridge and
// to have them in force: on a bridge that has none, as after a restart of Open
// vSwitch, and in place of the round before, as after one of the daemon.
func BenchmarkReplay(b *testing.B) {
	h := rig.New(b, rig.Config{Engine: rig.EngineNone, OVS: true}).Host(1)
	c, err := ovs.New(ovs.Config{Runner: xexec.Host{}, Log: testx.Logger(b), RunDir: h.Path("/run/openvswitch")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	const name = "mosbr0"
	if _, err := c.EnsureBridge(b.Context(), ovs.Bridge{Name: name}); err != nil {
		b.Fatal(err)
	}
	nets := network10k()
	round := uint16(0)
	replay := func() float64 {
		round++
		start := time.Now()
		lines := append(flow.Full(round, nets), flow.Sweep(round)...)
		if err := c.Bundle(b.Context(), name, lines); err != nil {
			b.Fatal(err)
		}
		took := float64(time.Since(start).Microseconds()) / 1000
		if n, err := c.CountFlows(b.Context(), name); err != nil || n < replayed {
			b.Fatalf("%d flows after the replay, want %d or more: %v", n, replayed, err)
		}
		return took
	}
	var empty, full []float64
	for b.Loop() {
		if err := c.Bundle(b.Context(), name, []string{"delete"}); err != nil {
			b.Fatal(err)
		}
		empty = append(empty, replay())
		full = append(full, replay())
	}
	n, err := c.CountFlows(b.Context(), name)
	if err != nil {
		b.Fatal(err)
	}
	results.add(figure{name: fmt.Sprintf("replay of %d flows, p50", n), unit: "ms", value: median(empty), goal: goal{limit: 1000}})
	results.add(figure{name: fmt.Sprintf("replay of %d flows, p99", n), unit: "ms", value: quantile(0.99, empty), goal: goal{limit: 1000}})
	results.add(figure{name: fmt.Sprintf("the same in place of %d others, p50", n), unit: "ms", value: median(full), goal: goal{limit: 1000}})
}
