package mosbridge

import (
	"cmp"
	"context"
	"slices"

	"github.com/mosdocker/mosdocker/mosbridge/hostport"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// publishers says which joined endpoints hold the published ports of their
// sandbox. A container on several networks hands its ports to every Join, but
// one host port can lead to one place only: to the endpoint that the engine
// named by ProgramExternalConnectivity, else to the first that joined and can.
// That call is only a hint, since engines from 29 on leave it out after a
// live-restore.
func publishers(eps []endpointRecord, can func(spec.NetworkID) bool) map[spec.EndpointID]bool {
	best := map[string]endpointRecord{}
	for _, e := range eps {
		if !e.Joined || len(e.Asked) == 0 || !can(e.Endpoint.Network) {
			continue
		}
		if b, ok := best[e.Sandbox]; !ok || prefer(e, b) < 0 {
			best[e.Sandbox] = e
		}
	}
	out := map[spec.EndpointID]bool{}
	for _, e := range best {
		out[e.Endpoint.ID] = true
	}
	return out
}

// republish gives the published ports of a sandbox to the endpoint that should
// hold them, and records that. It says whether rules must change.
func (d *Driver) republish(ctx context.Context, sandbox string) (bool, error) {
	d.publishing.Lock()
	defer d.publishing.Unlock()
	var mine []endpointRecord
	for _, e := range d.rec.allEndpoints() {
		if e.Joined && e.Sandbox == sandbox {
			mine = append(mine, e)
		}
	}
	hold := publishers(mine, func(id spec.NetworkID) bool {
		n, ok := d.rec.network(id)
		return ok && publishes(n.Network)
	})
	changed := false
	for _, e := range mine { // give up first, so that a claim finds the port free
		if len(e.Bound) > 0 && !hold[e.Endpoint.ID] {
			if err := d.rec.update(e.Endpoint.ID, func(e *endpointRecord) { e.Bound = nil }); err != nil {
				return changed, err
			}
			d.ports.Release(string(e.Endpoint.ID))
			changed = true
		}
	}
	for _, e := range mine {
		if !hold[e.Endpoint.ID] || len(e.Bound) > 0 {
			continue
		}
		bound, err := d.ports.Claim(ctx, string(e.Endpoint.ID), e.Asked, hostport.Families{IPv4: e.Endpoint.IPv4.IsValid(), IPv6: e.Endpoint.IPv6.IsValid()})
		if err != nil {
			return changed, err
		}
		changed = true
		if err := d.rec.update(e.Endpoint.ID, func(e *endpointRecord) { e.Bound = bound }); err != nil {
			d.ports.Release(string(e.Endpoint.ID))
			return changed, err
		}
	}
	return changed, nil
}

// prefer orders two endpoints of one sandbox: the engine's choice first, one
// that the engine took back last, then by when they joined.
func prefer(a, b endpointRecord) int {
	return cmp.Or(
		cmp.Compare(rank(a.External), rank(b.External)),
		a.JoinedAt.Compare(b.JoinedAt),
		cmp.Compare(a.Endpoint.ID, b.Endpoint.ID),
	)
}

func rank(e external) int { return slices.Index([]external{programmed, unasked, revoked}, e) }
