package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// TestBadInputIsRefusedAndLeavesNothing: each refusal says what to do, and the
// audit at the lab's end finds nothing of it.
func TestBadInputIsRefusedAndLeavesNothing(t *testing.T) {
	l := lab.New(t, rig.Config{Outside: true})
	h := l.Hosts[0]
	h.Network("red", "--subnet", "10.9.0.0/24")
	h.Serve("holder", "red", "--ip", "10.9.0.21")
	eventually(t, func() error { // the daemon learns names beside the calls
		if e, err := h.API.Endpoint(t.Context(), "holder"); err != nil || e.Name != "holder" {
			return fmt.Errorf("name %q, %w", e.Name, err)
		}
		return nil
	})
	create := []string{"network", "create", "-d", "mosbridge", "--ipam-driver", "mosbridge"}
	for _, c := range []struct{ want, args string }{
		{"mosbridge takes mos.bridge", "-o mos.vlna=1 --subnet 10.1.0.0/24 x"},
		{"0 to 4094", "-o mos.vlan=4095 --subnet 10.1.0.0/24 x"},
		{"not available yet", "-o mos.mode=vpc --subnet 10.1.0.0/24 x"},
		{"not available yet", "-o mos.secgroups=web --subnet 10.1.0.0/24 x"},
		{"verlap", "--subnet 10.9.0.128/25 x"},
		{"small", "--subnet 10.1.0.0/31 x"},
		{"nope0", "-o mos.uplink=nope0 --subnet 10.1.0.0/24 x"},
		{"out0", "-o mos.uplink=out0 --subnet 10.1.0.0/24 x"},
		{"letters", "-o mos.bridge=a;b --subnet 10.1.0.0/24 x"},
		{"576", "-o mos.mtu=12 --subnet 10.1.0.0/24 x"},
		{"100mbit", "-o mos.rate.in=fast --subnet 10.1.0.0/24 x"},
	} {
		h.Refused(c.want, append(create, strings.Fields(c.args)...)...)
	}
	if _, err := h.Exec(t.Context(), "ovs-vsctl", "add-br", "theirs", "--", "set", "bridge", "theirs", "datapath_type=netdev"); err != nil {
		t.Fatal(err)
	}
	h.Refused("theirs", append(create, "-o", "mos.bridge=theirs", "--subnet", "10.1.0.0/24", "x")...)
	run := []string{"run", "--rm", "--network"}
	h.Refused("holder", append(run, "red", "--ip", "10.9.0.21", rig.Image, "true")...)
	h.Refused("gateway", append(run, "red", "--ip", "10.9.0.1", rig.Image, "true")...)
	if out := h.D("network", "ls", "-q", "-f", "name=^x$"); out != "" {
		t.Errorf("a refused network exists: %s", out)
	}
	h.Clean()

	if err := h.Stop(rig.Vswitchd); err != nil {
		t.Fatal(err)
	}
	h.Refused("start openvswitch-switch", append(run, "red", rig.Image, "true")...)
	h.Refused("start openvswitch-switch", append(create, "--subnet", "10.1.0.0/24", "x")...)
	if err := h.Start(rig.Vswitchd); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error { _, err := h.Docker(append(run, "red", rig.Image, "true")...); return err })
	if _, err := h.Exec(t.Context(), "ovs-vsctl", "del-br", "theirs"); err != nil {
		t.Fatal(err)
	}
}
