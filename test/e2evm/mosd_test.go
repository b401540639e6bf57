package e2evm

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/vm"
)

// sixSets writes the files of six sets of an infra and three members each, as sets that
// mosd keeps because they are there and as ones that are declared.
const sixSets = `for i in 1 2 3 4 5 6; do
	file=/root/s$i.json; [ $i -le 3 ] || file=/etc/mos/sets.d/s$i.json
	mkdir -p /etc/mos/sets.d
	cat >$file.new <<END
{"Name": "s$i", "CPU": 1, "MEM": "100m", "Network": {"Name": "prod", "IP": "10.9.0.2$i"}, "Volume": {"Size": "32m", "Path": "/data"},
 "Containers": [
  {"Index": 0, "Name": "db", "Image": "mos-test:1", "Options": {"Command": ["netcheck", "serve", ":7000"], "Ready": {"TCP": 7000}}},
  {"Index": 1, "Name": "app", "Image": "mos-test:1", "Options": {"Command": ["sleep", "100000"], "Stop": {"Signal": "SIGKILL"}}},
  {"Index": 2, "Name": "log", "Image": "mos-test:1", "Options": {"Command": ["sleep", "100000"], "Stop": {"Signal": "SIGKILL"}}}]}
END
	mv $file.new $file
done`

// inOrder checks that of each set the infra was started first, then db, then the others.
func (s *system) inOrder() {
	s.t.Helper()
	at := map[string]string{}
	for line := range strings.Lines(s.sh("docker inspect -f '{{.Name}} " + testx.Started + "' $(docker ps -aq)")) {
		name, rest, _ := strings.Cut(line, " ")
		at[name] = strings.TrimSpace(rest) + "\n"
	}
	for i := 1; i <= 6; i++ {
		name := func(member string) string { return at[fmt.Sprintf("/s%d.%s", i, member)] }
		for _, last := range []string{"app", "log"} { // both wait for db
			if err := testx.InOrder(name("infra") + name("db") + name(last)); err != nil {
				s.t.Errorf("set s%d: %v", i, err)
			}
		}
	}
}

// TestSetsComeBackByThemselves: after power cuts all of six sets of four containers are up
// in order, without hands, on their addresses and with their data.
func TestSetsComeBackByThemselves(t *testing.T) {
	long(t, "sets")
	s := install(t, vm.Config{})
	s.sh("docker network create -d mosbridge --ipam-driver mosbridge --subnet 10.9.0.0/24 prod")
	s.sh(sixSets)
	s.sh("systemctl enable --now mosd 2>/dev/null")
	for i := range 3 {
		s.sh(fmt.Sprintf("docker set up -q /root/s%d.json", i+1))
	}
	const kept = "docker mos host status --format '{{.State}}' | grep -c '^right$' | grep -qx 6"
	s.settle(3*time.Minute, kept)
	s.inOrder()
	s.sh("for i in 1 2 3 4 5 6; do docker set exec s$i app sh -c \"echo $i >/data/f && sync\"; done; sync")
	for round := range number(t, "MOS_ROUNDS", 3) {
		s.MustPowerCut(t)
		s.settle(3*time.Minute, "docker version >/dev/null")
		up := time.Now()
		s.settle(5*time.Minute, kept)
		took := time.Since(up)
		s.inOrder()
		s.want("for i in 1 2 3 4 5 6; do docker set exec s$i log cat /data/f; done", "1\n2\n3\n4\n5\n6")
		s.sh("docker run --rm --network prod mos-test:1 sh -c 'for i in 1 2 3 4 5 6; do netcheck send tcp 10.9.0.2$i:7000 10 || exit 1; done'")
		t.Logf("round %d: all six were right %v after Docker answered; %s", round+1, took.Round(time.Second), s.sh("docker mos host status --format '{{.Set}}: {{.Restarts}} restarts' | paste -sd, "))
	}
	// A dead and an upgraded daemon: no container notices.
	before := s.sh("docker inspect -f '{{.State.Pid}} {{.State.StartedAt}} {{.RestartCount}}' $(docker ps -q)")
	s.sh("systemctl kill -s KILL mosd && sleep 2 && systemctl restart mosd")
	s.settle(time.Minute, kept)
	s.want("docker inspect -f '{{.State.Pid}} {{.State.StartedAt}} {{.RestartCount}}' $(docker ps -q)", before)
	s.sh("rm /etc/mos/sets.d/*")
	for i := range 6 {
		s.sh(fmt.Sprintf("docker set rm -f -v s%d", i+1))
	}
	s.sh("systemctl disable --now mosd 2>/dev/null; docker network rm prod")
	s.want("docker ps -aq | wc -l", "0")
	s.sh("docker mos volume trash purge --all --force >/dev/null")
	s.settle(time.Minute, "docker mos audit")
}

// figures is a scrape of mosd.
type figures string

// of is the value of a metric of a container; of several devices the greatest, since a
// bio counts for each device that it passes.
func (f figures) of(metric, container string) (most float64) {
	for line := range strings.Lines(string(f)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "} ")
		if !strings.HasPrefix(name, metric+"{") || !strings.Contains(name, fmt.Sprintf("name=%q", container)) {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err == nil {
			most = max(most, v)
		}
	}
	return most
}

