package mosbridge

import (
	"strings"
	"testing"
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
