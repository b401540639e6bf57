package mosbridge

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/engine/enginetest"
	"github.com/mosdocker/mosdocker/mosbridge/api"
	"github.com/mosdocker/mosdocker/mosbridge/ipam"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// uplinked is a host with two containers on a network that has an uplink, whose
// port somebody took over: a step of every repair fails from then on.
func uplinked(t *testing.T) (h *host, a, b container) {
	t.Helper()
	h = newHost(t)
	sh(t, "ip link add eth9 type veth peer name wire9")
	t.Cleanup(func() { sh(t, "ip link del eth9") })
	n := h.network("a", "10.9.0.0/24", "10.9.0.1", map[string]string{"mos.uplink": "eth9"})
	a, b = h.run(n, "1", "10.9.0.21"), h.run(n, "2", "10.9.0.22")
	if !h.reconcile(t.Context()) || !a.reaches(b.addr) {
		t.Fatal("the network does not work from the beginning")
	}
	h.ovs.Vsctl("remove", "interface", "eth9", "external_ids", `"mos:owner"`)
	if h.reconcile(t.Context()) {
		t.Fatal("a repair takes over the port of somebody else")
	}
	return h, a, b
}

func TestOneFaultDoesNotKeepBridgesWaiting(t *testing.T) {
	h, a, b := uplinked(t)
	h.ovs.KillSwitch()
	h.ovs.StartSwitch()
	if a.reaches(b.addr) {
		t.Error("the switch did not wait for its flows")
	}
	h.fab.forgetRuntime(spec.DefaultBridge) // as the watch of the bridge does
	h.waiting.Store(true)
	if h.reconcile(t.Context()) {
		t.Error("the repair came to its end, so this shows nothing")
	}
	if !a.reaches(b.addr) {
		t.Error("the switch still waits, though the flows of all bridges are in")
	}
}

// linked is a host with a network on which two containers reach each other.
func linked(t *testing.T) (h *host, a, b container) {
	t.Helper()
	h = newHost(t)
	n := h.network("a", "10.9.0.0/24", "10.9.0.1", nil)
	a, b = h.run(n, "1", "10.9.0.21"), h.run(n, "2", "10.9.0.22")
	if !h.reconcile(t.Context()) || !a.reaches(b.addr) {
		t.Fatal("the network does not work from the beginning")
	}
	return h, a, b
}

func TestReplayOfTheOnlyBridgeEndsTheWait(t *testing.T) {
	h, a, b := linked(t)
	h.ovs.KillSwitch()
	h.ovs.StartSwitch()
	if a.reaches(b.addr) {
		t.Error("the switch did not wait for its flows")
	}
	h.revive(t.Context(), spec.DefaultBridge)
	if !a.reaches(b.addr) {
		t.Error("the switch waits for a repair, though all flows are in")
	}
}

// TestSwitchKilledWhileItsWaitEndsWaits: the mark is away for a moment then, and a
// switch that starts without it drops what the kernel had passed.
func TestSwitchKilledWhileItsWaitEndsWaits(t *testing.T) {
	for name, after := range map[string]func(*host){
		"seen-by-the-watch": func(h *host) { h.lose(h.tb.Context(), spec.DefaultBridge) },
		"seen-by-a-repair": func(h *host) {
			h.fab.forgetRuntime(spec.DefaultBridge)
			h.reconcile(h.tb.Context())
		},
	} {
		t.Run(name, func(t *testing.T) {
			h, a, b := linked(t)
			h.ovs.Vsctl("remove", "open_vswitch", ".", "other_config", "flow-restore-wait")
			h.waiting.Store(true)
			h.ovs.KillSwitch()
			after(h)
			h.ovs.StartSwitch()
			if got := h.ovs.Vsctl("get", "open_vswitch", ".", "other_config:flow-restore-wait"); got != "\"true\"\n" {
				t.Errorf("the switch starts without waiting: %s", got)
			}
			h.revive(t.Context(), spec.DefaultBridge)
			if !a.reaches(b.addr) {
				t.Error("the switch still waits, though its flows are in")
			}
		})
	}
}