// figures waits until all was read again, also what is read at the slow interval.
func (s *system) figures() figures {
	s.t.Helper()
	return figures(s.sh(`scrape() { curl -sf --unix-socket /run/mos/mosd.sock http://mosd/metrics; }
samples() { scrape | sed -n 's/^mos_agent_samples_total[^ ]* //p'; }
from=$(samples); until [ "$(samples)" -ge $((from + 4)) ]; do sleep 0.5; done; scrape`))
}

func (s *system) reading(line string) float64 {
	s.t.Helper()
	v, err := strconv.ParseFloat(s.sh(line), 64)
	if err != nil {
		s.t.Fatalf("%s: %v", line, err)
	}
	return v
}

// near checks a figure against another reading of the same, which may be off by 2 %.
func (s *system) near(what string, got, want float64) {
	s.t.Helper()
	if d := math.Abs(got - want); d > want*0.02 || want == 0 {
		s.t.Errorf("%s: measured %v, is %v: off by %.2f %%", what, got, want, 100*d/want)
		return
	}
	s.t.Logf("%s: measured %v, is %v: off by %.2f %%", what, got, want, 100*math.Abs(got-want)/want)
}

// TestAgentFiguresOnSystemd reads figures in a second way, on cgroup version 2 with the
// driver of systemd: of a busy loop, a memory hog, a writer and iperf3.
func TestAgentFiguresOnSystemd(t *testing.T) {
	long(t, "hosts")
	s := install(t, vm.Config{})
	s.sh("printf '[agent]\\ninterval = \"1s\"\\nslow_interval = \"2s\"\\n' >/etc/mos/mosd.toml && systemctl enable --now mosd")
	s.settle(time.Minute, "curl -sf --unix-socket /run/mos/mosd.sock http://mosd/metrics >/dev/null")

	s.sh("docker run -d --name busy --cpus 0.5 mos-test:1 sh -c 'while :; do :; done' && docker pause busy")
	const used = `set -- $(sed 's/.*) //' /proc/$(docker inspect -f '{{.State.Pid}}' busy)/stat); echo $(( ${12} + ${13} ))`
	before, ticks := s.figures(), s.reading(used)
	s.sh("docker unpause busy && sleep 20 && docker pause busy")
	after := s.figures()
	const cpu, throttled = "container_cpu_usage_seconds_total", "container_cpu_cfs_throttled_seconds_total"
	s.near("CPU of a busy loop", after.of(cpu, "busy")-before.of(cpu, "busy"), (s.reading(used)-ticks)/100)
	s.near("its limit", after.of("container_cpu_limit_cores", "busy"), 0.5)
	if after.of(throttled, "busy") <= before.of(throttled, "busy") {
		t.Error("a busy loop at its limit is not throttled")
	}

	s.sh("docker run -d --name hog --memory 256m --pids-limit 40 mos-test:1 sh -c 'dd if=/dev/zero bs=100M count=1 | sleep 1000'")
	const anon = `cat $(docker top hog -o pid | grep -o '[0-9][0-9]*' | sed 's|.*|/proc/&/status|') | awk '/^RssAnon/ {n += $2} END {print n * 1024}'`
	s.settle(time.Minute, "[ $("+anon+") -gt 104857600 ]")
	after = s.figures()
	s.near("memory of a hog", after.of("container_memory_rss", "hog"), s.reading(anon))
	s.near("its limit", after.of("container_spec_memory_limit_bytes", "hog"), 256<<20)
	s.near("its threads", after.of("container_threads", "hog"), s.reading("ls -d $(docker top hog -o pid | grep -o '[0-9][0-9]*' | sed 's|.*|/proc/&/task/*|') | wc -l"))

	s.sh("docker volume create v1 && docker run -d --name writer -v v1:/data mos-test:1 sleep 100000")
	const written, size = "container_fs_writes_bytes_total", 64 << 20
	for _, how := range []string{"oflag=direct", "conv=fsync"} { // the second is buffered
		before = s.figures()
		s.sh("docker exec writer dd if=/dev/zero of=/data/" + how + " bs=1M count=64 " + how)
		s.near("bytes of a writer with "+how, s.figures().of(written, "writer")-before.of(written, "writer"), size)
	}

	s.sh("docker run -d --name net mos-test:1 sleep 100000")
	before = s.figures()
	s.sh("nsenter -n -t $(docker inspect -f '{{.State.Pid}}' net) iperf3 -s -1 -D && sleep 2")
	sent := s.reading("iperf3 -c $(docker inspect -f '{{.NetworkSettings.IPAddress}}' net) -n 128M -J | awk '/\"sum_received\"/ {on = 1} on && /\"bytes\"/ {gsub(/[^0-9]/, \"\"); print; exit}'")
	after = s.figures()
	const rx, packets = "container_network_receive_bytes_total", "container_network_receive_packets_total"
	const heads = 14 + 20 + 32 // Ethernet, IP, TCP with times
	s.near("bytes of iperf3 with the heads of their packets", after.of(rx, "net")-before.of(rx, "net"), sent+heads*(after.of(packets, "net")-before.of(packets, "net")))

	s.sh("docker rm -f busy hog writer net && docker volume rm v1")
	if n := strings.Count(string(s.figures()), `name="busy"`); n > 0 {
		t.Errorf("%d series of a container that is gone", n)
	}
	s.sh("rm /etc/mos/mosd.toml && systemctl disable --now mosd 2>/dev/null")
}
