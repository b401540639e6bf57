package flow_test

import (
	"fmt"
	"maps"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/mosbridge/flow"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// port is endpoint i with one address of each family.
func port(i int) flow.Port {
	return flow.Port{
		Ofport: uint32(i), Object: uint32(i),
		MAC:  spec.MAC{0x02, 0, 0, 0, byte(i >> 8), byte(i)},
		IPv4: netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}),
		IPv6: netip.MustParseAddr(fmt.Sprintf("fd00:9::%x", i)),
	}
}

// bridge has three networks: with a router, in a VLAN of an uplink, and
// untagged on it with a router too.
func bridge() []flow.Network {
	limited, v4 := port(2), port(4)
	limited.MeterIn, limited.MeterOut = 21, 22
	v4.IPv6 = netip.Addr{}
	router := func(i uint32) *flow.Port {
		return &flow.Port{Ofport: i, MAC: spec.MAC{0x06, 0, 0, 0, 0, byte(i)}}
	}
	return []flow.Network{
		{Object: 1, Router: router(101), Ports: []flow.Port{port(1), limited}},
		{Object: 2, VLAN: 100, Uplink: 100, Ports: []flow.Port{port(3), v4}},
		{Object: 3, Uplink: 100, Router: router(103), Ports: []flow.Port{port(5)}},
	}
}

func TestPipelineOfThreeNetworks(t *testing.T) {
	testx.Golden(t, "bridge", strings.Join(flow.Full(7, bridge()), "\n")+"\n")
}

func TestChangesOfOneEndpoint(t *testing.T) {
	n := bridge()[1]
	p := n.Ports[1]
	without := n
	without.Ports = n.Ports[:1]
	var b strings.Builder
	for _, x := range []struct {
		title string
		lines []string
	}{
		{"attach", flow.Attach(7, n, p)},
		{"detach", flow.Detach(7, without, p)},
		{"remove network", flow.Remove(n)},
		{"sweep", flow.Sweep(7)},
	} {
		fmt.Fprintf(&b, "# %s\n%s\n", x.title, strings.Join(x.lines, "\n"))
	}
	testx.Golden(t, "changes", b.String())
}

