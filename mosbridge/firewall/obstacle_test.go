package firewall_test

import (
	"strings"
	"testing"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/mosbridge/firewall"
)

// firewalld is the skeleton of what firewalld 1.3 writes.
const firewalld = `table inet firewalld {
	chain filter_FORWARD {
		type filter hook forward priority filter + 10; policy accept;
		ct state { established, related } accept
		ct status dnat accept
		iifname "lo" accept
		ct state invalid drop
		jump filter_FORWARD_ZONES
		reject with icmpx admin-prohibited
	}
	chain filter_FORWARD_ZONES {
		ZONES
	}
}
`

// lone is a firewall in a namespace with nothing else.
func lone(t *testing.T, iptables string) (netns, *firewall.Firewall) {
	t.Helper()
	testx.Need(t, testx.Root, testx.NFT)
	ns := newNetNS(t)
	c := firewall.Config{Runner: ns.host(), Log: testx.Logger(t), IPTables: "no-iptables", IP6Tables: "no-ip6tables"}
	if iptables != "" {
		needProgram(t, iptables)
		c.IPTables = iptables
	}
	fw := firewall.New(c)
	if err := fw.Apply(t.Context(), state()); err != nil {
		t.Fatal(err)
	}
	return ns, fw
}

// stops checks what is found to stop our gateways, "" for nothing.
func stops(t *testing.T, fw *firewall.Firewall, want string) {
	t.Helper()
	got, err := fw.Obstacles(t.Context(), state())
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(got, "; "); want == "" && text != "" || !strings.Contains(text, want) {
		t.Errorf("got %q, want %q", text, want)
	}
	if none, err := fw.Obstacles(t.Context(), firewall.State{}); err != nil || len(none) > 0 {
		t.Errorf("with no network of ours: got %v, %v", none, err)
	}
}

func zones(rule string) string { return strings.Replace(firewalld, "ZONES\n\t}", rule+"\n\t}", 1) }

func TestRejectionsOfOthersAreFound(t *testing.T) {
	both := `iifname { "` + gwA + `", "` + gwB + `" } accept`
	for _, c := range []struct{ name, rules, want string }{
		{"nobody", "", ""},
		{"firewalld", zones(`iifname "eth0" accept`), "chain filter_FORWARD of nft table inet firewalld rejects by a rule what it does not know, and names " + gwA},
		{"firewalld_that_trusts_one", zones(`iifname "` + gwA + `" accept`), "and names " + gwB + " nowhere"},
		{"firewalld_that_trusts", zones(both), ""},
		{"wildcard", zones(`iifname "mosg*" accept`), ""},
		{"policy", "table inet site { chain f { type filter hook forward priority 5; policy drop; ct state established accept; }; }", "chain f of nft table inet site rejects by its policy"},
		{"conditional", `table inet site { chain f { type filter hook forward priority 5; policy accept; iifname "eth5" drop; }; }`, ""},
		{"input_only", "table inet site { chain f { type filter hook input priority 5; policy drop; }; }", ""},
		{"counted_and_logged", `table ip site { chain f { type filter hook forward priority 5; policy accept; counter log prefix "x" drop; }; }`, "chain f of nft table ip site rejects by a rule"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ns, fw := lone(t, "")
			if c.rules != "" {
				ns.run(c.rules, "nft", "-f", "-")
			}
			stops(t, fw, c.want)
		})
	}
}

func TestRejectionsBeforeOurPassageAreFound(t *testing.T) {
	for _, c := range []struct{ name, rules, extra, want string }{
		{"docker", engineRules["engine20"], "", ""},
		{"policy", engineRules["policy"], "", ""},
		{"docker_below_a_rejection", engineRules["engine28"], "-I FORWARD 1 -j REJECT", `rule "-j REJECT --reject-with icmp-port-unreachable" of chain FORWARD`},
		{"docker_above_a_rejection", engineRules["engine28"], "-A FORWARD -j REJECT", ""},
		{"no_docker", "*filter\nCOMMIT\n", "-A FORWARD -j DROP", `rule "-j DROP" of chain FORWARD`},
		{"no_docker_conditional", "*filter\nCOMMIT\n", "-A FORWARD -i eth5 -j DROP", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			ns, fw := lone(t, "iptables-nft")
			ns.run(c.rules, "iptables-nft-restore")
			if c.extra != "" {
				ns.run("", append([]string{"iptables-nft"}, strings.Fields(c.extra)...)...)
			}
			if _, err := fw.Check(t.Context(), state()); err != nil { // which finds that the engine started
				t.Fatal(err)
			}
			if err := fw.Apply(t.Context(), state()); err != nil {
				t.Fatal(err)
			}
			stops(t, fw, c.want)
		})
	}
}

// TestWhatIsFoundStopsTraffic: the finding is true, and so is the cure.
func TestWhatIsFoundStopsTraffic(t *testing.T) {
	r := newRig(t)
	serve(r)
	r.apply(t, state())
	const out = "192.0.2.9:80"
	if got := r.a1.ask("tcp", out, ""); got != "out 192.0.2.1" {
		t.Fatalf("got answer %q before there is a rejection", got)
	}
	r.host.run(zones(`iifname "eth0" accept`), "nft", "-f", "-")
	if got := r.a1.ask("tcp", out, ""); got != "" {
		t.Errorf("got answer %q past a rejection", got)
	}
	r.host.run("flush chain inet firewalld filter_FORWARD_ZONES\nadd rule inet firewalld filter_FORWARD_ZONES iifname mosg* accept\n", "nft", "-f", "-")
	if got := r.a1.ask("tcp", out, ""); got != "out 192.0.2.1" {
		t.Errorf("got answer %q with the gateways accepted", got)
	}
	stops(t, r.fw, "")
}
