package loop_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/mosdocker/mosdocker/lvmvolume/loop"
	"github.com/mosdocker/mosdocker/lvmvolume/loop/looptest"
)

// BenchmarkAttach attaches and detaches an image beside 100 attached ones.
func BenchmarkAttach(b *testing.B) {
	dir := looptest.Dir(b)
	for i := range 100 {
		looptest.Attach(b, looptest.Image(b, dir, fmt.Sprint("other", i), mib))
	}
	image := looptest.Image(b, dir, "volume", mib)
	for b.Loop() {
		h, err := loop.Attach(b.Context(), image, false)
		if err != nil {
			b.Fatal(err)
		}
		if err := h.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCreate makes and removes an image of 1 GiB.
func BenchmarkCreate(b *testing.B) {
	path := filepath.Join(looptest.Dir(b), "volume.img")
	for b.Loop() {
		if err := loop.Create(b.Context(), path, 1<<30, nil); err != nil {
			b.Fatal(err)
		}
		if err := os.Remove(path); err != nil {
			b.Fatal(err)
		}
	}
}