func TestOpenVSwitchAcceptsEveryLine(t *testing.T) {
	testx.Need(t, testx.OVS)
	ns := bridge()
	lines := flow.Full(0xffff, ns)
	for i, l := range lines {
		lines[i] = strings.TrimPrefix(l, "add ") // parse-flows knows no verbs
	}
	cmd := exec.CommandContext(t.Context(), "ovs-ofctl", "-O", "OpenFlow14", "parse-flows", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got := strings.Count(string(out), "FLOW_MOD"); got != len(lines) {
		t.Errorf("got %d rules read, want %d", got, len(lines))
	}
}

func TestTablesAreInTheOrderOfTheirNumbers(t *testing.T) {
	known := map[uint8]bool{}
	last := -1
	for _, x := range flow.Tables() {
		if int(x.ID) <= last || x.Name == "" || x.Duty == "" {
			t.Errorf("table %d %q comes after %d", x.ID, x.Name, last)
		}
		last = int(x.ID)
		known[x.ID] = true
	}
	for _, n := range bridge() {
		for _, r := range slices.Concat(flow.Base(1), n.Rules(1), n.PortRules(1, n.Ports[0])) {
			if !known[r.Table] {
				t.Errorf("rule in table %d of no name: %s", r.Table, r)
			}
			if r.Cookie.Drops() != (r.Actions == "drop") {
				t.Errorf("cookie says drop %v: %s", r.Cookie.Drops(), r)
			}
		}
	}
}

// model is a flow table that understands the lines of bundles.
type model map[string]flow.Cookie

func (m model) apply(t interface{ Fatalf(string, ...any) }, lines []string) {
	for _, l := range lines {
		verb, rest, _ := strings.Cut(l, " ")
		var c, mask uint64
		switch verb {
		case "add":
			if _, err := fmt.Sscanf(rest, "cookie=0x%x,", &c); err != nil {
				t.Fatalf("%s: %v", l, err)
			}
			// Table, priority and match are what makes a rule one.
			_, rule, _ := strings.Cut(rest, ",")
			key, actions, _ := strings.Cut(rule, ",actions=")
			for k := range m {
				if strings.HasPrefix(k, key+" → ") {
					delete(m, k)
				}
			}
			m[key+" → "+actions] = flow.Cookie(c)
		case "delete":
			if _, err := fmt.Sscanf(rest, "cookie=0x%x/0x%x", &c, &mask); err != nil {
				t.Fatalf("%s: %v", l, err)
			}
			maps.DeleteFunc(m, func(_ string, k flow.Cookie) bool { return uint64(k)&mask == c })
		default:
			t.Fatalf("unknown line %q", l)
		}
	}
}

// TestChangesLeadWhereAReplayLeads walks at random through attaching,
// detaching, networks and replays, and compares with what a replay of the end
// puts in.
func TestChangesLeadWhereAReplayLeads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ns := bridge()
		for i := range ns {
			ns[i].Ports = nil
		}
		round := rapid.Uint16().Draw(t, "round")
		table := model{"foreign → normal": 0x1234}
		table.apply(t, flow.Full(round, ns))
		where := map[int]int{} // endpoint → network
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			i := rapid.IntRange(1, 9).Draw(t, "endpoint")
			at, attached := where[i]
			switch step := rapid.SampledFrom([]string{"attach", "detach", "change", "replay"}).Draw(t, "step"); {
			case step == "replay":
				round = rapid.Uint16().Draw(t, "round")
				table.apply(t, flow.Full(round, ns))
				table.apply(t, flow.Sweep(round))
			case step == "attach" && !attached:
				where[i] = rapid.IntRange(0, 2).Draw(t, "network")
				n := &ns[where[i]]
				n.Ports = append(n.Ports, port(i))
				table.apply(t, flow.Attach(round, *n, port(i)))
			case step == "detach" && attached:
				n := &ns[at]
				n.Ports = slices.DeleteFunc(slices.Clone(n.Ports), func(p flow.Port) bool { return p.Object == uint32(i) })
				table.apply(t, flow.Detach(round, *n, port(i)))
				delete(where, i)
			case step == "change" && attached:
				n := &ns[at]
				j := slices.IndexFunc(n.Ports, func(p flow.Port) bool { return p.Object == uint32(i) })
				n.Ports[j].MeterOut = uint32(rapid.IntRange(0, 3).Draw(t, "meter"))
				table.apply(t, flow.Attach(round, *n, n.Ports[j]))
			}
		}
		want := model{"foreign → normal": 0x1234}
		want.apply(t, flow.Full(round, ns))
		if diff := cmp.Diff(want, table); diff != "" {
			t.Fatalf("changes and replay differ (-replay +changes):\n%s", diff)
		}
	})
}

func TestRulesPerEndpointStayFew(t *testing.T) {
	n := bridge()[1]
	if got := len(n.PortRules(1, n.Ports[0])); got > 20 {
		t.Errorf("got %d rules for an endpoint with both families on an uplink, want 20 at most", got)
	}
}

func TestParseDumpReadsCountersAndRefusesNonsense(t *testing.T) {
	arp := flow.Base(7)[slices.IndexFunc(flow.Base(7), func(r flow.Rule) bool { return r.Match == "arp" })].Cookie.String()
	dump := `OFPST_FLOW reply (OF1.4) (xid=0x2):
 cookie=` + arp + `, duration=1.2s, table=10, n_packets=5, n_bytes=300, priority=10,arp actions=drop
 cookie=` + arp + `, duration=1.2s, table=10, n_packets=2, n_bytes=120, send_flow_rem priority=10,arp actions=drop
 cookie=0x0, duration=1.2s, table=0, n_packets=9, n_bytes=9, priority=0 actions=NORMAL
`
	stats, err := flow.ParseDump([]byte(dump))
	if err != nil || len(stats) != 3 {
		t.Fatalf("got %v, %v", stats, err)
	}
	if got := flow.DropCounts(stats); got["source_arp"] != 7 || got["tagged"] != 0 {
		t.Errorf("got %v, want 7 frames of source_arp", got)
	}
	if got := flow.Count(stats, 7); got != 2 {
		t.Errorf("got %d rules of round 7, want 2", got)
	}
	if _, err := flow.ParseDump([]byte(" cookie=zz, table=1, x\n")); err == nil {
		t.Error("a bad cookie passes")
	}
}

func FuzzParseDump(f *testing.F) {
	f.Add([]byte(" cookie=0x7244d00000000, table=10, n_packets=5, n_bytes=300, priority=10,arp actions=drop\n"))
	f.Fuzz(func(t *testing.T, out []byte) {
		stats, err := flow.ParseDump(out)
		if err == nil && len(stats) > 0 {
			flow.DropCounts(stats)
		}
	})
}
