// Package e2evm runs the scenarios that need a whole system: systemd with
// socket activation, the kernel's Open vSwitch, Docker 26, and power cuts.
package e2evm

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/image"
	"github.com/mosdocker/mosdocker/test/vm"
	"github.com/mosdocker/mosdocker/test/vm/machine"
)

const module = "github.com/mosdocker/mosdocker"

// system is a VM on which the bundle was installed as on a host of service.
type system struct {
	*vm.VM
	t *testing.T
}

func install(t *testing.T, cfg vm.Config) *system {
	t.Helper()
	s := bring(t, cfg)
	s.sh("/opt/mos/deploy/install && systemctl disable --now mosd") // these tests heal by hand
	return s
}

// all is what deploy/install installs, and what tests of volumes need.
var all = []string{"cmd/mosbridge", "cmd/mos-lvm", "cmd/mos-authz", "cmd/docker-mos", "cmd/mosd", "cmd/mos-scheduler", "test/e2evm/volumecheck"}

// bring is a VM with all that install needs, not installed yet.
func bring(t *testing.T, cfg vm.Config) *system {
	t.Helper()
	return carry(t, cfg, all...)
}

// carry is a VM with these programs of ours, and with the image of tests. They are
// built while it boots.
func carry(t *testing.T, cfg vm.Config, programs ...string) *system {
	t.Helper()
	testx.Need(t, testx.VM)
	dir := t.TempDir()
	var tar string
	var g errgroup.Group
	g.Go(func() (err error) {
		if err := bundle(t.Context(), dir, programs); err != nil {
			return err
		}
		tar, err = image.Tar(t.Context())
		return err
	})
	s := &system{vm.Start(t, cfg), t}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	s.MustCopy(t, filepath.Join(dir, "mos.tar.gz"), "/root/mos.tar.gz")
	s.MustCopy(t, tar, "/root/image.tar")
	s.sh("mkdir -p /opt/mos && tar -C /opt/mos -xzf /root/mos.tar.gz && docker load -q -i /root/image.tar")
	return s
}

// bundle writes to dir/mos.tar.gz programs and what installs them.
func bundle(ctx context.Context, dir string, programs []string) error {
	build := []string{"go", "build", "-ldflags=-s -w", "-o", dir + "/bin/"}
	for _, p := range programs {
		build = append(build, module+"/"+p)
	}
	for _, argv := range [][]string{
		build,
		{"cp", "-r", "../../deploy", dir + "/deploy"},
		{"tar", "-C", dir, "-czf", dir + "/mos.tar.gz", "bin", "deploy"},
	} {
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w\n%s", argv, err, out)
		}
	}
	return nil
}

// long skips what takes long here, and is a step of the night.
func long(t *testing.T, step string) {
	t.Helper()
	if os.Getenv("MOS_FULL") == "" {
		t.Skipf("it takes several minutes: MOS_FULL=1, or test/night %s, runs it", step)
	}
}

func (s *system) sh(line string) string {
	s.t.Helper()
	start := time.Now()
	out := s.MustRun(s.t, line)
	if took := time.Since(start); took > 5*time.Second {
		s.t.Logf("%v: %.80s", took.Round(time.Second), line)
	}
	return strings.TrimSpace(out)
}

// took is how long a line runs, in the emulated machine's slow time.
func (s *system) took(line string) time.Duration {
	s.t.Helper()
	start := time.Now()
	s.sh(line)
	return time.Since(start).Round(100 * time.Millisecond)
}

// settle waits for the system to get where a line succeeds.
func (s *system) settle(limit time.Duration, line string) {
	s.t.Helper()
	testx.Eventually(s.t, limit, func() error {
		ctx, cancel := context.WithTimeout(s.t.Context(), limit)
		defer cancel()
		if out, errs, err := s.Run(ctx, line); err != nil {
			return fmt.Errorf("%s: %w: %s %s", line, err, out, errs)
		}
		return nil
	})
}

