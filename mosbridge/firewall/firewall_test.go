package firewall_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/mosbridge/firewall"
	"github.com/mosdocker/mosdocker/mosbridge/hostport"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// reach is one question of who may reach whom; want "" is no answer.
type reach struct {
	name string
	from netns
	to   string
	want string
}

func ask(t *testing.T, questions []reach) {
	t.Helper()
	// The group ends with its parallel parts, before the next change.
	t.Run("ask", func(t *testing.T) {
		for _, q := range questions {
			for _, proto := range []string{"tcp", "udp"} {
				t.Run(q.name+"_"+proto, func(t *testing.T) {
					t.Parallel()
					if got := q.from.ask(proto, q.to, ""); got != q.want {
						t.Errorf("%s: got answer %q, want %q", q.to, got, q.want)
					}
				})
			}
		}
	})
}

func serve(r *rig) {
	for _, proto := range []string{"tcp", "udp"} {
		r.a1.echo(proto, "a1", ":80")
		r.a2.echo(proto, "a2", ":80")
		r.b1.echo(proto, "b1", ":80")
		r.dock.echo(proto, "dock", ":80")
		r.out.echo(proto, "out", ":80")
		r.host.echo(proto, "host", ":81")
	}
}

// fullState publishes a1 everywhere, a2 on localhost and b1 on one address.
func fullState() firewall.State {
	s := state()
	s.Ports = slices.Concat(
		both("", 8080, "10.1.0.11", gwA), both("::", 8080, "fd00:1::11", gwA),
		both("127.0.0.1", 8081, "10.1.0.12", gwA),
		both("192.0.2.1", 8082, "10.2.0.11", gwB), both("2001:db8::1", 8082, "fd00:2::11", gwB),
	)
	return s
}

func TestWhoReachesWhom(t *testing.T) {
	r := newRig(t)
	serve(r)
	r.apply(t, fullState())
	// A neighbor that routes 127.0.0.0/8 and the containers' ranges to us.
	r.out.sysctl("net/ipv4/conf/all/route_localnet", "1")
	r.out.ip("route add 10.0.0.0/8 via 192.0.2.1")
	r.out.ip("-6 route add fd00::/16 via 2001:db8::1")
	ask(t, []reach{
		{"published_from_outside", r.out, "192.0.2.1:8080", "a1 192.0.2.9"},
		{"published_from_outside_v6", r.out, "[2001:db8::1]:8080", "a1 2001:db8::9"},
		{"published_on_one_address", r.out, "192.0.2.1:8082", "b1 192.0.2.9"},
		{"published_on_one_address_v6", r.out, "[2001:db8::1]:8082", "b1 2001:db8::9"},
		{"published_on_localhost_from_outside", r.out, "192.0.2.1:8081", ""},
		{"published_from_host", r.host, "192.0.2.1:8080", "a1 192.0.2.1"},
		{"published_from_host_v6", r.host, "[2001:db8::1]:8080", "a1 2001:db8::1"},
		{"published_from_localhost", r.host, "127.0.0.1:8080", "a1 10.1.0.1"},
		{"published_on_localhost", r.host, "127.0.0.1:8081", "a2 10.1.0.1"},
		{"published_on_one_address_from_localhost", r.host, "127.0.0.1:8082", ""},
		{"hairpin", r.a2, "192.0.2.1:8080", "a1 10.1.0.1"},
		{"hairpin_v6", r.a2, "[2001:db8::1]:8080", "a1 fd00:1::1"},
		{"hairpin_by_the_gateway", r.a2, "10.1.0.1:8080", "a1 10.1.0.1"},
		{"hairpin_to_oneself", r.a1, "192.0.2.1:8080", "a1 10.1.0.1"},
		{"hairpin_to_oneself_v6", r.a1, "[2001:db8::1]:8080", "a1 fd00:1::1"},
		{"other_network_by_published_port", r.b1, "192.0.2.1:8080", "a1 10.1.0.1"},
		{"same_network", r.a1, "10.1.0.12:80", "a2 10.1.0.11"},
		{"to_the_outside", r.a1, "192.0.2.9:80", "out 192.0.2.1"},
		{"to_the_outside_v6", r.a1, "[2001:db8::9]:80", "out 2001:db8::1"},
		{"to_the_host", r.a1, "10.1.0.1:81", "host 10.1.0.11"},
		{"from_the_host", r.host, "10.1.0.11:80", "a1 10.1.0.1"},

		{"other_network", r.a1, "10.2.0.11:80", ""},
		{"other_network_v6", r.a1, "[fd00:2::11]:80", ""},
		{"from_outside_past_the_port", r.out, "10.1.0.11:80", ""},
		{"from_outside_past_the_port_v6", r.out, "[fd00:1::11]:80", ""},
		{"docker_past_the_port", r.dock, "10.1.0.11:80", ""},
	})
}

