package e2evm

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/test/vm"
)

// capped is a set in the VM.
type capped struct {
	*system
	dir  string // its cgroup parent, from the root
	unit string // of a container in it: %s is the id
}

// file writes the set's file. The second container has no limit of memory of its own.
func (s *system) file() {
	s.sh(`cat >/root/web.json <<'END'
{"Name": "web-1", "CPU": 1, "MEM": "200m", "Overcommit": true, "Network": {"Name": "prod", "IP": "10.9.0.21"}, "Volume": {"Size": "64m", "Path": "/data"},
 "Containers": [
  {"Index": 0, "Name": "app", "Image": "mos-test:1", "Options": {"CPU": 60, "MEM": 50, "Command": ["netcheck", "serve", ":7000"], "Ready": {"TCP": 7000}, "Stop": {"Grace": "1s"}}},
  {"Index": 1, "Name": "busy", "Image": "mos-test:1", "Options": {"CPU": 80, "Command": ["sleep", "100000"], "Stop": {"Grace": "0s"}}}]}
END`)
}

// total checks what the kernel has of the set as a whole.
func (c capped) total(cpu, memory string) {
	c.t.Helper()
	c.want("cat "+c.dir+"/cpu.max", cpu+" 100000")
	c.want("cat "+c.dir+"/memory.max", memory)
}

// holds is total and of busy, which must run.
func (c capped) holds(cpu, memory, busy string) {
	c.t.Helper()
	c.total(cpu, memory)
	c.want("cat "+c.of("busy")+"/cpu.max", busy+" 100000")
}

// of is the cgroup of a container.
func (c capped) of(member string) string {
	return c.dir + "/" + fmt.Sprintf(c.unit, "$(docker inspect -f '{{.Id}}' web-1."+member+")")
}

// share is how much of a core those in a cgroup get, by the kernel's own clocks. The
// shell starts no program between the two looks at each of them: that takes long here.
func (c capped) share(cgroup string) float64 {
	c.t.Helper()
	out := c.sh("f=" + cgroup + "/cpu.stat; read u a </proc/uptime; read k v <$f; sleep 5; read u2 a </proc/uptime; read k v2 <$f; echo $u $v $u2 $v2")
	var up, used, up2, used2 float64
	if _, err := fmt.Sscan(out, &up, &used, &up2, &used2); err != nil {
		c.t.Fatalf("%q: %v", out, err)
	}
	return (used2 - used) / 1e6 / (up2 - up)
}

// loop starts a busy loop in a container.
func (c capped) loop(member string) {
	c.t.Helper()
	c.sh("docker set exec -d web-1 " + member + " sh -c 'while :; do :; done'")
}

// measured checks that the caps hold processes, and not only stand there.
func (c capped) measured() {
	c.t.Helper()
	c.loop("busy")
	if got := c.share(c.of("busy")); got < 0.7 || got > 0.86 {
		c.t.Errorf("a busy loop in an 80 %% container of a set of 1 core got %.3f of a core", got)
	} else {
		c.t.Logf("a busy loop in an 80 %% container of a set of 1 core: %.3f of a core", got)
	}
	c.loop("app") // 140 % in all
	if got := c.share(c.dir); got < 0.85 || got > 1.06 {
		c.t.Errorf("a set of 1 core got %.3f", got)
	} else {
		c.t.Logf("a set of 1 core whose containers want 1.4: %.3f", got)
	}
	c.sh("pkill -f 'while [:]'") // not itself

	before := c.sh("docker inspect -f '{{.State.Pid}} {{.State.StartedAt}}' web-1.infra web-1.app web-1.busy")
	c.want("docker set exec web-1 busy dd if=/dev/zero of=/dev/null bs=300M count=1 >/dev/null 2>&1; echo $?", "137")
	c.want("dmesg | sed -n 's/.*Killed process [0-9]* (\\([^)]*\\)).*/\\1/p'", "dd")
	c.want("dmesg | sed -n 's/.*oom_memcg=\\([^,]*\\),.*/\\1/p'", strings.TrimPrefix(c.dir, "/sys/fs/cgroup"))
	c.want("docker inspect -f '{{.State.Pid}} {{.State.StartedAt}}' web-1.infra web-1.app web-1.busy", before)
}

// number is what a line prints.
func (s *system) number(line string) int64 {
	s.t.Helper()
	n, err := strconv.ParseInt(s.sh(line), 10, 64)
	if err != nil {
		s.t.Errorf("%s: %v", line, err)
	}
	return n
}

// capsFirst checks that the unit ended well before Docker was started.
func (s *system) capsFirst() {
	s.t.Helper()
	s.want("systemctl show -P Result mos-set-caps.service", "success")
	const at = "TimestampMonotonic"
	caps := s.number("systemctl show -P ExecMainExit" + at + " mos-set-caps.service")
	docker := s.number("systemctl show -P ExecMainStart" + at + " docker.service")
	if caps == 0 || caps > docker {
		s.t.Errorf("caps were made again at %d us, docker started at %d us", caps, docker)
	}
}

