package place

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
)

const gib = 1 << 30

// machine is a host of 8 cores and 32 GiB with 1 TiB for volumes.
func machine(id HostID, change ...func(*Host)) Host {
	h := Host{ID: id, Capacity: Amounts{8000, 32 * gib, 1024 * gib}, Networks: map[string]string{"prod": "p"}}
	for _, c := range change {
		c(&h)
	}
	return h
}

func rack(room, rack string) func(*Host) { return func(h *Host) { h.Room, h.Rack = room, rack } }

func cluster(hosts ...Host) *Cluster {
	c := New(1)
	c.SetPool(Pool{"p", 1000})
	for _, h := range hosts {
		c.SetHost(h)
	}
	return c
}

func names(n int) []SetID {
	var ids []SetID
	for i := range n {
		ids = append(ids, SetID(fmt.Sprintf("s%03d", i)))
	}
	return ids
}

func must(t *testing.T, c *Cluster, a *Ask, ids ...SetID) []HostID {
	t.Helper()
	if err := a.Check(); err != nil {
		t.Fatal(err)
	}
	placed, err := c.Place(a, ids...)
	if err != nil {
		t.Fatal(err)
	}
	var hosts []HostID
	for _, p := range placed {
		hosts = append(hosts, p.Host)
	}
	return hosts
}

// refused is the explanation of why the first set of an ask has no host.
func refused(t *testing.T, c *Cluster, a *Ask, id SetID) Explanation {
	t.Helper()
	_, err := c.Place(a, id)
	if r := (*RefusedError)(nil); errors.As(err, &r) && errdefs.IsResourceExhausted(err) {
		return r.Why
	}
	t.Fatalf("got %v, want a refusal", err)
	return Explanation{}
}

func TestLifeOfASet(t *testing.T) {
	c := cluster(machine("a"), machine("b", func(h *Host) { h.State = Cordoned }))
	a := &Ask{Service: "web", Amounts: Amounts{4000, 8 * gib, 0}}
	if got := must(t, c, a, "web-1", "web-2"); !slices.Equal(got, []HostID{"a", "a"}) {
		t.Errorf("placed on %v, want a twice", got)
	}
	why := refused(t, c, a, "web-3")
	want := "0 of 2 hosts fit: state rejects 1 (as b: the host is cordoned), CPU rejects 1 (4 needed, at most 0 free where nothing else lacks)"
	if got := why.String(); got != want {
		t.Errorf("explained\n%s, want\n%s", got, want)
	}
	c.Remove("web-1")
	must(t, c, a, "web-3")
	if got := c.Sets("a"); !slices.Equal(got, []SetID{"web-2", "web-3"}) {
		t.Errorf("host a has %v", got)
	}
	if gone := c.RemoveHost("a"); len(gone) != 2 {
		t.Errorf("with host a went %v, want two sets", gone)
	}
	if _, ok := c.Where("web-2"); ok {
		t.Error("web-2 is still somewhere")
	}
	if len(c.services) != 0 || len(c.fixed) != 0 || len(c.volumes) != 0 {
		t.Errorf("left over: %v %v %v", c.services, c.fixed, c.volumes)
	}
}

// change is of a host and an ask.
type change struct {
	host func(*Host)
	ask  func(*Ask)
}

