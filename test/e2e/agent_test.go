package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// agentHost is a host that mosd measures every 100 ms. What keeps sets in mosd finds
// no Engine there, so that calls of dockerd would be the agent's.
type agentHost struct {
	*rig.Host
	t      *testing.T
	client *http.Client
}

func newAgentHost(t *testing.T, engine rig.Engine, args ...string) *agentHost {
	t.Helper()
	r := rig.New(t, rig.Config{Engine: engine, DockerdArgs: []string{"--debug"}})
	h := &agentHost{Host: r.Host(1), t: t}
	socket := filepath.Join(filepath.Dir(h.Socket()), "mos", "mosd.sock")
	h.client = client(socket)
	t.Cleanup(h.client.CloseIdleConnections)
	argv := append([]string{lab.Program(t, "mosd"), "-sets.keep=none", "-agent.interval=100ms", "-agent.slow_interval=100ms", "-sets.engine=unix:///run/mos/no-engine.sock"}, args...)
	err := h.StartDaemon(rig.Daemon{Name: "mosd", Argv: argv, Ready: func() error {
		c, err := net.Dial("unix", socket)
		if err == nil {
			err = c.Close()
		}
		return err
	}})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *agentHost) d(args ...string) string {
	h.t.Helper()
	return strings.TrimSpace(h.MustDocker(h.t, args...))
}

// values are the series of one scrape: by name, {name="x"} of the container or
// {set="x"}, and what else tells them apart.
type values map[string]float64

func (h *agentHost) scrape() values {
	h.t.Helper()
	resp, err := h.client.Get("http://mosd/metrics")
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	p := expfmt.NewTextParser(model.LegacyValidation)
	families, err := p.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	out := values{}
	for name, f := range families {
		for _, m := range f.GetMetric() {
			key, owner := name, ""
			for _, l := range m.GetLabel() {
				switch l.GetName() {
				case "name":
					owner = l.GetValue()
				case "set":
					if owner == "" {
						owner = l.GetValue()
					}
				case "interface", "tcp_state", "volume", "reason":
					key += " " + l.GetValue()
				}
			}
			v := m.GetCounter().GetValue() + m.GetGauge().GetValue()
			out[strings.TrimSpace(key+" "+owner)] += v // devices are summed up
		}
	}
	return out
}

// settled is a scrape whose values were all read after the call.
func (h *agentHost) settled() values {
	h.t.Helper()
	from := h.scrape()["mos_agent_samples_total"]
	var v values
	testx.Eventually(h.t, 10*time.Second, func() error {
		if v = h.scrape(); v["mos_agent_samples_total"] < from+2 {
			return errors.New("no new sample")
		}
		return nil
	})
	return v
}

func (h *agentHost) file(format string, args ...any) string {
	h.t.Helper()
	out, err := h.Exec(h.t.Context(), "cat", fmt.Sprintf(format, args...))
	if err != nil {
		h.t.Fatal(err)
	}
	return out
}

// cpuOf is the CPU time of a process in seconds.
func (h *agentHost) cpuOf(pid string) float64 {
	h.t.Helper()
	stat := h.file("/proc/%s/stat", pid)
	f := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	user, _ := strconv.ParseFloat(f[11], 64)
	system, _ := strconv.ParseFloat(f[12], 64)
	return (user + system) / 100
}

func (h *agentHost) near(what string, got, want, part float64) {
	h.t.Helper()
	if d := math.Abs(got - want); d > want*part {
		h.t.Errorf("%s: measured %v, is %v: off by %.2f %%, want at most %v %%", what, got, want, 100*d/want, 100*part)
	} else {
		h.t.Logf("%s: measured %v, is %v", what, got, want)
	}
}

const fig = 0.02 // how much a figure may be off

