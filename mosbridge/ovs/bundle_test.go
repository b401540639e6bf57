package ovs_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mosdocker/mosdocker/mosbridge/ovs"
)

// golden reads the flow lines of the pipeline's golden files.
func golden(tb testing.TB, name string) []string {
	tb.Helper()
	b, err := os.ReadFile("../flow/testdata/" + name)
	if err != nil {
		tb.Fatal(err)
	}
	var lines []string
	for l := range strings.Lines(string(b)) {
		if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, "#") {
			lines = append(lines, l)
		}
	}
	return lines
}

func TestPipelineNeedsNoOfctl(t *testing.T) {
	for _, name := range []string{"bridge", "changes"} {
		for _, l := range golden(t, name) {
			if !ovs.Compiles(l) {
				t.Errorf("%s: %s", name, l)
			}
		}
	}
}

func TestUnknownWordsAreLeftToOfctl(t *testing.T) {
	for _, l := range []string{
		"", "drop", "table=1", "table=1,actions=", "table=256,actions=drop", "priority=65536,actions=drop",
		"no_such=1,actions=drop", "actions=NORMAL", "actions=ct(commit)", "in_port=LOCAL,actions=drop", "in_port=65534,actions=drop",
		"nw_src=10.0.0.1,actions=drop", "arp,nw_src=10.0.0.1,actions=drop", "ip,arp,actions=drop", "ip,ip,actions=drop", "udp_src=1,ip,actions=drop",
		"reg16=1,actions=drop", "reg0=1,reg0=2,actions=drop", "reg0=017,actions=drop", "dl_src=2:0:0:0:0:1,actions=drop",
		"actions=goto_table:1,drop", "actions=goto_table:1,output:1", "actions=output:1,meter:1", "actions=set_field:5->vlan_vid",
		"idle_timeout=5,actions=drop", "cookie=1/1,actions=drop", "delete cookie=1", "delete table=1,actions=drop", "modify actions=drop",
		"actions=resubmit(1,2)", "actions=resubmit(,1,ct)", "actions=output:NXM_NX_REG1[0..3]", "frobnicate table=1,actions=drop",
	} {
		if ovs.Compiles(l) {
			t.Errorf("%q is taken", l)
		}
	}
}

func TestPipelineIsInstalledAsOfctlReadsIt(t *testing.T) {
	_, c := open(t)
	lines := golden(t, "bridge")
	meters(t, c, 32)
	bundle(t, c, lines...)
	missing, extra, err := c.DiffFlows(t.Context(), br, lines)
	if err != nil || len(missing)+len(extra) != 0 {
		t.Errorf("got missing %q, extra %q, %v", missing, extra, err)
	}
	if n := ok(c.CountFlows(t.Context(), br))(t); n != len(lines) {
		t.Errorf("got %d flows, want %d", n, len(lines))
	}
}

func meters(tb testing.TB, c *ovs.Client, n uint32) {
	tb.Helper()
	for i := range n {
		if err := c.SetMeters(tb.Context(), br, ovs.Meter{ID: i + 1, Kbps: 1000}); err != nil {
			tb.Fatal(err)
		}
	}
}

// TestRandomFlowsAreInstalledAsOfctlReadsThem compares flows that we encode with
// the same lines as ovs-ofctl understands them.
func TestRandomFlowsAreInstalledAsOfctlReadsThem(t *testing.T) {
	_, c := open(t)
	meters(t, c, 9)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	g := gen{rand.New(rand.NewPCG(seed, 1))}
	for range 5 {
		var lines []string
		seen := map[string]bool{}
		for len(lines) < 400 {
			l := g.line()
			key, _, _ := strings.Cut(l, ",actions=")
			if !seen[key] {
				seen[key] = true
				lines = append(lines, l)
			}
			if !ovs.Compiles("add " + l) {
				t.Fatalf("not taken: %s", l)
			}
		}
		bundle(t, c, append([]string{"delete cookie=0/0"}, lines...)...)
		missing, extra, err := c.DiffFlows(t.Context(), br, lines)
		if err != nil || len(missing)+len(extra) != 0 {
			t.Fatalf("got missing %q, extra %q, %v", missing, extra, err)
		}
	}
}

// gen makes flow lines of all words that compile knows.
type gen struct{ *rand.Rand }

func (g gen) pick(ss ...string) string { return ss[g.IntN(len(ss))] }

func (g gen) mac() string {
	return fmt.Sprintf("02:%02x:00:00:%02x:01", g.IntN(256), g.IntN(256))
}
func (g gen) ip4() string { return fmt.Sprintf("10.%d.%d.1", g.IntN(256), g.IntN(256)) }
func (g gen) ip6() string { return fmt.Sprintf("fd00:%x::%x", g.IntN(65536), g.IntN(65536)) }

