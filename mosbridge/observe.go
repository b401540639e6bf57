package mosbridge

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/mosbridge/link"
	"github.com/mosdocker/mosdocker/mosbridge/ovs"
	"github.com/mosdocker/mosdocker/mosbridge/plan"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// observe looks at the host: Open vSwitch, links, rules. It changes nothing but
// the settings of a bridge that it meets for the first time.
func (f *fabric) observe(ctx context.Context) (plan.Observed, error) {
	o := plan.Observed{
		Bridges: map[string]bool{}, Ports: map[string]plan.Port{}, Links: map[string]bool{},
		GatewayFault: map[string]string{}, FlowFault: map[string]string{},
	}
	bridges, err := f.ovs.Bridges(ctx)
	if err != nil {
		return o, err
	}
	for _, b := range bridges {
		if b.Ours {
			o.Bridges[b.Name] = true
		}
	}
	ports, err := f.ovs.Ports(ctx, "")
	if err != nil {
		return o, err
	}
	for _, p := range ports {
		if o.Bridges[p.Bridge] && p.Ours {
			o.Ports[p.Name] = plan.Port{Bridge: p.Bridge, Ofport: p.Ofport, Error: p.Error}
			f.bridge(p.Bridge).learn(p)
		}
	}
	links, err := link.List(ctx, "")
	if err != nil {
		return o, err
	}
	for _, l := range links {
		o.Links[l.Name] = true
	}
	f.observeGateways(ctx, &o)
	if err := f.observeFlows(ctx, &o); err != nil {
		return o, err
	}
	report, err := f.fw.Check(ctx, firewallState(f.rec.allNetworks(), f.rec.allEndpoints()))
	o.FirewallFault = strings.Join(report.Missing, "; ")
	return o, err
}

// learn takes over a port's number: one that Open vSwitch changed makes the
// bridge's flows differ, and they are replayed.
func (b *bridge) learn(p ovs.PortState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.ofport[p.Name]; ok && p.Ofport != 0 {
		b.ofport[p.Name] = p.Ofport
	}
}

func (f *fabric) observeGateways(ctx context.Context, o *plan.Observed) {
	for _, n := range f.rec.allNetworks() {
		if n.Network.Gateway != spec.GatewayHost || !o.Bridges[n.Network.Bridge] {
			continue
		}
		off, err := f.needsTxOff(ctx, f.bridge(n.Network.Bridge))
		if err != nil {
			continue // the bridge itself is at fault and gets its own step
		}
		mtu, err := f.mtu(ctx, n.Network)
		if err != nil {
			continue
		}
		if faults, err := link.CheckGateway(ctx, gatewayOf(n.Network, mtu, off)); err == nil && len(faults) > 0 {
			o.GatewayFault[n.Network.ID.GatewayName()] = strings.Join(faults, "; ")
		}
	}
}

// observeFlows compares each bridge's flows with the ones in force. A bridge
// that is not served is an error: no step could repair it, and trying would
// only keep the calls out.
func (f *fabric) observeFlows(ctx context.Context, o *plan.Observed) error {
	for name := range o.Bridges {
		b := f.bridge(name)
		b.flowing.Lock()
		b.mu.Lock()
		round, want := b.round, f.lines(b, b.round)
		for i := range want {
			want[i] = strings.TrimPrefix(want[i], "add ") // diff-flows reads flows, not changes
		}
		b.mu.Unlock()
		missing, extra, err := f.ovs.DiffFlows(ctx, name, want)
		b.flowing.Unlock()
		meters := ""
		if err == nil {
			meters, err = f.meterFault(ctx, name)
		}
		switch diff := append(missing, extra...); {
		case errdefs.IsUnavailable(err):
			return err
		case err != nil:
			o.FlowFault[name] = "flows cannot be read: " + err.Error()
		case round == 0:
			o.FlowFault[name] = "the daemon started"
		case len(diff) > 0:
			o.FlowFault[name] = fmt.Sprintf("%d flows are missing and %d too many, the first is %.200s", len(missing), len(extra), diff[0])
		case meters != "":
			o.FlowFault[name] = meters
		}
	}
	return nil
}

// meterFault compares a bridge's meters with those of the record.
func (f *fabric) meterFault(ctx context.Context, name string) (string, error) {
	have, err := f.ovs.Meters(ctx, name)
	if err != nil {
		return "", err
	}
	there := map[uint32]ovs.Meter{}
	for _, m := range have {
		there[m.ID] = m
	}
	for _, m := range f.wantedMeters(name) {
		switch is, ok := there[m.ID]; {
		case !ok:
			return fmt.Sprintf("meter %d is missing", m.ID), nil
		case is != m:
			return fmt.Sprintf("meter %d lets %d kbit/s pass, not %d", m.ID, is.Kbps, m.Kbps), nil
		}
		delete(there, m.ID)
	}
	if len(there) > 0 {
		return fmt.Sprintf("%d meters are too many, the first is %d", len(there), slices.Min(slices.Collect(maps.Keys(there)))), nil
	}
	return "", nil
}
