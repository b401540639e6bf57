package e2evm

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/test/vm"
)

// settled is files of cgroups with what is to be in them. Their paths are expanded by
// the VM's shell.
type settled map[string]string

// become waits until all files have their values, and returns how long that took by
// the VM's own clock.
func (s *system) become(what string, limit time.Duration, files settled) {
	s.t.Helper()
	var test []string
	for _, f := range slices.Sorted(maps.Keys(files)) {
		test = append(test, fmt.Sprintf(`[ "$(cat %s)" = "%s" ]`, f, files[f]))
	}
	var show strings.Builder
	for _, f := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(&show, `echo "%s: $(cat %s), want %s"; `, f, f, files[f])
	}
	// The first look is before any wait, so that what is so at once takes nothing.
	out := s.sh(fmt.Sprintf(`read a b </proc/uptime; while :; do read c d </proc/uptime; %s && { echo "$a $c"; exit; }; [ "${c%%.*}" -gt $(( ${a%%.*} + %d )) ] && break; sleep 0.02; done; %s`,
		strings.Join(test, " && "), int(limit.Seconds()), show.String()))
	var from, to float64
	if _, err := fmt.Sscan(out, &from, &to); err != nil || to < from {
		s.t.Fatalf("%s: not in force after %v:\n%s\n%s", what, limit, out, s.sh("docker mos cgroup ls; journalctl -u mosd --no-pager | tail -20"))
	}
	s.t.Logf("%s: in force after %.0f ms", what, (to-from)*1000)
}

// TestCgroupSettingsOnSystemd: settings of version 2 where systemd drives cgroups hold
// over restarts, daemon-reload and a power cut; those of a volume for the set that has
// it, also for buffered writes.
func TestCgroupSettingsOnSystemd(t *testing.T) {
	long(t, "hosts")
	s := install(t, vm.Config{})
	s.sh("systemctl enable --now mosd")
	s.settle(time.Minute, "docker mos cgroup ls")
	s.sh("docker run -d --name web --restart always --stop-timeout 1 --cpus 0.5 --memory 256m mos-test:1 sleep 100000")
	const scope = "/sys/fs/cgroup/system.slice/docker-$(docker inspect -f '{{.Id}}' web).scope/"
	files := settled{
		scope + "memory.high":      "134217728",
		scope + "memory.min":       "16777216",
		scope + "memory.oom.group": "1",
		scope + "memory.swap.max":  "0",
		scope + "cpu.max.burst":    "20000",
		scope + "cpu.weight":       "200",
		scope + "cpuset.cpus":      "0",
		scope + "pids.max":         "100",
		scope + "hugetlb.2MB.max":  "4194304",
		scope + "io.max":           "254:16 rbps=max wbps=1048576 riops=max wiops=max",
	}
	s.want("cat /sys/block/vdb/dev", "254:16")
	s.sh("docker mos cgroup set web memory.high=128m memory.min=16m memory.oom.group=1 memory.swap.max=0 cpu.max.burst=20000 cpu.weight=200 cpuset.cpus=0 pids.max=100 hugetlb.2MB.max=4m 'io.max=/dev/vdb wbps=1m'")
	s.become("set", 0, files)
	s.want("systemctl show -P MemoryHigh docker-$(docker inspect -f '{{.Id}}' web).scope", "134217728")
	s.refused("docker mos cgroup set web memory.high=300m", "memory.max of cgroup")
	s.refused("docker mos cgroup set web memory.hihg=1m", "did you mean memory.high?")
	s.refused("docker mos cgroup set web memory.low=200m", "above memory.high")
	s.refused("docker mos cgroup set web 'io.latency=/dev/vdb target=1000'", "this kernel has no io.latency")
	s.refused("docker mos cgroup set web cpu.weight=300 cpuset.cpus.partition=root", "cpuset.cpus.partition cannot be root")
	s.become("refused settings", 0, files)

	for _, by := range []string{
		"docker restart web", "docker update --memory 200m --memory-swap 300m --cpu-shares 512 web", "systemctl daemon-reload",
		"echo max >" + scope + "memory.high", "echo 0 >" + scope + "memory.oom.group", "systemctl restart mosd", "systemctl restart docker",
	} {
		s.sh(by)
		s.become(by, 60*time.Second, files)
	}
	s.sh("systemctl daemon-reload && sleep 2")
	s.become("2 s after daemon-reload", 0, files)

	s.set()
	s.sh("sync")
	s.MustPowerCut(t)
	s.settle(3*time.Minute, "docker version >/dev/null && docker mos cgroup ls --format '{{.State}}' | grep -q held")
	s.become("power cut", 60*time.Second, files)
	s.settle(2*time.Minute, "docker mos host status")
	s.become("power cut, set", 60*time.Second, slice())

	// A partition needs the processors for itself in the cgroup around it, too.
	s.sh("echo 1 >/sys/fs/cgroup/mosset.slice/cpuset.cpus.exclusive && docker mos cgroup set set/shop cpuset.cpus=1 cpuset.cpus.exclusive=1 cpuset.cpus.partition=root && systemctl daemon-reload")
	s.become("partition", 0, settled{mosShop + "cpuset.cpus.partition": "root", "/sys/fs/cgroup/system.slice/cpuset.cpus.effective": "0"})

	s.sh("docker mos cgroup unset --all web && docker mos cgroup unset --all set/shop")
	s.become("unset", 0, settled{
		scope + "memory.high": "max", scope + "memory.min": "0", scope + "memory.oom.group": "0", scope + "cpu.max.burst": "0",
		scope + "io.max": "", mosShop + "memory.high": "max", mosShop + "pids.max": "max", mosShop + "cpuset.cpus.partition": "member",
	})
	for _, unit := range []string{"docker-$(docker inspect -f '{{.Id}}' web).scope", "mosset-shop.slice"} {
		s.want("systemctl show -P MemoryHigh "+unit, "infinity")
	}
	s.sh("docker rm -f web && docker set rm -f -v shop && docker mos volume trash purge --all --force >/dev/null")
	s.settle(time.Minute, "docker mos audit")
	s.want("ls /var/lib/mos/mosd/cgroup | wc -l", "0")
}

