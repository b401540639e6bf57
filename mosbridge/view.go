package mosbridge

import (
	"context"
	"net/netip"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/version"
	"github.com/mosdocker/mosdocker/mosbridge/api"
	"github.com/mosdocker/mosdocker/mosbridge/ovs"
)

// status is how the daemon and what it stands on are.
func (d *Driver) status(ctx context.Context) api.Status {
	st := api.Status{Version: version.String(), Started: d.started, Networks: len(d.rec.allNetworks())}
	for _, e := range d.rec.allEndpoints() {
		st.Endpoint.All++
		if e.Joined {
			st.Endpoint.Joined++
		}
	}
	d.mu.Lock()
	r := d.repairs
	d.mu.Unlock()
	st.Repair = api.RepairStatus{At: r.At, Took: r.Took.Seconds(), Steps: r.Steps, Error: r.Err}
	v, err := d.engine.Version(ctx)
	st.Engine.Version = v.Engine
	if err != nil {
		st.Engine.Error = err.Error()
	}
	info, err := d.fab.ovs.Info(ctx)
	if err != nil {
		st.Switch.Error = err.Error()
		return st
	}
	st.Switch.Version, st.Switch.TSO = info.Version, info.TSO
	bridges, err := d.fab.ovs.Bridges(ctx)
	if err != nil {
		st.Switch.Error = err.Error()
	}
	for _, b := range bridges {
		if b.Ours {
			st.Switch.Bridges = append(st.Switch.Bridges, d.showBridge(ctx, b, info))
		}
	}
	return st
}

func (d *Driver) showBridge(ctx context.Context, b ovs.Bridge, info ovs.Info) api.BridgeStatus {
	live := d.fab.bridge(b.Name)
	live.mu.Lock()
	round := live.round
	live.mu.Unlock()
	out := api.BridgeStatus{Name: b.Name, Round: round}
	out.Datapath, out.Reason = explainDatapath(b.Datapath, info)
	n, err := d.fab.ovs.CountFlows(ctx, b.Name)
	out.Flows = n
	if err != nil {
		out.Error = err.Error()
	}
	return out
}

// explainDatapath says why a bridge is as it is and what follows for TCP.
func explainDatapath(dp ovs.Datapath, info ovs.Info) (name, reason string) {
	switch {
	case dp == ovs.Kernel:
		return "kernel", "the kernel has Open vSwitch's module"
	case info.Datapaths.Kernel:
		return "userspace", "as configured or as the bridge was made; the kernel has the module too"
	case info.TSO:
		return "userspace", "the kernel has no Open vSwitch; segmentation offload is on, containers keep theirs"
	}
	return "userspace", "the kernel has no Open vSwitch; segmentation offload is off, so containers compute checksums themselves"
}

func (d *Driver) listNetworks(ctx context.Context) []api.Network {
	out := []api.Network{}
	for _, n := range d.rec.allNetworks() {
		out = append(out, d.showNetwork(ctx, n))
	}
	return out
}

func (d *Driver) showNetwork(ctx context.Context, n networkRecord) api.Network {
	w := n.Network
	out := api.Network{
		ID: string(w.ID), Name: n.Name, Number: n.Number, Bridge: w.Bridge, VLAN: w.VLAN, Uplink: w.Uplink,
		Gateway: string(w.Gateway), NAT: w.NAT, Internal: w.Internal,
		RateIn: uint64(w.Rates.In), RateOut: uint64(w.Rates.Out), Created: n.Created,
	}
	if mtu, err := d.fab.mtu(ctx, w); err == nil {
		out.MTU = mtu
	}
	for _, s := range w.Subnets {
		out.Subnets = append(out.Subnets, s.Prefix)
		if s.Gateway.IsValid() {
			out.Gateways = append(out.Gateways, s.Gateway)
		}
	}
	for _, e := range d.rec.allEndpoints() {
		if e.Endpoint.Network == w.ID {
			out.Endpoints++
			if e.Joined {
				out.Joined++
			}
		}
	}
	return out
}

// portStates are Open vSwitch's ports by name; empty while it is down.
func (d *Driver) portStates(ctx context.Context) map[string]ovs.PortState {
	out := map[string]ovs.PortState{}
	ports, err := d.fab.ovs.Ports(ctx, "")
	if err != nil {
		d.log.DebugContext(ctx, "ports cannot be read", "err", err)
	}
	for _, p := range ports {
		out[p.Name] = p
	}
	return out
}

func (d *Driver) listEndpoints(ctx context.Context) []api.Endpoint {
	d.learnNew(ctx)
	ports := d.portStates(ctx)
	out := []api.Endpoint{}
	for _, e := range d.rec.allEndpoints() {
		out = append(out, d.showEndpoint(e, ports))
	}
	return out
}

func (d *Driver) showEndpoint(e endpointRecord, ports map[string]ovs.PortState) api.Endpoint {
	n, _ := d.rec.network(e.Endpoint.Network)
	port, there := ports[e.Endpoint.ID.PortName()]
	r := rates(n, e)
	out := api.Endpoint{
		ID: string(e.Endpoint.ID), Network: string(e.Endpoint.Network), NetName: n.Name,
		Container: e.Container, Name: e.Name, State: "created",
		Port: e.Endpoint.ID.PortName(), Ofport: port.Ofport, Number: e.Number,
		MAC: e.Endpoint.MAC.String(), Addrs: e.Endpoint.Addrs(),
		RateIn: uint64(r.In), RateOut: uint64(r.Out), Since: e.Created,
		// What the switch receives is what the container sends.
		Stats: api.Stats{
			RxBytes: port.Stats.TxBytes, RxPackets: port.Stats.TxPackets, RxDropped: port.Stats.TxDropped,
			TxBytes: port.Stats.RxBytes, TxPackets: port.Stats.RxPackets, TxDropped: port.Stats.RxDropped,
		},
	}
	switch {
	case e.Joined && (there && port.Error == "" || len(ports) == 0):
		out.State, out.Since = "joined", e.JoinedAt
	case e.Joined:
		out.State, out.Since = "lost", e.JoinedAt
	}
	return out
}

func (d *Driver) listPorts() []api.Port {
	out := []api.Port{}
	for _, e := range d.rec.allEndpoints() {
		n, _ := d.rec.network(e.Endpoint.Network)
		for _, p := range firewallState(nil, []endpointRecord{e}).Ports {
			out = append(out, api.Port{
				Proto: string(p.Proto), HostIP: p.HostIP, HostPort: p.HostPort, Target: p.Container,
				Endpoint: string(e.Endpoint.ID), Network: string(n.Network.ID), NetName: n.Name, Container: e.Container, Name: e.Name,
			})
		}
	}
	return out
}

func (d *Driver) listLeases() []api.Lease {
	out := []api.Lease{}
	for _, l := range d.addrs.Leases("") {
		out = append(out, api.Lease{Pool: string(l.Pool), Addr: l.Addr, State: string(l.State), Owner: l.Owner(), Since: l.Since})
	}
	return out
}

// forgetLease drops a kept address, in whichever pool it is.
func (d *Driver) forgetLease(r api.ForgetRequest) error {
	for _, l := range d.addrs.Leases("") {
		if l.Addr == r.Addr {
			return d.addrs.Forget(l.Pool, l.Addr)
		}
	}
	return fault.NotFound("address %s is neither held nor kept: docker mos net leases lists them", addrText(r.Addr))
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return "(none)"
	}
	return a.String()
}
