package flow_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/mosbridge/flow"
)

// ovs is a private Open vSwitch with the dummy datapath: it needs no rights
// and touches nothing of the host.
type ovs struct {
	t   testing.TB
	dir string
}

func startOVS(tb testing.TB) *ovs {
	tb.Helper()
	testx.Need(tb, testx.OVS)
	dir, err := os.MkdirTemp("", "flow") //nolint:usetesting // a test of a long name would make too long a path for a socket
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	o := &ovs{tb, dir}
	o.run("", "ovsdb-tool", "create", o.path("conf.db"), "/usr/share/openvswitch/vswitch.ovsschema")
	o.daemon("ovsdb-server", "--remote=punix:"+o.path("db.sock"), o.path("conf.db"))
	testx.Eventually(tb, 10*time.Second, func() error { _, err := os.Stat(o.path("db.sock")); return err })
	o.vsctl("--no-wait", "init")
	o.daemon("ovs-vswitchd", "--enable-dummy=override", "--disable-system", "unix:"+o.path("db.sock"))
	o.vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath-type=dummy", "fail-mode=secure")
	return o
}

func (o *ovs) path(name string) string { return filepath.Join(o.dir, name) }

func (o *ovs) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "OVS_RUNDIR="+o.dir, "OVS_LOGDIR="+o.dir, "OVS_DBDIR="+o.dir)
	return cmd
}

func (o *ovs) daemon(name string, args ...string) {
	o.t.Helper()
	args = append([]string{"--unixctl=" + o.path(name+".ctl"), "--log-file=" + o.path(name+".log"), "-vconsole:off"}, args...)
	cmd := o.command(context.Background(), name, args...)
	if err := cmd.Start(); err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
}

