package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

func eventually(t *testing.T, f func() error) {
	t.Helper()
	testx.Eventually(t, 20*time.Second, f)
}

// TestVLANsAcrossHosts: two hosts in one VLAN talk, in two they do not, and
// the gateway of a VLAN may be out there.
func TestVLANsAcrossHosts(t *testing.T) {
	l := lab.New(t, rig.Config{Hosts: 3})
	h1, h2 := l.Hosts[0], l.Hosts[1]
	for i, h := range l.Hosts[:2] {
		last := []string{"10.5.0.10", "10.5.0.20"}[i]
		six := []string{"fd00:5::10", "fd00:5::20"}[i]
		h.Network("v100", "--ipv6", "--subnet", "10.5.0.0/24", "--subnet", "fd00:5::/64", "-o", "mos.uplink=up0", "-o", "mos.vlan=100")
		h.Network("v200", "--subnet", "10.6.0.0/24", "-o", "mos.uplink=up0", "-o", "mos.vlan=200", "-o", "mos.bridge=mosbr0")
		h.Serve("aa", "v100", "--ip", last, "--ip6", six)
		h.Serve("bb", "v200", "--ip", "10.6.0."+last[len(last)-2:])
	}
	h1.Talks("aa", "10.5.0.20")
	h2.Talks("aa", "10.5.0.10")
	h1.Talks("aa", "fd00:5::20")
	h1.Talks("bb", "10.6.0.20")
	h1.Silent("aa", "10.6.0.20")
	h2.Silent("bb", "10.5.0.10")

	// A router out there holds the gateway address of VLAN 100.
	router := l.Hosts[2]
	for _, c := range []string{
		"ovs-vsctl add-br router -- set bridge router datapath_type=netdev -- add-port router up0",
		"ovs-vsctl add-port router gw tag=100 -- set interface gw type=internal",
		"ip addr add 10.5.0.1/24 dev gw",
		"ip addr add 192.0.2.1/32 dev gw",
		"ip link set gw up",
	} {
		if _, err := router.Exec(t.Context(), strings.Fields(c)...); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := h1.Docker("exec", "aa", "ping", "-c1", "-W3", "192.0.2.1"); err != nil {
		t.Errorf("an address behind the external gateway: %v %s", err, out)
	}
	h1.Refused("mos.gateway=external", "run", "--rm", "--network", "v100", "-p", "8000:7000", rig.Image, "true")
	h1.Refused("VLAN 100", "network", "create", "-d", "mosbridge", "--ipam-driver", "mosbridge", "--subnet", "10.55.0.0/24", "-o", "mos.uplink=up0", "-o", "mos.vlan=100", "twice")
}