// TestAgentFiguresAgainstKnownLoad reads each figure in a second way.
func TestAgentFiguresAgainstKnownLoad(t *testing.T) {
	h := newAgentHost(t, rig.Engine20)
	h.d("volume", "create", "v1")
	// Half of a core is more than a busy machine gives: there would be no throttling.
	h.d("run", "-d", "--name", "busy", "--cpus", "0.1", rig.Image, "sh", "-c", "while :; do :; done")
	h.d("run", "-d", "--name", "hog", "--memory", "256m", "--pids-limit", "40", rig.Image, "sh", "-c", "dd if=/dev/zero bs=48M count=1 | sleep 1000")
	h.d("run", "-d", "--name", "writer", "--device-write-bps", h.disk()+":10gb", "-v", "v1:/data", rig.Image, "sleep", "1000")
	h.d("run", "-d", "--name", "server", rig.Image, "netcheck", "serve", ":7000")
	h.d("run", "-d", "--name", "oom", "--memory", "20m", "--memory-swap", "20m", rig.Image, "sh", "-c", "tail /dev/zero; sleep 1000")
	h.cpu()
	h.memory()
	h.writes()
	h.network()
	testx.Eventually(t, 20*time.Second, func() error {
		if v := h.scrape(); v["container_oom_events_total oom"] != 1 {
			return fmt.Errorf("%v kills, want 1", v["container_oom_events_total oom"])
		}
		return nil
	})
	testx.Eventually(t, 10*time.Second, func() error { // the victim and the reason
		b, err := os.ReadFile(h.Log("mosd"))
		if line := `container=oom`; err == nil && (!bytes.Contains(b, []byte(line)) || !bytes.Contains(b, []byte("process=tail")) || !bytes.Contains(b, []byte("reason=container"))) {
			err = fmt.Errorf("the kill is not told:\n%s", b)
		}
		return err
	})
	if resp, err := h.client.Get("http://mosd/v1/events"); err != nil {
		t.Error(err)
	} else {
		defer resp.Body.Close()
		if b, err := io.ReadAll(resp.Body); err != nil || !bytes.Contains(b, []byte("of container oom was killed for want of memory: limit of the container")) {
			t.Errorf("the events are %s, %v", b, err)
		}
	}
	if v := h.scrape(); v["mos_host_oom_kills_by_reason_total container"] < 1 || v["container_oom_kills_by_reason_total container oom"] != 1 {
		t.Errorf("kills by reason: %v", v)
	}
	if v := h.scrape(); v["mos_agent_read_errors_total"] != 0 {
		t.Errorf("%v read errors", v["mos_agent_read_errors_total"])
	}
}

// cpu compares with the kernel's account of the process. Paused, it stands still.
// pause does so when the runtime can: on a busy machine the freezer of version 1 is not
// always through with a loop in the time that it is given.
func (h *agentHost) pause(name string) {
	h.t.Helper()
	testx.Eventually(h.t, 20*time.Second, func() error {
		_, err := h.Exec(h.t.Context(), "docker", "pause", name)
		return err
	})
}

func (h *agentHost) cpu() {
	h.t.Helper()
	pid := h.d("inspect", "-f", "{{.State.Pid}}", "busy")
	h.pause("busy")
	before, own, start := h.settled(), h.cpuOf(pid), time.Now()
	h.d("unpause", "busy")
	// The limit's percent is only to be seen while it runs.
	testx.Eventually(h.t, 10*time.Second, func() error {
		if p := h.scrape()["container_cpu_limit_percent busy"]; p < 60 || p > 140 {
			return fmt.Errorf("%v %% of the limit", p)
		}
		return nil
	})
	testx.Eventually(h.t, 30*time.Second, func() error {
		if d := h.cpuOf(pid) - own; d < 1.5 {
			return fmt.Errorf("%v s", d)
		}
		return nil
	})
	h.pause("busy")
	after := h.settled()
	const usage = "container_cpu_usage_seconds_total busy"
	h.near("CPU", after[usage]-before[usage], h.cpuOf(pid)-own, fig)
	if d := after["container_cpu_cfs_throttled_seconds_total busy"] - before["container_cpu_cfs_throttled_seconds_total busy"]; d <= 0 || d > time.Since(start).Seconds()*8 {
		h.t.Errorf("throttled for %v s", d)
	}
	if v := after["container_cpu_limit_cores busy"]; v != 0.1 {
		h.t.Errorf("limit %v cores", v)
	}
	h.d("rm", "-f", "busy")
}

func (h *agentHost) memory() {
	h.t.Helper()
	rss := func() (sum float64) {
		for _, pid := range h.pids("hog") {
			for line := range strings.Lines(h.file("/proc/%s/status", pid)) {
				if f := strings.Fields(line); f[0] == "RssAnon:" {
					kib, _ := strconv.ParseFloat(f[1], 64)
					sum += kib * 1024
				}
			}
		}
		return sum
	}
	var v values
	testx.Eventually(h.t, 30*time.Second, func() error { // until it has grown
		v = h.settled()
		if r := rss(); r < 48<<20 || v["container_processes hog"] != 3 {
			return fmt.Errorf("%v bytes, %v processes", r, v["container_processes hog"])
		}
		return nil
	})
	h.near("anonymous memory", v["container_memory_rss hog"], rss(), fig)
	h.near("memory limit", v["container_spec_memory_limit_bytes hog"], 256<<20, 0)
	h.near("percent of the memory limit", v["container_memory_limit_percent hog"], 100*v["container_memory_working_set_bytes hog"]/(256<<20), 1e-9)
	h.near("threads", v["container_threads hog"], 3, 0)
	h.near("percent of the threads' limit", v["container_threads_limit_percent hog"], 7.5, 0)
	h.near("open files", v["container_file_descriptors hog"], float64(h.files("hog")), 0)
}

