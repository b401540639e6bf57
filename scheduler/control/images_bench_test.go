package control

import (
	"fmt"
	"runtime"
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
