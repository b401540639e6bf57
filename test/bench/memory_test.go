package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

const (
	// crowd is how many endpoints the goal for the daemon's memory speaks of.
	crowd = 1000
	// callers is how many calls are made at once.
	callers = 4
)

// BenchmarkMemory gives the daemon a thousand joined endpoints by the calls that
// an engine would make, and looks at what it takes then, and after a restart
// with them. It is about a state, so it has one round whatever -benchtime says.
func BenchmarkMemory(b *testing.B) {
	h := newLab(b, rig.Config{}, "-grace=1h")
	e := engine{client(h.Path("/run/docker/plugins/mosbridge.sock"))}
	defer e.http.CloseIdleConnections()
	pool := e.must(b, "IpamDriver.RequestPool", m{"AddressSpace": "mosbridge", "Pool": "10.97.0.0/16"})
	e.must(b, "NetworkDriver.CreateNetwork", m{"NetworkID": id("n", 0), "Options": m{}, "IPv4Data": []m{{"Pool": "10.97.0.0/16", "Gateway": "10.97.0.1/16"}}})
	b.Cleanup(func() {
		each(b, func(i int) error { return e.leave(i) })
		e.must(b, "NetworkDriver.DeleteNetwork", m{"NetworkID": id("n", 0)})
		e.must(b, "IpamDriver.ReleasePool", m{"PoolID": pool["PoolID"]})
	})
	empty := rss(b, h)
	var mu sync.Mutex
	joins := make([]float64, crowd)
	start := time.Now()
	each(b, func(i int) error {
		took, err := e.join(pool["PoolID"], i)
		mu.Lock()
		defer mu.Unlock()
		joins[i] = took
		return err
	})
	b.Logf("%d endpoints joined in %v; a Join takes %.1f ms among the first hundred, %.1f ms among the last", crowd, time.Since(start).Round(time.Millisecond), median(joins[:100]), median(joins[crowd-100:]))
	full := rss(b, h)
	began := time.Now()
	if err := h.Stop(lab.Mosbridge); err != nil {
		b.Fatal(err)
	}
	stopped := time.Since(began)
	began = time.Now()
	if err := h.Start(lab.Mosbridge); err != nil {
		b.Fatal(err)
	}
	started := time.Since(began)
	testx.Eventually(b, time.Minute, func() error { // the repair of the start
		st, err := h.API.Status(b.Context())
		if err == nil && st.Repair.At.IsZero() {
			err = fmt.Errorf("no repair yet")
		}
		return err
	})
	b.Logf("stop %v, start %v, repair at start after %v", stopped, started, time.Since(began))
	results.add(figure{name: "memory of the daemon without networks", unit: "MiB", value: empty})
	results.add(figure{name: fmt.Sprintf("memory after %d Joins", crowd), unit: "MiB", value: full, goal: goal{limit: 40}})
	results.add(figure{name: fmt.Sprintf("memory after a restart and a repair with %d endpoints", crowd), unit: "MiB", value: rss(b, h), goal: goal{limit: 40}})
	results.add(figure{name: fmt.Sprintf("start of the daemon with %d endpoints", crowd), unit: "ms", value: float64(started.Milliseconds()), goal: goal{limit: 100}})
	for b.Loop() {
		callTimes(b, h)
	}
}

// each calls f with the numbers below crowd, some at once.
func each(b *testing.B, f func(i int) error) {
	b.Helper()
	numbers := make(chan int)
	var work sync.WaitGroup
	for range callers {
		work.Go(func() {
			for i := range numbers {
				if err := f(i); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for i := range crowd {
		numbers <- i
	}
	close(numbers)
	work.Wait()
}

type m = map[string]any

// engine makes the calls of an engine.
type engine struct{ http *http.Client }

func (e engine) call(method string, body m) (m, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	resp, err := e.http.Post("http://mos/"+method, "application/json", bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var out m
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		return nil, fmt.Errorf("%s: %w", method, err)
	}
	if s, ok := out["Err"].(string); ok && s != "" {
		return nil, fmt.Errorf("%s: %s", method, s)
	}
	return out, nil
}

func (e engine) must(b *testing.B, method string, body m) m {
	b.Helper()
	out, err := e.call(method, body)
	if err != nil {
		b.Fatal(err)
	}
	return out
}

// join makes an endpoint and joins it; it returns the milliseconds of the Join.
func (e engine) join(pool any, i int) (float64, error) {
	addr := fmt.Sprintf("10.97.%d.%d", 1+i/250, 1+i%250)
	mac := fmt.Sprintf("02:42:0a:61:%02x:%02x", 1+i/250, 1+i%250)
	if _, err := e.call("IpamDriver.RequestAddress", m{"PoolID": pool, "Address": addr, "Options": m{"com.docker.network.endpoint.macaddress": mac}}); err != nil {
		return 0, err
	}
	endpoint := m{"NetworkID": id("n", 0), "EndpointID": id("e", i), "Interface": m{"Address": addr + "/16", "MacAddress": mac}, "Options": m{}}
	if _, err := e.call("NetworkDriver.CreateEndpoint", endpoint); err != nil {
		return 0, err
	}
	start := time.Now()
	_, err := e.call("NetworkDriver.Join", m{"NetworkID": id("n", 0), "EndpointID": id("e", i), "SandboxKey": "/run/docker/netns/" + id("e", i)[:12], "Options": m{}})
	return float64(time.Since(start).Microseconds()) / 1000, err
}

func (e engine) leave(i int) error {
	body := m{"NetworkID": id("n", 0), "EndpointID": id("e", i)}
	if _, err := e.call("NetworkDriver.Leave", body); err != nil {
		return err
	}
	_, err := e.call("NetworkDriver.DeleteEndpoint", body)
	if err != nil {
		return err
	}
	_, err = e.call("IpamDriver.ReleaseAddress", m{"PoolID": "mosbridge/10.97.0.0/16", "Address": fmt.Sprintf("10.97.%d.%d", 1+i/250, 1+i%250)})
	return err
}

// id is an id as an engine makes them: it differs from others at its beginning.
func id(kind string, i int) string {
	digit := map[string]string{"n": "a", "e": "b"}[kind]
	return fmt.Sprintf("%s%07d%s", digit, i, strings.Repeat("0", 56))
}

// rss is mosbridge's memory in MiB.
func rss(b *testing.B, h *lab.Host) float64 {
	b.Helper()
	return memoryOf(b, h.Pid(lab.Mosbridge))
}
