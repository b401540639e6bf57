package mosbridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/mosbridge/firewall"
	"github.com/mosdocker/mosdocker/mosbridge/link"
	"github.com/mosdocker/mosdocker/mosbridge/ovs"
	"github.com/mosdocker/mosdocker/mosbridge/plan"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// Keys of external_ids: what a port or bridge in OVSDB stands for.
const (
	idNetwork  = "mos:network"
	idEndpoint = "mos:endpoint"
)

// fabric executes plans: the one place that changes the host. Everything it
// needs beside the plan it computes from the record.
type fabric struct {
	ovs *ovs.Client
	fw  *firewall.Firewall
	rec *record
	log *slog.Logger
	dp  ovs.Datapath // that the user wants, "" for the best there is

	wall    sync.Mutex // one firewall change at a time
	mu      sync.Mutex // guards all below
	bridges map[string]*bridge
}

// bridge is what is known of one bridge while the daemon runs.
type bridge struct {
	name    string
	flowing sync.Mutex // one change of flows at a time; held over ovs-ofctl

	mu      sync.Mutex // guards all below
	round   uint16     // of the flows in force; 0 before the first replay
	ofport  map[string]uint32
	live    map[spec.EndpointID]bool // endpoints whose flows are to be there
	waiting []*change                // of flows, for the next bundle
	dp      ovs.Datapath
	tso     bool // the userspace datapath segments for the containers
	known   bool // dp and tso were found out since Open vSwitch started
	stale   bool // Open vSwitch started and the flows are not in
}

// unplayed says that this run of the daemon has not put the bridge's flows in.
func (b *bridge) unplayed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.round == 0
}

// played says that all of the bridges have their flows.
func (f *fabric) played(names []string) bool {
	for _, name := range names {
		b := f.bridge(name)
		b.mu.Lock()
		well := b.round != 0 && !b.stale
		b.mu.Unlock()
		if !well {
			return false
		}
	}
	return true
}

func newFabric(o *ovs.Client, fw *firewall.Firewall, rec *record, dp ovs.Datapath, log *slog.Logger) *fabric {
	return &fabric{ovs: o, fw: fw, rec: rec, dp: dp, log: log, bridges: map[string]*bridge{}}
}

func (f *fabric) bridge(name string) *bridge {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := f.bridges[name]
	if b == nil {
		b = &bridge{name: name, ofport: map[string]uint32{}, live: map[spec.EndpointID]bool{}}
		f.bridges[name] = b
	}
	return b
}