func TestPortsAndBridgesOfOthersStay(t *testing.T) {
	h := newHost(t)
	h.network("a", "10.9.0.0/24", "10.9.0.1", nil)
	h.ovs.Vsctl("add-br", "theirs", "--", "set", "bridge", "theirs", "datapath_type=netdev")
	h.ovs.Vsctl("add-port", "theirs", "their0", "--", "set", "interface", "their0", "type=internal")
	h.ovs.Vsctl("add-port", spec.DefaultBridge, "guest0", "--", "set", "interface", "guest0", "type=internal")
	look := func() string {
		return h.ovs.Vsctl("--columns=name,ports,fail_mode,external_ids", "list", "bridge", "theirs") + h.ovs.Vsctl("list", "port", "their0", "guest0")
	}
	before := look()
	for range 2 {
		if !h.reconcile(t.Context()) {
			t.Error("what others have there is a fault")
		}
	}
	if p, err := h.plan(t.Context()); err != nil || len(p) != 0 {
		t.Errorf("a repair would do %v (%v)", p, err)
	}
	if after := look(); after != before {
		t.Errorf("what others have there was changed from %s to %s", before, after)
	}
}

func TestEmptyRecordDestroysNothingThatDockerHas(t *testing.T) {
	h := newHost(t)
	n := h.network("a", "10.9.0.0/24", "10.9.0.1", nil)
	a, b := h.run(n, "1", "10.9.0.21"), h.run(n, "2", "10.9.0.22")

	d := h.open(t.TempDir()) // a state directory that is not mounted
	_, err := d.plan(t.Context())
	if !errors.Is(err, errdefs.ErrFailedPrecondition) || !strings.Contains(err.Error(), "net-a") {
		t.Errorf("got %v, want an error that names the network", err)
	}
	if d.reconcile(t.Context()) {
		t.Error("a repair without a record came to its end")
	}
	h.docker.Break("no")
	if d.reconcile(t.Context()) {
		t.Error("a repair without a record came to its end, though nobody said what is in use")
	}
	if !a.reaches(b.addr) {
		t.Error("the containers lost their network")
	}
	h.docker.Break("")
	h.docker.RemoveNetwork(hexID("a"))
	h.docker.RemoveContainer(hexID("1"))
	h.docker.RemoveContainer(hexID("2"))
	if !d.reconcile(t.Context()) || h.ovs.Vsctl("list-br") != "" {
		t.Error("what Docker does not know stays")
	}
}

func TestCollectingAtOnceLeavesTheYoungAlone(t *testing.T) {
	dir, docker := t.TempDir(), enginetest.Start(t)
	cfg := Defaults()
	cfg.StateDir, cfg.OVSRunDir, cfg.DockerHost = dir, dir, docker.Host
	d := opened(t, cfg)
	n := seed(t, d, "a")
	if _, err := d.createEndpoint(t.Context(), spec.EndpointRequest{ID: hexID("1"), Network: string(n.ID), IPv4: "10.9.0.21/24"}); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * ipam.Repeat)
	pool, err := d.addrs.RequestPool(ipam.PoolRequest{Space: space, Pool: "10.9.0.0/24"}, old)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.addrs.Bind(pool.ID(), hexID("a")); err != nil {
		t.Fatal(err)
	}
	for addr, at := range map[string]time.Time{"10.9.0.31": old, "10.9.0.32": time.Now()} {
		if _, err := d.addrs.RequestAddress(pool.ID(), ipam.Request{Addr: netip.MustParseAddr(addr)}, at); err != nil {
			t.Fatal(err)
		}
	}
	objects := func() string {
		t.Helper()
		gc, err := d.gc(t.Context(), api.GCRequest{})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, f := range gc.Objects {
			names = append(names, f.Kind+" "+f.Object)
		}
		return strings.Join(names, ", ")
	}
	if got := objects(); got != "lease 10.9.0.31" {
		t.Errorf("collected %q, want the old lease only", got)
	}
	if len(d.rec.allNetworks()) != 1 || len(d.rec.allEndpoints()) != 1 {
		t.Error("a network or endpoint of this minute was collected")
	}
	for _, l := range d.addrs.Leases(pool.ID()) {
		if held := l.State == ipam.Held; held != (l.Addr.String() == "10.9.0.32") {
			t.Errorf("lease %s is held %v, want that of this minute only", l, held)
		}
	}

	e, _ := d.rec.endpoint(spec.EndpointID(hexID("1")))
	e.Created = old
	if err := d.rec.putEndpoint(e); err != nil {
		t.Fatal(err)
	}
	if got := objects(); got != "endpoint "+hexID("1") || len(d.rec.allEndpoints()) != 0 {
		t.Errorf("collected %q, want the endpoint that grew old", got)
	}
}

