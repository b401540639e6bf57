package link_test

import (
	"fmt"
	"testing"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/link"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// BenchmarkAssignment writes that of a host with ten sets of ten services.
func BenchmarkAssignment(b *testing.B) {
	a := link.Assignment{Host: "h1", Epoch: 7, Revision: 1000}
	for i := range 10 {
		a.Sets = append(a.Sets, link.Assigned{Name: fmt.Sprintf("web%d-1", i), UID: "0190d1c2-0000-7000-8000-000000000000", Generation: 1, Set: api.Template{Set: spec.Set{
			CPU: 4, MEM: 8 << 30, Network: spec.Network{Name: "prod"}, Volume: &spec.Volume{Size: 20 << 30, Path: "/data"},
			Containers: []spec.Container{{Name: "app", Image: "registry.example/shop/app:41", Options: spec.Options{CPU: 80, MEM: 70}}},
		}}})
	}
	for b.Loop() {
		if _, err := link.Encode(&a); err != nil {
			b.Fatal(err)
		}
	}
}