func TestEachFilterAloneAndInPairsNamesAllReasons(t *testing.T) {
	addr := netip.MustParseAddr("10.0.0.9")
	far := machine("far", func(h *Host) { h.Volumes = []string{"v"}; h.Capacity = Amounts{}; h.State = Lost; h.Room = "away" })
	cases := []struct {
		filter Filter
		change
		text string
	}{
		{FilterState, change{host: func(h *Host) { h.State = Suspect }}, "the host is suspect"},
		{FilterTaint, change{host: func(h *Host) { h.Taints = []Taint{{"gpu", "yes", false}} }}, "the taint gpu=yes is not tolerated"},
		{
			FilterConstraint,
			change{
				func(h *Host) { h.Labels = map[string]string{"disk": "hdd"} },
				func(a *Ask) { a.Constraints = []Constraint{{"disk", In, []string{"ssd"}}} },
			},
			"disk in ssd: the host has hdd",
		},
		{FilterVolume, change{ask: func(a *Ask) { a.Volumes = []string{"v"} }}, "volume v is on another host"},
		{FilterNetwork, change{ask: func(a *Ask) { a.Networks = append(a.Networks, Need{Network: "lab"}) }}, "network lab does not reach the host"},
		{FilterAddress, change{ask: func(a *Ask) { a.Networks = append(a.Networks, Need{"prod", addr}) }}, "address 10.0.0.9 of network prod is held by set old"},
		{FilterPort, change{func(h *Host) { h.Ports = []Port{{Protocol: "tcp", Number: 80}} }, func(a *Ask) { a.Ports = []Port{{Protocol: "tcp", Number: 80}} }}, "port 80/tcp is held by the host, outside of the cluster's sets"},
		{FilterCPU, change{ask: func(a *Ask) { a.Amounts[CPU] = 9000 }}, "9 needed, 8 of 8 free"},
		{FilterMemory, change{ask: func(a *Ask) { a.Amounts[Memory] = 40 * gib }}, "40 GiB needed, 32 GiB of 32 GiB free"},
		{FilterDisk, change{ask: func(a *Ask) { a.Amounts[Disk] = 2048 * gib }}, "2 TiB needed, 1 TiB of 1 TiB free"},
		{FilterSpread, change{ask: func(a *Ask) { a.Spread = []Spread{{LevelRoom, 1, 0}} }}, "its host, rack or room has more sets of web than MaxSkew allows"},
		{FilterAffinity, change{ask: func(a *Ask) { a.Affinities = []Affinity{{"old", LevelRoom, true, true, 0}} }}, "a hard affinity of the set, or of a set that is there, is not met"},
	}
	if len(cases) != int(filters) {
		t.Fatalf("%d filters are tried, there are %d", len(cases), filters)
	}
	for i, one := range cases {
		for _, two := range cases[i:] {
			h := machine("h")
			a := &Ask{Service: "web", Amounts: Amounts{1000, gib, gib}}
			for k, x := range []change{one.change, two.change} {
				if x.host != nil {
					x.host(&h)
				}
				if x.ask != nil && (k == 0 || one.filter != two.filter) {
					x.ask(a)
				}
			}
			c := cluster(h, far, machine("spare", rack("other", ""), func(h *Host) {
				h.Networks, h.Capacity = nil, Amounts{}
			}))
			for id, on := range map[SetID]HostID{"old": "h", "w": "h"} {
				service := ServiceID("old")
				if id == "w" {
					service = "web"
				}
				o := &Ask{Service: service}
				if id == "old" {
					o.Networks = []Need{{"prod", addr}}
				}
				if err := c.Add(id, o, on); err != nil {
					t.Fatal(err)
				}
			}
			v, err := c.Why(a, "h")
			if err != nil {
				t.Fatal(err)
			}
			want := []Reason{{one.filter, one.text}}
			if two.filter != one.filter {
				want = append(want, Reason{two.filter, two.text})
			}
			skewed := one.filter == FilterSpread || two.filter == FilterSpread
			if d := cmp.Diff(want, v.Reasons); d != "" && (!skewed || !skewless(want, v.Reasons)) {
				t.Errorf("%v and %v (-want +got):\n%s", one.filter, two.filter, d)
			}
			if e := refused(t, c, a, "new"); e.Fit != 0 || e.Hosts != 3 {
				t.Errorf("%v and %v: %v", one.filter, two.filter, e)
			}
		}
	}
}

// skewless says whether reasons are as wanted but for the skew: where a filter closes
// every other room too, there is none to be behind.
func skewless(want, got []Reason) bool {
	not := func(r Reason) bool { return r.Filter == FilterSpread }
	return slices.Equal(slices.DeleteFunc(slices.Clone(want), not), slices.DeleteFunc(slices.Clone(got), not))
}

func TestOvercommitIsPerResource(t *testing.T) {
	c := cluster(machine("a", func(h *Host) { h.Overcommit = Amounts{200, 0, 0} }))
	a := &Ask{Amounts: Amounts{4000, gib, 0}}
	must(t, c, a, names(4)...)
	if e := refused(t, c, a, "x"); len(e.Counts) != 1 || e.Counts[0].Filter != FilterCPU {
		t.Errorf("refused with %v, want CPU", e)
	}
	if got := must(t, c, &Ask{Amounts: Amounts{0, 28 * gib, 0}}, "m"); got[0] != "a" {
		t.Errorf("memory to 100 %%: placed on %v", got)
	}
	refused(t, c, &Ask{Amounts: Amounts{0, gib, 0}}, "y")
}

