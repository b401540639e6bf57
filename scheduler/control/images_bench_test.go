package control

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/mosdocker/mosdocker/scheduler/link"
)

// BenchmarkHoldings has 10,000 hosts tell of 100 images with eight layers each, of which all hosts
// have the same: what that takes of time and of memory.
func BenchmarkHoldings(b *testing.B) {
	const hosts, images, layers = 10_000, 100, 8
	told := &link.Holding{}
	for i := range images {
		one := link.Image{Names: []string{fmt.Sprint("shop/app:", i)}}
		for l := range layers {
			one.Layers = append(one.Layers, link.Layer{ID: fmt.Sprint("sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd", i, "-", l), Bytes: 1 << 20})
		}
		told.Images = append(told.Images, one)
	}
	for b.Loop() {
		c := leads(hosts)
		before := heap()
		for i := range hosts {
			c.cache.setHolding(fmt.Sprint("h", i), told)
		}
		b.ReportMetric(float64(heap()-before)/hosts, "B/host")
		runtime.KeepAlive(c)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestNobodyTellsMoreThanIsTaken: a host that keeps to no bound.
func TestNobodyTellsMoreThanIsTaken(t *testing.T) {
	told := &link.Holding{Images: []link.Image{{Names: []string{"first", strings.Repeat("x", link.MostName+1)}}}}
	for i := range 2 * link.MostTags {
		told.Images[0].Names = append(told.Images[0].Names, fmt.Sprint("tag:", i))
	}
	for i := range 2 * link.MostPorts {
		told.Ports = append(told.Ports, fmt.Sprint("tcp/", i+1))
	}
	check := func(layers, names, ports int) {
		t.Helper()
		c := leads(1)
		c.cache.setHolding("h0", told)
		has := c.cache.holdings["h0"]
		if len(c.cache.images) != names || len(has.images) != names || len(has.ports) != ports || len(has.layers) != layers+names {
			t.Errorf("of %d images are %d names, %d of the host, of which it has %d layers; want %d and %d; ports %d, want %d", len(told.Images), len(c.cache.images), len(has.images), len(has.layers)-names, names, layers, len(has.ports), ports)
		}
	}
	check(0, link.MostTags, link.MostPorts)
	told.Ports = []string{"sctp/1", "tcp", "tcp/0", "tcp/70000", "tcp/nowhere:1", "tcp/10.0.0.1", "udp/53", "tcp/[::1]:80"}
	for i := range 2 * link.MostImages {
		told.Images = slices.Insert(told.Images, 0, link.Image{Names: []string{fmt.Sprint("image:", i)}})
	}
	check(0, link.MostImages, 2)
	for i := range told.Images {
		for l := range link.MostLayers / 10 {
			told.Images[i].Layers = append(told.Images[i].Layers, link.Layer{ID: fmt.Sprint(i, "-", l)})
		}
	}
	check(link.MostLayers, 10, 2)
}

// TestImagesThatAreKept: a host that tells of other ports only has the images that it told before,
// also where nobody looked between the two.
func TestImagesThatAreKept(t *testing.T) {
	c := leads(1)
	full := &link.Holding{Images: []link.Image{{Names: []string{"a:1"}, Layers: []link.Layer{{ID: "l", Bytes: 1}}}}, Ports: []string{"tcp/1"}}
	kept := func(ports ...string) *link.Holding { return &link.Holding{Kept: true, Ports: ports} }
	has := func(images, ports int) {
		t.Helper()
		h := c.cache.holdings["h0"]
		if len(h.images) != images || len(h.layers) != 2*images || len(h.ports) != ports || len(c.cache.images) != images || images > 0 && c.cache.images["a:1"].from != "h0" {
			t.Errorf("%d images, %d layers and %d ports, want %d images and %d ports; known are %v", len(h.images), len(h.layers), len(h.ports), images, ports, c.cache.images)
		}
	}
	c.cache.setHolding("h0", kept("tcp/1"))
	has(0, 1)
	c.cache.setHolding("h0", full)
	has(1, 1)
	c.cache.setHolding("h0", kept())
	has(1, 0)
	c.cache.setHolding("h0", &link.Holding{})
	has(0, 0)
	b := &beat{}
	b.hold(full)
	b.hold(kept("tcp/1", "tcp/2"))
	c.cache.setHolding("h0", b.holding)
	has(1, 2)
}