// run does the steps in order up to the first that fails.
func (f *fabric) run(ctx context.Context, p plan.Plan) error {
	for _, s := range p {
		if err := f.step(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// runAll does every step whatever becomes of the others, for taking away.
func (f *fabric) runAll(ctx context.Context, p plan.Plan) error {
	var errs []error
	for _, s := range p {
		errs = append(errs, f.step(ctx, s))
	}
	return errors.Join(errs...)
}

// takeAway is runAll with links deleted beside the other steps: the kernel
// takes 10 ms and more for one, as Open vSwitch does to let go of its port, and
// neither minds which of the two is first.
func (f *fabric) takeAway(ctx context.Context, p plan.Plan) error {
	var links, rest plan.Plan
	for _, s := range p {
		if s.Op == plan.DeleteLink {
			links = append(links, s)
		} else {
			rest = append(rest, s)
		}
	}
	deleted := make(chan error, 1)
	go func() { deleted <- f.runAll(ctx, links) }()
	err := f.runAll(ctx, rest)
	return errors.Join(err, <-deleted)
}

func (f *fabric) step(ctx context.Context, s plan.Step) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s %s: %w", s.Op, s.Object, err)
	}
	start := time.Now()
	err := f.do(ctx, s)
	f.log.DebugContext(ctx, "step", "op", string(s.Op), "object", s.Object, "bridge", s.Bridge, "cause", s.Cause, "took", time.Since(start), "err", err)
	if err != nil {
		return fmt.Errorf("%s %s: %w", s.Op, s.Object, err)
	}
	return nil
}

func (f *fabric) do(ctx context.Context, s plan.Step) error {
	switch s.Op {
	case plan.EnsureBridge:
		return f.ensureBridge(ctx, s.Bridge)
	case plan.DeleteBridge:
		return f.deleteBridge(ctx, s.Bridge)
	case plan.AddUplink:
		return f.addUplink(ctx, s.Bridge, s.Object)
	case plan.AddVeth:
		return f.addVeth(ctx, s.Endpoint)
	case plan.DeleteLink:
		return link.Delete(ctx, s.Object)
	case plan.AddGateway:
		return f.addGateway(ctx, s.Network)
	case plan.AddPort:
		return f.addOwnPort(ctx, s)
	case plan.DeletePort:
		return f.deletePort(ctx, s)
	case plan.SetMeters:
		return f.setMeters(ctx, s.Bridge, s.Endpoint)
	case plan.ClearMeters:
		return f.clearMeters(ctx, s.Bridge, s.Endpoint)
	case plan.TrimMeters:
		return f.trimMeters(ctx, s.Bridge, s.Endpoint)
	case plan.AttachFlows:
		err := f.attach(ctx, s.Bridge, s.Endpoint)
		if err == nil {
			f.announce(ctx, s.Bridge, s.Endpoint)
		}
		return err
	case plan.DetachFlows:
		return f.detach(ctx, s.Bridge, s.Endpoint)
	case plan.NetworkFlows:
		return f.networkFlows(ctx, s.Bridge, s.Network)
	case plan.ReplayFlows, plan.DropNetFlows:
		return f.replay(ctx, s.Bridge)
	case plan.ApplyFirewall:
		return f.applyFirewall(ctx)
	}
	return fmt.Errorf("no way to do this")
}

func (f *fabric) ensureBridge(ctx context.Context, name string) error {
	made, err := f.ovs.EnsureBridge(ctx, ovs.Bridge{Name: name, Datapath: f.dp})
	if err != nil {
		return err
	}
	return f.findOffload(ctx, f.bridge(name), made.Datapath)
}

// findOffload notes whether containers must compute checksums themselves: on
// the userspace datapath without segmentation offload in force, TCP does not
// pass otherwise, though ping does.
func (f *fabric) findOffload(ctx context.Context, b *bridge, dp ovs.Datapath) error {
	info, err := f.ovs.Info(ctx)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dp, b.tso, b.known = dp, info.TSO, true
	return nil
}

// needsTxOff says what findOffload found, asking Open vSwitch only once
// between its restarts.
func (f *fabric) needsTxOff(ctx context.Context, b *bridge) (bool, error) {
	b.mu.Lock()
	known := b.known
	b.mu.Unlock()
	if !known {
		if err := f.ensureBridge(ctx, b.name); err != nil {
			return false, err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dp == ovs.Userspace && !b.tso, nil
}

func (f *fabric) deleteBridge(ctx context.Context, name string) error {
	if err := f.ovs.DeleteBridge(ctx, name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.bridges, name)
	return nil
}

func (f *fabric) addVeth(ctx context.Context, id spec.EndpointID) error {
	n, e, err := f.owner(id)
	if err != nil {
		return err
	}
	off, err := f.needsTxOff(ctx, f.bridge(n.Network.Bridge))
	if err != nil {
		return err
	}
	mtu, err := f.mtu(ctx, n.Network)
	if err != nil {
		return err
	}
	return link.CreateVeth(ctx, link.Veth{Name: id.PortName(), Peer: id.PeerName(), PeerMAC: e.Endpoint.MAC, MTU: mtu, TxOff: off})
}

// mtu is the network's, else that of its uplink, else that of the host's way out.
func (f *fabric) mtu(ctx context.Context, n spec.Network) (int, error) {
	switch {
	case n.MTU != 0:
		return n.MTU, nil
	case n.Uplink != "":
		return link.MTU(ctx, n.Uplink)
	}
	mtu, _, err := link.DefaultMTU(ctx)
	return mtu, err
}

func (f *fabric) addGateway(ctx context.Context, id spec.NetworkID) error {
	n, ok := f.rec.network(id)
	if !ok {
		return fault.NotFound("network %s is gone", id.Short())
	}
	off, err := f.needsTxOff(ctx, f.bridge(n.Network.Bridge))
	if err != nil {
		return err
	}
	mtu, err := f.mtu(ctx, n.Network)
	if err != nil {
		return err
	}
	_, err = link.EnsureGateway(ctx, gatewayOf(n.Network, mtu, off))
	return err
}

func gatewayOf(n spec.Network, mtu int, txOff bool) link.Gateway {
	var addrs []netip.Prefix
	for _, s := range n.Subnets {
		addrs = append(addrs, netip.PrefixFrom(s.Gateway, s.Prefix.Bits()))
	}
	return link.Gateway{Name: n.ID.GatewayName(), RouterPort: n.ID.RouterName(), MAC: n.ID.GatewayMAC(), Addrs: addrs, MTU: mtu, TxOff: txOff}
}

// addUplink puts an interface of the host on a bridge, up and without merging
// of received frames where the datapath would lose those.
func (f *fabric) addUplink(ctx context.Context, bridge, name string) error {
	off, err := f.needsTxOff(ctx, f.bridge(bridge))
	if err != nil {
		return err
	}
	if _, err := link.PrepareUplink(ctx, name, off); err != nil {
		return err
	}
	return f.addPort(ctx, ovs.Port{Bridge: bridge, Name: name, ExternalIDs: map[string]string{idNetwork: "uplink"}})
}

// addOwnPort adds the port of an endpoint or of a network's gateway.
func (f *fabric) addOwnPort(ctx context.Context, s plan.Step) error {
	p := ovs.Port{Bridge: s.Bridge, Name: s.Object}
	if s.Endpoint == "" {
		n, ok := f.rec.network(s.Network)
		if !ok {
			return fault.NotFound("network %s is gone", s.Network.Short())
		}
		p.OfportRequest, p.ExternalIDs = n.Number, map[string]string{idNetwork: string(s.Network)}
		return f.addPort(ctx, p)
	}
	_, e, err := f.owner(s.Endpoint)
	if err != nil {
		return err
	}
	p.OfportRequest = e.Number
	p.ExternalIDs = map[string]string{idNetwork: string(e.Endpoint.Network), idEndpoint: string(s.Endpoint)}
	return f.addPort(ctx, p)
}

func (f *fabric) addPort(ctx context.Context, p ovs.Port) error {
	number, err := f.ovs.AddPort(ctx, p)
	if err != nil {
		return err
	}
	b := f.bridge(p.Bridge)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ofport[p.Name] = number
	return nil
}

func (f *fabric) deletePort(ctx context.Context, s plan.Step) error {
	if err := f.ovs.DelPort(ctx, s.Object); err != nil {
		return err
	}
	b := f.bridge(s.Bridge)
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.ofport, s.Object)
	return nil
}

// owner looks up an endpoint and its network.
func (f *fabric) owner(id spec.EndpointID) (networkRecord, endpointRecord, error) {
	e, ok := f.rec.endpoint(id)
	if !ok {
		return networkRecord{}, e, fault.NotFound("endpoint %s is gone", id.Short())
	}
	n, ok := f.rec.network(e.Endpoint.Network)
	if !ok {
		return n, e, fault.NotFound("network %s is gone", e.Endpoint.Network.Short())
	}
	return n, e, nil
}

func (f *fabric) applyFirewall(ctx context.Context) error {
	f.wall.Lock()
	defer f.wall.Unlock()
	return f.fw.Apply(ctx, firewallState(f.rec.allNetworks(), f.rec.allEndpoints()))
}

// firewallState is what the host's rules are computed from.
func firewallState(nets []networkRecord, eps []endpointRecord) firewall.State {
	var st firewall.State
	for _, n := range nets {
		if n.Network.Uplink != "" {
			st.Uplinks = append(st.Uplinks, n.Network.Uplink)
		}
		if n.Network.Gateway != spec.GatewayHost {
			continue
		}
		w := firewall.Network{Object: n.Number, Gateway: n.Network.ID.GatewayName(), NAT: n.Network.NAT, Internal: n.Network.Internal}
		for _, s := range n.Network.Subnets {
			w.Subnets = append(w.Subnets, s.Prefix)
		}
		st.Networks = append(st.Networks, w)
	}
	for _, e := range eps {
		for _, b := range e.Bound {
			for _, a := range e.Endpoint.Addrs() {
				if b.HostIP.Is4() != a.Is4() {
					continue
				}
				st.Ports = append(st.Ports, firewall.Published{
					Proto: b.Proto, HostIP: b.HostIP, HostPort: b.HostPort,
					Container: netip.AddrPortFrom(a, b.Container), Gateway: e.Endpoint.Network.GatewayName(),
				})
			}
		}
	}
	return st
}

// meters are the meter numbers of an endpoint: what it receives, what it sends.
func meters(number uint32) (in, out uint32) { return 2 * number, 2*number + 1 }

// meterList is the meters that an endpoint's limits need.
func meterList(n networkRecord, e endpointRecord) []ovs.Meter {
	in, out := meters(e.Number)
	var ms []ovs.Meter
	for _, m := range []struct {
		id   uint32
		rate spec.Rate
	}{{in, rates(n, e).In}, {out, rates(n, e).Out}} {
		if m.rate != 0 {
			kbps := uint32(m.rate.Kbps())
			ms = append(ms, ovs.Meter{ID: m.id, Kbps: kbps, Burst: burst(kbps)})
		}
	}
	return ms
}

// burst is how much a meter lets pass at once, in kbit: a tenth of a second,
// and never less than one large segment, or TCP would starve.
func burst(kbps uint32) uint32 { return max(kbps/10, 64*8) }

func (f *fabric) setMeters(ctx context.Context, bridge string, id spec.EndpointID) error {
	n, e, err := f.owner(id)
	if err != nil {
		return err
	}
	return f.ovs.SetMeters(ctx, bridge, meterList(n, e)...)
}

func (f *fabric) clearMeters(ctx context.Context, bridge string, id spec.EndpointID) error {
	e, ok := f.rec.endpoint(id)
	if !ok {
		return nil // the next replay leaves no meter without an owner
	}
	in, out := meters(e.Number)
	return f.ovs.DelMeters(ctx, bridge, in, out)
}

// trimMeters deletes the meters that an endpoint's limits do not need.
func (f *fabric) trimMeters(ctx context.Context, bridge string, id spec.EndpointID) error {
	n, e, err := f.owner(id)
	if err != nil {
		return err
	}
	in, out := meters(e.Number)
	var ids []uint32
	if rates(n, e).In == 0 {
		ids = append(ids, in)
	}
	if rates(n, e).Out == 0 {
		ids = append(ids, out)
	}
	return f.ovs.DelMeters(ctx, bridge, ids...)
}
