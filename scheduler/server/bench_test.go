package server_test

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/mosdocker/mosdocker/scheduler/client"
	"github.com/mosdocker/mosdocker/scheduler/server"
)

// BenchmarkCreate is a service over HTTP on a unix socket into embedded etcd, on the disk
// when it is answered: one at a time, and 32 a processor at once.
func BenchmarkCreate(b *testing.B) {
	for name, at := range map[string]int{"Alone": 1, "Many": 32} {
		b.Run(name, func(b *testing.B) {
			r := newRig(b, server.Config{Log: slog.New(slog.DiscardHandler)})
			var n atomic.Int64
			b.SetParallelism(at)
			b.ResetTimer()
			if at == 1 {
				for b.Loop() {
					_, err := client.Create(b.Context(), r.Client, web(fmt.Sprintf("s%d", n.Add(1)), 1), client.Change{})
					must(b, err)
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := client.Create(b.Context(), r.Client, web(fmt.Sprintf("s%d", n.Add(1)), 1), client.Change{}); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
