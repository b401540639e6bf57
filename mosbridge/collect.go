package mosbridge

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/mosdocker/mosdocker/internal/engine"
	"github.com/mosdocker/mosdocker/mosbridge/ipam"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// Name is what Docker's users call the driver.
const Name = "mosbridge"

// known is what the engine says exists.
type known struct {
	networks  map[string]engine.Network
	endpoints map[string]engine.Container // by endpoint id
	addrs     map[netip.Addr]bool         // in use
	wanted    map[netip.Addr]bool         // asked for by a container that exists, running or not
}

// ask reads the engine; nothing here runs inside a plugin call.
func (d *Driver) ask(ctx context.Context) (known, error) {
	k := known{networks: map[string]engine.Network{}, endpoints: map[string]engine.Container{}, addrs: map[netip.Addr]bool{}, wanted: map[netip.Addr]bool{}}
	nets, err := d.engine.Networks(ctx, Name)
	if err != nil {
		return k, err
	}
	for _, n := range nets {
		k.networks[n.ID] = n
		for _, e := range n.Endpoints {
			k.endpoints[e.ID] = engine.Container{ID: e.Container, Name: e.Name}
			k.addrs[e.IPv4.Addr()], k.addrs[e.IPv6.Addr()] = true, true
		}
	}
	containers, err := d.engine.Containers(ctx)
	for _, c := range containers {
		for _, a := range c.Networks {
			if a.Endpoint != "" {
				k.endpoints[a.Endpoint] = c
			}
			k.addrs[a.IPv4.Addr()], k.addrs[a.IPv6.Addr()] = true, true
			k.wanted[a.WantIPv4], k.wanted[a.WantIPv6] = true, true
		}
	}
	return k, err
}

// collect learns names from the engine and takes away, in two phases, what it
// no longer knows: an object must be unknown at two looks at least Grace apart.
// An engine that does not answer says nothing, so nothing is collected.
func (d *Driver) collect(ctx context.Context) {
	k, err := d.ask(ctx)
	d.noteEngine(err)
	if err != nil {
		d.log.DebugContext(ctx, "docker does not answer, nothing is collected", "err", err)
		return
	}
	if v, err := d.engine.Version(ctx); err == nil {
		d.noteVersion(v.Engine)
	}
	d.learn(k)
	for _, id := range d.unknown(k, time.Now()) {
		d.drop(ctx, id)
	}
	d.collectLeases(k)
}

// learnNew asks the engine at once when a container runs whose name is not
// known yet. Only calls of the admin API do this.
func (d *Driver) learnNew(ctx context.Context) {
	nameless := func(e endpointRecord) bool { return e.Joined && e.Name == "" }
	if !slices.ContainsFunc(d.rec.allEndpoints(), nameless) {
		return
	}
	k, err := d.ask(ctx)
	if err != nil {
		d.log.DebugContext(ctx, "docker does not answer, names stay unknown", "err", err)
		return
	}
	d.learn(k)
}

// learn keeps the names that Docker's users know things by.
func (d *Driver) learn(k known) {
	for _, n := range d.rec.allNetworks() {
		if name := k.networks[string(n.Network.ID)].Name; name != "" && name != n.Name {
			d.rec.renameNetwork(n.Network.ID, name)
		}
	}
	for _, e := range d.rec.allEndpoints() {
		if c := k.endpoints[string(e.Endpoint.ID)]; c.ID != "" && (c.ID != e.Container || c.Name != e.Name) {
			d.rec.renameEndpoint(e.Endpoint.ID, c.ID, c.Name)
		}
	}
}

// unknown lists the ids of networks and endpoints that are due for collection,
// and notes since when each of them has been missing.
func (d *Driver) unknown(k known, now time.Time) []string {
	gone := map[string]bool{}
	for _, e := range d.rec.allEndpoints() {
		if _, ok := k.endpoints[string(e.Endpoint.ID)]; !ok {
			gone[string(e.Endpoint.ID)] = true
		}
	}
	for _, n := range d.rec.allNetworks() {
		if _, ok := k.networks[string(n.Network.ID)]; !ok {
			gone[string(n.Network.ID)] = true
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var due []string
	for id := range d.missing {
		if !gone[id] {
			delete(d.missing, id)
		}
	}
	for id := range gone {
		since, ok := d.missing[id]
		if !ok {
			d.missing[id] = now
		} else if now.Sub(since) >= d.cfg.Grace.Duration {
			due = append(due, id)
		}
	}
	return due
}

// drop collects one object that Docker does not know.
func (d *Driver) drop(ctx context.Context, id string) {
	d.log.WarnContext(ctx, "collected what docker does not know", "object", id)
	var err error
	if _, ok := d.rec.network(spec.NetworkID(id)); ok {
		err = d.deleteNetwork(ctx, spec.NetworkID(id))
	} else {
		err = d.deleteEndpoint(ctx, id)
	}
	if err != nil {
		d.log.WarnContext(ctx, "collection is tried again", "object", id, "err", err)
	}
}

// excused says whether a lease has a reason to be: an endpoint of the record,
// a container that uses it, or, once released, one that asks for it.
func (d *Driver) excused(l ipam.Lease, k known) bool {
	return k.addrs[l.Addr] || d.holds(l) || l.State == ipam.Kept && k.wanted[l.Addr]
}

// poolExcused says whether a pool has a reason to be: a network of Docker's with
// that subnet, of whichever driver, or one of the record.
func (d *Driver) poolExcused(p ipam.Pool, k known) bool {
	for _, n := range k.networks {
		if slices.ContainsFunc(n.Subnets, func(s netip.Prefix) bool { return s.Masked() == p.Prefix }) {
			return true
		}
	}
	_, recorded := d.rec.network(spec.NetworkID(p.Network))
	return recorded || d.poolInUse(p.ID())
}

// collectLeases takes back addresses that no container has or asks for, and
// pools whose network is gone.
func (d *Driver) collectLeases(k known) {
	now, grace := time.Now(), d.cfg.Grace.Duration
	leases, err := d.addrs.Collect(now, grace, func(l ipam.Lease) bool { return d.excused(l, k) })
	if err != nil {
		d.log.Warn("leases are not collected", "err", err)
	}
	for _, l := range leases {
		d.log.Warn("address taken back, no container has it", "lease", l.String())
	}
	// The network of a young pool may have been created after Docker was asked.
	pools, err := d.addrs.CollectPools(now, grace, func(p ipam.Pool) bool { return now.Sub(p.Since) < grace || d.poolExcused(p, k) })
	if err != nil {
		d.log.Warn("pools are not collected", "err", err)
	}
	for _, p := range pools {
		d.log.Warn("pool taken back, no network has it", "pool", string(p.ID()))
	}
}
