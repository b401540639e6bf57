package e2evm

import (
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/test/vm"
)

// TestSetsOnSystemd: a set on a host of service, whose cgroups systemd drives: the
// caps hold a busy loop, lie in a slice, and are there after the power was cut.
func TestSetsOnSystemd(t *testing.T) {
	s := install(t, vm.Config{})
	s.sh("docker network create -d mosbridge --ipam-driver mosbridge --subnet 10.9.0.0/24 prod")
	s.sh(`cat >/root/web.json <<'END'
{"Name": "web-1", "CPU": 1, "MEM": "200m", "Network": {"Name": "prod", "IP": "10.9.0.21"}, "Volume": {"Size": "64m", "Path": "/data"},
 "Containers": [
  {"Index": 0, "Name": "app", "Image": "mos-test:1", "Options": {"CPU": 60, "MEM": 50, "Command": ["netcheck", "serve", ":7000"], "Ready": {"TCP": 7000}, "Stop": {"Grace": "1s"}}},
  {"Index": 1, "Name": "busy", "Image": "mos-test:1", "Options": {"CPU": 30, "MEM": 20, "Command": ["sh", "-c", "while :; do :; done"], "Stop": {"Grace": "0s"}}}]}
END`)
	s.sh("docker set up --progress plain /root/web.json")
	s.want("docker set ls --format '{{.Name}} {{.State}} {{.Ready}} {{.CPU}} {{.Memory}}'", "web-1 running 2/2 1 200MiB")
	slice := s.sh("docker set inspect -f '{{.cgroupParent}}' web-1")
	if !strings.HasPrefix(slice, "mosset-") || !strings.HasSuffix(slice, ".slice") || strings.Count(slice, "-") != 1 {
		t.Errorf("the cgroup parent is %s", slice)
	}
	dir := "/sys/fs/cgroup/mosset.slice/" + slice
	holds := func(cpu, memory, own string) {
		t.Helper()
		s.want("cat "+dir+"/cpu.max", cpu+" 100000")
		s.want("cat "+dir+"/memory.max", memory)
		s.want("cat "+dir+"/docker-$(docker inspect -f '{{.Id}}' web-1.busy).scope/cpu.max", own+" 100000")
	}
	holds("100000", "209715200", "30000")
	// Of a busy loop, by the kernel's own clock: 0.3 of a core, and some for its last period.
	share := "read u0 a </proc/uptime; c0=$(sed -n 's/^usage_usec //p' F); sleep 5; read u1 a </proc/uptime; c1=$(sed -n 's/^usage_usec //p' F); " +
		"awk \"BEGIN {print ($c1-$c0)/1e6/($u1-$u0) < 0.345}\""
	s.want("F="+dir+"/docker-$(docker inspect -f '{{.Id}}' web-1.busy).scope/cpu.stat; "+strings.ReplaceAll(share, " F)", " $F)"), "1")
	before := s.sh("docker inspect -f '{{.State.Pid}} {{.State.StartedAt}}' web-1.infra web-1.app web-1.busy")
	s.sh("docker set resize --cpus 0.5 --memory 120m web-1")
	holds("50000", "125829120", "15000")
	s.sh("systemctl daemon-reload")
	holds("50000", "125829120", "15000")
	s.want("docker inspect -f '{{.State.Pid}} {{.State.StartedAt}}' web-1.infra web-1.app web-1.busy", before)

	s.sh("docker set exec web-1 app sh -c 'echo kept >/data/f && sync'")
	s.MustPowerCut(t)
	s.settle(3*time.Minute, "docker version >/dev/null")
	s.sh("docker set heal --progress plain --all")
	s.want("docker set ls --format '{{.State}} {{.Ready}} {{.IP}}'", "running 2/2 10.9.0.21")
	s.want("docker set exec web-1 app cat /data/f", "kept")
	holds("50000", "125829120", "15000")
	s.sh("docker run --rm --network prod mos-test:1 netcheck send tcp 10.9.0.21:7000 1000")
	s.sh("docker set up /root/web.json")
	holds("100000", "209715200", "30000")

	s.sh("docker set rm -f -v web-1 && docker network rm prod")
	s.want("ls -d "+dir+" /etc/systemd/system.control/mosset* 2>/dev/null | wc -l", "0")
	s.want("docker ps -aq | wc -l", "0")
	s.sh("docker mos volume trash purge --all --force >/dev/null")
	s.settle(time.Minute, "docker mos audit")
}
