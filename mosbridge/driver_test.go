package mosbridge

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/engine"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// lonely is a driver on a host without Open vSwitch and Docker.
func lonely(t *testing.T, dir string) *Driver {
	t.Helper()
	cfg := Defaults()
	cfg.StateDir, cfg.OVSRunDir, cfg.DockerHost = dir, dir, "unix://"+dir+"/docker.sock"
	start := time.Now()
	d := opened(t, cfg)
	if took := time.Since(start); took > time.Second {
		t.Errorf("opening took %v with nothing there", took)
	}
	return d
}

func hexID(c string) string { return strings.Repeat(c, 64) }

func request(id, subnet, gw string, opts map[string]string) spec.NetworkRequest {
	return spec.NetworkRequest{ID: hexID(id), Options: opts, Subnets: []spec.Subnet{{Prefix: netip.MustParsePrefix(subnet), Gateway: netip.MustParseAddr(gw)}}}
}

func TestCallWithoutOpenVSwitchLeavesNothing(t *testing.T) {
	d := lonely(t, t.TempDir())
	err := d.createNetwork(t.Context(), request("a", "10.9.0.0/24", "10.9.0.1", nil))
	if !errdefs.IsUnavailable(err) {
		t.Errorf("got %v, want an error of class unavailable", err)
	}
	if n := d.rec.allNetworks(); len(n) != 0 {
		t.Errorf("the record keeps %v", n)
	}
}

