package firewall_test

import (
	"strings"
	"testing"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/internal/xexec"
	"github.com/mosdocker/mosdocker/mosbridge/firewall"
)

// arps says whether the host answers its neighbor's question for an address.
func (r *rig) arps(addr string) bool {
	_, err := r.out.host().Run(r.out.tb.Context(), xexec.Cmd{Argv: []string{"busybox", "arping", "-f", "-c", "2", "-w", "2", "-I", "eth0", "-s", "192.0.2.9", addr}})
	return err == nil
}

func TestHostIsDeafOnUplinks(t *testing.T) {
	r := newRig(t)
	serve(r)
	r.host.echo("tcp", "host", ":90")
	heard := func(want bool) {
		t.Helper()
		if got := r.arps("192.0.2.1"); got != want {
			t.Errorf("ARP for the host's address is answered: %v, want %v", got, want)
		}
		if got := r.arps("10.1.0.1"); got != want {
			t.Errorf("ARP for a gateway's address is answered: %v, want %v", got, want)
		}
		// Past ARP: the neighbor knows the MAC.
		_, mac, _ := strings.Cut(r.host.run("", "ip", "-o", "link", "show", "eth0"), "link/ether ")
		mac = strings.Fields(mac)[0]
		r.out.ip("neigh replace 192.0.2.1 lladdr " + mac + " dev eth0 nud permanent")
		r.out.ip("neigh replace 2001:db8::1 lladdr " + mac + " dev eth0 nud permanent")
		for _, to := range []string{"192.0.2.1:90", "[2001:db8::1]:90"} {
			if got := r.out.ask("tcp", to, ""); (got != "") != want {
				t.Errorf("the host answers on %s: %q, want %v", to, got, want)
			}
		}
		r.out.ip("neigh del 192.0.2.1 dev eth0")
		r.out.ip("neigh del 2001:db8::1 dev eth0")
	}
	heard(true)
	only := firewall.State{Uplinks: []string{"eth0", "eth7", "eth0"}} // no gateway on this host
	r.apply(t, only)
	heard(false)
	if missing := r.check(t, only); len(missing) != 0 {
		t.Errorf("right after it is applied: %q", missing)
	}
	r.host.run("", "nft", "delete", "table", "arp", "mosbridge")
	if missing := r.check(t, only); len(missing) != 1 {
		t.Errorf("without the rules for arp: %q, want one fault", missing)
	}
	r.apply(t, only)
	heard(false)

	both := fullState()
	both.Uplinks = only.Uplinks
	r.apply(t, both)
	heard(false)
	if got := r.a2.ask("tcp", "10.1.0.11:80", ""); got != "a1 10.1.0.12" {
		t.Errorf("within a network: got answer %q", got)
	}
	r.apply(t, fullState())
	heard(true)
	if left := r.host.run("", "nft", "list", "tables"); strings.Contains(left, "arp") {
		t.Errorf("left behind: %s", left)
	}
}

// TestRulesOfAnEarlierLifeGo: who starts does not know what uplinks there were.
func TestRulesOfAnEarlierLifeGo(t *testing.T) {
	ns, fw := lone(t, "")
	if err := fw.Apply(t.Context(), firewall.State{Uplinks: []string{"eth0"}}); err != nil {
		t.Fatal(err)
	}
	again := firewall.New(firewall.Config{Runner: ns.host(), Log: testx.Logger(t), IPTables: "no-iptables", IP6Tables: "no-ip6tables"})
	if err := again.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := ns.run("", "nft", "list", "tables"); left != "" {
		t.Errorf("left behind: %s", left)
	}
}