func (g gen) line() string {
	// The priority keeps lines apart whose matches are one, which a random
	// pair is now and then.
	fields := []string{
		fmt.Sprintf("cookie=%#x", g.Uint64()), fmt.Sprintf("table=%d", g.IntN(254)), fmt.Sprintf("priority=%d", g.IntN(65536)),
	}
	add := func(f string) {
		if g.IntN(3) == 0 {
			fields = append(fields, f)
		}
	}
	add(fmt.Sprintf("in_port=%d", 1+g.IntN(65000)))
	add("dl_src=" + g.mac())
	add(g.pick("dl_dst="+g.mac(), "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00", "dl_dst=01:80:c2:00:00:00/ff:ff:ff:ff:ff:f0"))
	add(fmt.Sprintf("reg%d=%#x", g.IntN(8), g.Uint32()))
	add(fmt.Sprintf("reg%d=%#x/0xff00", 8+g.IntN(8), g.IntN(256)<<8))
	add(g.pick("vlan_tci=0x0000/0x1000", "vlan_tci=0x1000/0x1000", fmt.Sprintf("dl_vlan=%d", 1+g.IntN(4094))))
	fields = append(fields, g.protocol()...)
	return strings.Join(fields, ",") + ",actions=" + g.actions()
}

func (g gen) protocol() []string {
	word := g.pick("", "arp", "ip", "ipv6", "icmp", "icmp6", "tcp", "tcp6", "udp", "udp6")
	if word == "" {
		return nil
	}
	port := strconv.Itoa(g.IntN(65536))
	more := map[string][]string{
		"arp":   {fmt.Sprintf("arp_op=%d", 1+g.IntN(2)), "arp_spa=" + g.ip4(), "arp_tpa=" + g.ip4() + "/32", "arp_sha=" + g.mac(), "arp_tha=" + g.mac()},
		"ip":    {"nw_src=" + g.ip4(), fmt.Sprintf("nw_dst=10.0.0.0/%d", 9+g.IntN(20))},
		"ipv6":  {"ipv6_src=" + g.ip6(), fmt.Sprintf("ipv6_dst=fd00::/%d", 17+g.IntN(90))},
		"icmp":  {fmt.Sprintf("icmp_type=%d", g.IntN(256)), "icmp_code=0"},
		"icmp6": {"icmpv6_type=135", "icmpv6_code=0", "nd_target=" + g.ip6(), "nd_sll=" + g.mac()},
		"tcp":   {"tcp_src=" + port, "tcp_dst=80"}, "tcp6": {"tcp_src=" + port, "tcp_dst=80"},
		"udp": {"udp_src=" + port, "udp_dst=53"}, "udp6": {"udp_src=" + port, "udp_dst=53"},
	}
	fields := more[word]
	if word == "arp" {
		fields[2] = strings.TrimSuffix(fields[2], "/32")
	}
	return append([]string{word}, fields[:g.IntN(len(fields)+1)]...)
}

func (g gen) actions() string {
	if g.IntN(6) == 0 {
		return "drop"
	}
	var as []string
	if g.IntN(3) == 0 {
		as = append(as, fmt.Sprintf("meter:%d", 1+g.IntN(9)))
	}
	for range 1 + g.IntN(5) {
		as = append(as, g.pick(
			fmt.Sprintf("output:%d", 1+g.IntN(65000)), fmt.Sprintf("output:NXM_NX_REG%d[]", g.IntN(16)),
			fmt.Sprintf("set_field:%#x->reg%d", g.Uint32(), g.IntN(16)), fmt.Sprintf("resubmit(,%d)", g.IntN(254)),
		))
	}
	// The switch refuses a second tag, and to take off one that is not there.
	switch g.IntN(4) {
	case 0:
		as = append(as, "push_vlan:0x8100,pop_vlan")
	case 1:
		as = append(as, fmt.Sprintf("push_vlan:0x8100,set_field:%d->vlan_vid,output:5", 0x1001+g.IntN(4094)))
	}
	if g.IntN(3) == 0 {
		as = append(as, fmt.Sprintf("goto_table:%d", 254))
	}
	return strings.Join(as, ",")
}

func TestChangesLeaveWhatOfctlLeaves(t *testing.T) {
	_, c := open(t)
	start := golden(t, "bridge")
	meters(t, c, 32)
	// The same changes once by us and once, for a word we do not know, by
	// ovs-ofctl.
	var got [2][]ovs.Flow
	for i, extra := range [][]string{nil, {"add table=250,actions=NORMAL", "delete table=250"}} {
		bundle(t, c, append([]string{"delete cookie=0/0"}, start...)...)
		bundle(t, c, append(golden(t, "changes"), extra...)...)
		got[i] = ok(c.DumpFlows(t.Context(), br, ""))(t)
		slices.SortFunc(got[i], func(a, b ovs.Flow) int {
			return strings.Compare(fmt.Sprint(a), fmt.Sprint(b))
		})
	}
	if diff := cmp.Diff(got[1], got[0]); diff != "" || len(got[0]) == 0 {
		t.Error(diff)
	}
}
