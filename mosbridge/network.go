package mosbridge

import (
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/mosbridge/link"
	"github.com/mosdocker/mosdocker/mosbridge/plan"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// createNetwork checks a network against the others, records it and sets it
// up. Repeating it is well; a network with the same id and another shape is
// refused. When a step fails, the network is forgotten and taken away again.
func (d *Driver) createNetwork(ctx context.Context, r spec.NetworkRequest) error {
	n, err := spec.ParseNetwork(r)
	if err != nil {
		return err
	}
	defer d.busy.read()()
	defer d.creating.Lock("")()
	if old, ok := d.rec.network(n.ID); ok {
		if old.Network.Rates = n.Rates; !reflect.DeepEqual(old.Network, n) {
			return fault.Conflict("network %s exists with another shape", n.ID.Short())
		}
		return d.fab.run(ctx, plan.CreateNetwork(n))
	}
	if err := d.fits(ctx, n); err != nil {
		return err
	}
	number, err := d.rec.number()
	if err != nil {
		return err
	}
	if err := d.rec.putNetwork(networkRecord{Network: n, Number: number, Created: time.Now()}); err != nil {
		d.rec.free(number)
		return err
	}
	if err := d.fab.run(ctx, plan.CreateNetwork(n)); err != nil {
		if undo := d.removeNetwork(context.WithoutCancel(ctx), n); undo != nil {
			d.log.WarnContext(ctx, "what a failed network left is up to the next repair", "network", n.ID.Short(), "err", undo)
		}
		return err
	}
	d.Nudge() // its bridge is to be watched
	d.log.InfoContext(ctx, "network created", "network", n.ID.Short(), "bridge", n.Bridge, "vlan", n.VLAN, "uplink", n.Uplink, "gateway", string(n.Gateway))
	return nil
}

// fits compares a new network with the others of this host and with the
// host's links.
func (d *Driver) fits(ctx context.Context, n spec.Network) error {
	for _, o := range d.rec.allNetworks() {
		if err := compatible(n, o.Network, o.title()); err != nil {
			return err
		}
	}
	if n.Gateway == spec.GatewayHost {
		if err := clearOfHost(ctx, n); err != nil {
			return err
		}
	}
	if err := d.bridgeNameFree(ctx, n.Bridge); err != nil {
		return err
	}
	if plan.Ours(n.Uplink) {
		return fault.Conflict("uplink %s is a link of mosbridge's own: name an interface that leads out of the host", n.Uplink)
	}
	if n.Uplink == "" || slices.ContainsFunc(d.rec.allNetworks(), func(o networkRecord) bool { return o.Network.Uplink == n.Uplink }) {
		return nil
	}
	return link.CheckUplink(ctx, n.Uplink)
}

// bridgeNameFree refuses the name of a link that is no bridge of Open vSwitch,
// which itself would only say "invalid argument".
func (d *Driver) bridgeNameFree(ctx context.Context, name string) error {
	if slices.Contains(d.bridgeNames(), name) {
		return nil
	}
	links, err := link.List(ctx, name)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(links, func(l link.Link) bool { return l.Name == name })
	if i < 0 || slices.Contains([]string{"openvswitch", "tuntap", "tun"}, links[i].Kind) {
		return nil // Open vSwitch knows whose bridge it is
	}
	return fault.Conflict("mos.bridge=%s is the name of a link of this host (%s): choose another, or mos.uplink=%s to put it on the bridge", name, links[i].Kind, name)
}

// clearOfHost refuses a range that a link of the host is in: the gateway would
// take over a part of the host's own network.
func clearOfHost(ctx context.Context, n spec.Network) error {
	taken, err := link.Subnets(ctx)
	if err != nil {
		return err
	}
	for name, prefixes := range taken {
		if plan.Ours(name) {
			continue // of another network, or left over and soon gone
		}
		for _, p := range prefixes {
			for _, s := range n.Subnets {
				if s.Prefix.Overlaps(p) {
					return fault.Conflict("subnet %s overlaps %s, which link %s of this host is in: choose another --subnet, or mos.gateway=external with an uplink", s.Prefix, p, name)
				}
			}
		}
	}
	return nil
}

// compatible says why two networks cannot live on one host.
func compatible(n, o spec.Network, title string) error {
	switch {
	case n.Uplink != "" && n.Uplink == o.Uplink && n.Bridge != o.Bridge:
		return fault.Conflict("uplink %s is on bridge %s for network %s: use mos.bridge=%s", n.Uplink, o.Bridge, title, o.Bridge)
	case n.Bridge == o.Bridge && n.Uplink != "" && o.Uplink != "" && n.Uplink != o.Uplink:
		return fault.Conflict("bridge %s has uplink %s for network %s: name another mos.bridge for uplink %s", n.Bridge, o.Uplink, title, n.Uplink)
	case n.Bridge == o.Bridge && n.VLAN == o.VLAN && (n.VLAN != 0 || n.Uplink != "" && o.Uplink != ""):
		return fault.Conflict("VLAN %d on bridge %s is that of network %s: choose another mos.vlan", n.VLAN, n.Bridge, title)
	}
	for _, a := range n.Subnets {
		for _, b := range o.Subnets {
			if a.Prefix.Overlaps(b.Prefix) && (n.Gateway == spec.GatewayHost && o.Gateway == spec.GatewayHost || n.Bridge == o.Bridge) {
				return fault.Conflict("subnet %s overlaps %s of network %s: choose another --subnet", a.Prefix, b.Prefix, title)
			}
		}
	}
	return nil
}

// deleteNetwork forgets a network and takes it away, with every endpoint it
// still has: Docker only deletes networks without containers. Unknown ids are well.
func (d *Driver) deleteNetwork(ctx context.Context, id spec.NetworkID) error {
	defer d.busy.read()()
	n, ok := d.rec.network(id)
	if !ok {
		return nil
	}
	defer d.creating.Lock("")()
	for _, e := range d.rec.allEndpoints() {
		if e.Endpoint.Network == id {
			if err := d.forget(ctx, e.Endpoint.ID); err != nil {
				return err
			}
		}
	}
	if err := d.removeNetwork(ctx, n.Network); err != nil {
		return err
	}
	d.Nudge() // its bridge may be gone, and is to be watched no longer
	d.log.InfoContext(ctx, "network deleted", "network", id.Short())
	return nil
}

// removeNetwork drops the record first: what a cut leaves behind then belongs
// to nobody and the next repair collects it.
func (d *Driver) removeNetwork(ctx context.Context, n spec.Network) error {
	if err := d.rec.dropNetwork(n.ID); err != nil {
		return err
	}
	others := d.rec.allNetworks()
	last := !slices.ContainsFunc(others, func(o networkRecord) bool { return o.Network.Bridge == n.Bridge })
	lastUplink := n.Uplink != "" && !slices.ContainsFunc(others, func(o networkRecord) bool { return o.Network.Uplink == n.Uplink })
	return d.fab.runAll(ctx, plan.DeleteNetwork(n, last, lastUplink))
}
