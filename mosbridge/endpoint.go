package mosbridge

import (
	"context"
	"errors"
	"time"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/mosbridge/plan"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// createEndpoint checks and records, nothing more: dockerd holds a lock on
// the whole network meanwhile. It returns the endpoint with its MAC chosen.
func (d *Driver) createEndpoint(ctx context.Context, r spec.EndpointRequest) (spec.Endpoint, error) {
	defer d.busy.read()()
	n, err := d.knownNetwork(r.Network)
	if err != nil {
		return spec.Endpoint{}, err
	}
	e, err := spec.ParseEndpoint(n.Network, r)
	if err != nil {
		return spec.Endpoint{}, err
	}
	if e.MAC.IsZero() {
		e.MAC = spec.DeriveMAC(n.Network.ID, e.Addrs()[0])
	}
	d.buryDead(ctx, e)
	defer d.endpoints.Lock(string(e.ID))()
	if old, ok := d.rec.endpoint(e.ID); ok {
		if old.Endpoint.Network == e.Network && old.Endpoint.MAC == e.MAC && old.Endpoint.IPv4 == e.IPv4 && old.Endpoint.IPv6 == e.IPv6 {
			return old.Endpoint, nil // asked again
		}
		return spec.Endpoint{}, fault.Conflict("endpoint %s exists with another MAC or address: it must be deleted first", e.ID.Short())
	}
	if err := d.free(e); err != nil {
		return spec.Endpoint{}, err
	}
	number, err := d.rec.number()
	if err != nil {
		return spec.Endpoint{}, err
	}
	if err := d.rec.putEndpoint(endpointRecord{Endpoint: e, Number: number, Created: time.Now()}); err != nil {
		d.rec.free(number)
		return spec.Endpoint{}, err
	}
	return e, nil
}

// free checks that nothing about a new endpoint is in use: its names, its MAC
// and its addresses within the network.
func (d *Driver) free(e spec.Endpoint) error {
	for o := range d.rec.eachEndpoint() {
		x := o.Endpoint
		if x.ID.PortName() == e.ID.PortName() {
			return fault.Conflict("endpoint id %s begins like that of %s: try again, Docker will choose another", e.ID.Short(), o.title())
		}
		if x.Network != e.Network {
			continue
		}
		switch {
		case x.MAC == e.MAC:
			return fault.Conflict("MAC address %s is held by %s: stop it or choose another", e.MAC, o.title())
		case e.IPv4.IsValid() && x.IPv4 == e.IPv4:
			return fault.Conflict("address %s is held by %s: stop it or choose another", e.IPv4.Addr(), o.title())
		case e.IPv6.IsValid() && x.IPv6 == e.IPv6:
			return fault.Conflict("address %s is held by %s: stop it or choose another", e.IPv6.Addr(), o.title())
		}
	}
	return nil
}

func (d *Driver) knownNetwork(id string) (networkRecord, error) {
	n, ok := d.rec.network(spec.NetworkID(id))
	if !ok {
		return n, fault.NotFound("network %.64q is not known to mosbridge: remove it and create it again", id)
	}
	return n, nil
}

func (d *Driver) knownEndpoint(network, id string) (networkRecord, endpointRecord, error) {
	n, err := d.knownNetwork(network)
	if err != nil {
		return n, endpointRecord{}, err
	}
	e, ok := d.rec.endpoint(spec.EndpointID(id))
	if !ok || e.Endpoint.Network != n.Network.ID {
		return n, e, fault.NotFound("endpoint %.64q is not known on network %s", id, n.title())
	}
	return n, e, nil
}

// join connects an endpoint whose container starts. It answers when traffic
// can flow. Repeating it is well, also after a cut in the middle.
func (d *Driver) join(ctx context.Context, network, id, sandbox string, asked []spec.Port) (networkRecord, endpointRecord, error) {
	defer d.busy.read()()
	defer d.endpoints.Lock(id)()
	n, e, err := d.knownEndpoint(network, id)
	if err != nil {
		return n, e, err
	}
	if e.Joined && e.Sandbox != sandbox {
		return n, e, fault.Conflict("endpoint %s has joined another container: it must leave first", e.Endpoint.ID.Short())
	}
	before := e
	e.Joined, e.JoinedAt, e.Sandbox, e.Asked = true, time.Now(), sandbox, asked
	if err := d.rec.putEndpoint(e); err != nil {
		return n, before, err
	}
	moved := false
	if len(asked) > 0 || len(e.Bound) > 0 {
		moved, err = d.republish(ctx, sandbox)
	}
	if err == nil {
		err = d.fab.run(ctx, plan.Join(n.Network, e.Endpoint, limited(n, e), moved))
	}
	if err != nil {
		if undo := d.part(context.WithoutCancel(ctx), n, e); undo != nil {
			d.log.WarnContext(ctx, "what a failed join left is up to the next repair", "endpoint", e.Endpoint.ID.Short(), "err", undo)
		}
		return n, before, err
	}
	d.log.InfoContext(ctx, "container joined", "network", n.title(), "endpoint", e.Endpoint.ID.Short(), "mac", e.Endpoint.MAC.String(), "addresses", e.Endpoint.Addrs())
	return n, e, nil
}

// limited says whether a rate limit holds for the endpoint.
func limited(n networkRecord, e endpointRecord) bool { return rates(n, e) != spec.Rates{} }

func rates(n networkRecord, e endpointRecord) spec.Rates {
	if e.Endpoint.Rates != nil {
		return *e.Endpoint.Rates
	}
	return n.Network.Rates
}

// leave disconnects an endpoint; engines send it twice after a failed join,
// and late. Unknown ids are well.
func (d *Driver) leave(ctx context.Context, id string) error {
	defer d.busy.read()()
	defer d.endpoints.Lock(id)()
	e, ok := d.rec.endpoint(spec.EndpointID(id))
	if !ok || !e.Joined {
		return nil
	}
	n, _ := d.rec.network(e.Endpoint.Network)
	if err := d.part(ctx, n, e); err != nil {
		return err
	}
	d.log.InfoContext(ctx, "container left", "network", n.title(), "endpoint", e.Endpoint.ID.Short())
	return nil
}

// part records that an endpoint is not joined and takes its port away.
func (d *Driver) part(ctx context.Context, n networkRecord, e endpointRecord) error {
	sandbox, published := e.Sandbox, len(e.Bound) > 0 || len(e.Asked) > 0
	e.Joined, e.JoinedAt, e.Sandbox, e.Asked, e.Bound, e.External = false, time.Time{}, "", nil, nil, unasked
	// On a full disk everything is taken away all the same, and repairs try to
	// write that. A daemon that starts before one could finds an endpoint whose
	// link is gone, as after a power cut.
	kept := d.rec.putAnyway(e)
	d.ports.Release(string(e.Endpoint.ID))
	if published {
		if _, err := d.republish(ctx, sandbox); err != nil {
			d.log.WarnContext(ctx, "published ports did not move to the container's other network", "err", err)
		}
	}
	return errors.Join(kept, d.fab.takeAway(ctx, plan.Leave(n.Network, e.Endpoint, limited(n, e), published)))
}

// deleteEndpoint forgets an endpoint; if it is still joined, it leaves first.
func (d *Driver) deleteEndpoint(ctx context.Context, id string) error {
	defer d.busy.read()()
	return d.forget(ctx, spec.EndpointID(id))
}

func (d *Driver) forget(ctx context.Context, id spec.EndpointID) error {
	defer d.endpoints.Lock(string(id))()
	e, ok := d.rec.endpoint(id)
	if !ok {
		return nil
	}
	n, _ := d.rec.network(e.Endpoint.Network)
	if e.Joined {
		if err := d.part(ctx, n, e); err != nil {
			d.log.WarnContext(ctx, "port of a deleted endpoint is left to the next repair", "endpoint", id.Short(), "err", err)
		}
	}
	return d.rec.dropEndpoint(id)
}

// external notes what the engine says of an endpoint's outside connection and
// moves the sandbox's published ports accordingly.
func (d *Driver) external(ctx context.Context, id string, to external) error {
	defer d.busy.read()()
	defer d.endpoints.Lock(id)()
	e, ok := d.rec.endpoint(spec.EndpointID(id))
	if !ok || !e.Joined {
		return nil
	}
	n, _ := d.rec.network(e.Endpoint.Network)
	if to == programmed && len(e.Asked) > 0 && !publishes(n.Network) {
		return fault.Conflict("network %s has no gateway on this host (mos.gateway=%s), so no port can be published there: the container is reached by its own address, drop -p", n.title(), n.Network.Gateway)
	}
	if e.External == to || len(e.Asked) == 0 { // what publishes nothing need not be kept
		return nil
	}
	if err := d.rec.update(e.Endpoint.ID, func(e *endpointRecord) { e.External = to }); err != nil {
		return err
	}
	moved, err := d.republish(ctx, e.Sandbox)
	if err != nil || !moved {
		return err
	}
	return d.fab.run(ctx, plan.Plan{{Op: plan.ApplyFirewall, Object: "rules", Cause: "the container's gateway changed"}})
}

// publishes says whether ports can be published on a network.
func publishes(n spec.Network) bool { return n.Gateway == spec.GatewayHost }
