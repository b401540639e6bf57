package plan

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

func id(c string) string { return strings.Repeat(c, 64) }

func world() Wanted {
	sub := []spec.Subnet{{Prefix: netip.MustParsePrefix("10.9.0.0/24"), Gateway: netip.MustParseAddr("10.9.0.1")}}
	return Wanted{
		Networks: []spec.Network{
			{ID: spec.NetworkID(id("a")), Bridge: "mosbr0", Gateway: spec.GatewayHost, NAT: true, Subnets: sub},
			{ID: spec.NetworkID(id("b")), Bridge: "mosbr1", Uplink: "eth1", VLAN: 100, Gateway: spec.GatewayExternal, Subnets: sub},
		},
		Endpoints: []spec.Endpoint{
			{ID: spec.EndpointID(id("1")), Network: spec.NetworkID(id("a"))},
			{ID: spec.EndpointID(id("2")), Network: spec.NetworkID(id("b"))},
		},
	}
}

// whole is a host that is as world wishes.
func whole() Observed {
	w := world()
	o := Observed{Bridges: map[string]bool{}, Ports: map[string]Port{}, Links: map[string]bool{"eth0": true, "eth1": true}, GatewayFault: map[string]string{}, FlowFault: map[string]string{}}
	apply(&o, w, CreateNetwork(w.Networks[0]))
	apply(&o, w, CreateNetwork(w.Networks[1]))
	apply(&o, w, Join(w.Networks[0], w.Endpoints[0], true, true))
	apply(&o, w, Join(w.Networks[1], w.Endpoints[1], false, false))
	return o
}

// apply does steps to an observed host, as a host would.
func apply(o *Observed, w Wanted, p Plan) {
	for _, s := range p {
		switch s.Op {
		case EnsureBridge:
			o.Bridges[s.Bridge] = true
		case DeleteBridge:
			delete(o.Bridges, s.Bridge)
			for name, port := range o.Ports {
				if port.Bridge == s.Bridge {
					delete(o.Ports, name)
				}
			}
		case AddVeth:
			o.Links[s.Endpoint.PortName()], o.Links[s.Endpoint.PeerName()] = true, true
		case DeleteLink:
			delete(o.Links, s.Object)
		case AddGateway:
			o.Links[s.Network.GatewayName()], o.Links[s.Network.RouterName()] = true, true
			delete(o.GatewayFault, s.Object)
		case AddPort, AddUplink:
			o.Ports[s.Object] = Port{Bridge: s.Bridge, Ofport: 7}
		case DeletePort:
			delete(o.Ports, s.Object)
		case ReplayFlows:
			delete(o.FlowFault, s.Bridge)
		case ApplyFirewall:
			o.FirewallFault = ""
		case SetMeters, ClearMeters, TrimMeters, AttachFlows, DetachFlows, NetworkFlows, DropNetFlows:
		}
	}
}

func TestCallPlans(t *testing.T) {
	w := world()
	var b strings.Builder
	for _, p := range []struct {
		name string
		Plan
	}{
		{"create a network", CreateNetwork(w.Networks[0])},
		{"create one on an uplink", CreateNetwork(w.Networks[1])},
		{"join", Join(w.Networks[0], w.Endpoints[0], true, true)},
		{"leave", Leave(w.Networks[0], w.Endpoints[0], true, true)},
		{"delete, the bridge stays", DeleteNetwork(w.Networks[1], false, true)},
		{"delete the last", DeleteNetwork(w.Networks[0], true, false)},
	} {
		b.WriteString("# " + p.name + "\n" + p.String() + "\n")
	}
	testx.Golden(t, "calls.golden", b.String())
}

func TestWholeHostNeedsNothing(t *testing.T) {
	if p := Repair(world(), whole()); len(p) != 0 {
		t.Errorf("got %s", p)
	}
}

func TestRepairOfDamage(t *testing.T) {
	var b strings.Builder
	e1, n1 := spec.EndpointID(id("1")), spec.NetworkID(id("a"))
	for _, c := range []struct {
		name   string
		damage func(*Observed)
	}{
		{"port deleted", func(o *Observed) { delete(o.Ports, e1.PortName()) }},
		{"port on another bridge", func(o *Observed) { o.Ports[e1.PortName()] = Port{Bridge: "mosbr1", Ofport: 3} }},
		{"port faulty", func(o *Observed) { o.Ports[e1.PortName()] = Port{Bridge: "mosbr0", Error: "no such device"} }},
		{"container gone", func(o *Observed) { delete(o.Links, e1.PortName()); delete(o.Links, e1.PeerName()) }},
		{"gateway deleted", func(o *Observed) { delete(o.Links, n1.GatewayName()); delete(o.Links, n1.RouterName()) }},
		{"gateway address lost", func(o *Observed) { o.GatewayFault[n1.GatewayName()] = "address 10.9.0.1/24 is missing" }},
		{"flows lost", func(o *Observed) { o.FlowFault["mosbr0"] = "12 flows are missing" }},
		{"rules lost", func(o *Observed) { o.FirewallFault = "table inet mosbridge is missing" }},
		{"bridge deleted", func(o *Observed) { apply(o, world(), Plan{{Op: DeleteBridge, Bridge: "mosbr0"}}) }},
		{"uplink off the bridge", func(o *Observed) { delete(o.Ports, "eth1") }},
		{"uplink unplugged", func(o *Observed) { delete(o.Ports, "eth1"); delete(o.Links, "eth1") }},
		{"strangers", func(o *Observed) {
			o.Links["mosp00000000bad"], o.Links["mospeculiar"] = true, true
			o.Ports["mosp00000000bad"] = Port{Bridge: "mosbr0", Ofport: 9}
			o.Bridges["mosbr9"] = true
		}},
		{"host restarted", func(o *Observed) {
			*o = Observed{Links: map[string]bool{"eth1": true}, Bridges: map[string]bool{}}
		}},
	} {
		o := whole()
		c.damage(&o)
		b.WriteString("# " + c.name + "\n" + Repair(world(), o).String() + "\n")
	}
	testx.Golden(t, "repair.golden", b.String())
}

// TestRepairConverges: from any state, one repair leads to a state that needs
// none, and never touches what is not ours.
func TestRepairConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o, w := whole(), world()
		names := slices.Sorted(func(yield func(string) bool) {
			for n := range o.Links {
				if !yield(n) {
					return
				}
			}
		})
		for _, n := range names {
			switch rapid.IntRange(0, 3).Draw(t, n) {
			case 0:
				if Ours(n) {
					delete(o.Links, n)
				}
			case 1:
				delete(o.Ports, n)
			case 2:
				if p, ok := o.Ports[n]; ok {
					p.Ofport = 0
					o.Ports[n] = p
				}
			}
		}
		if rapid.Bool().Draw(t, "bridge") {
			apply(&o, w, Plan{{Op: DeleteBridge, Bridge: "mosbr1"}})
		}
		o.Links["mosp12345678901"] = true
		o.Ports["mosp12345678901"] = Port{Bridge: "mosbr0", Ofport: 1}
		if rapid.Bool().Draw(t, "fewer") {
			w.Endpoints = w.Endpoints[:1]
		}
		apply(&o, w, Repair(w, o))
		if p := Repair(w, o); len(p) != 0 {
			t.Fatalf("a second repair is needed: %s", p)
		}
		if !o.Links["eth0"] || !o.Links["eth1"] {
			t.Fatal("a link of the host was deleted")
		}
	})
}
