package firewall_test

import (
	"strings"
	"testing"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/mosbridge/firewall"
)

// engineRules is what an engine of each age puts into the filter table for its
// network on docker0, whose container publishes port 80 as 9090.
var engineRules = map[string]string{
	"engine20": `*filter
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
-A DOCKER-USER -j RETURN
COMMIT
`,
	"engine28": `*filter
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:DOCKER-BRIDGE - [0:0]
:DOCKER-CT - [0:0]
:DOCKER-FORWARD - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A DOCKER ! -i docker0 -o docker0 -j DROP
-A DOCKER-BRIDGE -o docker0 -j DOCKER
-A DOCKER-CT -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -j DOCKER-CT
-A DOCKER-FORWARD -j DOCKER-BRIDGE
-A DOCKER-FORWARD -i docker0 -j ACCEPT
COMMIT
`,
	"policy": "*filter\n:FORWARD DROP [0:0]\nCOMMIT\n",
}

func iptablesRig(t *testing.T, variant string) *rig {
	t.Helper()
	v4, v6 := "iptables-"+variant, "ip6tables-"+variant
	needProgram(t, v4)
	needProgram(t, v6)
	r := newRig(t, func(c *firewall.Config) { c.IPTables, c.IP6Tables = v4, v6 })
	if _, err := r.host.host().Run(t.Context(), xcmd(v4, "-S")); err != nil {
		t.Skipf("the kernel has no tables for %s: %v", v4, err)
	}
	serve(r)
	return r
}

func forEachIPTables(t *testing.T, f func(t *testing.T, variant, rules string)) {
	t.Helper()
	for _, variant := range []string{"nft", "legacy"} {
		for name, rules := range engineRules {
			t.Run(variant+"_"+name, func(t *testing.T) { f(t, variant, rules) })
		}
	}
}

func TestPassesBesideDockersRules(t *testing.T) {
	forEachIPTables(t, func(t *testing.T, variant, rules string) {
		t.Helper()
		r := iptablesRig(t, variant)
		for _, program := range []string{"iptables-", "ip6tables-"} {
			r.host.run(rules, program+variant+"-restore")
		}
		if got := r.a1.ask("tcp", "192.0.2.9:80", ""); got != "" {
			t.Fatalf("the policy lets %q pass", got)
		}
		r.apply(t, fullState())
		r.out.ip("route add 10.0.0.0/8 via 192.0.2.1")
		open := ""
		if !strings.Contains(rules, "docker0") {
			open = "dock" // nobody said what docker0 is
		}
		ask(t, []reach{
			{"to_the_outside", r.a1, "192.0.2.9:80", "out 192.0.2.1"},
			{"to_the_outside_v6", r.a1, "[2001:db8::9]:80", "out 2001:db8::1"},
			{"published", r.out, "192.0.2.1:8080", "a1 192.0.2.9"},
			{"published_v6", r.out, "[2001:db8::1]:8080", "a1 2001:db8::9"},
			{"hairpin", r.a2, "192.0.2.1:8080", "a1 10.1.0.1"},
			{"other_network_by_published_port", r.b1, "192.0.2.1:8080", "a1 10.1.0.1"},
			{"other_network", r.a1, "10.2.0.11:80", ""},
			{"from_outside_past_the_port", r.out, "10.1.0.11:80", ""},
		})
		if got := r.a1.ask("tcp", "172.17.0.2:80", ""); !strings.HasPrefix(got, open) || open == "" && got != "" {
			t.Errorf("into Docker's network: got answer %q, want %q", got, open)
		}
		r.apply(t, firewall.State{})
		if out := r.host.run("", "iptables-"+variant, "-S"); strings.Contains(out, "MOSBRIDGE") {
			t.Errorf("left behind:\n%s", out)
		}
	})
}

// TestRoutedNetworkIsReachedBesideDockersRules: no port is published here.
func TestRoutedNetworkIsReachedBesideDockersRules(t *testing.T) {
	r := iptablesRig(t, "nft")
	r.host.run(engineRules["engine20"], "iptables-nft-restore")
	s := state()
	s.Networks[1].NAT = false
	r.apply(t, s)
	r.out.ip("route add 10.0.0.0/8 via 192.0.2.1")
	ask(t, []reach{
		{"routed", r.out, "10.2.0.11:80", "b1 192.0.2.9"},
		{"translated", r.out, "10.1.0.11:80", ""},
	})
}

func TestPassageIsRepairedAfterARestartOfTheEngine(t *testing.T) {
	forEachIPTables(t, func(t *testing.T, variant, rules string) {
		t.Helper()
		r := iptablesRig(t, variant)
		iptables := "iptables-" + variant
		r.host.run(rules, iptables+"-restore")
		r.apply(t, fullState())
		r.host.run("", iptables, "-F")
		r.host.run(rules, iptables+"-restore", "--noflush")
		if missing := r.check(t, fullState()); len(missing) == 0 {
			t.Error("nothing is missing after a flush")
		}
		r.apply(t, fullState())
		if got := r.a1.ask("tcp", "192.0.2.9:80", ""); got != "out 192.0.2.1" {
			t.Errorf("got answer %q", got)
		}
	})
}

// TestUsersOwnDropsCountForUs: what an operator drops in Docker's chain for
// users must not be reached through our rules.
func TestUsersOwnDropsCountForUs(t *testing.T) {
	r := iptablesRig(t, "nft")
	r.host.run(engineRules["engine20"], "iptables-nft-restore")
	r.host.run("", "iptables-nft", "-I", "DOCKER-USER", "-s", "192.0.2.9", "-j", "DROP")
	r.apply(t, fullState())
	if got := r.out.ask("tcp", "192.0.2.1:8080", ""); got != "" {
		t.Errorf("got answer %q through a port whose client is dropped", got)
	}
	want := "-A DOCKER-USER -s 192.0.2.9/32 -j DROP\n-A DOCKER-USER -j MOSBRIDGE\n-A DOCKER-USER -j RETURN\n"
	if out := r.host.run("", "iptables-nft", "-S", "DOCKER-USER"); !strings.HasSuffix(out, want) {
		t.Errorf("got\n%swant\n%s", out, want)
	}
}

// TestANetworkOfDockersThatCameLaterIsLeftAlone: our chain follows its bridges.
func TestANetworkOfDockersThatCameLaterIsLeftAlone(t *testing.T) {
	r := iptablesRig(t, "nft")
	r.host.run(strings.ReplaceAll(engineRules["engine20"], "docker0", "br-1"), "iptables-nft-restore")
	r.apply(t, fullState())
	r.host.run("", "iptables-nft", "-I", "DOCKER-ISOLATION-STAGE-2", "-o", "docker0", "-j", "DROP")
	if missing := r.check(t, fullState()); len(missing) != 1 {
		t.Errorf("got %q, want the chain to be out of date", missing)
	}
	r.apply(t, fullState())
	if got := r.a1.ask("tcp", "172.17.0.2:80", ""); got != "" {
		t.Errorf("got answer %q of a network of Docker's", got)
	}
	testx.Golden(t, "passage", r.host.run("", "iptables-nft", "-S", "MOSBRIDGE"))
}