// TestKernelDatapathThroughRestartsAndPowerCut is the life of an installation:
// traffic, VLANs, restarts of each daemon, a power cut, and nothing left over.
func TestKernelDatapathThroughRestartsAndPowerCut(t *testing.T) {
	testx.Need(t, testx.VM)
	cable := vm.NewLink(t)
	s := carry(t, vm.Config{NICs: []machine.NIC{cable.NIC(), cable.NIC()}}, "cmd/mosbridge", "cmd/docker-mos")
	// What deploy/install does for this daemon; that it does it, other tests tell.
	s.sh("mkdir -p /usr/local/lib/docker/cli-plugins && cd /opt/mos && cp bin/mosbridge /usr/local/bin/ && cp bin/docker-mos /usr/local/lib/docker/cli-plugins/ && cp deploy/mosbridge.s* /etc/systemd/system/ && systemctl enable --now mosbridge.socket mosbridge.service")
	s.sh("docker network create -d mosbridge --ipam-driver mosbridge --ipv6 --subnet 10.9.0.0/24 --subnet fd00:9::/64 red")
	s.sh("docker network create -d mosbridge --ipam-driver mosbridge --subnet 10.8.0.0/24 blue")
	s.serve("--restart always", "--name web --network red --ip 10.9.0.21 --ip6 fd00:9::21 -p 8000:7000", "--name cli --network red --ip 10.9.0.22", "--name far --network blue")
	if dp := s.sh("ovs-vsctl get bridge mosbr0 datapath_type"); dp != "system" {
		t.Errorf("datapath is %s, this kernel has Open vSwitch", dp)
	}
	s.talks(t)
	if out := s.sh("docker exec far netcheck send -timeout 3s tcp 10.9.0.21:7000 10 || echo silent"); !strings.Contains(out, "silent") {
		t.Errorf("another network was reached: %s", out)
	}
	t.Run("vlans", s.vlans)
	t.Run("mosbridge-killed", func(t *testing.T) {
		lost(t, s.pinging("systemctl kill -s KILL mosbridge.service; sleep 2; systemctl start mosbridge.service"), 0)
		s.talks(t)
	})
	t.Run("switch-killed", func(t *testing.T) {
		// The kernel goes on with the flows it knows; the replay is awaited.
		lost(t, s.pinging("systemctl kill -s KILL ovs-vswitchd.service; sleep 3; systemctl start ovs-vswitchd.service openvswitch-switch.service"), 1)
		s.talks(t)
	})
	t.Run("database-killed", func(t *testing.T) {
		lost(t, s.pinging("systemctl kill -s KILL ovsdb-server.service; sleep 2; systemctl start openvswitch-switch.service"), 1)
		s.talks(t)
	})
	t.Run("docker-with-the-socket-only", func(t *testing.T) {
		s.sh("systemctl stop mosbridge.service && systemctl is-active mosbridge.socket")
		// Two networks would cost 30 s without a socket, of which dockerd tells.
		waits := s.sh("systemctl restart docker && journalctl -u docker -b _PID=$(systemctl show -P MainPID docker) | grep -F 'retrying in' || true")
		if waits != "" {
			t.Errorf("docker waited for the driver: %s", waits)
		}
		s.sh("systemctl is-active mosbridge.service")
		s.talks(t)
	})
	t.Run("power-cut", func(t *testing.T) {
		s.MustPowerCut(t)
		s.settle(3*time.Minute, "docker inspect -f '{{.State.Running}}' web cli far | grep -c true | grep -q 3")
		if ip := s.sh("docker inspect -f '{{.NetworkSettings.Networks.red.IPAddress}}' web"); ip != "10.9.0.21" {
			t.Errorf("web came back with %s", ip)
		}
		s.talks(t)
	})
	s.sh("docker rm -f web cli far && docker network rm red blue")
	s.settle(time.Minute, "docker mos audit")
	if out := s.sh("ip -o link | grep -c ': mos' || true"); out != "0" {
		t.Errorf("%s links of ours are left", out)
	}
}

