package plan

import (
	"cmp"
	"maps"
	"slices"

	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// Wanted is what the record wishes of the host.
type Wanted struct {
	Networks  []spec.Network
	Endpoints []spec.Endpoint // those whose container has joined
}

// Port is an Open vSwitch port as observed.
type Port struct {
	Bridge string
	Ofport uint32 // 0 when Open vSwitch has not given one
	Error  string
}

// Observed is what the host is like.
type Observed struct {
	Bridges map[string]bool // the bridges that carry our mark
	Ports   map[string]Port // all ports of those bridges, but for the bridges' own
	Links   map[string]bool // the host's links, by name
	// GatewayFault says, by gateway link, what of its addresses or settings is missing.
	GatewayFault map[string]string
	// FlowFault says, by bridge, how its flows differ from the wanted ones.
	FlowFault map[string]string
	// FirewallFault says what of our rules is missing.
	FirewallFault string
}

// Repair returns the steps from o to w: first what is missing, then what
// belongs to nobody. A joined endpoint whose link has vanished (its container
// died, or the host was restarted) gets nothing: its flows and port go, its
// record is Docker's to release.
func Repair(w Wanted, o Observed) Plan {
	r := repair{w: w, o: o, keep: map[string]bool{}, bridges: map[string]bool{}}
	for _, n := range sortNetworks(w.Networks) {
		r.network(n)
	}
	for _, e := range sortEndpoints(w.Endpoints) {
		r.endpoint(e)
	}
	r.flows()
	if o.FirewallFault != "" {
		r.add(Step{Op: ApplyFirewall, Object: "rules", Cause: o.FirewallFault})
	}
	r.strays()
	return r.p
}

type repair struct {
	w       Wanted
	o       Observed
	p       Plan
	keep    map[string]bool // links and ports that have an owner
	bridges map[string]bool // bridges that have a network
	touched map[string]string
}

func (r *repair) add(s Step) { r.p = append(r.p, s) }

// touch notes that a bridge's flows must be replayed, and the first reason.
func (r *repair) touch(bridge, cause string) {
	if r.touched == nil {
		r.touched = map[string]string{}
	}
	if r.touched[bridge] == "" {
		r.touched[bridge] = cause
	}
}

func (r *repair) network(n spec.Network) {
	if !r.bridges[n.Bridge] && !r.o.Bridges[n.Bridge] {
		r.add(Step{Op: EnsureBridge, Object: n.Bridge, Bridge: n.Bridge, Cause: "bridge is missing"})
		r.touch(n.Bridge, "bridge was missing")
	}
	r.bridges[n.Bridge] = true
	if n.Uplink != "" && !r.keep[n.Uplink] {
		r.keep[n.Uplink] = true
		if cause := r.portFault(n.Uplink, n.Bridge); cause != "" && r.o.Links[n.Uplink] {
			r.add(Step{Op: AddUplink, Object: n.Uplink, Bridge: n.Bridge, Network: n.ID, Cause: cause})
			r.touch(n.Bridge, cause)
		}
	}
	if n.Gateway != spec.GatewayHost {
		return
	}
	gw, port := n.ID.GatewayName(), n.ID.RouterName()
	r.keep[gw], r.keep[port] = true, true
	fault := r.o.GatewayFault[gw]
	if !r.o.Links[gw] || !r.o.Links[port] {
		fault = "gateway link is missing"
	}
	if fault != "" {
		r.add(Step{Op: AddGateway, Object: gw, Network: n.ID, Cause: fault})
	}
	if cause := r.portFault(port, n.Bridge); cause != "" || fault == "gateway link is missing" {
		r.add(Step{Op: AddPort, Object: port, Bridge: n.Bridge, Network: n.ID, Cause: cmp.Or(cause, fault)})
		r.touch(n.Bridge, cmp.Or(cause, fault))
	}
}

func (r *repair) endpoint(e spec.Endpoint) {
	i := slices.IndexFunc(r.w.Networks, func(n spec.Network) bool { return n.ID == e.Network })
	port := e.ID.PortName()
	if i < 0 || !r.o.Links[port] {
		return
	}
	n := r.w.Networks[i]
	r.keep[port], r.keep[e.ID.PeerName()] = true, true
	if cause := r.portFault(port, n.Bridge); cause != "" {
		r.add(Step{Op: AddPort, Object: port, Bridge: n.Bridge, Endpoint: e.ID, Cause: cause})
		r.touch(n.Bridge, cause)
	}
}

func (r *repair) portFault(port, bridge string) string {
	p, ok := r.o.Ports[port]
	switch {
	case !ok:
		return "port is missing"
	case p.Bridge != bridge:
		return "port is on bridge " + p.Bridge
	case p.Error != "":
		return "port is faulty: " + p.Error
	case p.Ofport == 0:
		return "port has no number"
	}
	return ""
}

func (r *repair) flows() {
	for _, b := range slices.Sorted(maps.Keys(r.bridges)) {
		if cause := cmp.Or(r.touched[b], r.o.FlowFault[b]); cause != "" {
			r.add(Step{Op: ReplayFlows, Object: b, Bridge: b, Cause: cause})
		}
	}
}

// strays removes what carries our names or marks and has no owner.
func (r *repair) strays() {
	for _, b := range slices.Sorted(maps.Keys(r.o.Bridges)) {
		if !r.bridges[b] {
			r.add(Step{Op: DeleteBridge, Object: b, Bridge: b, Cause: "no network uses it"})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.o.Ports)) {
		if p := r.o.Ports[name]; !r.keep[name] && r.bridges[p.Bridge] {
			r.add(Step{Op: DeletePort, Object: name, Bridge: p.Bridge, Cause: "no endpoint or network owns it"})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.o.Links)) {
		if Ours(name) && !r.keep[name] {
			r.add(Step{Op: DeleteLink, Object: name, Cause: "no endpoint or network owns it"})
		}
	}
}

// Ours says whether a link's name is one that mosbridge gives.
func Ours(link string) bool { return spec.OwnName(link) }

func sortNetworks(ns []spec.Network) []spec.Network {
	return slices.SortedFunc(slices.Values(ns), func(a, b spec.Network) int { return cmp.Compare(a.ID, b.ID) })
}

func sortEndpoints(es []spec.Endpoint) []spec.Endpoint {
	return slices.SortedFunc(slices.Values(es), func(a, b spec.Endpoint) int { return cmp.Compare(a.ID, b.ID) })
}
