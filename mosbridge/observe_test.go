package mosbridge

import (
	"bytes"
	"context"
	"fmt"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/mosbridge/ovs"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

func TestMetersAreKeptAsTheRecordWishes(t *testing.T) {
	h := newHost(t)
	n := h.network("a", "10.9.0.0/24", "10.9.0.1", map[string]string{"mos.rate.in": "10mbit"})
	h.run(n, "1", "10.9.0.21")
	if !h.reconcile(t.Context()) {
		t.Fatal("the first repair fails")
	}
	look := func() string {
		t.Helper()
		ms, err := h.fab.ovs.Meters(t.Context(), n.Network.Bridge)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(ms)
	}
	want := look()
	e, _ := h.rec.endpoint(spec.EndpointID(hexID("1")))
	number, _ := meters(e.Number)
	for name, damage := range map[string]string{
		"changed": fmt.Sprintf("mod-meter %s meter=%d,kbps,burst,bands=type=drop,rate=7,burst_size=512", n.Network.Bridge, number),
		"stray":   fmt.Sprintf("add-meter %s meter=4711,kbps,bands=type=drop,rate=7", n.Network.Bridge),
		"deleted": fmt.Sprintf("del-meter %s meter=%d", n.Network.Bridge, number),
	} {
		h.ovs.Ofctl(strings.Fields(damage)...)
		if look() == want {
			t.Fatalf("%s: the damage is none", name)
		}
		if !h.reconcile(t.Context()) || look() != want {
			t.Errorf("%s: meters are %s after a repair, want %s", name, look(), want)
		}
		if p, err := h.plan(t.Context()); err != nil || len(p) != 0 {
			t.Errorf("%s: a second repair would do %v (%v)", name, p, err)
		}
	}
}

func BenchmarkMeterLook(b *testing.B) {
	h := newHost(b)
	n := h.network("a", "10.9.0.0/24", "10.9.0.1", nil)
	var ms []ovs.Meter
	for i := range 500 {
		ms = append(ms, ovs.Meter{ID: uint32(100 + i), Kbps: 1000, Burst: 512})
	}
	if err := h.fab.ovs.SetMeters(b.Context(), n.Network.Bridge, ms...); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := h.fab.meterFault(b.Context(), n.Network.Bridge); err != nil {
			b.Fatal(err)
		}
	}
}

func TestDeletedBridgeIsNotWatched(t *testing.T) {
	h := newHost(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { h.Run(ctx); close(ended) }()
	defer func() { cancel(); <-ended }()
	watches := func(want int) {
		t.Helper()
		testx.Eventually(t, 5*time.Second, func() error {
			var stacks bytes.Buffer
			if err := pprof.Lookup("goroutine").WriteTo(&stacks, 2); err != nil {
				return err
			}
			if got := strings.Count(stacks.String(), "(*Client).WatchBridge("); got != want {
				return fmt.Errorf("%d bridges are watched, want %d", got, want)
			}
			return nil
		})
	}
	for range 2 {
		h.network("a", "10.9.0.0/24", "10.9.0.1", nil)
		h.network("b", "10.10.0.0/24", "10.10.0.1", map[string]string{"mos.bridge": "mosbr1"})
		watches(2)
		if err := h.deleteNetwork(t.Context(), spec.NetworkID(hexID("b"))); err != nil {
			t.Fatal(err)
		}
		watches(1)
		if err := h.deleteNetwork(t.Context(), spec.NetworkID(hexID("a"))); err != nil {
			t.Fatal(err)
		}
		watches(0)
	}
}
