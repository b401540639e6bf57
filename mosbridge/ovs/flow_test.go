package ovs_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/mosdocker/mosdocker/mosbridge/link"
	"github.com/mosdocker/mosdocker/mosbridge/ovs"
	"github.com/mosdocker/mosdocker/mosbridge/ovs/ovstest"
)

func bundle(tb testing.TB, c *ovs.Client, lines ...string) {
	tb.Helper()
	if err := c.Bundle(tb.Context(), br, lines); err != nil {
		tb.Fatal(err)
	}
}

func TestBundleIsAllOrNothing(t *testing.T) {
	_, c := open(t)
	bundle(t, c,
		"cookie=0x1, table=0,priority=100,in_port=1,ip,nw_dst=10.0.0.0/24 actions=goto_table:3",
		"add cookie=0x2,table=3,priority=0 actions=drop",
		"add cookie=0x10003,table=3,priority=7,arp actions=NORMAL",
	)
	want := []ovs.Flow{
		{Cookie: 1, Priority: 100, Match: "ip,in_port=1,nw_dst=10.0.0.0/24", Actions: "goto_table:3"},
		{Cookie: 0x10003, Table: 3, Priority: 7, Match: "arp", Actions: "NORMAL"},
		{Cookie: 2, Table: 3, Actions: "drop"},
	}
	if diff := cmp.Diff(want, ok(c.DumpFlows(t.Context(), br, ""))(t)); diff != "" {
		t.Error(diff)
	}
	if n := ok(c.CountFlows(t.Context(), br))(t); n != 3 {
		t.Errorf("got %d flows, want 3", n)
	}
	if diff := cmp.Diff(want[1:2], ok(c.DumpFlows(t.Context(), br, "cookie=0x10000/0x10000"))(t)); diff != "" {
		t.Error(diff)
	}
	// The second line is refused by the switch, not by the parser.
	err := c.Bundle(t.Context(), br, []string{"add table=9 actions=drop", "add table=9,priority=1 actions=group:77"})
	refused(t, "a group that is not there", err)
	if err := c.Bundle(t.Context(), br, []string{"add table=9 actions=drop", "add table=9,no_such=1 actions=drop"}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("got %v, want invalid argument", err)
	}
	if n := ok(c.CountFlows(t.Context(), br))(t); n != 3 {
		t.Errorf("after a failed bundle: got %d flows, want 3", n)
	}
	bundle(t, c, "delete cookie=0x10000/0x10000", "modify_strict cookie=0x2/-1,table=3,priority=0 actions=NORMAL", "delete_strict table=0,priority=100,in_port=1,ip,nw_dst=10.0.0.0/24")
	if diff := cmp.Diff([]ovs.Flow{{Cookie: 2, Table: 3, Actions: "NORMAL"}}, ok(c.DumpFlows(t.Context(), br, ""))(t)); diff != "" {
		t.Error(diff)
	}
	if err := c.Bundle(t.Context(), br, nil); err != nil {
		t.Error(err)
	}
	if err := c.Bundle(t.Context(), "nobr", []string{"actions=drop"}); !errdefs.IsUnavailable(err) {
		t.Errorf("got %v, want unavailable", err)
	}
	if _, err := c.CountFlows(t.Context(), "nobr"); !errdefs.IsUnavailable(err) {
		t.Errorf("got %v, want unavailable", err)
	}
}

func TestDiffFlowsSeesCookiesAndActions(t *testing.T) {
	_, c := open(t)
	want := []string{"cookie=0x1,table=1,priority=5,ip actions=drop", "cookie=0x2,table=2,priority=5,arp actions=NORMAL"}
	bundle(t, c, want...)
	for _, tt := range []struct {
		name           string
		want           []string
		missing, extra int
	}{
		{"same", want, 0, 0},
		{"missing", append([]string{"table=7 actions=drop"}, want...), 1, 0},
		{"extra", want[:1], 0, 1},
		{"cookie", []string{want[0], "cookie=0x3,table=2,priority=5,arp actions=NORMAL"}, 1, 1},
		{"actions", []string{want[0], "cookie=0x2,table=2,priority=5,arp actions=drop"}, 1, 1},
		{"none", nil, 0, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			missing, extra, err := c.DiffFlows(t.Context(), br, tt.want)
			if err != nil || len(missing) != tt.missing || len(extra) != tt.extra {
				t.Errorf("got missing %q, extra %q, %v; want %d and %d", missing, extra, err, tt.missing, tt.extra)
			}
		})
	}
	if _, _, err := c.DiffFlows(t.Context(), br, []string{"no_such=1 actions=drop"}); err == nil {
		t.Error("a wrong line passes")
	}
	if _, _, err := c.DiffFlows(t.Context(), "nobr", want); !errdefs.IsUnavailable(err) {
		t.Errorf("got %v, want unavailable", err)
	}
}