const mosShop = "/sys/fs/cgroup/mosset.slice/mosset-shop.slice/"

// slice is what the set has as a whole, with the limits of its volume.
func slice() settled {
	const volume = "$(docker mos volume ls --format '{{.Name}}' >/dev/null; grep /mos-lvm/mnt/ /proc/self/mountinfo | head -1 | cut -d' ' -f3)"
	return settled{
		mosShop + "memory.high": "157286400",
		mosShop + "pids.max":    "500",
		mosShop + "io.max":      volume + " rbps=2097152 wbps=2097152 riops=max wiops=max",
		mosShop + "docker-$(docker inspect -f '{{.Id}}' shop.app).scope/memory.oom.group": "1",
	}
}

// set makes a set with settings, a volume with a rate, and sees that it is slow also
// for what it writes through the page cache.
func (s *system) set() {
	s.t.Helper()
	s.sh(`cat >/root/shop.json <<'END'
{"Name": "shop", "CPU": 1, "MEM": "200m", "Network": {"Name": "none"}, "Volume": {"Size": "64m", "Path": "/data", "Options": {"bps": "2m"}},
 "Containers": [
  {"Index": 0, "Name": "app", "Image": "mos-test:1", "Options": {"Command": ["sleep", "100000"], "Stop": {"Grace": "0s"}, "Cgroup": {"memory.oom.group": "1"}}},
  {"Index": 0, "Name": "log", "Image": "mos-test:1", "Options": {"Command": ["sleep", "100000"], "Stop": {"Grace": "0s"}}}]}
END`)
	s.sh("docker set up --progress plain /root/shop.json && docker mos cgroup set set/shop memory.high=150m pids.max=500")
	s.become("settings of a set and its volume", 10*time.Second, slice())
	write := "docker set exec shop %s sh -c 'read a b </proc/uptime; dd if=/dev/zero of=/data/%s bs=1M count=12 2>/dev/null && sync /data/%s; read c d </proc/uptime; echo $a $c'"
	var from, to float64
	if _, err := fmt.Sscan(s.sh(fmt.Sprintf(write, "app", "f", "f")), &from, &to); err != nil {
		s.t.Fatal(err)
	}
	const least, most = 5, 20 // 12 MiB at 2 MiB/s, on an emulated machine
	if took := to - from; took < least || took > most {
		s.t.Errorf("12 MiB through the page cache at 2 MiB/s took %.1f s", took)
	} else {
		s.t.Logf("12 MiB through the page cache at 2 MiB/s took %.1f s", took)
	}
	s.sh("systemctl daemon-reload && docker set restart shop")
	s.become("docker set restart", 10*time.Second, slice())
}