func TestRatesThatCouldNotBeSetAreNotKept(t *testing.T) {
	h := newHost(t)
	n := h.network("a", "10.9.0.0/24", "10.9.0.1", nil)
	h.run(n, "1", "10.9.0.21")
	h.ovs.KillSwitch()
	rate := uint64(10_000_000)
	for name, r := range map[string]api.RatesRequest{
		"network":  {Network: hexID("a"), In: &rate},
		"endpoint": {Endpoint: hexID("1"), In: &rate},
	} {
		if _, err := h.setRates(t.Context(), r); !errdefs.IsUnavailable(err) {
			t.Errorf("%s: got %v, want unavailable", name, err)
		}
	}
	n, _ = h.rec.network(n.Network.ID)
	e, _ := h.rec.endpoint(spec.EndpointID(hexID("1")))
	if got := rates(n, e); got != (spec.Rates{}) || e.Endpoint.Rates != nil {
		t.Errorf("the record keeps rates %+v that are not in force", got)
	}
}

func TestNetworkInTheHostsOwnRangeIsRefused(t *testing.T) {
	h := newHost(t)
	sh(t, "ip link add eth8 type veth peer name wire8 && ip addr add 10.7.1.5/16 dev eth8")
	t.Cleanup(func() { sh(t, "ip link del eth8") })
	err := h.createNetwork(t.Context(), request("a", "10.7.9.0/24", "10.7.9.1", nil))
	if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "eth8") {
		t.Errorf("got %v, want a refusal that names the link", err)
	}
	if len(h.rec.allNetworks()) != 0 || h.ovs.Vsctl("list-br") != "" {
		t.Error("something is left of the network")
	}
	err = h.createNetwork(t.Context(), request("a", "10.8.0.0/24", "10.8.0.1", map[string]string{"mos.uplink": "mosp0123456789a"}))
	if !errdefs.IsFailedPrecondition(err) && !errdefs.IsInvalidArgument(err) {
		t.Errorf("a link of ours as uplink: got %v", err)
	}
}

// TestWritersOfOtherEndpointsSeeWhatIsThere: who holds published ports is
// written by the calls of other endpoints, and must not bring back an endpoint
// that went meanwhile, nor undo what its own call wrote.
func TestWritersOfOtherEndpointsSeeWhatIsThere(t *testing.T) {
	d := lonely(t, t.TempDir())
	n := seed(t, d, "a")
	e, err := d.createEndpoint(t.Context(), spec.EndpointRequest{ID: hexID("1"), Network: string(n.ID), IPv4: "10.9.0.21/24"})
	if err != nil {
		t.Fatal(err)
	}
	rates := spec.Rates{In: 7}
	for _, change := range []func(*endpointRecord){
		func(e *endpointRecord) { e.External = programmed },
		func(e *endpointRecord) { e.Endpoint.Rates = &rates },
	} {
		if err := d.rec.update(e.ID, change); err != nil {
			t.Fatal(err)
		}
	}
	if r, _ := d.rec.endpoint(e.ID); r.External != programmed || r.Endpoint.Rates == nil {
		t.Errorf("one change undid the other: %+v", r)
	}
	if err := d.deleteEndpoint(t.Context(), hexID("1")); err != nil {
		t.Fatal(err)
	}
	if err := d.rec.update(e.ID, func(*endpointRecord) {}); !errdefs.IsNotFound(err) {
		t.Errorf("got %v, want not found", err)
	}
	if _, ok := d.rec.endpoint(e.ID); ok {
		t.Error("an endpoint that was deleted is back")
	}
}
