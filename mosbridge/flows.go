package mosbridge

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/mosbridge/flow"
	"github.com/mosdocker/mosdocker/mosbridge/ovs"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// flowPort is an endpoint as the pipeline sees it.
func flowPort(n networkRecord, e endpointRecord, ofport uint32) flow.Port {
	p := flow.Port{Ofport: ofport, Object: e.Number, MAC: e.Endpoint.MAC, IPv4: e.Endpoint.IPv4.Addr(), IPv6: e.Endpoint.IPv6.Addr()}
	in, out := meters(e.Number)
	if r := rates(n, e); r.In != 0 {
		p.MeterIn = in
	}
	if r := rates(n, e); r.Out != 0 {
		p.MeterOut = out
	}
	return p
}

// flowNetwork is a network as the pipeline sees it, with its live endpoints.
// The caller holds b.mu.
func (f *fabric) flowNetwork(b *bridge, n networkRecord) flow.Network {
	w := flow.Network{Object: n.Number, VLAN: n.Network.VLAN}
	if n.Network.Uplink != "" {
		w.Uplink = b.ofport[n.Network.Uplink]
	}
	if number := b.ofport[n.Network.ID.RouterName()]; n.Network.Gateway == spec.GatewayHost && number != 0 {
		w.Router = &flow.Port{Ofport: number, Object: n.Number, MAC: n.Network.ID.GatewayMAC()}
	}
	for e := range f.rec.eachEndpoint() {
		number := b.ofport[e.Endpoint.ID.PortName()]
		if e.Endpoint.Network == n.Network.ID && b.live[e.Endpoint.ID] && number != 0 {
			w.Ports = append(w.Ports, flowPort(n, e, number))
		}
	}
	slices.SortFunc(w.Ports, func(p, q flow.Port) int { return cmp.Compare(p.Object, q.Object) })
	return w
}

// change is a change of flows that waits for its turn.
type change struct {
	lines func() []string // asked with b.mu held, in the order of arrival
	done  chan error      // holds one
}

// errAlone tells a caller whose change shared a bundle that failed to try its
// own, so that it gets its own error and nobody else's.
var errAlone = errors.New("change flows alone")

// change puts flows in. Changes that arrive while a bundle is under way share
// the next one, since containers start in crowds.
func (f *fabric) change(ctx context.Context, b *bridge, lines func() []string) error {
	c := &change{lines: lines, done: make(chan error, 1)}
	b.mu.Lock()
	b.waiting = append(b.waiting, c)
	b.mu.Unlock()

	b.flowing.Lock()
	f.bundle(ctx, b, c)
	b.flowing.Unlock()
	err := <-c.done
	if !errors.Is(err, errAlone) {
		return err
	}
	b.flowing.Lock()
	defer b.flowing.Unlock()
	b.mu.Lock()
	own := lines()
	b.mu.Unlock()
	return f.ovs.Bundle(ctx, b.name, own)
}

// bundle puts in all changes that wait; the bundle before may have taken the
// caller's own along. The caller holds b.flowing.
func (f *fabric) bundle(ctx context.Context, b *bridge, own *change) {
	b.mu.Lock()
	changes := b.waiting
	b.waiting = nil
	var lines []string
	for _, c := range changes {
		lines = append(lines, c.lines()...)
	}
	b.mu.Unlock()
	if len(changes) == 0 {
		return
	}
	err := f.ovs.Bundle(ctx, b.name, lines)
	for _, c := range changes {
		if err != nil && (c != own || len(changes) > 1) {
			c.done <- errAlone
			continue
		}
		c.done <- err
	}
}

func (f *fabric) attach(ctx context.Context, name string, id spec.EndpointID) error {
	n, e, err := f.owner(id)
	if err != nil {
		return err
	}
	b := f.bridge(name)
	if b.unplayed() {
		return f.replay(ctx, name)
	}
	return f.change(ctx, b, func() []string {
		b.live[id] = true
		return flow.Attach(b.round, f.flowNetwork(b, n), flowPort(n, e, b.ofport[id.PortName()]))
	})
}