func TestSpreadOverRoomsAndRacks(t *testing.T) {
	var hosts []Host
	for room := range 3 {
		for r := range 2 {
			for h := range 4 {
				hosts = append(hosts, machine(HostID(fmt.Sprintf("%d-%d-%d", room, r, h)), rack(strconv.Itoa(room), strconv.Itoa(r))))
			}
		}
	}
	c := cluster(hosts...)
	a := &Ask{
		Service: "web", Amounts: Amounts{1000, gib, 0}, Spread: []Spread{{LevelRoom, 1, 0}, {LevelRack, 0, 20}},
		Affinities: []Affinity{{"web", LevelHost, true, true, 0}},
	}
	got := must(t, c, a, names(12)...)
	rooms, racks, each := map[string]int{}, map[string]int{}, map[HostID]int{}
	for _, h := range got {
		p := strings.Split(string(h), "-")
		rooms[p[0]]++
		racks[p[0]+p[1]]++
		each[h]++
	}
	if len(rooms) != 3 || rooms["0"] != 4 || rooms["1"] != 4 {
		t.Errorf("rooms have %v, want 4 each", rooms)
	}
	if len(racks) != 6 || racks["00"] != 2 {
		t.Errorf("racks have %v, want 2 each", racks)
	}
	if len(each) != 12 {
		t.Errorf("%d hosts have them, want 12", len(each))
	}
}

func TestAntiAffinityHoldsBothWays(t *testing.T) {
	c := cluster(machine("a"), machine("b"))
	shy := &Ask{Service: "shy", Affinities: []Affinity{{"loud", LevelHost, true, true, 0}}}
	on := must(t, c, shy, "shy-1")[0]
	for i, h := range must(t, c, &Ask{Service: "loud", Amounts: Amounts{1000}}, names(4)...) {
		if h == on {
			t.Errorf("set %d of loud is on %s beside shy", i, h)
		}
	}
	refused(t, c, shy.with(func(a *Ask) { a.Constraints = []Constraint{{"host", NotIn, []string{string(on)}}} }), "shy-2")
}

func (a *Ask) with(change func(*Ask)) *Ask {
	b := *a
	change(&b)
	return &b
}

func TestHardAffinityFollows(t *testing.T) {
	c := cluster(machine("a", rack("r", "1")), machine("b", rack("r", "1")), machine("c", rack("r", "2")))
	near := &Ask{Service: "cache", Affinities: []Affinity{{"web", LevelHost, false, true, 0}}}
	refused(t, c, near, "early")
	web := must(t, c, &Ask{Service: "web", Amounts: Amounts{CPU: 1000}}, "web-1")[0]
	if got := must(t, c, near, "cache-1")[0]; got != web {
		t.Errorf("cache is on %s, web on %s", got, web)
	}
	self := &Ask{Service: "pack", Amounts: Amounts{CPU: 3000}, Affinities: []Affinity{{"pack", LevelRack, false, true, 0}}}
	got := must(t, c, self, "p1", "p2")
	if c.hosts[got[0]].Rack != c.hosts[got[1]].Rack {
		t.Errorf("pack is on %v, want one rack", got)
	}
}

func TestAddressesPortsAndVolumesAreGivenOnce(t *testing.T) {
	c := cluster(machine("a", func(h *Host) { h.Volumes = []string{"data"} }), machine("b"))
	c.SetPool(Pool{"p", 3})
	fixed := &Ask{Networks: []Need{{"prod", netip.MustParseAddr("10.0.0.7")}}}
	must(t, c, fixed, "f1")
	if e := refused(t, c, fixed, "f2"); e.Counts[0].Filter != FilterAddress || e.Counts[0].Rejects != 2 {
		t.Errorf("the second with the address: %v", e)
	}
	dynamic := &Ask{Networks: []Need{{Network: "prod"}}}
	must(t, c, dynamic, names(3)...)
	refused(t, c, dynamic, "fourth")
	c.Remove("s001")
	must(t, c, dynamic, "fourth")
	port := &Ask{Ports: []Port{{Protocol: "tcp", Number: 80}}}
	if got := must(t, c, port, "w1", "w2"); got[0] == got[1] {
		t.Errorf("port 80 of %s is given twice", got[0])
	}
	refused(t, c, port, "w3")
	sticky := &Ask{Volumes: []string{"data"}}
	if got := must(t, c, sticky, "db"); got[0] != "a" {
		t.Errorf("the set with the volume is on %s", got[0])
	}
	refused(t, c, sticky, "db2")
	c.Remove("db")
	must(t, c, sticky, "db2")
}

