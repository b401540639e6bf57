package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// measured is how many containers BenchmarkAgent has.
const measured = 30

// window is how long each side works in a round, at one sample a second.
const window = 15 * time.Second

// BenchmarkAgent compares what mosd and docker stats cost for a second of figures
// of idle containers, each scraped or read as it works. The CPU time is that of
// whole processes: of mosd, and of dockerd, containerd, the shims and the command.
func BenchmarkAgent(b *testing.B) {
	h := rig.New(b, rig.Config{}).Host(1)
	for i := range measured {
		h.MustDocker(b, "run", "-d", "--name", fmt.Sprint("c", i), "--memory", "64m", "--cpus", "0.5", rig.Image, "sleep", "100000")
	}
	err := h.StartDaemon(rig.Daemon{Name: "mosd", Argv: []string{lab.Program(b, "mosd"), "-agent.interval=1s", "-sets.keep=none"}, Ready: func() error {
		_, err := os.Stat(h.Path("/run/mos/mosd.sock"))
		return err
	}})
	if err != nil {
		b.Fatal(err)
	}
	pause(b, 3*time.Second) // the second look is over
	c := client(h.Path("/run/mos/mosd.sock"))
	defer c.CloseIdleConnections()
	scrape(b, c) // the first one prepares names
	var ours, theirs []float64
	size := 0
	for b.Loop() {
		before := cpuTimes(b, h)
		pause(b, window)
		size = scrape(b, c)
		ours = append(ours, cpuSpent(before, cpuTimes(b, h), "mosd"))

		before = cpuTimes(b, h)
		ctx, cancel := context.WithTimeout(b.Context(), window)
		_, _ = h.Exec(ctx, "timeout", strconv.Itoa(int(window.Seconds())), "docker", "stats", "--format", "{{.Name}} {{.CPUPerc}}") // it ends by the limit only
		cancel()
		theirs = append(theirs, cpuSpent(before, cpuTimes(b, h), "dockerd", "containerd", "containerd-shim"))
	}
	per := func(v []float64) []float64 {
		out := make([]float64, len(v))
		for i := range v {
			out[i] = v[i] / window.Seconds()
		}
		return out
	}
	name := fmt.Sprintf("agent, %d containers: ", measured)
	results.add(against(name+"CPU of a sample each second, scraped once", "ms", per(ours), "docker stats", per(theirs), goal{limit: 1.5}))
	results.add(figure{name: name + "memory", unit: "MiB", value: memoryOf(b, h.Pid("mosd")), goal: goal{limit: 40}})
	results.add(figure{name: name + "size of a scrape", unit: "KiB", value: float64(size) / 1024})
}

func pause(b *testing.B, d time.Duration) {
	b.Helper()
	select {
	case <-time.After(d):
	case <-b.Context().Done():
	}
}

func scrape(b *testing.B, c *http.Client) int {
	b.Helper()
	resp, err := c.Get("http://mosd/metrics")
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || strings.Count(string(body), "container_cpu_usage_seconds_total{") != measured {
		b.Fatalf("scrape: %v, %d containers", err, strings.Count(string(body), "container_cpu_usage_seconds_total{"))
	}
	return len(body)
}

// process is one of a host, with the CPU milliseconds that its threads have used.
type process struct {
	name string
	ms   float64
}

// cpuTimes are the processes of a host, by what the scheduler says of their threads
// (schedstat has nanoseconds, stat only ticks).
func cpuTimes(b *testing.B, h *rig.Host) map[int]process {
	b.Helper()
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", h.Pid("mosd")))
	if err != nil {
		b.Fatal(err)
	}
	out := map[int]process{}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		b.Fatal(err)
	}
	for _, dir := range dirs {
		if ns, err := os.Readlink(dir + "/ns/pid"); err != nil || ns != own {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(dir))
		comm, _ := os.ReadFile(dir + "/comm")
		p := process{name: strings.TrimSpace(string(comm))}
		tasks, _ := filepath.Glob(dir + "/task/*/schedstat")
		for _, t := range tasks {
			text, err := os.ReadFile(t)
			if err != nil {
				continue // it ended
			}
			ns, _ := strconv.ParseFloat(strings.Fields(string(text))[0], 64)
			p.ms += ns / 1e6
		}
		out[pid] = p
	}
	return out
}

// cpuSpent is the CPU milliseconds of processes between two looks. Of what ended in
// between nothing is counted, so the command docker stats costs nothing here.
func cpuSpent(before, after map[int]process, names ...string) (ms float64) {
	for pid, p := range after {
		if slices.Contains(names, p.name) {
			ms += p.ms - before[pid].ms
		}
	}
	return ms
}