func TestMeters(t *testing.T) {
	s, c := open(t)
	ms := []ovs.Meter{{ID: 5, Kbps: 1000, Burst: 100}, {ID: 6, Kbps: 2000}}
	for range 2 {
		if err := c.SetMeters(t.Context(), br, ms...); err != nil {
			t.Fatal(err)
		}
		if got := ok(c.Meters(t.Context(), br))(t); len(got) != 2 || got[0] != ms[0] || got[1].Kbps != 2000 {
			t.Errorf("got %+v", got)
		}
	}
	if got := s.Ofctl("dump-meters", br); !strings.Contains(got, "meter=5 kbps burst bands=\ntype=drop rate=1000 burst_size=100") {
		t.Errorf("ovs-ofctl sees %s", got)
	}
	ms[0].Kbps = 3000
	if err := c.SetMeters(t.Context(), br, ms[0], ovs.Meter{ID: 7, Kbps: 1}); err != nil {
		t.Fatal(err)
	}
	if got := ok(c.Meters(t.Context(), br))(t); len(got) != 3 || got[0].Kbps != 3000 {
		t.Errorf("got %+v", got)
	}
	if err := c.SetMeters(t.Context(), br, ovs.Meter{ID: 0, Kbps: 1}); err == nil {
		t.Error("meter 0 passes")
	}
	for range 2 {
		if err := c.DelMeters(t.Context(), br, 5, 6, 7); err != nil {
			t.Fatal(err)
		}
	}
	if got := ok(c.Meters(t.Context(), br))(t); len(got) != 0 {
		t.Errorf("left %+v", got)
	}
	if err := c.SetMeters(t.Context(), "nobr", ms...); !errdefs.IsUnavailable(err) {
		t.Errorf("got %v, want unavailable", err)
	}
}

func TestManyMeters(t *testing.T) {
	_, c := open(t)
	var ms []ovs.Meter
	for i := range 2000 {
		ms = append(ms, ovs.Meter{ID: uint32(i + 1), Kbps: 1000, Burst: 100})
	}
	start := time.Now()
	if err := c.SetMeters(t.Context(), br, ms...); err != nil {
		t.Fatal(err)
	}
	t.Log("2000 meters took", time.Since(start))
	if diff := cmp.Diff(ms, ok(c.Meters(t.Context(), br))(t)); diff != "" {
		t.Error(diff)
	}
}

func TestTraceTellsTheActions(t *testing.T) {
	_, c := open(t)
	bundle(t, c, "table=0,in_port=77 actions=resubmit(,4)", "table=4 actions=output:78")
	name := pair(t, 1, false)
	ok(c.AddPort(t.Context(), ovs.Port{Bridge: br, Name: name, OfportRequest: 77}))(t)
	if got := ok(c.Trace(t.Context(), br, "in_port=77,icmp"))(t); !strings.Contains(got, "resubmit(,4)") || !strings.Contains(got, "Datapath actions:") {
		t.Errorf("got %s", got)
	}
	if _, err := c.Trace(t.Context(), br, "no_such=1"); !errdefs.IsInvalidArgument(err) {
		t.Errorf("got %v, want invalid argument", err)
	}
}