func TestImagesAndPreferencesDrawTheSet(t *testing.T) {
	c := cluster(machine("a"), machine("b", func(h *Host) { h.Layers = []LayerID{1} }), machine("c"),
		machine("d", func(h *Host) { h.Labels = map[string]string{"disk": "ssd", "engine": "29.1.0"} }))
	a := &Ask{Layers: []Layer{{ID: 1, Image: 7, Bytes: 2 * gib}, {ID: 2, Image: 8, Bytes: 1 << 20}}}
	if got := must(t, c, a, "1")[0]; got != "b" {
		t.Errorf("the set is on %s, not where its image is", got)
	}
	pulls := func(host HostID, want int64) {
		t.Helper()
		if v, err := c.Why(a, host); err != nil || v.Pull != want {
			t.Errorf("%s would pull %d bytes, want %d; %v", host, v.Pull, want, err)
		}
	}
	pulls("b", 1<<20)
	pulls("c", 2*gib+1<<20)
	named := machine("c")
	named.Layers = []LayerID{7} // the image by its name, of other layers
	c.SetHost(named)
	pulls("c", 1<<20)
	a = a.with(func(a *Ask) { a.Preferences = []Preference{{Constraint{"engine", Above, []string{"20.10"}}, 5}} })
	if got := must(t, c, a, "2")[0]; got != "d" {
		t.Errorf("the set is on %s, not where it prefers to be", got)
	}
}

func TestPreemptionNamesTheFewestOfTheLowest(t *testing.T) {
	c := cluster(machine("a"), machine("b"))
	add := func(id SetID, on HostID, priority int, cores int64, yields bool) {
		t.Helper()
		if err := c.Add(id, &Ask{Priority: priority, Preemptible: yields, Amounts: Amounts{CPU: cores * 1000}}, on); err != nil {
			t.Fatal(err)
		}
	}
	add("a-firm", "a", 0, 4, false)
	add("a-mid", "a", 5, 4, true)
	add("b-low", "b", 1, 2, true)
	add("b-low2", "b", 1, 2, true)
	add("b-mid", "b", 5, 4, true)
	a := &Ask{Priority: 9, Preempts: true, Amounts: Amounts{CPU: 4000}}
	e := refused(t, c, a, "x")
	if d := cmp.Diff(&Preemption{"b", []SetID{"b-low", "b-low2"}}, e.Preemption); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if e := refused(t, c, a.with(func(a *Ask) { a.Priority = 1 }), "x"); e.Preemption != nil {
		t.Errorf("of equal priority: %v", e.Preemption)
	}
	for _, v := range e.Preemption.Victims {
		c.Remove(v)
	}
	if got := must(t, c, a, "x")[0]; got != "b" {
		t.Errorf("placed on %s after the victims went", got)
	}
}

