package mosbridge

import (
	"os/exec"
	"testing"

	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// TestOutsideReachesContainersAndNotTheHostByAnUplink: with the userspace
// datapath the kernel hears what comes in by an uplink, too.
func TestOutsideReachesContainersAndNotTheHostByAnUplink(t *testing.T) {
	h := newHost(t)
	sh(t, `ip netns add mosoutside && ip link add eth9 up type veth peer name wire9 netns mosoutside &&
		ip -n mosoutside addr add 10.9.0.99/24 dev wire9 && ip -n mosoutside link set wire9 up && ip addr add 10.9.0.5/32 dev lo && ip route add 10.9.0.99/32 dev eth9 src 10.9.0.5`)
	t.Cleanup(func() { sh(t, "ip addr del 10.9.0.5/32 dev lo; ip netns del mosoutside") })
	outside := func(argv ...string) bool {
		return exec.CommandContext(t.Context(), "ip", append([]string{"netns", "exec", "mosoutside", "busybox"}, argv...)...).Run() == nil
	}
	heard := func(want bool) {
		t.Helper()
		if got := outside("arping", "-f", "-c", "2", "-w", "2", "-I", "wire9", "10.9.0.5"); got != want {
			t.Errorf("ARP for the host's own address is answered: %v, want %v", got, want)
		}
		mac := sh(t, "cat /sys/class/net/eth9/address")
		sh(t, "ip -n mosoutside neigh replace 10.9.0.5 dev wire9 nud permanent lladdr "+mac)
		if got := outside("ping", "-A", "-c", "2", "-w", "2", "10.9.0.5"); got != want {
			t.Errorf("a ping of the host's own address is answered: %v, want %v", got, want)
		}
	}
	heard(true)
	n := h.network("a", "10.9.0.0/24", "10.9.0.1", map[string]string{"mos.uplink": "eth9"})
	c := h.run(n, "1", "10.9.0.21")
	heard(false)
	if !c.reaches("10.9.0.99") || !outside("ping", "-A", "-c", "2", "-w", "3", "10.9.0.21") {
		t.Error("the container and the outside do not reach each other")
	}
	if !h.reconcile(t.Context()) {
		t.Error("there is something to repair")
	}
	if p, err := h.plan(t.Context()); err != nil || len(p) != 0 {
		t.Errorf("a repair would do %v (%v)", p, err)
	}
	if err := h.deleteNetwork(t.Context(), spec.NetworkID(hexID("a"))); err != nil {
		t.Fatal(err)
	}
	heard(true) // the interface is the host's own again
}
