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

// bring is a VM with all that install needs, not installed yet.
func bring(t *testing.T, cfg vm.Config) *system {
	t.Helper()
	testx.Need(t, testx.VM)
	s := &system{vm.Start(t, cfg), t}
	dir := t.TempDir()
	for _, argv := range [][]string{
		{"go", "build", "-ldflags=-s -w", "-o", dir + "/bin/", module + "/cmd/mosbridge", module + "/cmd/mos-lvm", module + "/cmd/mos-authz", module + "/cmd/docker-mos", module + "/cmd/mosd", module + "/cmd/mos-scheduler", module + "/test/e2evm/volumecheck"},
		{"cp", "-r", "../../deploy", dir + "/deploy"},
		{"tar", "-C", dir, "-czf", dir + "/mos.tar.gz", "bin", "deploy"},
	} {
		cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", argv, err, out)
		}
	}
	tar, err := image.Tar(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.MustCopy(t, filepath.Join(dir, "mos.tar.gz"), "/root/mos.tar.gz")
	s.MustCopy(t, tar, "/root/image.tar")
	s.sh("mkdir -p /opt/mos && tar -C /opt/mos -xzf /root/mos.tar.gz && docker load -q -i /root/image.tar")
	return s
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
// traffic, restarts of each daemon, a power cut, and nothing left over.
func TestKernelDatapathThroughRestartsAndPowerCut(t *testing.T) {
	s := install(t, vm.Config{})
	s.sh("docker network create -d mosbridge --ipam-driver mosbridge --ipv6 --subnet 10.9.0.0/24 --subnet fd00:9::/64 red")
	s.sh("docker network create -d mosbridge --ipam-driver mosbridge --subnet 10.8.0.0/24 blue")
	for _, c := range []string{
		"--name web --network red --ip 10.9.0.21 --ip6 fd00:9::21 -p 8000:7000",
		"--name cli --network red",
		"--name far --network blue",
	} {
		s.sh("docker run -d --restart always " + c + " mos-test:1 netcheck serve :7000")
	}
	if dp := s.sh("ovs-vsctl get bridge mosbr0 datapath_type"); dp != "system" {
		t.Errorf("datapath is %s, this kernel has Open vSwitch", dp)
	}
	s.talks(t)
	if out := s.sh("docker exec far netcheck send -timeout 3s tcp 10.9.0.21:7000 10 || echo silent"); !strings.Contains(out, "silent") {
		t.Errorf("another network was reached: %s", out)
	}

	t.Run("mosbridge-killed", func(t *testing.T) {
		out := s.pinging("systemctl kill -s KILL mosbridge.service")
		lost(t, out, 0)
		s.talks(t)
	})
	t.Run("switch-killed", func(t *testing.T) {
		// The kernel goes on with the flows it knows; the replay is awaited.
		out := s.pinging("systemctl kill -s KILL ovs-vswitchd.service; sleep 3; systemctl start ovs-vswitchd.service openvswitch-switch.service")
		lost(t, out, 1)
		s.talks(t)
	})
	t.Run("database-killed", func(t *testing.T) {
		out := s.pinging("systemctl kill -s KILL ovsdb-server.service; sleep 2; systemctl start openvswitch-switch.service")
		lost(t, out, 1)
		s.talks(t)
	})
	t.Run("docker-with-the-socket-only", func(t *testing.T) {
		normal := s.took("systemctl restart docker")
		s.sh("systemctl stop mosbridge.service && systemctl is-active mosbridge.socket")
		late := s.took("systemctl restart docker")
		t.Logf("docker restarts in %v with the driver running, in %v when its socket starts it", normal, late)
		if late > normal+normal/2+10*time.Second { // two networks would cost 30 s without a socket
			t.Error("docker waited for the driver")
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

// TestVLANAcrossHostsOnTheKernelDatapath: two hosts in one VLAN talk, in two
// they do not, through an uplink on each.
func TestVLANAcrossHostsOnTheKernelDatapath(t *testing.T) {
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

// talks checks TCP, UDP and IPv6 between containers and the published port.
func (s *system) talks(t *testing.T) {
	t.Helper()
	s.settle(time.Minute, "docker exec cli netcheck send tcp 10.9.0.21:7000 1048576")
	for _, line := range []string{
		"docker exec cli netcheck send udp 10.9.0.21:7000 1048576",
		"docker exec cli netcheck send tcp '[fd00:9::21]:7000' 1048576",
		"docker exec far true && python3 -c 1 2>/dev/null; curl -sf --max-time 20 http://127.0.0.1:8000/ >/dev/null",
	} {
		if out, errs, err := s.Run(t.Context(), line); err != nil {
			t.Errorf("%s: %v: %s %s", line, err, out, errs)
		}
	}
}

// pinging runs a line while a container pings another ten times a second, and
// returns what ping says.
func (s *system) pinging(line string) string {
	return s.sh("docker exec cli ping -i 0.1 -c 250 10.9.0.21 >/tmp/ping & for i in $(seq 100); do grep -q seq=5 /tmp/ping && break; sleep 0.2; done; " + line + "; wait; tail -3 /tmp/ping")
}

// lost reads "150 packets transmitted, 149 packets received" and allows some.
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
	t.Logf("%d of %d pings answered", got, sent)
	if sent-got > allowed {
		t.Errorf("%d of %d pings lost, %d allowed", sent-got, sent, allowed)
	}
}