// TestLocalhostOfTheHostIsClosed sends to 127.0.0.1 of the host from a
// neighbor and from a container, which takes a forged route.
func TestLocalhostOfTheHostIsClosed(t *testing.T) {
	r := newRig(t)
	serve(r)
	r.apply(t, fullState())
	for _, ns := range []netns{r.out, r.a2} {
		ns.sysctl("net/ipv4/conf/all/route_localnet", "1")
		ns.ip("addr del 127.0.0.1/8 dev lo")
	}
	// No address of the client's own is in 127.0.0.0/8, so that it leaves.
	r.out.ip("route add 127.0.0.1 via 192.0.2.1 src 192.0.2.9")
	r.a2.ip("route add 127.0.0.1 via 10.1.0.1 src 10.1.0.12")
	questions := []reach{
		{"port_of_the_host_from_container", r.a2, "127.0.0.1:81", ""},
		{"published_from_container", r.a2, "127.0.0.1:8081", ""},
		{"port_of_the_host_from_outside", r.out, "127.0.0.1:81", ""},
		{"published_from_outside", r.out, "127.0.0.1:8081", ""},
	}
	ask(t, questions)
	// The container does get through without us, so the test can fail.
	if err := r.host.do(func() error { return r.fw.Remove(t.Context()) }); err != nil {
		t.Fatal(err)
	}
	if got := r.a2.ask("tcp", "127.0.0.1:81", ""); got != "host 10.1.0.12" {
		t.Errorf("without the guard: got answer %q", got)
	}
}

func TestInternalAndRoutedNetworks(t *testing.T) {
	r := newRig(t)
	serve(r)
	s := state()
	s.Networks[0].Internal = true
	s.Networks[1].NAT = false
	s.Ports = both("", 8080, "10.2.0.11", gwB)
	r.apply(t, s)
	r.out.ip("route add 10.0.0.0/8 via 192.0.2.1")
	ask(t, []reach{
		{"routed_from_outside", r.out, "10.2.0.11:80", "b1 192.0.2.9"},
		{"routed_to_outside", r.b1, "192.0.2.9:80", "out 10.2.0.11"},
		{"routed_published", r.out, "192.0.2.1:8080", "b1 192.0.2.9"},
		{"internal_to_outside", r.a1, "192.0.2.9:80", ""},
		{"internal_from_outside", r.out, "10.1.0.11:80", ""},
		{"internal_to_published", r.a1, "192.0.2.1:8080", ""},
		{"internal_to_other", r.a1, "10.2.0.11:80", ""},
		{"routed_to_internal", r.b1, "10.1.0.11:80", ""},
		{"inside", r.a1, "10.1.0.12:80", "a2 10.1.0.11"},
	})
}

func TestAppliedTwiceChangesNothing(t *testing.T) {
	r := newRig(t)
	r.apply(t, fullState())
	before := r.host.run("", "nft", "-a", "list", "ruleset")
	r.apply(t, fullState())
	// Handles are new in a table that was replaced.
	if after := r.host.run("", "nft", "-a", "list", "ruleset"); after != before {
		t.Errorf("the ruleset was written again:\n%s", after)
	}
	r.apply(t, firewall.State{})
	if out := r.host.run("", "nft", "list", "ruleset"); strings.Contains(out, "mosbridge") {
		t.Errorf("left behind:\n%s", out)
	}
}

