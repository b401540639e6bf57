package docker_test

import (
	"strconv"
	"testing"

	"github.com/mosdocker/mosdocker/setmgr/docker"
	"github.com/mosdocker/mosdocker/setmgr/docker/dockertest"
	"github.com/mosdocker/mosdocker/setmgr/spec"
	"github.com/mosdocker/mosdocker/test/rig"
)

// TestEngineIsLikeTheFake, or the tests on the fake show nothing.
func TestEngineIsLikeTheFake(t *testing.T) {
	open(t, func(t *testing.T, e *docker.Engine, h *rig.Host, _ spec.Set) {
		t.Helper()
		h.MustDocker(t, "network", "create", "side")
		dockertest.Suite(t, dockertest.Bench{
			Engine: e, Image: rig.Image, Network: "side",
			Die: func(tb testing.TB, id string) {
				tb.Helper()
				pid, err := e.PID(tb.Context(), id)
				if err != nil {
					tb.Fatal(err)
				}
				h.MustExec(tb, "kill", "-9", strconv.Itoa(pid))
			},
			RestartEngine: func(tb testing.TB) {
				tb.Helper()
				if err := h.Stop(rig.Dockerd); err != nil {
					tb.Fatal(err)
				}
				if err := h.Start(rig.Dockerd); err != nil {
					tb.Fatal(err)
				}
			},
		})
	})
}