func (o *ovs) run(stdin, name string, args ...string) string {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), time.Minute)
	defer cancel()
	cmd := o.command(ctx, name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		o.t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func (o *ovs) vsctl(args ...string) {
	o.t.Helper()
	o.run("", "ovs-vsctl", append([]string{"--timeout=20", "--db=unix:" + o.path("db.sock")}, args...)...)
}

func (o *ovs) appctl(args ...string) string {
	o.t.Helper()
	return o.run("", "ovs-appctl", append([]string{"--target=" + o.path("ovs-vswitchd.ctl")}, args...)...)
}

func (o *ovs) ofctl(stdin, verb string, args ...string) string {
	o.t.Helper()
	return o.run(stdin, "ovs-ofctl", append([]string{"-O", "OpenFlow14", "--bundle", verb, "unix:" + o.path("br0.mgmt")}, args...)...)
}

func (o *ovs) put(lines []string) {
	o.t.Helper()
	o.ofctl(strings.Join(lines, "\n")+"\n", "add-flows", "-")
}

// addPorts makes port pN with OpenFlow number N for every port of the networks.
func (o *ovs) addPorts(ns []flow.Network) {
	o.t.Helper()
	var args []string
	seen := map[uint32]bool{0: true}
	add := func(n uint32) {
		if !seen[n] {
			seen[n] = true
			name := fmt.Sprintf("p%d", n)
			args = append(args, "--", "add-port", "br0", name, "--", "set", "interface", name, "type=dummy", fmt.Sprintf("ofport_request=%d", n))
		}
	}
	for _, n := range ns {
		add(n.Uplink)
		if n.Router != nil {
			add(n.Router.Ofport)
		}
		for _, p := range n.Ports {
			add(p.Ofport)
		}
	}
	o.vsctl(args[1:]...)
}

func (o *ovs) addMeter(id uint32) {
	o.t.Helper()
	o.run("", "ovs-ofctl", "-O", "OpenFlow14", "add-meter", "unix:"+o.path("br0.mgmt"), fmt.Sprintf("meter=%d,kbps,band=type=drop,rate=1000", id))
}

// trace returns the actions of the datapath for a frame: ports, tags, "drop".
func (o *ovs) trace(frame string) string {
	o.t.Helper()
	out := o.appctl("ofproto/trace", "--names", "br0", frame)
	m := regexp.MustCompile(`(?m)^Datapath actions: (.*)$`).FindAllStringSubmatch(out, -1)
	if m == nil {
		o.t.Fatalf("no actions for %s:\n%s", frame, out)
	}
	return m[len(m)-1][1]
}

func openBridge(tb testing.TB) *ovs {
	tb.Helper()
	o := startOVS(tb)
	o.addPorts(bridge())
	o.addMeter(21)
	o.addMeter(22)
	o.put(flow.Full(7, bridge()))
	return o
}

const (
	mac1  = "02:00:00:00:00:01"
	ll1   = "fe80::ff:fe00:1"
	bcast = "ff:ff:ff:ff:ff:ff"
	from1 = "in_port=p1,dl_src=" + mac1
)

// words are the protocols of trace with the fields that tests leave alone.
var frames = []struct{ name, frame, want string }{
	{"unicast_of_v4", from1 + ",dl_dst=02:00:00:00:00:02,ip,nw_src=10.9.0.1,nw_dst=10.9.0.2", "meter(0),p2"},
	{"unicast_of_v6", from1 + ",dl_dst=02:00:00:00:00:02,ipv6,ipv6_src=fd00:9::1,ipv6_dst=fd00:9::2", "meter(0),p2"},
	{"sender_with_a_limit", "in_port=p2,dl_src=02:00:00:00:00:02,dl_dst=" + mac1 + ",ip,nw_src=10.9.0.2", "meter(1),p1"},
	{"to_the_gateway", from1 + ",dl_dst=06:00:00:00:00:65,ip,nw_src=10.9.0.1,nw_dst=1.1.1.1", "p101"},
	{"from_the_gateway", "in_port=p101,dl_src=06:00:00:00:00:65,dl_dst=" + mac1 + ",ip,nw_src=1.1.1.1", "p1"},
	{"arp_request", from1 + ",dl_dst=" + bcast + ",arp,arp_op=1,arp_spa=10.9.0.1,arp_sha=" + mac1 + ",arp_tpa=10.9.0.2", "p2,p101"},
	{"arp_probe", from1 + ",dl_dst=" + bcast + ",arp,arp_op=1,arp_spa=0.0.0.0,arp_sha=" + mac1 + ",arp_tpa=10.9.0.1", "p2,p101"},
	{"solicitation", from1 + ",dl_dst=33:33:ff:00:00:02,icmp6,ipv6_src=fd00:9::1,icmpv6_type=135,icmpv6_code=0,nd_target=fd00:9::2,nd_sll=" + mac1, "p2,p101"},
	{"solicitation_of_link_local", from1 + ",dl_dst=33:33:ff:00:00:02,icmp6,ipv6_src=" + ll1 + ",icmpv6_type=135,icmpv6_code=0,nd_target=fd00:9::2,nd_sll=" + mac1, "p2,p101"},
	{"duplicate_detection", from1 + ",dl_dst=33:33:ff:00:00:01,icmp6,ipv6_src=::,icmpv6_type=135,icmpv6_code=0,nd_target=fd00:9::1", "p2,p101"},
	{"duplicate_detection_of_link_local", from1 + ",dl_dst=33:33:ff:00:00:01,icmp6,ipv6_src=::,icmpv6_type=135,icmpv6_code=0,nd_target=" + ll1, "p2,p101"},
	{"advertisement", from1 + ",dl_dst=02:00:00:00:00:02,icmp6,ipv6_src=fd00:9::1,icmpv6_type=136,icmpv6_code=0,nd_target=fd00:9::1,nd_tll=" + mac1, "meter(0),p2"},
	{"advertisement_without_option", from1 + ",dl_dst=02:00:00:00:00:02,icmp6,ipv6_src=fd00:9::1,icmpv6_type=136,icmpv6_code=0,nd_target=fd00:9::1", "meter(0),p2"},
	{"multicast_report", from1 + ",dl_dst=33:33:00:00:00:16,icmp6,ipv6_src=::,icmpv6_type=143", "p2,p101"},
	{"gateway_solicits", "in_port=p101,dl_src=06:00:00:00:00:65,dl_dst=33:33:ff:00:00:01,icmp6,ipv6_src=fd00:9::ff,icmpv6_type=135,icmpv6_code=0,nd_target=fd00:9::1,nd_sll=06:00:00:00:00:65", "p1,p2"},
	{"vlan_out", "in_port=p3,dl_src=02:00:00:00:00:03,dl_dst=02:aa:00:00:00:01,ip,nw_src=10.9.0.3", "push_vlan(vid=100,pcp=0),p100"},
	{"vlan_broadcast", "in_port=p3,dl_src=02:00:00:00:00:03,dl_dst=" + bcast + ",arp,arp_op=1,arp_spa=10.9.0.3,arp_sha=02:00:00:00:00:03", "p4,push_vlan(vid=100,pcp=0),p100"},
	{"vlan_in", "in_port=p100,dl_vlan=100,dl_src=02:aa:00:00:00:01,dl_dst=02:00:00:00:00:03,ip,nw_src=10.9.0.77", "pop_vlan,p3"},
	{"vlan_broadcast_in", "in_port=p100,dl_vlan=100,dl_src=02:aa:00:00:00:01,dl_dst=" + bcast + ",arp,arp_op=1", "pop_vlan,p3,p4"},
	{"untagged_out", "in_port=p5,dl_src=02:00:00:00:00:05,dl_dst=02:aa:00:00:00:01,ip,nw_src=10.9.0.5", "p100"},
	{"untagged_in", "in_port=p100,dl_src=02:aa:00:00:00:01,dl_dst=02:00:00:00:00:05,ip", "p5"},

	{"other_network", from1 + ",dl_dst=02:00:00:00:00:03,ip,nw_src=10.9.0.1,nw_dst=10.9.0.3", "drop"},
	{"other_network_through_the_uplink", "in_port=p3,dl_src=02:00:00:00:00:03,dl_dst=02:00:00:00:00:05,ip,nw_src=10.9.0.3", "push_vlan(vid=100,pcp=0),p100"},
	{"unknown_without_uplink", from1 + ",dl_dst=02:aa:00:00:00:01,ip,nw_src=10.9.0.1", "drop"},
	{"foreign_mac", "in_port=p1,dl_src=02:00:00:00:00:02,dl_dst=06:00:00:00:00:65,ip,nw_src=10.9.0.1", "drop"},
	{"mac_of_the_gateway", "in_port=p1,dl_src=06:00:00:00:00:65,dl_dst=02:00:00:00:00:02,ip,nw_src=10.9.0.1", "drop"},
	{"foreign_v4", from1 + ",dl_dst=02:00:00:00:00:02,ip,nw_src=10.9.0.9", "drop"},
	{"no_v4", from1 + ",dl_dst=" + bcast + ",udp,nw_src=0.0.0.0,nw_dst=255.255.255.255,udp_src=68,udp_dst=67", "drop"},
	{"foreign_v6", from1 + ",dl_dst=02:00:00:00:00:02,ipv6,ipv6_src=fd00:9::9", "drop"},
	{"foreign_link_local", from1 + ",dl_dst=02:00:00:00:00:02,ipv6,ipv6_src=fe80::1", "drop"},
	{"v6_of_a_v4_endpoint", "in_port=p4,dl_src=02:00:00:00:00:04,dl_dst=02:00:00:00:00:03,ipv6,ipv6_src=fe80::ff:fe00:4", "drop"},
	{"arp_of_another_address", from1 + ",dl_dst=" + bcast + ",arp,arp_op=1,arp_spa=10.9.0.2,arp_sha=" + mac1, "drop"},
	{"arp_of_another_mac", from1 + ",dl_dst=" + bcast + ",arp,arp_op=2,arp_spa=10.9.0.1,arp_sha=02:00:00:00:00:02", "drop"},
	{"arp_probe_for_another", from1 + ",dl_dst=" + bcast + ",arp,arp_op=1,arp_spa=0.0.0.0,arp_sha=" + mac1 + ",arp_tpa=10.9.0.2", "drop"},
	{"arp_reply_of_nobody", from1 + ",dl_dst=" + bcast + ",arp,arp_op=2,arp_spa=0.0.0.0,arp_sha=" + mac1 + ",arp_tpa=10.9.0.1", "drop"},
	{"advertises_another", from1 + ",dl_dst=02:00:00:00:00:02,icmp6,ipv6_src=fd00:9::1,icmpv6_type=136,icmpv6_code=0,nd_target=fd00:9::2,nd_tll=" + mac1, "drop"},
	{"advertises_another_mac", from1 + ",dl_dst=02:00:00:00:00:02,icmp6,ipv6_src=fd00:9::1,icmpv6_type=136,icmpv6_code=0,nd_target=fd00:9::1,nd_tll=02:00:00:00:00:02", "drop"},
	{"solicits_with_another_mac", from1 + ",dl_dst=33:33:ff:00:00:02,icmp6,ipv6_src=fd00:9::1,icmpv6_type=135,icmpv6_code=0,nd_target=fd00:9::2,nd_sll=02:00:00:00:00:02", "drop"},
	{"duplicate_detection_for_another", from1 + ",dl_dst=33:33:ff:00:00:02,icmp6,ipv6_src=::,icmpv6_type=135,icmpv6_code=0,nd_target=fd00:9::2", "drop"},
	{"router_advertisement", from1 + ",dl_dst=33:33:00:00:00:01,icmp6,ipv6_src=" + ll1 + ",icmpv6_type=134,icmpv6_code=0", "drop"},
	{"router_advertisement_of_the_gateway", "in_port=p101,dl_src=06:00:00:00:00:65,dl_dst=33:33:00:00:00:01,icmp6,ipv6_src=fe80::1,icmpv6_type=134,icmpv6_code=0", "drop"},
	{"redirect", from1 + ",dl_dst=02:00:00:00:00:02,icmp6,ipv6_src=" + ll1 + ",icmpv6_type=137,icmpv6_code=0", "drop"},
	{"dhcp_server", from1 + ",dl_dst=02:00:00:00:00:02,udp,nw_src=10.9.0.1,udp_src=67,udp_dst=68", "drop"},
	{"dhcpv6_server", from1 + ",dl_dst=02:00:00:00:00:02,udp6,ipv6_src=" + ll1 + ",udp_src=547,udp_dst=546", "drop"},
	{"tag_of_a_container", from1 + ",dl_vlan=100,dl_dst=02:00:00:00:00:02,ip,nw_src=10.9.0.1", "drop"},
	{"priority_tag_of_a_container", from1 + ",vlan_tci=0x1000,dl_dst=02:00:00:00:00:02,ip,nw_src=10.9.0.1", "drop"},
	{"other_protocol", from1 + ",dl_dst=" + bcast + ",dl_type=0x88cc", "drop"},
	{"foreign_mac_of_the_gateway_port", "in_port=p101,dl_src=02:00:00:00:00:02,dl_dst=" + mac1 + ",ip,nw_src=10.9.0.2", "drop"},
	{"loop", "in_port=p100,dl_vlan=100,dl_src=02:00:00:00:00:03,dl_dst=" + bcast + ",ip", "drop"},
	{"loop_of_the_gateway", "in_port=p100,dl_src=06:00:00:00:00:67,dl_dst=02:00:00:00:00:05,ip", "drop"},
	{"tag_of_no_network", "in_port=p100,dl_vlan=101,dl_src=02:aa:00:00:00:01,dl_dst=" + bcast + ",ip", "drop"},
	{"bridge_control", "in_port=p100,dl_src=02:aa:00:00:00:01,dl_dst=01:80:c2:00:00:0e,ip", "drop"},
}

func TestWhoMayTalkAndWhoMayNot(t *testing.T) {
	o := openBridge(t)
	for _, tt := range frames {
		t.Run(tt.name, func(t *testing.T) {
			o := &ovs{t, o.dir}
			if got := o.trace(tt.frame); got != tt.want {
				t.Errorf("%s\ngot  %s\nwant %s", tt.frame, got, tt.want)
			}
		})
	}
}

func TestDropsAreCountedByReason(t *testing.T) {
	o := openBridge(t)
	// An ARP request of 10.9.0.9 and a frame of an unknown protocol.
	arp := "ffffffffffff" + "020000000001" + "0806" + "0001080006040001" + "020000000001" + "0a090009" + "000000000000" + "0a090002"
	for _, frame := range []string{arp, arp, "ffffffffffff" + "020000000001" + "88cc" + strings.Repeat("00", 46)} {
		o.appctl("netdev-dummy/receive", "p1", frame)
	}
	testx.Eventually(t, 10*time.Second, func() error {
		stats, err := flow.ParseDump([]byte(o.ofctl("", "dump-flows", flow.DropMatch())))
		if err != nil {
			return err
		}
		got := flow.DropCounts(stats)
		want := map[string]uint64{}
		for _, r := range flow.Reasons() {
			want[r.Name] = 0
		}
		want["source_arp"], want["protocol"] = 2, 1
		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("counters (-want +got):\n%s", diff)
		}
		return nil
	})
}

