package rig_test

import (
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/test/rig"
)

func TestEngineRunsContainers(t *testing.T) {
	for _, e := range rig.Engines() {
		t.Run(string(e), func(t *testing.T) {
			start := time.Now()
			r := rig.New(t, rig.Config{Engine: e, OVS: true})
			t.Logf("up after %s", time.Since(start))
			h := r.Host(1)
			start = time.Now()
			out, err := h.Docker("run", "--rm", rig.Image, "echo", "hi")
			t.Logf("run took %s", time.Since(start))
			if err != nil || out != "hi" {
				t.Errorf("got %q, %v", out, err)
			}
			if err := h.LeakCheck(); err != nil {
				t.Error(err)
			}
		})
	}
}