// pids are a container's processes.
func (h *agentHost) pids(name string) (pids []string) {
	h.t.Helper()
	for pid := range strings.FieldsSeq(h.d("top", name, "-o", "pid")) {
		if _, err := strconv.Atoi(pid); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// files counts the open files of a container's processes.
func (h *agentHost) files(name string) (n int) {
	h.t.Helper()
	for _, pid := range h.pids(name) {
		out, err := h.Exec(h.t.Context(), "ls", "/proc/"+pid+"/fd")
		if err != nil {
			h.t.Fatal(err)
		}
		n += len(strings.Fields(out))
	}
	return n
}

// disk is the device that holds the Engine's folder. Under version 1, kernels from
// 6.10 on count only for disks of which some cgroup has a limit.
func (h *agentHost) disk() string {
	h.t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(h.Path("/var/lib/docker"), &st); err != nil {
		h.t.Fatal(err)
	}
	for line := range strings.Lines(h.file("/sys/dev/block/%d:%d/uevent", unix.Major(st.Dev), unix.Minor(st.Dev))) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "DEVNAME="); ok {
			return "/dev/" + name
		}
	}
	h.t.Fatal("the disk has no name")
	return ""
}

func (h *agentHost) writes() {
	h.t.Helper()
	const bytesOut, ops = "container_fs_writes_bytes_total writer", "container_fs_writes_total writer"
	before := h.settled()
	h.d("exec", "writer", "dd", "if=/dev/zero", "of=/data/f", "bs=1M", "count=24", "oflag=direct")
	after := h.settled()
	h.near("bytes written", after[bytesOut]-before[bytesOut], 24<<20, fig)
	if d := after[ops] - before[ops]; d < 24 {
		h.t.Errorf("%v writes", d)
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(h.Path("/var/lib/docker"), &st); err != nil {
		h.t.Fatal(err)
	}
	h.near("size of the volume's file system", after["container_volume_size_bytes v1 writer"], float64(st.Blocks)*float64(st.Frsize), 0)
	h.near("what is free of it", after["container_volume_available_bytes v1 writer"], float64(st.Bavail)*float64(st.Frsize), fig)
}

func (h *agentHost) network() {
	h.t.Helper()
	ip := h.d("inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "server")
	before := h.settled()
	if _, err := h.Exec(h.t.Context(), "netcheck", "send", "tcp", net.JoinHostPort(ip, "7000"), "8388608"); err != nil {
		h.t.Fatal(err)
	}
	after := h.settled()
	const rx = "container_network_receive_bytes_total eth0 server"
	// 8 MiB and the heads of packets of up to 64 KiB, as the kernel makes them for veth.
	if d := after[rx] - before[rx]; d < 8<<20 || d > 1.06*(8<<20) {
		h.t.Errorf("%v bytes received, want 8 MiB and a little", d)
	}
	dev := strings.Fields(strings.ReplaceAll(h.d("exec", "server", "grep", "eth0", "/proc/net/dev"), ":", " "))
	want, _ := strconv.ParseFloat(dev[1], 64)
	h.near("bytes received", h.settled()[rx], want, 0.0001)
	if d := after["container_network_tcp_segments_received_total server"] - before["container_network_tcp_segments_received_total server"]; d < 100 {
		h.t.Errorf("%v segments", d)
	}
	if v := after["container_network_tcp_usage listen server"]; v != 1 {
		h.t.Errorf("%v sockets listen, want 1", v)
	}
}

// sets is about containers of docker set's shape.
func (h *agentHost) sets() {
	t := h.t
	t.Helper()
	run := func(name, network string, args ...string) {
		h.d(append([]string{"run", "-d", "--name", name, "--network", network, "--cgroup-parent", "/mosset.slice/mosset-shop.slice", "--label", "mos.set=shop"}, args...)...)
	}
	run("shop", "bridge", "--label", "mos.role=infra", rig.Image, "netcheck", "serve", ":7000")
	run("shop-app", "container:shop", "--label", "mos.member=app", rig.Image, "sleep", "1000")
	ip := h.d("inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "shop")
	if _, err := h.Exec(t.Context(), "netcheck", "send", "tcp", net.JoinHostPort(ip, "7000"), "1048576"); err != nil {
		t.Fatal(err)
	}
	v := h.settled()
	const rx = "network_receive_bytes_total eth0 "
	switch {
	case v["container_"+rx+"shop"] < 1<<20:
		t.Errorf("infra received %v", v["container_"+rx+"shop"])
	case v["container_"+rx+"shop-app"] != 0:
		t.Error("the network of the set is counted at a member too")
	case v["mos_set_"+rx+"shop"] != v["container_"+rx+"shop"]:
		t.Errorf("set received %v, its infra %v", v["mos_set_"+rx+"shop"], v["container_"+rx+"shop"])
	}
	sum := v["container_cpu_usage_seconds_total shop"] + v["container_cpu_usage_seconds_total shop-app"]
	h.near("CPU of the set", v["mos_set_cpu_usage_seconds_total shop"], sum, fig)
	h.near("threads of the set", v["mos_set_threads shop"], v["container_threads shop"]+v["container_threads shop-app"], 0)
	// What an ended member used stays in the set's figures.
	h.d("rm", "-f", "shop-app")
	if after := h.settled(); after["mos_set_cpu_usage_seconds_total shop"] < sum {
		t.Errorf("the set lost what its member used: %v, was %v", after["mos_set_cpu_usage_seconds_total shop"], sum)
	}
}

// counter passes on what comes at a socket, and counts it.
func counter(t *testing.T, at, to string) (connections func() int) {
	t.Helper()
	l, err := net.Listen("unix", at)
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int64
	var work sync.WaitGroup
	work.Go(func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			n.Add(1)
			work.Go(func() {
				defer c.Close()
				far, err := net.Dial("unix", to)
				if err != nil {
					return
				}
				defer far.Close()
				// Those that are kept alive end with the test, not some minutes later.
				defer context.AfterFunc(t.Context(), func() { c.Close(); far.Close() })()
				work.Go(func() { _, _ = io.Copy(far, c) })
				_, _ = io.Copy(c, far)
			})
		}
	})
	t.Cleanup(func() { l.Close(); work.Wait() })
	return func() int { return int(n.Load()) }
}

// TestAgentGoesOnWhileDockerdHangs counts what mosd asks of dockerd, by a socket between
// them and by dockerd's log, then stops dockerd's process.
func TestAgentGoesOnWhileDockerdHangs(t *testing.T) {
	lasts := 10 * time.Second
	if os.Getenv("MOS_FULL") != "" {
		lasts = time.Minute
	}
	h := newAgentHost(t, rig.Engine20, "-sets.engine=unix:///run/mos/counted.sock")
	connections := counter(t, filepath.Join(filepath.Dir(h.Socket()), "mos", "counted.sock"), h.Socket())
	h.sets()
	h.d("run", "-d", "--name", "busy", rig.Image, "sh", "-c", "while :; do :; done")
	if _, err := h.Exec(t.Context(), "docker", "-H", "unix:///run/mos/counted.sock", "version"); err != nil || connections() == 0 {
		t.Fatalf("%d connections were counted, %v", connections(), err)
	}
	calls := func() int {
		b, err := os.ReadFile(h.Log(rig.Dockerd))
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Count(b, []byte("Calling ")) + bytes.Count(b, []byte("handling "))
	}
	before := calls()
	h.d("ps")
	counted, asked := calls(), connections()
	if counted == before {
		t.Fatal("calls of dockerd are not to be seen in its log")
	}
	const usage, samples = "container_cpu_usage_seconds_total busy", "mos_agent_samples_total"
	goesOn := func() { // each sample is a new one, and has grown
		last := h.scrape()
		first, start, longest := last[samples], time.Now(), time.Duration(0)
		for time.Since(start) < lasts {
			since := time.Now()
			testx.Eventually(t, 2*time.Second, func() error {
				v := h.scrape()
				if v[samples] < last[samples]+2 || v[usage] <= last[usage] {
					return fmt.Errorf("samples %v, were %v, CPU %v, was %v", v[samples], last[samples], v[usage], last[usage])
				}
				last = v
				return nil
			})
			longest = max(longest, time.Since(since))
		}
		got, want := last[samples]-first, time.Since(start).Seconds()/0.1
		if got < want*0.8-1 {
			t.Errorf("%v samples in %v, want %v", got, time.Since(start), want)
		}
		t.Logf("%v of %.0f samples in %v; two new ones took %v at most", got, want, time.Since(start).Round(time.Second), longest.Round(time.Millisecond))
	}
	goesOn()
	if n, c := calls()-counted, connections()-asked; n != 0 || c != 0 {
		t.Errorf("%d calls of dockerd, %d connections while sampling", n, c)
	}
	if err := h.Signal(rig.Dockerd, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.Signal(rig.Dockerd, syscall.SIGCONT) }()
	goesOn()
}
