package e2evm

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/test/vm"
)

// boot is a boot in good order: from the start of Docker's unit until it serves, and until
// the containers that restart run; and the latter from the kernel's start.
type boot struct{ docker, containers, whole time.Duration }

func (s *system) boot(containers ...string) (b boot) {
	s.t.Helper()
	s.MustReboot(s.t)
	names := strings.Join(containers, " ")
	s.settle(3*time.Minute, "systemctl is-active docker && [ $(docker inspect -f '{{.State.Running}}' "+names+" | grep -c true) = "+strconv.Itoa(len(containers))+" ]")
	read := func(line, unit string) time.Duration {
		d, err := time.ParseDuration(s.sh(line) + unit)
		if err != nil {
			s.t.Fatal(err)
		}
		return d
	}
	begin := read("systemctl show --value -p InactiveExitTimestampMonotonic docker.service", "us")
	b.docker = read("systemctl show --value -p ActiveEnterTimestampMonotonic docker.service", "us") - begin
	for _, c := range containers {
		// When its first process began, in hundredths of a second from the kernel's start.
		b.whole = max(b.whole, 10*read("cut -d' ' -f22 /proc/$(docker inspect -f '{{.State.Pid}}' "+c+")/stat", "ms"))
	}
	b.containers = b.whole - begin
	return b
}

// TestBootWithAndWithoutTheBundle: containers with a restart policy come up on mosbridge
// and mos-lvm as soon as on Docker's own network and driver. MOS_ROUNDS is the number of
// boots of each kind.
func TestBootWithAndWithoutTheBundle(t *testing.T) {
	long(t, "hosts")
	s := bring(t, vm.Config{MemoryMiB: 2048})
	rounds := number(t, "MOS_ROUNDS", 3)
	serve := func(name, on string) {
		s.sh("for i in 1 2; do docker run -d --name " + name + "$i --restart always --network " + name + " -v " + name + ":/data mos-test:1 netcheck serve :7000; done && sync")
		t.Log(on)
	}
	var without, with []boot
	for range rounds {
		s.sh("docker network create plain && docker volume create plain")
		serve("plain", "without the bundle")
		without = append(without, s.boot("plain1", "plain2"))
		s.sh("docker rm -f plain1 plain2 && docker network rm plain && docker volume rm plain")

		s.sh("/opt/mos/deploy/install")
		// A switch that has just started is slow to answer on a busy machine.
		s.settle(time.Minute, "docker network create -d mosbridge --ipam-driver mosbridge --subnet 10.9.0.0/24 ours")
		s.sh("docker volume create -d mos-lvm -o size=64m ours")
		serve("ours", "with the bundle")
		with = append(with, s.boot("ours1", "ours2"))
		s.sh("systemctl is-active mosd " + sockets)
		s.sh("docker exec ours1 netcheck send tcp $(docker inspect -f '{{.NetworkSettings.Networks.ours.IPAddress}}' ours2):7000 1024 && docker exec ours1 touch /data/file && docker exec ours2 ls /data/file")
		s.sh("docker rm -f ours1 ours2 && docker network rm ours && docker volume rm ours && docker mos volume trash purge --force ours")
		s.settle(time.Minute, "docker mos audit")
		s.sh("/opt/mos/deploy/install --remove")
	}
	for _, m := range []struct {
		what string
		of   func(boot) time.Duration
		more time.Duration // that is no delay: the boots of one kind differ by less
	}{
		{"until Docker serves, from its start", func(b boot) time.Duration { return b.docker }, 5 * time.Second},
		{"until the containers run, from Docker's start", func(b boot) time.Duration { return b.containers }, 5 * time.Second},
		{"until the containers run, from the kernel's start", func(b boot) time.Duration { return b.whole }, 15 * time.Second},
	} {
		a, b := values(without, m.of), values(with, m.of)
		is, was := b[len(b)/2], a[len(a)/2]
		t.Logf("boots: %s: %v with the bundle %v, %v without %v, ratio %.2f", m.what, is, b, was, a, float64(is)/float64(was))
		// A driver that dockerd has to wait for costs 15 s for a network and as much for a volume.
		if is > was+was/2+m.more {
			t.Errorf("%s: the bundle delays it", m.what)
		}
	}
}

// values are the times of boots in order.
func values(of []boot, f func(boot) time.Duration) (out []time.Duration) {
	for _, b := range of {
		out = append(out, f(b).Round(10*time.Millisecond))
	}
	slices.Sort(out)
	return out
}