func TestDamageIsSeenAndRepaired(t *testing.T) {
	for name, damage := range map[string]string{
		"flush_ruleset": "flush ruleset",
		"flush_table":   "flush table inet mosbridge",
		"flush_chain":   "flush chain inet mosbridge enter",
		"element":       "delete element inet mosbridge anyports4 { tcp . 8080 }",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			serve(r)
			r.apply(t, fullState())
			r.host.run(damage+"\n", "nft", "-f", "-")
			if missing := r.check(t, fullState()); len(missing) != 1 {
				t.Errorf("got %q, want one thing missing", missing)
			}
			r.apply(t, fullState())
			ask(t, []reach{{"published", r.out, "192.0.2.1:8080", "a1 192.0.2.9"}})
		})
	}
}

func TestAnotherLifeTakesOver(t *testing.T) {
	r := newRig(t)
	r.apply(t, fullState())
	r.fw = firewall.New(firewall.Config{Runner: r.host.host(), Log: testx.Logger(t), IPTables: "no-iptables", IP6Tables: "no-ip6tables"})
	if missing := r.check(t, fullState()); len(missing) != 1 {
		t.Errorf("got %q, want the table to be unknown", missing)
	}
	r.apply(t, state())
}

func TestWatchTellsOfAChange(t *testing.T) {
	r := newRig(t)
	r.apply(t, fullState())
	ctx, cancel := context.WithCancel(t.Context())
	var calls atomic.Int32
	done := make(chan error, 1)
	go func() {
		done <- r.host.do(func() error { return r.fw.Watch(ctx, func() { calls.Add(1) }) })
	}()
	// The socket opens in its own time: change until a change is told.
	testx.Eventually(t, 10*time.Second, func() error {
		r.host.run("flush ruleset\n", "nft", "-f", "-")
		if calls.Load() == 0 {
			return errors.New("no call")
		}
		return nil
	})
	time.Sleep(time.Second) // all earlier changes are told
	calls.Store(0)
	start := time.Now()
	r.host.run("add table inet foreign\nadd table inet other\n", "nft", "-f", "-")
	for calls.Load() == 0 && time.Since(start) < 5*time.Second {
		time.Sleep(5 * time.Millisecond)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("told after %s, want within a second", took)
	}
	time.Sleep(300 * time.Millisecond)
	if n := calls.Load(); n != 1 {
		t.Errorf("got %d calls for one change, want 1", n)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestUDPFollowsItsPort keeps one client sending from one port while the port
// of the host is published, led elsewhere and given up.
func TestUDPFollowsItsPort(t *testing.T) {
	r := newRig(t)
	serve(r)
	r.host.echo("udp", "host", ":8080")
	s := state()
	for i, step := range []struct{ container, want string }{
		{"", "host 192.0.2.9"},
		{"10.1.0.11", "a1 192.0.2.9"},
		{"10.1.0.12", "a2 192.0.2.9"},
		{"", "host 192.0.2.9"},
	} {
		s.Ports = nil
		if step.container != "" {
			s.Ports = both("", 8080, step.container, gwA)
		}
		r.apply(t, s)
		if got := r.out.ask("udp", "192.0.2.1:8080", "192.0.2.9:5000"); got != step.want {
			t.Errorf("step %d: got %q, want %q", i, got, step.want)
		}
	}
}

func TestBadStateIsRefused(t *testing.T) {
	for name, change := range map[string]func(*firewall.State){
		"injected_name":   func(s *firewall.State) { s.Networks[0].Gateway = `x" drop; #` },
		"same_gateway":    func(s *firewall.State) { s.Networks[1].Gateway = gwA },
		"unmasked_subnet": func(s *firewall.State) { s.Networks[0].Subnets[0] = netip.MustParsePrefix("10.1.0.1/24") },
		"port_of_nobody":  func(s *firewall.State) { s.Ports = both("", 80, "10.1.0.11", "mosgnobody") },
		"port_twice": func(s *firewall.State) {
			s.Ports = append(both("", 80, "10.1.0.11", gwA), both("0.0.0.0", 80, "10.2.0.11", gwB)...)
		},
		"injected_uplink": func(s *firewall.State) { s.Uplinks = []string{`x" drop; #`} },
		"port_zero":       func(s *firewall.State) { s.Ports = both("", 0, "10.1.0.11", gwA) },
		"families_mixed":  func(s *firewall.State) { s.Ports = both("192.0.2.1", 80, "fd00:1::11", gwA) },
		"zone":            func(s *firewall.State) { s.Ports = both("fe80::1%eth0", 80, "fd00:1::11", gwA) },
		"unknown_protocol": func(s *firewall.State) {
			s.Ports = []firewall.Published{published("tcp, udp", "", 80, "10.1.0.11", gwA)}
		},
		"internal_with_port": func(s *firewall.State) {
			s.Networks[0].Internal = true
			s.Ports = both("", 80, "10.1.0.11", gwA)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := state()
			change(&s)
			if err := s.Validate(); !errdefs.IsInvalidArgument(err) {
				t.Errorf("got %v, want an invalid argument", err)
			}
		})
	}
	s := fullState()
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
}

func TestScript(t *testing.T) {
	s := fullState()
	s.Uplinks = []string{"eth9.100", "eth8", "eth9.100"}
	s.Networks = append(s.Networks,
		firewall.Network{Object: 3, Gateway: "mosgccccccccccc", Internal: true, Subnets: []netip.Prefix{netip.MustParsePrefix("10.3.0.0/24")}},
		firewall.Network{Object: 4, Gateway: "mosgddddddddddd", Subnets: []netip.Prefix{netip.MustParsePrefix("10.4.0.0/24")}})
	script := firewall.Render(s)
	testx.Golden(t, "script", script+firewall.RenderARP(s))
	slices.Reverse(s.Networks)
	slices.Reverse(s.Ports)
	if firewall.Render(s) != script {
		t.Error("another order gives another script")
	}
}

func BenchmarkApply(b *testing.B) {
	for _, n := range []int{0, 100, 1000} {
		b.Run(fmt.Sprintf("ports=%d", n), func(b *testing.B) {
			r := newRig(b, func(c *firewall.Config) { c.IPTables, c.IP6Tables = "iptables", "ip6tables" })
			s := state()
			for i := range n {
				s.Ports = append(s.Ports, published(spec.TCP, "", uint16(10000+i), "10.1.0.11", gwA))
			}
			extra := published(spec.TCP, "", 9999, "10.1.0.12", gwA)
			for i := 0; b.Loop(); i++ {
				// Every other one with a port more, so that each is a change.
				with := s
				if i%2 == 0 {
					with.Ports = append(slices.Clone(s.Ports), extra)
				}
				if err := r.host.do(func() error { return r.fw.Apply(b.Context(), with) }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestReservedPortsSwallowNothing holds the sockets that reserve published
// ports while these are used in every way.
func TestReservedPortsSwallowNothing(t *testing.T) {
	r := newRig(t)
	serve(r)
	ports := hostport.New(hostport.Config{})
	t.Cleanup(ports.Close)
	err := r.host.do(func() error {
		_, err := ports.Claim(t.Context(), "a1", []spec.Port{{Proto: spec.TCP, Container: 80, HostPort: 8080}, {Proto: spec.UDP, Container: 80, HostPort: 8080}}, hostport.Families{IPv4: true, IPv6: true})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	r.apply(t, fullState())
	ask(t, []reach{
		{"from_outside", r.out, "192.0.2.1:8080", "a1 192.0.2.9"},
		{"from_outside_v6", r.out, "[2001:db8::1]:8080", "a1 2001:db8::9"},
		{"from_host", r.host, "192.0.2.1:8080", "a1 192.0.2.1"},
		{"from_host_v6", r.host, "[2001:db8::1]:8080", "a1 2001:db8::1"},
		{"from_localhost", r.host, "127.0.0.1:8080", "a1 10.1.0.1"},
		{"hairpin", r.a2, "192.0.2.1:8080", "a1 10.1.0.1"},
	})
}
