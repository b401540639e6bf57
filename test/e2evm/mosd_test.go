package e2evm

import (
	"fmt"
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