func TestHoldsKeepTheirPlaceUntilTheyEnd(t *testing.T) {
	c := cluster(machine("a"))
	now := time.Unix(1000, 0)
	all := &Ask{Amounts: Amounts{CPU: 8000}}
	if _, err := c.Hold(all, "hold", now.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	refused(t, c, all, "x")
	if over := c.Clone().Expire(now.Add(time.Minute)); !slices.Equal(over, []SetID{"hold"}) {
		t.Errorf("over are %v", over)
	}
	if over := c.Expire(now); len(over) != 0 {
		t.Errorf("over too soon: %v", over)
	}
	if on, err := c.Redeem("hold", "x"); err != nil || on != "a" {
		t.Errorf("redeemed on %q, %v", on, err)
	}
	if _, err := c.Redeem("hold", "y"); !errdefs.IsNotFound(err) {
		t.Errorf("redeemed twice: %v", err)
	}
	if over := c.Expire(now.Add(time.Hour)); len(over) != 0 {
		t.Errorf("a set ended like a hold: %v", over)
	}
}

func TestCheckNamesTheField(t *testing.T) {
	a := &Ask{
		Amounts:     Amounts{CPU: -1},
		Networks:    []Need{{}, {Network: "n"}, {Network: "n"}},
		Ports:       []Port{{Protocol: "sctp", Number: 1}, {Protocol: "tcp", Number: 80}, {Protocol: "tcp", Number: 80}},
		Constraints: []Constraint{{"disk", In, []string{"ssd", "x"}}, {"disk", In, []string{"hdd"}}, {"k", "like", nil}},
		Spread:      []Spread{{9, 1, 0}, {LevelHost, 0, 101}},
		Affinities:  []Affinity{{"", LevelHost, true, true, 0}, {"w", LevelHost, false, true, 0}, {"w", LevelRack, true, true, 0}},
	}
	err := a.Check()
	if !errdefs.IsInvalidArgument(err) {
		t.Fatal(err)
	}
	var fields []string
	for line := range strings.Lines(err.Error()) {
		fields = append(fields, line[:strings.IndexByte(line, ':')])
	}
	want := []string{
		"Amounts", "Networks[0]", "Networks[2]", "Ports[0]", "Ports[2]", "Constraints[2]", "Constraints",
		"Spread[0]", "Spread[1]", "Spread[1]", "Affinities[0]", "Affinities[1]",
	}
	if d := cmp.Diff(want, fields); d != "" {
		t.Errorf("(-want +got):\n%s\n%v", d, err)
	}
}

func TestAHostThatIsEmptierIsWorse(t *testing.T) {
	c := cluster(machine("a"), machine("b"))
	for id, on := range map[SetID]HostID{"a1": "a", "a2": "a", "b1": "b"} {
		if err := c.Add(id, &Ask{Amounts: Amounts{CPU: 1000}}, on); err != nil {
			t.Fatal(err)
		}
	}
	small := &Ask{Amounts: Amounts{CPU: 100}}
	if got := must(t, c, small, "1")[0]; got != "a" {
		t.Errorf("placed on %s, not on the fuller host", got)
	}
	for _, id := range []SetID{"a1", "a2", "1"} {
		c.Remove(id)
	}
	if got := must(t, c, small, "2")[0]; got != "b" {
		t.Errorf("placed on %s, not on the host that is fuller by then", got)
	}
}

// TestPortsOfOthersAtAnAddress: as Engines have it (setmgr/docker, TestImagesAndPortsOfAHost). The set
// is booked by the port alone.
func TestPortsOfOthersAtAnAddress(t *testing.T) {
	at := func(s string) netip.Addr {
		a, _ := netip.ParseAddr(s) // none is all
		return a
	}
	clash := map[[2]string]bool{
		{"", ""}: true, {"", "10.0.0.1"}: true, {"", "::1"}: true, {"0.0.0.0", "10.0.0.1"}: true, {"0.0.0.0", "::1"}: false, {"0.0.0.0", "::"}: false,
		{"::", "::1"}: true, {"10.0.0.1", "10.0.0.1"}: true, {"10.0.0.1", "10.0.0.2"}: false, {"127.0.0.1", "::1"}: false,
	}
	for of, want := range clash {
		for range 2 {
			c := cluster(machine("h", func(h *Host) {
				h.Ports = []Port{{"udp", 80, at(of[0])}, {"tcp", 81, at(of[0])}, {"tcp", 80, at(of[0])}}
			}))
			a := &Ask{Ports: []Port{{"tcp", 80, at(of[1])}}}
			v, err := c.Why(a, "h")
			if err != nil || (len(v.Reasons) > 0) != want {
				t.Errorf("port 80 at %q, where others have it at %q: %+v, want it refused: %v; %v", of[1], of[0], v.Reasons, want, err)
			}
			if !want {
				must(t, c, a, "one")
				refused(t, c, &Ask{Ports: []Port{{"tcp", 80, at("10.9.9.9")}}}, "two")
			}
			slices.Reverse(of[:])
		}
	}
}