func (f *fabric) detach(ctx context.Context, name string, id spec.EndpointID) error {
	n, e, err := f.owner(id)
	if err != nil {
		return err
	}
	b := f.bridge(name)
	if b.unplayed() {
		return f.replay(ctx, name)
	}
	return f.change(ctx, b, func() []string {
		delete(b.live, id)
		return flow.Detach(b.round, f.flowNetwork(b, n), flowPort(n, e, b.ofport[id.PortName()]))
	})
}

// lines renders all flows of a bridge in the given round. The caller holds b.mu.
func (f *fabric) lines(b *bridge, round uint16) []string {
	var nets []flow.Network
	for _, n := range f.rec.allNetworks() {
		if n.Network.Bridge == b.name {
			nets = append(nets, f.flowNetwork(b, n))
		}
	}
	return flow.Full(round, nets)
}

// networkFlows puts in the rules of one network, or all of a bridge that has none.
func (f *fabric) networkFlows(ctx context.Context, name string, id spec.NetworkID) error {
	n, ok := f.rec.network(id)
	if !ok {
		return fault.NotFound("network %s is gone", id.Short())
	}
	b := f.bridge(name)
	if b.unplayed() {
		return f.replay(ctx, name)
	}
	return f.change(ctx, b, func() []string { return flow.Join(b.round, f.flowNetwork(b, n)) })
}

// replay reads the ports' numbers, then puts all meters and flows of the
// record in place in a round of their own; those of other rounds go in the
// same atomic bundle.
func (f *fabric) replay(ctx context.Context, name string) error {
	b := f.bridge(name)
	b.flowing.Lock()
	defer b.flowing.Unlock()
	ports, err := f.ovs.Ports(ctx, name)
	if err != nil {
		return err
	}
	last, err := f.lastRound(ctx, b)
	if err != nil {
		return err
	}
	if err := f.replayMeters(ctx, name); err != nil {
		return err
	}
	round := last%0xffff + 1
	b.mu.Lock()
	b.ofport = map[string]uint32{}
	for _, p := range ports {
		b.ofport[p.Name] = p.Ofport
	}
	b.live = map[spec.EndpointID]bool{}
	for _, e := range f.rec.wanted().Endpoints {
		b.live[e.ID] = b.ofport[e.ID.PortName()] != 0
	}
	lines := append(f.lines(b, round), flow.Sweep(round)...)
	b.mu.Unlock()
	if err := f.ovs.Bundle(ctx, name, lines); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.round, b.stale = round, false
	return nil
}

// lastRound is the round of the flows that are there, also of those that an
// earlier run of the daemon put in.
func (f *fabric) lastRound(ctx context.Context, b *bridge) (uint16, error) {
	b.mu.Lock()
	round := b.round
	b.mu.Unlock()
	if round != 0 {
		return round, nil
	}
	flows, err := f.ovs.DumpFlows(ctx, b.name, flow.Match())
	for _, fl := range flows {
		round = max(round, flow.Cookie(fl.Cookie).Round())
	}
	return round, err
}

// wantedMeters are those of the joined endpoints of a bridge.
func (f *fabric) wantedMeters(name string) []ovs.Meter {
	var want []ovs.Meter
	for _, e := range f.rec.wanted().Endpoints {
		if n, r, err := f.owner(e.ID); err == nil && n.Network.Bridge == name {
			want = append(want, meterList(n, r)...)
		}
	}
	return want
}

// replayMeters makes the bridge's meters those of the record.
func (f *fabric) replayMeters(ctx context.Context, name string) error {
	have, err := f.ovs.Meters(ctx, name)
	if err != nil {
		return err
	}
	stray := map[uint32]bool{}
	for _, m := range have {
		stray[m.ID] = true
	}
	want := f.wantedMeters(name)
	for _, m := range want {
		delete(stray, m.ID)
	}
	if len(want) == 0 && len(stray) == 0 {
		return nil
	}
	return errors.Join(
		f.ovs.SetMeters(ctx, name, want...),
		f.ovs.DelMeters(ctx, name, slices.Sorted(maps.Keys(stray))...),
	)
}
