package bench

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// window is how long each meter works in a round, at one sample a second.
const window = 15 * time.Second

// BenchmarkAgent compares what mosd and others cost for a second of figures of idle
// containers. The CPU time is that of whole processes; of the others also with what the
// Engine, containerd and the shims do for them beyond what they do for nobody. Each
// runs alone, as it is started by default but for a sample a second, and is scraped
// once.
func BenchmarkAgent(b *testing.B) {
	testx.Need(b, testx.Meters)
	var few []float64
	for _, n := range []int{30, 300} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			m := newMeters(b, n)
			costs := map[string][]taken{} // by meter, of each round
			for round := 0; b.Loop(); round++ {
				idle := m.spend(nil)
				for k := range m.all {
					p := &m.all[(k+round)%len(m.all)]
					t := m.spend(p)
					t.engine -= idle.engine
					costs[p.name] = append(costs[p.name], t)
					b.Logf("%s: %.2f ms, the Engine for it %.2f ms, %.1f MiB", p.name, t.own, t.engine, p.memory)
				}
			}
			m.report(costs, few)
			few = parts(costs["mosd"], func(t taken) float64 { return t.own })
		})
	}
}

// report adds the figures of a number of containers to the table. few is what mosd
// took for a tenth of them, nil for unknown.
func (m *meters) report(costs map[string][]taken, few []float64) {
	name := fmt.Sprintf("agent, %d containers: ", m.containers)
	what := name + "CPU of a sample a second, scraped once in 15"
	own, all := func(t taken) float64 { return t.own }, func(t taken) float64 { return t.own + t.engine }
	mosd := parts(costs["mosd"], own)
	results.add(figure{name: what, unit: "ms", value: median(mosd), goal: goal{limit: 1.5 * float64(m.containers) / 30}})
	if len(few) > 0 {
		most := goal{limit: 1.1, ofRatio: true}
		results.add(figure{name: what, unit: "ms", value: median(mosd), peer: "tenfold of 30", other: 10 * median(few), ratio: median(mosd) / (10 * median(few)), goal: most})
	}
	for _, p := range m.all {
		if p.name != "mosd" {
			results.add(against(what, "ms", mosd, p.name, parts(costs[p.name], own), goal{}))
			with := goal{}
			if p.name == "cAdvisor" {
				with = goal{limit: 1. / 40, ofRatio: true}
			}
			results.add(against(what, "ms", mosd, p.name+" and the Engine for it", parts(costs[p.name], all), with))
		}
		if p.memory > 0 {
			f := figure{name: name + "memory of " + p.name, unit: "MiB", value: p.memory}
			if p.name == "mosd" {
				f.goal = goal{limit: 40}
			}
			results.add(f)
			results.add(figure{name: name + "scrape of " + p.name, unit: "KiB", value: float64(p.scraped) / 1024})
		}
	}
}

func parts(of []taken, f func(taken) float64) (out []float64) {
	for _, t := range of {
		out = append(out, f(t))
	}
	return out
}

// meter is a program that measures containers once a second.
type meter struct {
	name  string
	argv  []string
	dial  func() (net.Conn, error) // to its /metrics, nil for none
	label string                   // by which a scrape names a container

	memory  float64 // MiB at the end of the last round
	scraped int     // bytes
}

// meters is a host with idle containers and what can measure them.
type meters struct {
	*rig.Host
	b          *testing.B
	containers int
	all        []meter
}

func newMeters(b *testing.B, containers int) *meters {
	b.Helper()
	m := &meters{Host: rig.New(b, rig.Config{}).Host(1), b: b, containers: containers}
	for i := range containers {
		m.MustDocker(b, "run", "-d", "--name", fmt.Sprint("c", i), "--memory", "64m", "--cpus", "0.5", rig.Image, "sleep", "100000")
	}
	config := m.Path("/run/telegraf.toml")
	if err := os.WriteFile(config, []byte(`[agent]
interval = "1s"
flush_interval = "1s"
[[inputs.docker]]
endpoint = "unix:///run/docker.sock"
timeout = "30s"
[[outputs.prometheus_client]]
listen = "127.0.0.1:9273"
`), 0o600); err != nil {
		b.Fatal(err)
	}
	tcp := func(address string) func() (net.Conn, error) {
		return func() (c net.Conn, err error) {
			err = m.Do(func() error {
				c, err = (&net.Dialer{Timeout: time.Minute}).DialContext(b.Context(), "tcp", address)
				return err
			})
			return c, err
		}
	}
	m.all = []meter{
		{name: "mosd", argv: []string{lab.Program(b, "mosd"), "-agent.interval=1s"}, label: "name", dial: func() (net.Conn, error) {
			return new(net.Dialer).DialContext(b.Context(), "unix", m.Path("/run/mos/mosd.sock"))
		}},
		{name: "docker stats", argv: []string{"docker", "stats", "--format", "{{.Name}} {{.CPUPerc}}"}},
		{name: "telegraf", argv: []string{filepath.Join(testx.TelegrafDir(), "telegraf"), "--config", "/run/telegraf.toml"}, label: "container_name", dial: tcp("127.0.0.1:9273")},
		{name: "cAdvisor", argv: []string{
			filepath.Join(testx.CadvisorDir(), "cadvisor"), "-docker=unix:///run/docker.sock", "-docker_only",
			"-housekeeping_interval=1s", "-allow_dynamic_housekeeping=false", "-listen_ip=127.0.0.1", "-port=8081",
		}, label: "name", dial: tcp("127.0.0.1:8081")},
	}
	return m
}

