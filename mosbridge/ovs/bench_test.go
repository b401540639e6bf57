package ovs_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/mosdocker/mosdocker/mosbridge/ovs"
)

func BenchmarkAddPort(b *testing.B) {
	_, c := open(b)
	name := pair(b, 1, false)
	for b.Loop() {
		ok(c.AddPort(b.Context(), ovs.Port{Bridge: br, Name: name}))(b)
		b.StopTimer()
		if err := c.DelPort(b.Context(), name); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func BenchmarkDelPort(b *testing.B) {
	_, c := open(b)
	name := pair(b, 1, false)
	for b.Loop() {
		b.StopTimer()
		ok(c.AddPort(b.Context(), ovs.Port{Bridge: br, Name: name}))(b)
		b.StartTimer()
		if err := c.DelPort(b.Context(), name); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAddPortAmong200 adds to a bridge that has ports already.
func BenchmarkAddPortAmong200(b *testing.B) {
	_, c := open(b)
	for i := range 200 {
		ok(c.AddPort(b.Context(), ovs.Port{Bridge: br, Name: pair(b, 100+i, false)}))(b)
	}
	name := pair(b, 1, false)
	for b.Loop() {
		ok(c.AddPort(b.Context(), ovs.Port{Bridge: br, Name: name}))(b)
		b.StopTimer()
		if err := c.DelPort(b.Context(), name); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func BenchmarkBundle(b *testing.B) {
	for _, n := range []int{20, 2000, 10000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			_, c := open(b)
			var lines []string
			for i := range n {
				lines = append(lines, fmt.Sprintf("add cookie=0x1,table=%d,priority=100,ip,in_port=%d,nw_src=10.%d.%d.1 actions=goto_table:20", i%10, i%5000, i/250, i%250))
			}
			for b.Loop() {
				if err := c.Bundle(b.Context(), br, lines); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSetMeters(b *testing.B) {
	_, c := open(b)
	for b.Loop() {
		if err := c.SetMeters(b.Context(), br, ovs.Meter{ID: 1, Kbps: 1000, Burst: 100}, ovs.Meter{ID: 2, Kbps: 1000, Burst: 100}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPing(b *testing.B) {
	_, c := open(b)
	for b.Loop() {
		if err := c.Ping(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
