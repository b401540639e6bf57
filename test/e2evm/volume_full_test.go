package e2evm

import (
	"fmt"
	"strings"
	"time"
)

// brim fills a thin pool by three writers that were promised more than it has:
// first with the watchdog, which pauses them, then without.
func (s *system) brim() {
	for name, blocks := range map[string]int{"ballast": 2400, "reserve": 800} {
		s.sh(fmt.Sprintf("docker volume create -d mos-lvm -o vg=trial -o size=200m %s && /opt/mos/bin/volumecheck write -volume %s -file f -seed 1 -sync 1000 -count %d", name, name, blocks))
	}
	for i := range 3 {
		s.sh(fmt.Sprintf("docker volume create -d mos-lvm -o vg=trial -o size=600m full%d && ", i) +
			run(fmt.Sprintf("-d --name full%d -v full%d:/data", i, i)) + fmt.Sprintf("/mos/volumecheck write -file /data/f -seed %d -pause 4ms", 10+i))
	}
	s.settle(4*time.Minute, "docker ps --filter status=paused -q | wc -l | grep -qx 3")
	metrics := "curl -sf --unix-socket /run/mos/mos-lvm.sock http://x/metrics"
	s.want(metrics+` | grep -c -e '^mos_volume_pool_state{pool="trial/mos-pool",state="pause"} 1' -e '^mos_volume_pool_paused_containers{pool="trial/mos-pool"} 3'`, "2")
	s.refused("docker volume create -d mos-lvm -o vg=trial -o size=64m more", "full")
	events := s.sh("docker mos volume events --format '{{.Level}} {{.Object}} {{.Detail}}' | grep trial")
	for _, want := range []string{"extended by", "level warn", "paused before its writes could be lost"} {
		if !strings.Contains(events, want) {
			s.t.Errorf("the events do not say %q: %s", want, events)
		}
	}
	s.t.Logf("what the watchdog did: %s", events)
	s.want("journalctl -u mos-lvm --no-pager | grep -c 'container paused, its writes would be lost' | awk '{print ($1 >= 3)}'", "1")
	s.want("dmsetup status --noflush trial-mos--pool-tpool | grep -c out_of_data_space || true", "0")

	// Room is made: they go on by themselves.
	s.sh("docker volume rm ballast && docker mos volume trash purge ballast >/dev/null")
	s.settle(time.Minute, "docker ps --filter status=paused -q | wc -l | grep -qx 0")
	s.want("docker mos volume events --format '{{.Detail}}' | grep -c 'goes on, the pool'", "3")

	// Without the watchdog's last level the pool runs full under the writers.
	s.sh("sed -i 's/^overcommit.*/overcommit = 3.0\\npause = 0.0/' /etc/mos/mos-lvm.toml && systemctl restart mos-lvm")
	s.settle(4*time.Minute, "docker ps --filter name=full -q | wc -l | grep -qx 0")
	s.t.Logf("the writers ended with: %s", s.sh("for i in 0 1 2; do docker logs full$i | tail -1; done"))
	s.sh("sed -i '/^pause/d' /etc/mos/mos-lvm.toml && systemctl restart mos-lvm && sleep 5")
	var synced []string
	for i := range 3 {
		synced = append(synced, s.sh(fmt.Sprintf("docker logs full%d | grep synced | tail -1 | cut -d' ' -f2", i)))
	}
	s.sh("docker rm full0 full1 full2 >/dev/null")
	s.idle()
	s.t.Logf("the pool then: %s", s.sh("docker mos volume pool --filter vg=trial"))
	// A file system that was cut off needs some room to come back. Nothing that an
	// fsync confirmed is gone.
	s.sh("docker volume rm reserve && docker mos volume trash purge reserve >/dev/null")
	for i, n := range synced {
		s.sh(fmt.Sprintf("/opt/mos/bin/volumecheck check -volume full%d -file f -seed %d -count %s", i, 10+i, n))
	}
	s.t.Logf("after the pool was full, all that was synced is there: %v blocks", synced)
	s.t.Logf("file systems: %s", s.sh("docker mos volume events --format '{{.Object}} {{.Detail}}' | grep mended || echo nothing to mend"))
	s.sh("docker volume rm full0 full1 full2 >/dev/null && docker mos volume trash purge --all --force >/dev/null")
	s.settle(time.Minute, "docker volume create -d mos-lvm -o vg=trial -o size=64m again")
	s.sh("docker volume rm again >/dev/null")
}