func TestSweepLeavesOneRoundAndForeignRules(t *testing.T) {
	o := openBridge(t)
	o.put([]string{"add cookie=0x77,table=90,priority=1,actions=drop"})
	o.put(flow.Full(8, bridge()[:2]))
	o.put(flow.Sweep(8))
	stats, err := flow.ParseDump([]byte(o.ofctl("", "dump-flows")))
	if err != nil {
		t.Fatal(err)
	}
	want := len(flow.Full(8, bridge()[:2]))
	if got := flow.Count(stats, 8); got != want || len(stats) != want+1 {
		t.Errorf("got %d rules of the round and %d in all, want %d and one foreign", got, len(stats), want)
	}
	for _, n := range bridge()[:2] {
		o.put(flow.Remove(n))
	}
	if stats, err = flow.ParseDump([]byte(o.ofctl("", "dump-flows", flow.Match()))); err != nil || len(stats) != len(flow.Base(8)) {
		t.Errorf("got %d rules after the networks went, want those of the bridge, %d (%v)", len(stats), len(flow.Base(8)), err)
	}
}

// big is a bridge with so many endpoints on so many networks.
func big(networks, endpoints int) []flow.Network {
	var ns []flow.Network
	for i := range networks {
		ns = append(ns, flow.Network{Object: uint32(i + 1), Uplink: 10_000, VLAN: uint16(i + 1)})
	}
	for i := range endpoints {
		n := &ns[i%networks]
		n.Ports = append(n.Ports, port(i+1))
	}
	return ns
}

