package e2evm

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// making makes some volumes by the driver, then as many as a script would, and
// prints the milliseconds of both, a line a pair. Between the two it lets the
// driver write its records, which it does when nobody makes volumes.
const making = `
now() { date +%s%N; }
for i in $(seq COUNT); do
	a=$(now)
	curl -sf --unix-socket /run/docker/plugins/mos-lvm.sock -d '{"Name":"manyROUND-'$i'","Opts":{"size":"64m"}}' http://x/VolumeDriver.Create >/dev/null || exit 1
	echo $((($(now) - a) / 1000000))
done >/tmp/ours
sleep 4
while pgrep -x lvm >/dev/null; do sleep 0.5; done
for i in $(seq COUNT); do
	a=$(now)
	lvcreate -q -q -y --devicesfile mos-lvm.devices -V 64m --thinpool mosvg/mos-pool -n plainROUND-$i >/dev/null && mkfs.ext4 -q /dev/mosvg/plainROUND-$i || exit 1
	echo $((($(now) - a) / 1000000))
done >/tmp/plain
paste -d' ' /tmp/ours /tmp/plain
`

// many compares the time to make a volume with that of a plain script in the same
// group, and asks for the volumes of a host that has some.
func (s *system) many() {
	n, each := number(s.t, "MOS_VOLUMES", 8), 4
	if n > 50 {
		each = 10
	}
	// What is just made stays attached meanwhile, as by the defaults.
	s.sh("sed -i 's/^linger.*/linger = \"60s\"/; s/^interval = .5s.*/interval = \"60s\"/' /etc/mos/mos-lvm.toml && systemctl restart mos-lvm && docker volume ls >/dev/null")
	ours, plain := s.pairs(n, each)
	last := max(0, len(ours)-50) // of many, those with many beside them
	s.judgePairs(ours[last:], plain[last:])
	s.t.Logf("docker volume ls: %v for %s volumes, docker version: %v", s.took("docker volume ls >/dev/null"), s.sh("docker volume ls -q | wc -l"), s.took("docker version >/dev/null"))
	name := s.sh("docker volume ls -q -f driver=mos-lvm | head -1")
	s.t.Logf("calls, in emulated time: %s", s.sh("/opt/mos/bin/volumecheck times -volume "+name))
	s.sh("lvs --devicesfile mos-lvm.devices --noheadings -o vg_name,lv_name mosvg | awk '/plain/ {print $1\"/\"$2}' | xargs lvremove -q -q -y --devicesfile mos-lvm.devices >/dev/null")
	s.sh("sed -i 's/^linger.*/linger = \"2s\"/; s/^interval = .60s.*/interval = \"5s\"/' /etc/mos/mos-lvm.toml && systemctl restart mos-lvm")
	s.sh("docker volume ls -q -f name=many | xargs docker volume rm >/dev/null && docker mos volume trash purge --all --force >/dev/null")
}

// pairs makes n volumes and as many by a script, some at a time, and returns the
// milliseconds of both.
func (s *system) pairs(n, each int) (ours, plain []int) {
	s.t.Helper()
	for done := 0; done < n; done += each {
		out := s.sh(strings.NewReplacer("COUNT", strconv.Itoa(each), "ROUND", strconv.Itoa(done)).Replace(making))
		for line := range strings.Lines(out) {
			var a, b int
			if _, err := fmt.Sscan(line, &a, &b); err == nil {
				ours, plain = append(ours, a), append(plain, b)
			}
		}
	}
	return ours, plain
}

func (s *system) judgePairs(ours, plain []int) {
	s.t.Helper()
	ratio := float64(median(ours)) / float64(median(plain))
	s.t.Logf("%d pairs: a volume takes %d ms, by a plain script %d ms: ratio %.2f (goal 1.15)", len(ours), median(ours), median(plain), ratio)
	if !(ratio <= 1.3) { // medians of few pairs on a busy machine
		s.t.Errorf("making a volume takes %.2f times what a plain script takes", ratio)
	}
}

func median(ns []int) int {
	if len(ns) == 0 {
		return 0
	}
	ns = slices.Clone(ns)
	slices.Sort(ns)
	return ns[len(ns)/2]
}
