package mosbridge

import (
	"context"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/mosbridge/ipam"
	"github.com/mosdocker/mosdocker/mosbridge/link"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// dead says that an endpoint's container is gone though nobody said so, as when
// it died while no daemon listened: the kernel took the veth pair with the
// container's namespace, and nothing brings it back.
func (d *Driver) dead(ctx context.Context, e endpointRecord) bool {
	if !e.Joined {
		return false
	}
	_, err := link.MTU(ctx, e.Endpoint.ID.PortName())
	return errdefs.IsNotFound(err)
}

// buryDead forgets the endpoints of such containers that stand in the way of a
// new one. Each is forgotten under its own lock, so the caller holds none.
func (d *Driver) buryDead(ctx context.Context, e spec.Endpoint) {
	var alike []endpointRecord
	for o := range d.rec.eachEndpoint() {
		if o.Endpoint.ID != e.ID && o.Endpoint.Network == e.Network && sharesAny(o.Endpoint, e) {
			alike = append(alike, o)
		}
	}
	for _, o := range alike {
		if !d.dead(ctx, o) {
			continue
		}
		d.log.InfoContext(ctx, "endpoint of a container that is gone is forgotten", "endpoint", o.Endpoint.ID.Short())
		if err := d.forget(ctx, o.Endpoint.ID); err != nil {
			d.log.WarnContext(ctx, "it could not be forgotten", "endpoint", o.Endpoint.ID.Short(), "err", err)
		}
	}
}

// gone tells IPAM which leases have lost their endpoint. Pools that no network
// of the record has are other drivers' and nobody here knows about them.
func (d *Driver) gone(ctx context.Context) func(ipam.Lease) bool {
	return func(l ipam.Lease) bool {
		if !d.poolInUse(l.Pool) {
			return false
		}
		for _, e := range d.rec.allEndpoints() {
			if e.Endpoint.IPv4.Addr() == l.Addr || e.Endpoint.IPv6.Addr() == l.Addr {
				return d.dead(ctx, e)
			}
		}
		return true
	}
}

// poolInUse says whether a network of the record has the pool.
func (d *Driver) poolInUse(id ipam.PoolID) bool {
	prefix, ok := id.Prefix()
	if !ok {
		return false
	}
	for _, n := range d.rec.allNetworks() {
		if s, ok := n.Network.Subnet(prefix.Addr().Is4()); ok && s.Prefix == prefix {
			return true
		}
	}
	return false
}

// sharesAny says whether two endpoints want the same MAC or address.
func sharesAny(a, b spec.Endpoint) bool {
	return a.MAC == b.MAC || a.IPv4.IsValid() && a.IPv4 == b.IPv4 || a.IPv6.IsValid() && a.IPv6 == b.IPv6
}