// TestSetsOnSystemd: a set on a host of service, whose cgroups systemd drives: the
// caps hold busy loops and memory, lie in a slice, and are there after the power was
// cut. So are those of the boot unit, which is for Engines that drive cgroups by
// themselves; the long form has one.
func TestSetsOnSystemd(t *testing.T) {
	s := install(t, vm.Config{})
	s.sh("docker network create -d mosbridge --ipam-driver mosbridge --subnet 10.9.0.0/24 prod")
	s.file()
	s.sh("docker set up --progress plain /root/web.json")
	s.want("docker set ls --format '{{.Name}} {{.State}} {{.Ready}} {{.CPU}} {{.Memory}}'", "web-1 running 2/2 1 200MiB")
	slice := s.sh("docker set inspect -f '{{.cgroupParent}}' web-1")
	if !strings.HasPrefix(slice, "mosset-") || !strings.HasSuffix(slice, ".slice") || strings.Count(slice, "-") != 1 {
		t.Errorf("the cgroup parent is %s", slice)
	}
	c := capped{system: s, dir: "/sys/fs/cgroup/mosset.slice/" + slice, unit: "docker-%s.scope"}
	c.holds("100000", "209715200", "80000")
	c.measured()
	before := s.sh("docker inspect -f '{{.State.Pid}} {{.State.StartedAt}}' web-1.infra web-1.app web-1.busy")
	s.sh("docker set resize --cpus 0.5 --memory 120m web-1")
	c.holds("50000", "125829120", "40000")
	s.sh("systemctl daemon-reload")
	c.holds("50000", "125829120", "40000")
	s.want("docker inspect -f '{{.State.Pid}} {{.State.StartedAt}}' web-1.infra web-1.app web-1.busy", before)

	const record, trial = "/var/lib/mos/set/caps.json", "/mosset-trial/mosset-trial.slice"
	s.sh(`mkdir -p /var/lib/mos/set && echo '{"version": 1, "caps": {"` + trial + `": {"cpu": 0.25, "memory": 67108864}}}' >` + record)
	s.sh("docker set exec web-1 app sh -c 'echo kept >/data/f && sync' && sync")
	s.MustPowerCut(t)
	s.settle(3*time.Minute, "docker version >/dev/null")
	s.capsFirst()
	s.want("cat /sys/fs/cgroup"+trial+"/cpu.max /sys/fs/cgroup"+trial+"/memory.max", "25000 100000\n67108864")
	s.sh("rm " + record + " && cd /sys/fs/cgroup && rmdir ." + trial + " ./mosset-trial")
	c.total("50000", "125829120") // members may be down until they are healed
	t.Log(s.sh("docker set heal --progress plain --all 2>&1"))
	s.want("docker set ls --format '{{.State}} {{.Ready}} {{.IP}}'", "running 2/2 10.9.0.21")
	s.want("docker set exec web-1 app cat /data/f", "kept")
	c.holds("50000", "125829120", "40000")
	s.sh("docker run --rm --network prod mos-test:1 netcheck send tcp 10.9.0.21:7000 1000")
	s.sh("docker set up /root/web.json && docker set diff /root/web.json")
	c.holds("100000", "209715200", "80000")

	s.sh("docker set rm -f -v web-1")
	s.want("ls -d "+c.dir+" /etc/systemd/system.control/mosset* 2>/dev/null | wc -l", "0")
	if os.Getenv("MOS_FULL") != "" {
		s.onCgroupfs()
	}
	s.sh("docker network rm prod")
	s.want("docker ps -aq | wc -l", "0")
	s.sh("docker mos volume trash purge --all --force >/dev/null")
	s.settle(time.Minute, "docker mos audit")
}

// onCgroupfs is the same on an Engine that drives cgroups by itself.
func (s *system) onCgroupfs() {
	s.t.Helper()
	s.sh(`echo '{"exec-opts": ["native.cgroupdriver=cgroupfs"]}' >/etc/docker/daemon.json && systemctl restart docker`)
	s.want("docker info -f '{{.CgroupDriver}} {{.CgroupVersion}}'", "cgroupfs 2")
	s.sh("docker set up --progress plain /root/web.json")
	c := capped{system: s, dir: "/sys/fs/cgroup" + s.sh("docker set inspect -f '{{.cgroupParent}}' web-1"), unit: "%s"}
	c.holds("100000", "209715200", "80000")
	s.sh("dmesg --clear")
	c.measured()
	s.sh("docker set resize --cpus 0.5 --memory 120m web-1 && sync")
	c.holds("50000", "125829120", "40000")
	s.MustPowerCut(s.t)
	s.settle(3*time.Minute, "docker version >/dev/null")
	s.capsFirst()
	c.total("50000", "125829120") // members may be down until they are healed
	s.t.Log(s.sh("docker set heal --progress plain --all 2>&1"))
	s.want("docker set ls --format '{{.State}} {{.Ready}} {{.IP}}'", "running 2/2 10.9.0.21")
	c.holds("50000", "125829120", "40000")
	s.sh("docker set rm -f -v web-1")
	s.want("ls -d "+c.dir+" 2>/dev/null | wc -l", "0")
}
