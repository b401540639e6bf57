package mosbridge

import (
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/engine/enginetest"
)

func TestDoctorFindsRejectionsOfOthers(t *testing.T) {
	h := newHost(t)
	n := h.network("a", "10.9.0.0/24", "10.9.0.1", nil)
	ask := func() (ok bool, text string) {
		t.Helper()
		for _, c := range h.doctor(t.Context()).Checks {
			if strings.Contains(c.Name, "rejects") {
				return c.OK, c.Detail + " " + c.Hint
			}
		}
		t.Fatal("the doctor does not look")
		return false, ""
	}
	if ok, text := ask(); !ok {
		t.Errorf("found %s where there is nothing", text)
	}
	sh(t, `nft 'table inet firewalld { chain filter_FORWARD { type filter hook forward priority filter + 10; policy accept; ct status dnat accept; reject with icmpx admin-prohibited; }; }'`)
	t.Cleanup(func() { sh(t, "nft delete table inet firewalld") })
	if ok, text := ask(); ok || !strings.Contains(text, n.Network.ID.GatewayName()) || !strings.Contains(text, "firewall-cmd") {
		t.Errorf("got %v, %q, want the gateway's name and what to do", ok, text)
	}
}

func TestAuditSaysThatItCouldNotLook(t *testing.T) {
	h := newHost(t)
	h.network("a", "10.9.0.0/24", "10.9.0.1", nil)
	h.docker.PutContainer(enginetest.Container{ID: hexID("1"), Name: "c", State: "exited"})
	h.ovs.KillSwitch()
	fs := h.audit(t.Context()).Findings
	if len(fs) != 1 || fs[0].Object != "open vswitch" || !strings.Contains(fs[0].Detail, "nothing on this host is compared") {
		t.Errorf("got %+v, want one finding that says what was not looked at", fs)
	}
	if len(fs) > 0 && strings.Contains(fs[0].Detail, "ovs-ofctl") {
		t.Errorf("got %q, want no command line", fs[0].Detail)
	}
}

func TestBridgeNamedAsALinkIsRefused(t *testing.T) {
	h := newHost(t)
	sh(t, "ip link add eth8 type veth peer name wire8")
	t.Cleanup(func() { sh(t, "ip link del eth8") })
	err := h.createNetwork(t.Context(), request("a", "10.9.0.0/24", "10.9.0.1", map[string]string{"mos.bridge": "eth8"}))
	if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "eth8 is the name of a link of this host (veth)") {
		t.Errorf("got %v, want a refusal that says what eth8 is", err)
	}
	// A bridge's own link is none of another kind, whoever knows of the bridge.
	h.network("a", "10.9.0.0/24", "10.9.0.1", nil)
	h.network("b", "10.10.0.0/24", "10.10.0.1", nil)
	d := h.open(t.TempDir())
	if err := d.createNetwork(t.Context(), request("c", "10.11.0.0/24", "10.11.0.1", nil)); err != nil {
		t.Error(err)
	}
	h.ovs.Vsctl("add-br", "theirs", "--", "set", "bridge", "theirs", "datapath_type=netdev")
	err = h.createNetwork(t.Context(), request("e", "10.12.0.0/24", "10.12.0.1", map[string]string{"mos.bridge": "theirs"}))
	if err == nil || !strings.Contains(err.Error(), "belongs to somebody else") {
		t.Errorf("got %v, want a refusal that says whose the bridge is", err)
	}
}