func TestWatchBridgeTellsOfARestartSoon(t *testing.T) {
	s, c := open(t)
	bundle(t, c, "table=0 actions=NORMAL")
	type seen struct {
		ovs.Event
		at time.Time
	}
	events := make(chan seen, 10)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- c.WatchBridge(ctx, br, func(e ovs.Event) { events <- seen{e, time.Now()} })
	}()
	next := func() seen {
		select {
		case e := <-events:
			return e
		case <-time.After(10 * time.Second):
			t.Fatal("no event")
			return seen{}
		}
	}
	if e := next(); !e.Up || !e.First || e.Bridge != br {
		t.Errorf("got %+v, want the first up", e)
	}
	for range 3 {
		killed := time.Now()
		s.KillSwitch()
		if e := next(); e.Up || e.at.Sub(killed) > 100*time.Millisecond {
			t.Errorf("got %+v after %s, want down within 100 ms", e, e.at.Sub(killed))
		}
		s.StartSwitch()
		e := next()
		if !e.Up {
			t.Errorf("got %+v, want up", e)
		}
		if n := ok(c.CountFlows(t.Context(), br))(t); n != 0 {
			t.Errorf("%d flows outlive a restart", n)
		}
		bundle(t, c, "table=0 actions=NORMAL")
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("the watch ended without a cause")
	}
	if len(events) != 0 {
		t.Errorf("%d events too many", len(events))
	}
}

func TestWatchDB(t *testing.T) {
	s := ovstest.Start(t, ovstest.Options{})
	c := client(t, s.RunDir)
	events := make(chan ovs.Event, 10)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.WatchDB(ctx, func(e ovs.Event) { events <- e }) }()
	want := []ovs.Event{{Up: true, First: true}, {Up: false}, {Up: true}}
	got := []ovs.Event{<-events}
	s.KillDB()
	got = append(got, <-events)
	s.StartDB()
	got = append(got, <-events)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	cancel()
	<-ended
}

func TestRestoreWaitHoldsOnlyTheNextStart(t *testing.T) {
	s, c := open(t)
	a, b := namespace(t, c, 1, true), namespace(t, c, 2, true)
	normal := func() { bundle(t, c, "table=0 actions=NORMAL") }
	normal()
	if !ok(c.ArmRestoreWait(t.Context()))(t) {
		t.Fatal("not armed, though all bridges are ours")
	}
	if !a.ping(b) {
		t.Error("arming stops the running switch")
	}
	s.KillSwitch()
	s.StartSwitch()
	normal()
	if a.ping(b) {
		t.Error("the switch decides before it is released")
	}
	if err := c.ReleaseRestoreWait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !a.ping(b) {
		t.Error("the switch still waits after its release")
	}
	if got := s.Vsctl("get", "open_vswitch", ".", "other_config:flow-restore-wait"); got != "\"true\"\n" {
		t.Errorf("not armed again: %s", got)
	}
	if err := c.DisarmRestoreWait(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.KillSwitch()
	s.StartSwitch()
	normal()
	if !a.ping(b) {
		t.Error("the switch waits though disarmed")
	}
}

// ns is a network namespace with one link on the bridge.
type ns struct {
	tb   testing.TB
	name string
	addr string
}

func namespace(tb testing.TB, c *ovs.Client, n int, off bool) ns {
	tb.Helper()
	port := pair(tb, n, off)
	ok(c.AddPort(tb.Context(), ovs.Port{Bridge: br, Name: port}))(tb)
	s := ns{tb: tb, name: fmt.Sprintf("mosns%d", n), addr: fmt.Sprintf("10.77.0.%d", n)}
	run(tb, "sh", "-c", fmt.Sprintf(`ip netns add %[1]s && ip link set mosc%[2]d netns %[1]s name eth0 &&
		ip -n %[1]s addr add %[3]s/24 dev eth0 && ip -n %[1]s link set eth0 up && ip -n %[1]s link set lo up`, s.name, n, s.addr))
	tb.Cleanup(func() {
		_, _ = output("ip", "netns", "del", s.name) // the test may have done so
		_ = link.Delete(context.Background(), port)
	})
	return s
}

// exec runs a command in the namespace and returns its exit code.
func (n ns) exec(argv ...string) (string, error) {
	return output(append([]string{"ip", "netns", "exec", n.name}, argv...)...)
}

func (n ns) ping(to ns) bool {
	_, err := n.exec("busybox", "ping", "-A", "-c", "3", "-w", "3", to.addr)
	return err == nil
}