// vlans joins eth1 by a cable to a neighbor that is not ours, the kernel's own
// VLANs on eth2: one VLAN talks with its like there, two do not.
func (s *system) vlans(t *testing.T) {
	s = s.in(t)
	s.sh(`docker cp web:/bin/netcheck /usr/local/bin/ && ip netns add peer && ip -n peer link set lo up && ip link set eth2 netns peer && ip -n peer link set eth2 up
for id in 100 200; do ip -n peer link add link eth2 name v$id type vlan id $id; ip -n peer link set v$id up; done
ip -n peer addr add 10.5.0.11/24 dev v100; ip -n peer addr add fd00:5::11/64 dev v100 nodad; ip -n peer addr add 10.6.0.11/24 dev v200
ip netns exec peer setsid netcheck serve :7000 >/tmp/peer.log 2>&1 </dev/null &`)
	s.sh("docker network create -d mosbridge --ipam-driver mosbridge --ipv6 --subnet 10.5.0.0/24 --subnet fd00:5::/64 -o mos.uplink=eth1 -o mos.vlan=100 v100")
	s.sh("docker network create -d mosbridge --ipam-driver mosbridge --subnet 10.6.0.0/24 -o mos.uplink=eth1 -o mos.vlan=200 v200")
	s.serve("", "--name aa --network v100 --ip 10.5.0.10 --ip6 fd00:5::10", "--name bb --network v200 --ip 10.6.0.10")
	for _, to := range []string{"tcp 10.5.0.11:7000", "udp 10.5.0.11:7000", "tcp [fd00:5::11]:7000"} {
		s.settle(time.Minute, "docker exec aa netcheck send "+to+" 1048576")
	}
	s.settle(time.Minute, "docker exec bb netcheck send tcp 10.6.0.11:7000 10 && ip netns exec peer netcheck send tcp 10.5.0.10:7000 1048576")
	for _, line := range []string{"docker exec aa ping -c 2 -W 2 10.6.0.11", "docker exec bb netcheck send -timeout 3s tcp 10.5.0.11:7000 10"} {
		if out, _, err := s.Run(t.Context(), line); err == nil {
			t.Errorf("%s crossed VLANs: %s", line, out)
		}
	}
	s.sh("docker rm -f aa bb && docker network rm v100 v200; kill $(ip netns pids peer); ip netns del peer")
}

// TestVLANAcrossHostsOnTheKernelDatapath: two hosts in one VLAN talk, in two
// they do not, through an uplink on each.
func TestVLANAcrossHostsOnTheKernelDatapath(t *testing.T) {
	long(t, "hosts")
	testx.Need(t, testx.VM)
	cable := vm.NewLink(t)
	hosts := []*system{
		install(t, vm.Config{MemoryMiB: 2048, NICs: []machine.NIC{cable.NIC()}}),
		install(t, vm.Config{MemoryMiB: 2048, NICs: []machine.NIC{cable.NIC()}}),
	}
	for i, s := range hosts {
		s.sh("docker network create -d mosbridge --ipam-driver mosbridge --ipv6 --subnet 10.5.0.0/24 --subnet fd00:5::/64 -o mos.uplink=eth1 -o mos.vlan=100 v100")
		s.sh("docker network create -d mosbridge --ipam-driver mosbridge --subnet 10.6.0.0/24 -o mos.uplink=eth1 -o mos.vlan=200 v200")
		s.sh(fmt.Sprintf("docker run -d --name aa --network v100 --ip 10.5.0.%d --ip6 fd00:5::%d mos-test:1 netcheck serve :7000", 10+i, 10+i))
		s.sh(fmt.Sprintf("docker run -d --name bb --network v200 --ip 10.6.0.%d mos-test:1 netcheck serve :7000", 10+i))
	}
	s := hosts[0]
	for _, to := range []string{"tcp 10.5.0.11:7000", "udp 10.5.0.11:7000", "tcp [fd00:5::11]:7000"} {
		s.settle(time.Minute, "docker exec aa netcheck send "+to+" 1048576")
	}
	for _, line := range []string{"docker exec aa ping -c 2 -W 2 10.6.0.11", "docker exec bb netcheck send -timeout 3s tcp 10.5.0.11:7000 10"} {
		if out, _, err := s.Run(t.Context(), line); err == nil {
			t.Errorf("%s crossed VLANs: %s", line, out)
		}
	}
	for _, s := range hosts {
		s.sh("docker rm -f aa bb && docker network rm v100 v200")
		s.settle(time.Minute, "docker mos audit")
	}
}

