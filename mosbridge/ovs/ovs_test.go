package ovs_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/internal/xexec"
	"github.com/mosdocker/mosdocker/mosbridge/link"
	"github.com/mosdocker/mosdocker/mosbridge/ovs"
	"github.com/mosdocker/mosdocker/mosbridge/ovs/ovstest"
)

func TestMain(m *testing.M) { os.Exit(ovstest.Main(m)) }

const br = "mosbrt"

func client(tb testing.TB, dir string) *ovs.Client {
	tb.Helper()
	c, err := ovs.New(ovs.Config{Runner: xexec.Host{}, Log: testx.Logger(tb), RunDir: dir})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// open starts a private Open vSwitch with one bridge.
func open(tb testing.TB) (*ovstest.OVS, *ovs.Client) {
	tb.Helper()
	s := ovstest.Start(tb, ovstest.Options{})
	c := client(tb, s.RunDir)
	if _, err := c.EnsureBridge(tb.Context(), ovs.Bridge{Name: br, Datapath: ovs.Userspace}); err != nil {
		tb.Fatal(err)
	}
	return s, c
}

func run(tb testing.TB, argv ...string) string {
	tb.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		tb.Fatalf("%s: %v: %s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}

// pair makes the link "mosp<n>" with its peer.
func pair(tb testing.TB, n int, txOff bool) string {
	tb.Helper()
	name := fmt.Sprintf("mosp%d", n)
	if err := link.CreateVeth(tb.Context(), link.Veth{Name: name, Peer: fmt.Sprintf("mosc%d", n), TxOff: txOff}); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = link.Delete(context.Background(), name) })
	return name
}

// ok ends the test at an error, and else passes the value on.
func ok[T any](v T, err error) func(tb testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

func TestLifeOfABridge(t *testing.T) {
	s := ovstest.Start(t, ovstest.Options{})
	c := client(t, s.RunDir)
	b := ok(c.EnsureBridge(t.Context(), ovs.Bridge{Name: br, ExternalIDs: map[string]string{"mos:x": "1"}}))(t)
	best := ok(c.Datapaths(t.Context()))(t).Choose()
	want := ovs.Bridge{Name: br, Datapath: best, Ours: true, ExternalIDs: map[string]string{"mos:x": "1", "mos:owner": "mosbridge"}}
	if diff := cmp.Diff(want, b); diff != "" {
		t.Error(diff)
	}
	if got := s.Vsctl("get", "bridge", br, "fail_mode", "other_config:disable-in-band"); got != "secure\n\"true\"\n" {
		t.Errorf("got settings %q", got)
	}
	s.Vsctl("set", "bridge", br, "fail_mode=standalone")
	if _, err := c.EnsureBridge(t.Context(), ovs.Bridge{Name: br, ExternalIDs: map[string]string{"mos:x": "1"}}); err != nil {
		t.Fatal(err)
	}
	if got := s.Vsctl("get", "bridge", br, "fail_mode"); got != "secure\n" {
		t.Errorf("fail_mode is not repaired: %q", got)
	}
	if got := ok(c.Bridges(t.Context()))(t); !cmp.Equal(got, []ovs.Bridge{want}) {
		t.Errorf("got %+v", got)
	}
	if n := ok(c.CountFlows(t.Context(), br))(t); n != 0 {
		t.Errorf("a secure bridge has %d flows", n)
	}
	for range 2 {
		if err := c.DeleteBridge(t.Context(), br); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.Vsctl("list-br"); got != "" {
		t.Errorf("left bridges %s", got)
	}
	if ls := ok(link.List(t.Context(), br))(t); len(ls) != 0 {
		t.Errorf("left links %v", ls)
	}
}

func TestBridgeOfAnotherOwnerIsLeftAlone(t *testing.T) {
	s := ovstest.Start(t, ovstest.Options{})
	c := client(t, s.RunDir)
	s.Vsctl("add-br", "other", "--", "set", "bridge", "other", "datapath_type=netdev")
	s.Vsctl("add-port", "other", "p9", "--", "set", "interface", "p9", "type=internal")
	before := s.Vsctl("list", "bridge", "other")
	_, err := c.EnsureBridge(t.Context(), ovs.Bridge{Name: "other"})
	refused(t, "ensure", err)
	refused(t, "delete", c.DeleteBridge(t.Context(), "other"))
	_, err = c.AddPort(t.Context(), ovs.Port{Bridge: "other", Name: pair(t, 1, false)})
	refused(t, "add port", err)
	refused(t, "delete port", c.DelPort(t.Context(), "p9"))
	refused(t, "set ids", c.SetExternalIDs(t.Context(), "p9", map[string]string{"a": "b"}))
	if diff := cmp.Diff(before, s.Vsctl("list", "bridge", "other")); diff != "" {
		t.Error(diff)
	}
	if _, err = c.EnsureBridge(t.Context(), ovs.Bridge{Name: br, Datapath: ovs.Userspace}); err != nil {
		t.Fatal(err)
	}
	_, err = c.EnsureBridge(t.Context(), ovs.Bridge{Name: br, Datapath: ovs.Kernel})
	refused(t, "other datapath", err)
	_, err = c.AddPort(t.Context(), ovs.Port{Bridge: br, Name: "p9", Type: "internal"})
	refused(t, "take a port over", err)
	if armed := ok(c.ArmRestoreWait(t.Context()))(t); armed {
		t.Error("armed, though a bridge of another owner would wait too")
	}
}

func refused(tb testing.TB, what string, err error) {
	tb.Helper()
	if !errdefs.IsFailedPrecondition(err) {
		tb.Errorf("%s: got %v, want a refusal", what, err)
	}
}

func TestBridgeThatCannotBeMadeIsTakenBack(t *testing.T) {
	s := ovstest.Start(t, ovstest.Options{})
	c := client(t, s.RunDir)
	if ok(c.Datapaths(t.Context()))(t).Kernel {
		t.Skip("the kernel has Open vSwitch")
	}
	_, err := c.EnsureBridge(t.Context(), ovs.Bridge{Name: br, Datapath: ovs.Kernel})
	if !errdefs.IsFailedPrecondition(err) && !errdefs.IsUnavailable(err) {
		t.Errorf("got %v", err)
	}
	t.Log(err)
	if got := s.Vsctl("list-br"); got != "" {
		t.Errorf("left %s", got)
	}
}

func index(tb testing.TB, name string) string {
	tb.Helper()
	return strconv.Itoa(ok(link.List(tb.Context(), name))(tb)[0].Index)
}

func TestLifeOfAPort(t *testing.T) {
	s, c := open(t)
	name := pair(t, 1, false)
	p := ovs.Port{Bridge: br, Name: name, OfportRequest: 77, Transient: true, ExternalIDs: map[string]string{"mos:endpoint": "e1"}}
	for range 2 {
		if n := ok(c.AddPort(t.Context(), p))(t); n != 77 {
			t.Errorf("got number %d, want 77", n)
		}
	}
	got := ok(c.Ports(t.Context(), br))(t)
	want := []ovs.PortState{{
		Name: name, Bridge: br, Ours: true, Ofport: 77, MTU: 1500,
		ExternalIDs: map[string]string{"mos:endpoint": "e1", "mos:owner": "mosbridge", "mos:ifindex": index(t, name)},
	}}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(ovs.PortState{}, "Stats", "MAC", "LinkUp")); diff != "" {
		t.Error(diff)
	}
	if got := s.Vsctl("get", "port", name, "other_config:transient"); got != "\"true\"\n" {
		t.Errorf("got transient %s", got)
	}
	if err := c.SetExternalIDs(t.Context(), name, map[string]string{"mos:container": "web", "mos:endpoint": ""}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"mos:container": "web", "mos:owner": "mosbridge", "mos:ifindex": index(t, name)}, ok(c.Ports(t.Context(), ""))(t)[0].ExternalIDs); diff != "" {
		t.Error(diff)
	}
	for range 2 {
		if err := c.DelPort(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.Vsctl("list-ports", br) + s.Vsctl("--bare", "--columns=name", "find", "interface", "name="+name); got != "" {
		t.Errorf("left ports %s", got)
	}
	if err := c.SetExternalIDs(t.Context(), name, map[string]string{"a": "b"}); !errdefs.IsNotFound(err) {
		t.Errorf("got %v, want not found", err)
	}
}

func TestAddPortRepairsAPortOfOurs(t *testing.T) {
	s, c := open(t)
	if _, err := c.EnsureBridge(t.Context(), ovs.Bridge{Name: "mosbru", Datapath: ovs.Userspace}); err != nil {
		t.Fatal(err)
	}
	name := pair(t, 1, false)
	ok(c.AddPort(t.Context(), ovs.Port{Bridge: "mosbru", Name: name}))(t)
	p := ovs.Port{Bridge: br, Name: name, ExternalIDs: map[string]string{"a": "b"}}
	ok(c.AddPort(t.Context(), p))(t)
	if got := s.Vsctl("port-to-br", name); got != br+"\n" {
		t.Errorf("the port is on %s, want %s", got, br)
	}
	// A link that was made again in the port's back.
	if err := link.Delete(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	pair(t, 1, false)
	ok(c.AddPort(t.Context(), p))(t)
	if got := s.Vsctl("get", "interface", name, "ifindex"); got != index(t, name)+"\n" {
		t.Errorf("ovs-vswitchd holds link %s, want %s", got, index(t, name))
	}
	if got := ok(c.Ports(t.Context(), br))(t); len(got) != 1 || got[0].Error != "" || got[0].ExternalIDs["a"] != "b" {
		t.Errorf("got %+v", got)
	}
}

func TestAddPortLeavesNothingAfterARefusal(t *testing.T) {
	s, c := open(t)
	_, err := c.AddPort(t.Context(), ovs.Port{Bridge: br, Name: "nolink"})
	refused(t, "missing link", err)
	if err == nil || !strings.Contains(err.Error(), "No such device") {
		t.Errorf("got %v, want ovs-vswitchd's reason", err)
	}
	if _, err := c.AddPort(t.Context(), ovs.Port{Bridge: "nobr", Name: pair(t, 1, false)}); !errdefs.IsNotFound(err) {
		t.Errorf("got %v, want not found", err)
	}
	s.KillSwitch()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := c.AddPort(ctx, ovs.Port{Bridge: br, Name: pair(t, 2, false)}); !errdefs.IsUnavailable(err) {
		t.Errorf("got %v, want unavailable", err)
	}
	if got := s.Vsctl("--no-wait", "list-ports", br); got != "" {
		t.Errorf("left ports %s", got)
	}
}

func TestParallelAddPortAndDelPort(t *testing.T) {
	s, c := open(t)
	const n = 8
	names := make([]string, n)
	for i := range n {
		names[i] = pair(t, i, false)
	}
	type result struct {
		n    uint32
		took time.Duration
		err  error
	}
	results := make(chan result, n)
	for i := range n {
		go func() {
			start := time.Now()
			got, err := c.AddPort(t.Context(), ovs.Port{Bridge: br, Name: names[i], OfportRequest: uint32(100 + i)})
			results <- result{got, time.Since(start), err}
		}()
	}
	seen := map[uint32]bool{}
	for range n {
		r := <-results
		if r.err != nil {
			t.Error(r.err)
		}
		seen[r.n] = true
		t.Log("one of 8 parallel AddPort took ", r.took)
	}
	for i := range n {
		if !seen[uint32(100+i)] {
			t.Errorf("number %d was not given", 100+i)
		}
	}
	errs := make(chan error, n)
	for _, name := range names {
		go func() { errs <- c.DelPort(t.Context(), name) }()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got := s.Vsctl("list-ports", br); got != "" {
		t.Errorf("left %s", got)
	}
}

func TestDatabaseDownIsSaidSoonAndBackIsSeen(t *testing.T) {
	dir := t.TempDir()
	c := client(t, dir)
	start := time.Now()
	err := c.Ping(t.Context())
	if !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "start openvswitch-switch") || time.Since(start) > time.Second {
		t.Errorf("got %v after %s", err, time.Since(start))
	}
	s := ovstest.Start(t, ovstest.Options{})
	c = client(t, s.RunDir)
	for range 3 {
		if err := c.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.KillDB()
		if _, err := c.Bridges(t.Context()); !errdefs.IsUnavailable(err) {
			t.Errorf("got %v, want unavailable", err)
		}
		s.StartDB()
		if _, err := c.EnsureBridge(t.Context(), ovs.Bridge{Name: br}); err != nil {
			t.Errorf("after the return: %v", err)
		}
	}
}

func TestDatabaseKilledInTheMiddleLosesNoCall(t *testing.T) {
	s, c := open(t)
	name := pair(t, 1, false)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 3 {
			time.Sleep(1500 * time.Millisecond) // ovs-vswitchd takes 1 s to come back
			s.KillDB()
			s.StartDB()
		}
	}()
	var calls, bad int
	for running := true; running; calls++ {
		select {
		case <-done:
			running = false
		default:
		}
		if _, err := c.AddPort(t.Context(), ovs.Port{Bridge: br, Name: name}); err != nil {
			if !errdefs.IsUnavailable(err) {
				t.Error("add:", err)
			}
			bad++
		}
		if err := c.DelPort(t.Context(), name); err != nil && !errdefs.IsUnavailable(err) {
			t.Error("delete:", err)
		}
	}
	t.Logf("%d of %d calls found the database away", bad, calls)
	if calls-bad < 20 {
		t.Error("too few calls met a running database to show anything")
	}
	ok(c.AddPort(t.Context(), ovs.Port{Bridge: br, Name: name}))(t)
	if err := c.DelPort(t.Context(), name); err != nil {
		t.Error(err)
	}
	if got := ok(c.Ports(t.Context(), ""))(t); len(got) != 0 {
		t.Errorf("left %+v", got)
	}
}

func TestPortWithARemadeLinkPassesTraffic(t *testing.T) {
	_, c := open(t)
	bundle(t, c, "table=0 actions=NORMAL")
	a, b := namespace(t, c, 1, true), namespace(t, c, 2, true)
	if !a.ping(b) {
		t.Fatal("ping does not pass")
	}
	fault := func() string { return ok(c.Ports(t.Context(), br))(t)[0].Error }
	if got := fault(); got != "" {
		t.Errorf("got fault %q of a good port", got)
	}
	run(t, "ip", "link", "del", "mosp1")
	run(t, "ip", "netns", "del", a.name)
	if fault() == "" {
		t.Error("a port without its link has no fault")
	}
	pair(t, 1, true)
	time.Sleep(300 * time.Millisecond) // ovs-vswitchd sees it, and reports its index
	if fault() == "" {
		t.Error("a port whose link was made again has no fault")
	}
	a = namespace(t, c, 1, true)
	if got := fault(); got != "" {
		t.Errorf("got fault %q of the repaired port", got)
	}
	if !a.ping(b) {
		t.Error("ping does not pass by the link that was made again")
	}
}

func TestHungSwitchIsSaidInTime(t *testing.T) {
	s, c := open(t)
	name := pair(t, 1, false)
	if err := syscall.Kill(s.SwitchPID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	cont := func() { _ = syscall.Kill(s.SwitchPID(), syscall.SIGCONT) }
	defer cont()
	for what, f := range map[string]func(ctx context.Context) error{
		"add port": func(ctx context.Context) error {
			_, err := c.AddPort(ctx, ovs.Port{Bridge: br, Name: name})
			return err
		},
		"bundle":       func(ctx context.Context) error { return c.Bundle(ctx, br, []string{"actions=drop"}) },
		"ofctl bundle": func(ctx context.Context) error { return c.Bundle(ctx, br, []string{"actions=NORMAL"}) },
		"meters":       func(ctx context.Context) error { return c.SetMeters(ctx, br, ovs.Meter{ID: 1, Kbps: 1}) },
		"ensure":       func(ctx context.Context) error { _, err := c.EnsureBridge(ctx, ovs.Bridge{Name: br}); return err },
		"dump":         func(ctx context.Context) error { _, err := c.DumpFlows(ctx, br, ""); return err },
		"info":         func(ctx context.Context) error { _, err := c.Info(ctx); return err },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		start := time.Now()
		if err := f(ctx); !errdefs.IsUnavailable(err) || time.Since(start) > 3*time.Second {
			t.Errorf("%s: got %v after %s, want unavailable", what, err, time.Since(start))
		}
		cancel()
	}
	cont()
	if got := ok(c.Ports(t.Context(), br))(t); len(got) != 0 {
		t.Errorf("left %+v", got)
	}
	ok(c.AddPort(t.Context(), ovs.Port{Bridge: br, Name: name}))(t)
}

func TestCloseLeavesNoGoroutine(t *testing.T) {
	s := ovstest.Start(t, ovstest.Options{})
	before := goleak.IgnoreCurrent()
	c := client(t, s.RunDir)
	if err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := c.Ping(t.Context()); err == nil {
		t.Error("a closed client answers")
	}
	goleak.VerifyNone(t, before)
}
