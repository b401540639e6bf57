package link_test

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/mosbridge/link"
	"github.com/mosdocker/mosdocker/mosbridge/ovs/ovstest"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

func TestMain(m *testing.M) { os.Exit(ovstest.Main(m)) }

func need(tb testing.TB) {
	tb.Helper()
	testx.Need(tb, testx.Root, testx.NetNS)
}

// ip runs a command of iproute2 or ethtool and returns its output.
func run(tb testing.TB, argv ...string) string {
	tb.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		tb.Fatalf("%s: %v: %s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}

func mac(tb testing.TB, s string) spec.MAC {
	tb.Helper()
	m, err := spec.ParseMAC(s)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// clean deletes links when the test ends.
func clean(tb testing.TB, names ...string) {
	tb.Helper()
	tb.Cleanup(func() {
		for _, n := range names {
			if err := link.Delete(context.Background(), n); err != nil {
				tb.Error(err)
			}
		}
	})
}

func veth(tb testing.TB) link.Veth {
	tb.Helper()
	return link.Veth{Name: "mosp1", Peer: "mosc1", PeerMAC: mac(tb, "02:42:0a:09:00:15"), MTU: 1400, TxOff: true}
}

func offload(tb testing.TB, name string) string {
	tb.Helper()
	var lines []string
	for l := range strings.Lines(run(tb, "ethtool", "-k", name)) {
		if strings.HasPrefix(l, "tx-checksumming:") || strings.HasPrefix(l, "\ttx-tcp-segmentation:") {
			lines = append(lines, strings.Join(strings.Fields(l)[:2], " "))
		}
	}
	return strings.Join(lines, "; ")
}

const txOff = "tx-checksumming: off; tx-tcp-segmentation: off"

func list(tb testing.TB, prefix string) []link.Link {
	tb.Helper()
	ls, err := link.List(tb.Context(), prefix)
	if err != nil {
		tb.Fatal(err)
	}
	return ls
}

func TestLifeOfAVeth(t *testing.T) {
	need(t)
	v := veth(t)
	clean(t, v.Name)
	if err := link.CreateVeth(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	ls := list(t, "mos")
	if len(ls) != 2 {
		t.Fatalf("got links %v, want two", ls)
	}
	peer, host := ls[0], ls[1]
	want := link.Link{Name: "mosc1", Index: peer.Index, Kind: "veth", MAC: "02:42:0a:09:00:15", MTU: 1400, PeerIndex: host.Index, Peer: "mosp1"}
	if diff := cmp.Diff(want, peer); diff != "" {
		t.Error("peer:", diff)
	}
	want = link.Link{Name: "mosp1", Index: host.Index, Kind: "veth", MAC: host.MAC, MTU: 1400, Up: true, PeerIndex: peer.Index, Peer: "mosc1"}
	if diff := cmp.Diff(want, host); diff != "" {
		t.Error("host's end:", diff)
	}
	if got := offload(t, v.Peer); got != txOff {
		t.Errorf("got %s, want %s", got, txOff)
	}

	// The engine moves the peer, renames it, brings it up.
	run(t, "ip", "netns", "add", "mosns1")
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", "mosns1").Run() })
	run(t, "ip", "link", "set", v.Peer, "netns", "mosns1", "name", "eth0", "up")
	if got := run(t, "ip", "netns", "exec", "mosns1", "ethtool", "-k", "eth0"); !strings.Contains(got, "tx-checksumming: off") {
		t.Error("TX offload is on again behind the move")
	}
	if got := run(t, "ip", "-6", "addr", "show", "dev", v.Name); got != "" {
		t.Errorf("the host's end has an IPv6 address: %s", got)
	}
	if got := run(t, "sysctl", "-n", "net.ipv4.conf."+v.Name+".arp_ignore"); strings.TrimSpace(got) != "8" {
		t.Errorf("the host's end answers ARP: arp_ignore is %s, want 8", got)
	}
	moved := list(t, "mos")
	if len(moved) != 1 || moved[0].Peer != "" || moved[0].PeerIndex == 0 || !moved[0].Carrier {
		t.Errorf("got links %+v, want one with carrier and its peer elsewhere", moved)
	}

	// A second join wants a peer here again.
	if err := link.CreateVeth(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	if ls := list(t, "mos"); len(ls) != 2 || ls[0].Peer != "mosp1" {
		t.Errorf("got links %+v, want the pair", ls)
	}
	for range 2 {
		if err := link.Delete(t.Context(), v.Name); err != nil {
			t.Fatal(err)
		}
	}
	if ls := list(t, "mos"); len(ls) != 0 {
		t.Errorf("links outlive their deletion: %v", ls)
	}
}

func TestCreateVethKeepsAFittingPairAndReplacesAnother(t *testing.T) {
	need(t)
	fits := veth(t)
	for _, tt := range []struct {
		name    string
		prepare func()
		kept    bool
	}{
		{"same", func() {}, true},
		{"host_down", func() { run(t, "ip", "link", "set", "mosp1", "down") }, true},
		{"offload_on", func() { run(t, "ethtool", "-K", "mosc1", "tx", "on") }, true},
		{"other_mtu", func() { run(t, "ip", "link", "set", "mosc1", "mtu", "1300") }, false},
		{"other_mac", func() { run(t, "ip", "link", "set", "mosc1", "address", "02:00:00:00:00:01") }, false},
		{"other_peer", func() { run(t, "ip", "link", "set", "mosc1", "name", "mosc2") }, false},
		{"no_veth", func() {
			run(t, "ip", "link", "del", "mosp1")
			run(t, "ip", "link", "add", "mosp1", "type", "bridge")
		}, false},
		{"peer_taken", func() {
			run(t, "ip", "link", "del", "mosp1")
			run(t, "ip", "link", "add", "mosc1", "type", "bridge")
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			clean(t, "mosp1", "mosc1", "mosc2")
			if err := link.CreateVeth(t.Context(), fits); err != nil {
				t.Fatal(err)
			}
			was := list(t, "mosc1")[0].Index
			tt.prepare()
			if err := link.CreateVeth(t.Context(), fits); err != nil {
				t.Fatal(err)
			}
			ls := list(t, "mos")
			if len(ls) != 2 || ls[0].Peer != "mosp1" || ls[0].MTU != 1400 || ls[0].MAC != "02:42:0a:09:00:15" || !ls[1].Up {
				t.Errorf("got links %+v", ls)
			}
			if kept := ls[0].Index == was; kept != tt.kept {
				t.Errorf("got kept %v, want %v", kept, tt.kept)
			}
			if got := offload(t, "mosc1"); got != txOff {
				t.Errorf("got %s, want %s", got, txOff)
			}
		})
	}
}

func TestCreateVethLeavesNothingAfterAnError(t *testing.T) {
	need(t)
	clean(t, "mosp1")
	v := veth(t)
	v.MTU = 10 // below what Ethernet allows
	if err := link.CreateVeth(t.Context(), v); err == nil {
		t.Error("an MTU of 10 passes")
	}
	if ls := list(t, "mos"); len(ls) != 0 {
		t.Errorf("left %v", ls)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := link.CreateVeth(ctx, veth(t)); err == nil {
		t.Error("an ended context passes")
	}
}

func gateway(tb testing.TB) link.Gateway {
	tb.Helper()
	return link.Gateway{
		Name: "mosg1", RouterPort: "mosr1", MAC: mac(tb, "02:42:0a:09:00:01"), MTU: 1450, TxOff: true,
		Addrs: []netip.Prefix{netip.MustParsePrefix("10.9.0.1/24"), netip.MustParsePrefix("fd00:9::1/64")},
	}
}

func TestLifeOfAGateway(t *testing.T) {
	need(t)
	g := gateway(t)
	clean(t, g.Name)
	faults, err := link.CheckGateway(t.Context(), g)
	if err != nil || len(faults) != 1 || len(list(t, "mos")) != 0 {
		t.Errorf("check of a missing one: got %q, %v", faults, err)
	}
	if _, err := link.EnsureGateway(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	if got, err := link.EnsureGateway(t.Context(), g); err != nil || len(got) != 0 {
		t.Errorf("again: got %q, %v, want no change", got, err)
	}
	if got := run(t, "ip", "-br", "addr", "show", "dev", g.Name); !strings.Contains(got, "10.9.0.1/24") || !strings.Contains(got, "fd00:9::1/64") {
		t.Errorf("got addresses %s", got)
	}
	if got := run(t, "ip", "-6", "addr", "show", "dev", g.Name, "tentative"); strings.Contains(got, "fd00") {
		t.Errorf("the address is tentative: %s", got)
	}
	if got := offload(t, g.Name); got != txOff {
		t.Errorf("got %s, want %s", got, txOff)
	}
	for key, want := range map[string]string{
		"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1", "net.ipv4.conf.mosg1.forwarding": "1",
		"net.ipv4.conf.mosg1.rp_filter": "2", "net.ipv4.conf.mosg1.route_localnet": "1",
		"net.ipv6.conf.mosg1.accept_ra": "0", "net.ipv6.conf.mosr1.disable_ipv6": "1",
	} {
		if got := strings.TrimSpace(run(t, "sysctl", "-n", key)); got != want {
			t.Errorf("%s: got %s, want %s", key, got, want)
		}
	}
}

func TestEnsureGatewayRepairsWhatIsBroken(t *testing.T) {
	need(t)
	g := gateway(t)
	clean(t, g.Name)
	if _, err := link.EnsureGateway(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		want string
		do   string
	}{
		{"link mosg1: down to up", "ip link set mosg1 down && ip addr add fd00:9::1/64 dev mosg1 nodad"},
		{"link mosr1: down to up", "ip link set mosr1 down"},
		{"address 10.9.0.1/24 of mosg1: missing", "ip addr del 10.9.0.1/24 dev mosg1"},
		{"address fd00:9::1/64 of mosg1: missing", "ip addr del fd00:9::1/64 dev mosg1"},
		{"address 10.8.0.1/24 of mosg1: too many", "ip addr add 10.8.0.1/24 dev mosg1"},
		{"MTU of mosr1: 1400 to 1450", "ip link set mosr1 mtu 1400"},
		{"MAC of mosg1: 02:00:00:00:00:09 to 02:42:0a:09:00:01", "ip link set mosg1 address 02:00:00:00:00:09"},
		{"TX checksum offload of mosg1: true to false", "ethtool -K mosg1 tx on"},
		{"net.ipv4.conf.mosg1.route_localnet: 0 to 1", "sysctl -qw net.ipv4.conf.mosg1.route_localnet=0"},
		{"net.ipv4.ip_forward: 0 to 1", "sysctl -qw net.ipv4.ip_forward=0 && sysctl -qw net.ipv4.conf.mosg1.forwarding=1"},
		{"links mosg1 and mosr1: missing", "ip link del mosr1"},
	} {
		t.Run(strings.Fields(tt.want)[0], func(t *testing.T) {
			run(t, "sh", "-c", tt.do)
			faults, err := link.CheckGateway(t.Context(), g)
			if diff := cmp.Diff([]string{tt.want}, faults); diff != "" || err != nil {
				t.Errorf("check: %v %s", err, diff)
			}
			changed, err := link.EnsureGateway(t.Context(), g)
			if err != nil || len(changed) == 0 || changed[0] != tt.want {
				t.Errorf("ensure: got %q, %v, want %s", changed, err, tt.want)
			}
			if left, err := link.CheckGateway(t.Context(), g); err != nil || len(left) != 0 {
				t.Errorf("afterwards: got %q, %v", left, err)
			}
		})
	}
}

func TestForwardingKeepsRouterAdvertisements(t *testing.T) {
	need(t)
	clean(t, "mosg1", "up1")
	run(t, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=0")
	run(t, "ip", "link", "add", "up1", "type", "bridge")
	run(t, "sysctl", "-qw", "net.ipv6.conf.up1.accept_ra=1")
	changed, err := link.EnsureGateway(t.Context(), gateway(t))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(run(t, "sysctl", "-n", "net.ipv6.conf.up1.accept_ra")); got != "2" {
		t.Errorf("accept_ra of the uplink: got %s, want 2; changed %q", got, changed)
	}
}

func TestCheckUplink(t *testing.T) {
	need(t)
	clean(t, "up0", "up1", "up2", "br0")
	run(t, "sh", "-c", `ip link add up0 type veth peer name up0p && ip link set up0 up && ip link set up0p up &&
		ip link add up1 type veth peer name up1p && ip link set up1 up && ip link set up1p up &&
		ip link add br0 type bridge && ip link add up2 type veth peer name up2p && ip link set up2 master br0`)
	for _, tt := range []struct {
		name, do, uplink, want string
	}{
		{"free", "true", "up1", ""},
		{"missing", "true", "up9", "no such interface"},
		{"loopback", "true", "lo", "loopback"},
		{"slave", "true", "up2", "belongs to bridge br0"},
		{"only_address", "ip addr add 192.0.2.1/24 dev up1", "up1", "address 192.0.2.1/24"},
		{"another_address", "ip addr add 192.0.2.129/24 dev up0", "up1", "address 192.0.2.1/24"},
		{"default_route", "ip route add default via 192.0.2.200 dev up1", "up1", "default route"},
		{"default_route_elsewhere", "ip route del default; ip route add default via 192.0.2.200 dev up0", "up1", "address 192.0.2.1/24"},
		{"bridge", "true", "br0", "is a bridge"},
		{"address_taken_off", "ip addr del 192.0.2.1/24 dev up1", "up1", ""},
		{"address_again", "ip addr add 192.0.2.1/24 dev up1", "up1", "address 192.0.2.1/24"},
		{"default_route_6", "ip -6 addr add fd00:1::2/64 dev up1 nodad && ip -6 route add default via fd00:1::1 dev up1", "up1", "default route"},
		{"default_route_of_two_ways", "ip -6 route del default; ip route del default; ip route add default nexthop via 192.0.2.200 dev up0 nexthop via 192.0.2.3 dev up1", "up1", "default route"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run(t, "sh", "-c", tt.do)
			err := link.CheckUplink(t.Context(), tt.uplink)
			if tt.want == "" {
				if err != nil {
					t.Errorf("got %v, want none", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || !errdefs.IsNotFound(err) && !errdefs.IsFailedPrecondition(err) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestRoutesAndMTU(t *testing.T) {
	need(t)
	clean(t, "up0")
	if mtu, name, err := link.DefaultMTU(t.Context()); err != nil || mtu != 1500 || name != "" {
		t.Errorf("without a default route: got %d %q %v", mtu, name, err)
	}
	run(t, "sh", "-c", `ip link add up0 mtu 9000 type veth peer name up0p && ip link set up0 up && ip link set up0p up && ip addr add 192.0.2.1/24 dev up0 &&
		ip addr add fd00:1::2/64 dev up0 nodad && ip route add 198.51.100.0/24 via 192.0.2.9 && ip route add default via 192.0.2.8`)
	if mtu, name, err := link.DefaultMTU(t.Context()); err != nil || mtu != 9000 || name != "up0" {
		t.Errorf("got %d %q %v, want 9000 up0", mtu, name, err)
	}
	if mtu, err := link.MTU(t.Context(), "up0"); err != nil || mtu != 9000 {
		t.Errorf("got %d, %v, want 9000", mtu, err)
	}
	if _, err := link.MTU(t.Context(), "up9"); !errdefs.IsNotFound(err) {
		t.Errorf("got %v, want not found", err)
	}
	ps, err := link.Routes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range ps {
		got = append(got, p.String())
	}
	if diff := cmp.Diff([]string{"192.0.2.0/24", "198.51.100.0/24", "fd00:1::/64"}, got); diff != "" {
		t.Error(diff)
	}
}

func BenchmarkCreateVeth(b *testing.B) {
	need(b)
	v := veth(b)
	clean(b, v.Name)
	for b.Loop() {
		if err := link.CreateVeth(b.Context(), v); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := link.Delete(b.Context(), v.Name); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func TestPrepareUplinkBringsUpAndStopsMerging(t *testing.T) {
	need(t)
	clean(t, "up0")
	run(t, "sh", "-c", "ip link add up0 type veth peer name up0p && ethtool -K up0 gro on")
	for _, raw := range []bool{false, true} {
		if _, err := link.PrepareUplink(t.Context(), "up0", raw); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(run(t, "ethtool", "-k", "up0"), "generic-receive-offload: on"); got == raw {
			t.Errorf("raw %v: got merging %v", raw, got)
		}
		if !list(t, "up0")[0].Up {
			t.Error("the uplink is down")
		}
	}
	if again, err := link.PrepareUplink(t.Context(), "up0", true); err != nil || len(again) != 0 {
		t.Errorf("again: got %q, %v, want no change", again, err)
	}
	if _, err := link.PrepareUplink(t.Context(), "up9", true); !errdefs.IsNotFound(err) {
		t.Errorf("got %v, want not found", err)
	}
}