// serve starts containers that answer on port 7000, all at once.
func (s *system) serve(flags string, containers ...string) {
	s.t.Helper()
	var b strings.Builder
	for _, c := range containers {
		fmt.Fprintf(&b, "docker run -d %s %s mos-test:1 netcheck serve :7000 & pids=\"$pids $!\"; ", flags, c)
	}
	s.sh(b.String() + "for p in $pids; do wait $p || exit 1; done")
}

// talks checks TCP, UDP and IPv6 between containers and the published port.
func (s *system) talks(t *testing.T) {
	t.Helper()
	s = s.in(t)
	s.settle(time.Minute, "docker exec cli netcheck send tcp 10.9.0.21:7000 1048576")
	for _, line := range []string{
		"docker exec cli sh -c \"netcheck send udp 10.9.0.21:7000 1048576 && netcheck send tcp '[fd00:9::21]:7000' 1048576\"",
		"curl -sf --max-time 20 http://127.0.0.1:8000/ >/dev/null",
	} {
		if out, errs, err := s.Run(t.Context(), line); err != nil {
			t.Errorf("%s: %v: %s %s", line, err, out, errs)
		}
	}
}

// pinging runs a line while a container pings another ten times a second, until
// the flows are in again and some more, and returns what ping says.
//
// The two know each other's MAC for good. Otherwise the kernel would ask for it anew,
// 20 to 50 s after the last word of TCP, by a flow that its datapath forgot long ago;
// it gives a neighbor up after 3 s, and an emulated machine takes 15 s to start Open
// vSwitch again. 117 of 250 pings were lost that way.
func (s *system) pinging(line string) string {
	s.t.Helper()
	return s.sh(`docker inspect -f '{{.State.Pid}} {{.NetworkSettings.Networks.red.IPAddress}} {{.NetworkSettings.Networks.red.MacAddress}}' web cli >/tmp/two
{ read pid1 ip1 mac1; read pid2 ip2 mac2; } </tmp/two
nsenter -t $pid1 -n ip neigh replace $ip2 lladdr $mac2 dev eth0 nud permanent && nsenter -t $pid2 -n ip neigh replace $ip1 lladdr $mac1 dev eth0 nud permanent || exit 1
nsenter -t $pid2 -n busybox ping -i 0.1 $ip1 >/tmp/ping & ping=$!
until grep -q seq=5 /tmp/ping; do sleep 0.2; done
` + line + `
until ovs-ofctl dump-flows mosbr0 2>/dev/null | grep -q arp_spa=$ip1; do sleep 0.2; done
sleep 3
kill -INT $ping; wait $ping
# What follows must find the MAC by itself.
nsenter -t $pid1 -n ip neigh del $ip2 dev eth0; nsenter -t $pid2 -n ip neigh del $ip1 dev eth0
cat /tmp/ping`)
}

// lost reads what ping says of each answer and at its end, "150 packets transmitted,
// 149 packets received", and allows some lost. One under way at the end is not.
func lost(t *testing.T, out string, allowed int) {
	t.Helper()
	var sent, got int
	before, _, ok := strings.Cut(out, "packets transmitted")
	if !ok {
		t.Fatalf("ping said %q", out)
	}
	if _, err := fmt.Sscanf(out[strings.LastIndex(before, "\n")+1:], "%d packets transmitted, %d", &sent, &got); err != nil {
		t.Fatalf("ping said %q: %v", out, err)
	}
	if !strings.Contains(out, fmt.Sprintf("seq=%d ", sent-1)) {
		sent--
	}
	t.Logf("%d of %d pings answered", got, sent)
	if sent-got > allowed {
		t.Errorf("%d of %d pings lost, %d allowed:\n%s", sent-got, sent, allowed, out)
	}
}
