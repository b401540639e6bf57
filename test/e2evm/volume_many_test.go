package e2evm

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// pairs makes volumes by turns: by the driver, and as a script would. It prints
// the milliseconds of both, a line a pair.
const pairs = `
now() { date +%s%N; }
for i in $(seq COUNT); do
	a=$(now)
	curl -sf --unix-socket /run/docker/plugins/mos-lvm.sock -d '{"Name":"many'$i'","Opts":{"size":"64m"}}' http://x/VolumeDriver.Create >/dev/null || exit 1
	b=$(now)
	lvcreate -q -q -y --devicesfile mos-lvm.devices -V 64m --thinpool mosvg/mos-pool -n plain$i >/dev/null && mkfs.ext4 -q /dev/mosvg/plain$i || exit 1
	c=$(now)
	echo $(((b - a) / 1000000)) $(((c - b) / 1000000))
done
`

// many compares the time to make a volume with that of a plain script in the same
// group, and asks for the volumes of a host that has some.
func (s *system) many() {
	n := number(s.t, "MOS_VOLUMES", 10)
	var out strings.Builder
	for done := 0; done < n; {
		some := min(n-done, 20) // a command may take five minutes
		out.WriteString(s.sh(strings.NewReplacer("COUNT", strconv.Itoa(some), "many'$i'", fmt.Sprintf("many%d-'$i'", done), "plain$i", fmt.Sprintf("plain%d-$i", done)).Replace(pairs)) + "\n")
		done += some
	}
	var ours, plain []int
	for line := range strings.Lines(out.String()) {
		var a, b int
		if _, err := fmt.Sscan(line, &a, &b); err == nil {
			ours, plain = append(ours, a), append(plain, b)
		}
	}
	last := max(0, len(ours)-50) // of many, those with many beside them
	ratio := float64(median(ours[last:])) / float64(median(plain[last:]))
	s.t.Logf("%d pairs: a volume takes %d ms, by a plain script %d ms: ratio %.2f (goal 1.15)", len(ours), median(ours[last:]), median(plain[last:]), ratio)
	if ratio > 1.3 { // medians of few pairs on a busy machine
		s.t.Errorf("making a volume takes %.2f times what a plain script takes", ratio)
	}
	s.t.Logf("docker volume ls: %v for %s volumes, docker version: %v", s.took("docker volume ls >/dev/null"), s.sh("docker volume ls -q | wc -l"), s.took("docker version >/dev/null"))
	name := s.sh("docker volume ls -q -f driver=mos-lvm | head -1")
	s.t.Logf("calls, in emulated time: %s", s.sh("/opt/mos/bin/volumecheck times -volume "+name))
	s.sh("lvs --devicesfile mos-lvm.devices --noheadings -o vg_name,lv_name mosvg | awk '/plain/ {print $1\"/\"$2}' | xargs lvremove -q -q -y --devicesfile mos-lvm.devices >/dev/null")
	s.sh("docker volume ls -q -f name=many | xargs docker volume rm >/dev/null && docker mos volume trash purge --all --force >/dev/null")
}

func median(ns []int) int {
	if len(ns) == 0 {
		return 0
	}
	ns = slices.Clone(ns)
	slices.Sort(ns)
	return ns[len(ns)/2]
}