func TestBroadcastReachesAThousandPorts(t *testing.T) {
	o := startOVS(t)
	const ports = 1000
	ns := big(1, ports)
	o.addPorts(ns)
	o.put(flow.Full(1, ns))
	got := o.trace(from1 + ",dl_dst=" + bcast + ",arp,arp_op=1,arp_spa=10.9.0.1,arp_sha=" + mac1)
	out := strings.Split(got, ",")
	if n := slices.IndexFunc(out, func(s string) bool { return s == "p"+strconv.Itoa(ports) }); n < 0 || !strings.HasSuffix(got, ",p10000") {
		t.Errorf("the last port or the uplink gets no copy: %d actions, %.200s … %s", len(out), got, got[max(0, len(got)-100):])
	}
}

func BenchmarkReplay(b *testing.B) {
	o := startOVS(b)
	ns := big(20, 600)
	lines := flow.Full(1, ns)
	for round := uint16(1); b.Loop(); round++ {
		o.put(flow.Full(round, ns))
	}
	b.ReportMetric(float64(len(lines)), "rules")
}

func BenchmarkFull(b *testing.B) {
	ns := big(20, 600)
	for b.Loop() {
		flow.Full(1, ns)
	}
}

func BenchmarkAttach(b *testing.B) {
	o := startOVS(b)
	ns := big(20, 600)
	o.put(flow.Full(1, ns))
	for b.Loop() {
		o.put(flow.Attach(1, ns[3], ns[3].Ports[0]))
	}
}
