package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/scheduler/api"
	scheduler "github.com/mosdocker/mosdocker/scheduler/client"
	"github.com/mosdocker/mosdocker/test/rig"
)

// The ways to bring one and the same set up on one host.
const (
	local   = "docker set up"
	viaAPI  = "POST /v1/services?wait"
	service = "docker set service create"
)

// serviceBench is a host that is a cluster, too.
type serviceBench struct {
	*setBench
	api *scheduler.Client
}

func newServiceBench(b *testing.B, engine rig.Engine) *serviceBench {
	b.Helper()
	h := &serviceBench{setBench: newSetBench(b, engine)}
	h.Cluster()
	var err error
	if h.api, err = scheduler.New(h.Path("/run/mos/scheduler.sock"), scheduler.Options{}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		h.api.Close()
		if err := h.Stop("mosd"); err != nil { // else it heals what is cleaned up
			b.Error(err)
		}
	})
	return h
}

// create is the milliseconds of one call that makes, places and starts a service of one set.
func (h *serviceBench) create(file string) float64 {
	h.b.Helper()
	s := &api.Service{}
	data, err := os.ReadFile(file)
	if err == nil {
		err = api.Decode(data, s)
	}
	if err != nil {
		h.b.Fatal(err)
	}
	start := time.Now()
	if _, err := scheduler.Create(h.b.Context(), h.api, s, scheduler.Change{Wait: time.Minute}); err != nil {
		h.b.Fatal(err)
	}
	return ms(start)
}

// gone removes the service, and waits until nothing is left of it.
func (h *serviceBench) gone() {
	h.b.Helper()
	ctx := context.WithoutCancel(h.b.Context())
	if _, err := scheduler.Delete[api.Service](ctx, h.api, "bench"); err != nil {
		h.b.Fatal(err)
	}
	testx.Eventually(h.b, time.Minute, func() error {
		if _, err := scheduler.Get[api.Service](ctx, h.api, "bench"); !errdefs.IsNotFound(err) {
			return errors.Join(err, errors.New("the service is there still"))
		}
		return nil
	})
}

// up brings the set up in one way, removes it, and returns the milliseconds of the first.
func (h *serviceBench) up(way, set, whole string) (took float64) {
	h.b.Helper()
	switch way {
	case local:
		took, _ = h.run("docker", "set", "up", set)
		h.run("docker", "set", "rm", "-f", "bench")
		return took
	case viaAPI:
		took = h.create(whole)
	case service:
		took, _ = h.run("docker", "set", "service", "create", "-f", whole)
	}
	h.gone()
	return took
}

// BenchmarkService compares bringing up one set by a service of the cluster, from the
// request to the answer that it is ready, with docker set up on the same host.
func BenchmarkService(b *testing.B) {
	for _, engine := range rig.Engines() {
		b.Run(string(engine), func(b *testing.B) {
			h := newServiceBench(b, engine)
			text := setFile("bench", network(mos), members, 1)
			set := h.file("set.json", text)
			whole := h.file("service.json", fmt.Sprintf(`{"name": "bench", "spec": {"replicas": 1, "set": %s}}`, strings.Replace(text, `"Name": "bench", `, "", 1)))
			ways := []string{local, viaAPI, service}
			for _, way := range ways {
				h.up(way, set, whole) // loads what is loaded once
			}
			took := map[string][]float64{}
			round := 0
			for b.Loop() {
				for _, way := range turn(round, ways...) {
					took[way] = append(took[way], h.up(way, set, whole))
				}
				round++
			}
			name := "engine " + string(engine) + ": "
			for _, q := range []struct {
				name string
				at   float64
				goal goal
			}{{"p50", 0.5, goal{limit: 1000}}, {"p99", 0.99, goal{}}} {
				for _, way := range []string{viaAPI, service} {
					value, other := quantile(q.at, took[way]), quantile(q.at, took[local])
					results.add(figure{name: name + way + ", a set of 1+3, " + q.name, unit: "ms", value: value, peer: local, other: other, ratio: value / other, goal: q.goal})
				}
			}
			for _, way := range []string{viaAPI, service} {
				more := make([]float64, len(took[way]))
				for i := range more {
					more[i] = took[way][i] - took[local][i]
				}
				results.add(figure{name: name + way + ", added to " + local + ", p50", unit: "ms", value: median(more), goal: goal{limit: 100}})
			}
		})
	}
}
