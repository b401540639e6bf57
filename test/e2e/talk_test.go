package e2e

import (
	"os"
	"testing"

	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

func TestMain(m *testing.M) {
	code := m.Run()
	lab.Remove()
	os.Exit(code)
}

// TestContainersTalkWithinANetworkOnly is the first promise: who may talk
// does, by ICMP, TCP and UDP, IPv4 and IPv6; who may not, does not.
func TestContainersTalkWithinANetworkOnly(t *testing.T) {
	for _, engine := range rig.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			l := lab.New(t, rig.Config{Engine: engine, Outside: true})
			h := l.Hosts[0]
			h.Network("red", "--ipv6", "--subnet", "10.9.0.0/24", "--subnet", "fd00:9::/64")
			h.Network("blue", "--ipv6", "--subnet", "10.8.0.0/24", "--subnet", "fd00:8::/64")
			h.Serve("r1", "red", "--ip", "10.9.0.21", "--ip6", "fd00:9::21", "--mac-address", "02:42:0a:09:00:15")
			h.Serve("r2", "red")
			h.Serve("b1", "blue", "--ip", "10.8.0.21", "--ip6", "fd00:8::21")

			h.Talks("r2", "10.9.0.21")
			h.Talks("r2", "fd00:9::21")
			h.Talks("r1", h.IP("r2", "red"))
			h.Silent("r2", "10.8.0.21")
			h.Silent("r2", "fd00:8::21")
			if got := h.D("exec", "r1", "cat", "/sys/class/net/eth0/address"); got != "02:42:0a:09:00:15" {
				t.Errorf("MAC of r1 is %s, asked for 02:42:0a:09:00:15", got)
			}

			h.D("network", "connect", "blue", "r2")
			h.Talks("r2", "10.8.0.21")
			h.Talks("r2", "10.9.0.21")
			h.D("network", "disconnect", "blue", "r2")
			h.Silent("r2", "10.8.0.21")
		})
	}
}