// seed puts a network into the record as if it had been set up.
func seed(t *testing.T, d *Driver, id string) spec.Network {
	t.Helper()
	n, err := spec.ParseNetwork(request(id, "10.9.0.0/24", "10.9.0.1", nil))
	if err != nil {
		t.Fatal(err)
	}
	number, err := d.rec.number()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.rec.putNetwork(networkRecord{Network: n, Number: number, Created: time.Now()}); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestEndpointIsRecordedOnceAndRefusedTwice(t *testing.T) {
	d := lonely(t, t.TempDir())
	seed(t, d, "a")
	r := spec.EndpointRequest{ID: hexID("1"), Network: hexID("a"), IPv4: "10.9.0.21/24"}
	first, err := d.createEndpoint(t.Context(), r)
	if err != nil || first.MAC.IsZero() {
		t.Fatalf("got %+v, %v", first, err)
	}
	again, err := d.createEndpoint(t.Context(), r)
	if err != nil || again != first {
		t.Errorf("asked again: got %+v, %v, want %+v", again, err, first)
	}
	r.ID = hexID("2")
	if _, err := d.createEndpoint(t.Context(), r); !errors.Is(err, errdefs.ErrFailedPrecondition) {
		t.Errorf("a second endpoint got the address of the first: %v", err)
	}
	r.Network = hexID("f")
	if _, err := d.createEndpoint(t.Context(), r); !errdefs.IsNotFound(err) {
		t.Errorf("an endpoint of an unknown network: %v", err)
	}
}

func TestRecordOutlivesTheDaemon(t *testing.T) {
	dir := t.TempDir()
	func() {
		d := lonely(t, dir)
		n := seed(t, d, "a")
		e, err := d.createEndpoint(t.Context(), spec.EndpointRequest{ID: hexID("1"), Network: string(n.ID), IPv4: "10.9.0.21/24"})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.rec.putEndpoint(endpointRecord{Endpoint: e, Number: 2, Joined: true, Sandbox: "s"}); err != nil {
			t.Fatal(err)
		}
		if err := d.db.Close(); err != nil {
			t.Fatal(err)
		}
	}()
	d := lonely(t, dir)
	w := d.rec.wanted()
	if len(w.Networks) != 1 || len(w.Endpoints) != 1 || w.Endpoints[0].IPv4.String() != "10.9.0.21/24" {
		t.Errorf("after a restart the record wishes %+v", w)
	}
	if n, err := d.rec.number(); err != nil || n == 1 || n == 2 {
		t.Errorf("number %d was given twice, %v", n, err)
	}
}

func TestUnknownThingsAreWellToRemove(t *testing.T) {
	d := lonely(t, t.TempDir())
	for name, f := range map[string]func() error{
		"network":  func() error { return d.deleteNetwork(t.Context(), spec.NetworkID(hexID("a"))) },
		"endpoint": func() error { return d.deleteEndpoint(t.Context(), hexID("1")) },
		"leave":    func() error { return d.leave(t.Context(), "no id at all") },
		"revoke":   func() error { return d.external(t.Context(), hexID("1"), revoked) },
	} {
		if err := f(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := d.join(t.Context(), hexID("a"), hexID("1"), "s", nil); !errdefs.IsNotFound(err) {
		t.Errorf("join of an unknown endpoint: %v", err)
	}
}

func TestCollectionTakesTwoLooks(t *testing.T) {
	d := lonely(t, t.TempDir())
	d.cfg.Grace.Duration = time.Minute
	seed(t, d, "a")
	nobody := known{networks: map[string]engine.Network{}, endpoints: map[string]engine.Container{}}
	now := time.Unix(1000, 0)
	if due := d.unknown(nobody, now); len(due) != 0 {
		t.Errorf("collected at the first look: %v", due)
	}
	if due := d.unknown(nobody, now.Add(59*time.Second)); len(due) != 0 {
		t.Errorf("collected before its time: %v", due)
	}
	back := known{networks: map[string]engine.Network{hexID("a"): {}}}
	if due := d.unknown(back, now.Add(time.Hour)); len(due) != 0 {
		t.Errorf("collected what Docker knows: %v", due)
	}
	if due := d.unknown(nobody, now.Add(2*time.Hour)); len(due) != 0 {
		t.Errorf("the time before it came back counted: %v", due)
	}
	if due := d.unknown(nobody, now.Add(2*time.Hour+time.Minute)); len(due) != 1 {
		t.Errorf("got %v, want the network", due)
	}
}

func TestSilentDockerCollectsNothing(t *testing.T) {
	d := lonely(t, t.TempDir())
	d.cfg.Grace.Duration = 0
	seed(t, d, "a")
	for range 3 {
		d.collect(t.Context())
	}
	if len(d.rec.allNetworks()) != 1 {
		t.Error("a network was collected though Docker never answered")
	}
}

func TestNetworksThatCannotLiveTogether(t *testing.T) {
	parse := func(id, subnet, gw string, opts map[string]string) spec.Network {
		n, err := spec.ParseNetwork(request(id, subnet, gw, opts))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	up := func(v string, more ...string) map[string]string {
		m := map[string]string{"mos.uplink": "eth1", "mos.vlan": v}
		for i := 0; i < len(more); i += 2 {
			m[more[i]] = more[i+1]
		}
		return m
	}
	old := parse("a", "10.9.0.0/24", "10.9.0.1", up("100"))
	for _, c := range []struct {
		name string
		n    spec.Network
		want string
	}{
		{"same-vlan", parse("b", "10.8.0.0/24", "10.8.0.1", up("100")), "VLAN 100"},
		{"other-bridge", parse("b", "10.8.0.0/24", "10.8.0.1", up("200", "mos.bridge", "br7")), "mos.bridge=mosbr0"},
		{"other-uplink", parse("b", "10.8.0.0/24", "10.8.0.1", up("200", "mos.uplink", "eth2")), "another mos.bridge"},
		{"overlap", parse("b", "10.9.0.128/25", "10.9.0.129", up("200")), "overlaps"},
		{"well", parse("b", "10.8.0.0/24", "10.8.0.1", up("200")), ""},
	} {
		err := compatible(c.n, old, "prod")
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	d := lonely(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { d.Run(ctx); close(done) }()
	d.Nudge()
	cancel()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("Run goes on after its context ended")
	}
}