// taken is CPU milliseconds a second: of a meter's own process, and of the Engine,
// containerd and the shims.
type taken struct{ own, engine float64 }

// spend lets a meter work for a window, nil for none.
func (m *meters) spend(p *meter) taken {
	b := m.b
	b.Helper()
	pid := 0
	if p != nil {
		if err := m.StartDaemon(rig.Daemon{Name: strings.Fields(p.name)[0], Argv: p.argv}); err != nil {
			b.Fatal(err)
		}
		pid = m.Pid(strings.Fields(p.name)[0])
		defer func() {
			if err := m.Stop(strings.Fields(p.name)[0]); err != nil {
				b.Fatal(err)
			}
		}()
		m.warm(p)
	}
	before := m.times(pid)
	pause(b, window)
	if p != nil && p.dial != nil {
		body, err := m.scrape(p)
		if missing := m.missing(p, body); err != nil || missing != "" {
			b.Fatalf("scrape of %s: %v, without %s", p.name, err, missing)
		}
		p.scraped, p.memory = len(body), memoryOf(b, pid)
	}
	after := m.times(pid)
	return taken{(after.own - before.own) / window.Seconds(), (after.engine - before.engine) / window.Seconds()}
}

// warm waits until a meter knows all containers and has named them in a scrape: what it
// does once is not counted.
func (m *meters) warm(p *meter) {
	m.b.Helper()
	pause(m.b, 5*time.Second) // also the second look of mosd is over
	if p.dial == nil {
		return
	}
	testx.Eventually(m.b, 5*time.Minute, func() error { // cAdvisor serves nobody before it has looked at all
		body, err := m.scrape(p)
		if missing := m.missing(p, body); err == nil && missing != "" {
			err = fmt.Errorf("%s does not know %s", p.name, missing)
		}
		return err
	})
}

func pause(b *testing.B, d time.Duration) {
	b.Helper()
	select {
	case <-time.After(d):
	case <-b.Context().Done():
	}
}

func (m *meters) scrape(p *meter) (string, error) {
	c := http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return p.dial() },
	}}
	resp, err := c.Get("http://meter/metrics")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// missing names a container that a scrape does not have, "" for none.
func (m *meters) missing(p *meter, body string) string {
	for i := range m.containers {
		if name := fmt.Sprintf(`%s="c%d"`, p.label, i); !strings.Contains(body, name) {
			return name
		}
	}
	return ""
}

// times are the CPU milliseconds that a process and those of the Engine have used, by
// what the scheduler says of their threads (schedstat has nanoseconds, stat only
// ticks). What ended since counts as nothing.
func (m *meters) times(pid int) (c taken) {
	m.b.Helper()
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", m.Pid(rig.Dockerd)))
	if err != nil {
		m.b.Fatal(err)
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		m.b.Fatal(err)
	}
	for _, dir := range dirs {
		if ns, err := os.Readlink(dir + "/ns/pid"); err != nil || ns != own {
			continue
		}
		comm, _ := os.ReadFile(dir + "/comm") // of one that ended there is none
		switch name := strings.TrimSpace(string(comm)); {
		case filepath.Base(dir) == strconv.Itoa(pid):
			c.own = cpuTime(dir)
		case slices.Contains([]string{"dockerd", "containerd", "containerd-shim"}, name):
			c.engine += cpuTime(dir)
		}
	}
	return c
}

func cpuTime(dir string) (ms float64) {
	tasks, _ := filepath.Glob(dir + "/task/*/schedstat")
	for _, t := range tasks {
		text, err := os.ReadFile(t)
		if err != nil {
			continue // it ended
		}
		ns, _ := strconv.ParseFloat(strings.Fields(string(text))[0], 64)
		ms += ns / 1e6
	}
	return ms
}
