package e2e

import (
	"strings"
	"testing"

	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// TestForgedFramesDoNotLeaveTheirPort sends frames with forged addresses from
// a container with every right that Docker gives, and counts what arrives.
func TestForgedFramesDoNotLeaveTheirPort(t *testing.T) {
	l := lab.New(t, rig.Config{})
	h := l.Hosts[0]
	h.Network("red", "--ipv6", "--subnet", "10.9.0.0/24", "--subnet", "fd00:9::/64")
	h.Serve("evil", "red", "--ip", "10.9.0.66", "--ip6", "fd00:9::66", "--cap-add", "NET_RAW")
	h.Serve("good", "red", "--ip", "10.9.0.21", "--ip6", "fd00:9::21")
	h.Talks("evil", "10.9.0.21")
	h.Talks("evil", "fd00:9::21")
	mac := h.D("exec", "good", "cat", "/sys/class/net/eth0/address")

	received := func() string { return h.D("exec", "good", "cat", "/sys/class/net/eth0/statistics/rx_packets") }
	for _, c := range []struct {
		name string
		args []string
		pass bool
	}{
		{"honest", []string{"echo", "eth0", "dst=10.9.0.21"}, true},
		{"source-mac", []string{"echo", "eth0", "dst=10.9.0.21", "mac=02:00:00:00:00:99"}, false},
		{"gateway-ip", []string{"echo", "eth0", "dst=10.9.0.21", "src=10.9.0.1"}, false},
		{"other-ip", []string{"echo", "eth0", "dst=10.9.0.21", "src=10.9.0.77"}, false},
		{"other-ip6", []string{"echo", "eth0", "dst=fd00:9::21", "src=fd00:9::77"}, false},
		{"arp-gateway", []string{"arp", "eth0", "ip=10.9.0.1", "dst=10.9.0.21"}, false},
		{"arp-other-mac", []string{"arp", "eth0", "ip=10.9.0.66", "dst=10.9.0.21", "claimmac=02:00:00:00:00:99"}, false},
		{"na-gateway", []string{"na", "eth0", "ip=fd00:9::1", "dst=fd00:9::21"}, false},
		{"na-other-mac", []string{"na", "eth0", "ip=fd00:9::66", "dst=fd00:9::21", "claimmac=02:00:00:00:00:99"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := received()
			h.D(append([]string{"exec", "evil", "netcheck", "spoof", "-n", "20"}, append(c.args, "dstmac="+mac)...)...)
			if got := count(received()) - count(before); c.pass && got < 20 || !c.pass && got > 5 {
				t.Errorf("%d of 20 frames arrived, honest frames: %v", got, c.pass)
			}
		})
	}
	if out, err := h.Exec(t.Context(), "curl", "-s", "--unix-socket", "/run/mos/mosbridge.sock", "http://x/metrics"); err == nil && !strings.Contains(out, "mos_bridge_dropped_packets") {
		t.Error("the drops are not in the metrics")
	}
}

func count(s string) (n int) {
	for _, r := range s {
		n = 10*n + int(r-'0')
	}
	return n
}
