package mosbridge

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/pluginsrv"
	"github.com/mosdocker/mosdocker/mosbridge/api"
	"github.com/mosdocker/mosdocker/mosbridge/plan"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

type (
	pathOf = func(string) string
	none   = pluginsrv.None
)

// Serve answers Docker and the admin API until ctx ends.
func (d *Driver) Serve(ctx context.Context) error {
	s := pluginsrv.New(pluginsrv.Config{Log: d.log.Logger, Registry: d.metrics.registry})
	s.Alive = d.alive
	d.Register(s)
	return s.Run(
		ctx,
		pluginsrv.Socket{Name: "mosbridge.socket", Path: d.cfg.Socket, Handler: s.Handler()},
		pluginsrv.Socket{Path: d.cfg.Admin, Handler: d.admin(s)},
	)
}

// alive says that calls can go in: a lock that nobody gives back ends the daemon.
func (d *Driver) alive(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(d.cfg.RepairLimit.Duration + 10*time.Second); time.Now().Before(end); {
		if d.busy.tryRead() {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return fault.Conflict("calls have been kept out for longer than a repair may take")
}

func (d *Driver) admin(s *pluginsrv.Server) http.Handler {
	a := s.NewAdmin()
	pluginsrv.HandleAdmin(a, "GET /v1/status", func(ctx context.Context, _ pathOf, _ none) (api.Status, error) { return d.status(ctx), nil })
	pluginsrv.HandleAdmin(a, "GET /v1/networks", func(ctx context.Context, _ pathOf, _ none) ([]api.Network, error) { return d.listNetworks(ctx), nil })
	pluginsrv.HandleAdmin(a, "GET /v1/networks/{ref}", func(ctx context.Context, path pathOf, _ none) (api.Network, error) {
		n, err := d.findNetwork(path("ref"))
		if err != nil {
			return api.Network{}, err
		}
		return d.showNetwork(ctx, n), nil
	})
	pluginsrv.HandleAdmin(a, "GET /v1/endpoints", func(ctx context.Context, _ pathOf, _ none) ([]api.Endpoint, error) { return d.listEndpoints(ctx), nil })
	pluginsrv.HandleAdmin(a, "GET /v1/endpoints/{ref}", func(ctx context.Context, path pathOf, _ none) (api.Endpoint, error) {
		e, err := d.findEndpoint(ctx, path("ref"))
		if err != nil {
			return api.Endpoint{}, err
		}
		return d.showEndpoint(e, d.portStates(ctx)), nil
	})
	pluginsrv.HandleAdmin(a, "GET /v1/ports", func(context.Context, pathOf, none) ([]api.Port, error) { return d.listPorts(), nil })
	pluginsrv.HandleAdmin(a, "GET /v1/leases", func(context.Context, pathOf, none) ([]api.Lease, error) { return d.listLeases(), nil })
	pluginsrv.HandleAdmin(a, "POST /v1/leases/forget", func(_ context.Context, _ pathOf, r api.ForgetRequest) (none, error) {
		return none{}, d.forgetLease(r)
	})
	pluginsrv.HandleAdmin(a, "GET /v1/cluster", func(context.Context, pathOf, none) (api.Cluster, error) { return d.showCluster(), nil })
	pluginsrv.HandleAdmin(a, "PUT /v1/cluster", func(ctx context.Context, _ pathOf, r api.Cluster) (api.Cluster, error) { return d.setCluster(ctx, r) })
	pluginsrv.HandleAdmin(a, "GET /v1/plan", func(ctx context.Context, _ pathOf, _ none) (api.Plan, error) {
		p, err := d.plan(ctx)
		return apiPlan(p), err
	})
	pluginsrv.HandleAdmin(a, "POST /v1/rates", func(ctx context.Context, _ pathOf, r api.RatesRequest) (api.Plan, error) { return d.setRates(ctx, r) })
	pluginsrv.HandleAdmin(a, "POST /v1/trace", func(ctx context.Context, _ pathOf, r api.TraceRequest) (api.Trace, error) { return d.trace(ctx, r) })
	pluginsrv.HandleAdmin(a, "GET /v1/audit", func(ctx context.Context, _ pathOf, _ none) (api.Audit, error) { return d.audit(ctx), nil })
	pluginsrv.HandleAdmin(a, "POST /v1/gc", func(ctx context.Context, _ pathOf, r api.GCRequest) (api.GC, error) { return d.gc(ctx, r) })
	pluginsrv.HandleAdmin(a, "GET /v1/doctor", func(ctx context.Context, _ pathOf, _ none) (api.Doctor, error) { return d.doctor(ctx), nil })
	pluginsrv.HandleAdmin(a, "PUT /v1/loglevel", func(_ context.Context, _ pathOf, r api.LogLevel) (none, error) {
		return none{}, d.log.SetLevel(r.Level)
	})
	a.Raw("GET /metrics", promhttp.HandlerFor(d.metrics.registry, promhttp.HandlerOpts{}))
	return a
}

func apiPlan(p plan.Plan) api.Plan {
	out := api.Plan{Steps: []api.Step{}}
	for _, s := range p {
		out.Steps = append(out.Steps, api.Step{Op: string(s.Op), Object: s.Object, Bridge: s.Bridge, Cause: s.Cause})
	}
	return out
}

// findNetwork looks one up by id, its beginning, or name.
func (d *Driver) findNetwork(ref string) (networkRecord, error) {
	var found []networkRecord
	for _, n := range d.rec.allNetworks() {
		if n.Name == ref {
			return n, nil
		}
		if ref != "" && strings.HasPrefix(string(n.Network.ID), ref) {
			found = append(found, n)
		}
	}
	switch len(found) {
	case 0:
		return networkRecord{}, fault.NotFound("network %.64q is not known: docker mos net ls lists them", ref)
	case 1:
		return found[0], nil
	}
	return networkRecord{}, fault.Conflict("%.64q is the beginning of %d networks' ids: give more of it", ref, len(found))
}

// findEndpoint looks one up by its id, its beginning, or its container's id or
// name. A container on several networks is asked for by endpoint.
func (d *Driver) findEndpoint(ctx context.Context, ref string) (endpointRecord, error) {
	d.learnNew(ctx)
	var named, found []endpointRecord
	for _, e := range d.rec.allEndpoints() {
		if ref != "" && e.Name == ref {
			named = append(named, e)
		}
		if ref != "" && (e.Name == ref || strings.HasPrefix(string(e.Endpoint.ID), ref) || strings.HasPrefix(e.Container, ref)) {
			found = append(found, e)
		}
	}
	if len(named) > 0 {
		found = named // a name wins over the beginnings of ids
	}
	switch len(found) {
	case 0:
		return endpointRecord{}, fault.NotFound("no endpoint or container %.64q is known: docker mos net ps lists them", ref)
	case 1:
		return found[0], nil
	}
	return endpointRecord{}, fault.Conflict("%.64q names %d endpoints: give the endpoint id that docker mos net ps shows", ref, len(found))
}

// setRates changes limits in the record and on the bridge. A network's limits
// hold for those of its endpoints that have none of their own.
func (d *Driver) setRates(ctx context.Context, r api.RatesRequest) (api.Plan, error) {
	if (r.Network == "") == (r.Endpoint == "") {
		return api.Plan{}, fault.Invalid("give either a network or an endpoint")
	}
	if r.Network != "" {
		return d.setNetworkRates(ctx, r)
	}
	e, err := d.findEndpoint(ctx, r.Endpoint) // may ask Docker, so before the gate
	if err != nil {
		return api.Plan{}, err
	}
	defer d.busy.read()()
	defer d.endpoints.Lock(string(e.Endpoint.ID))()
	e, ok := d.rec.endpoint(e.Endpoint.ID)
	if !ok {
		return api.Plan{}, fault.NotFound("endpoint %.64q is gone", r.Endpoint)
	}
	old := e.Endpoint.Rates
	n, _ := d.rec.network(e.Endpoint.Network)
	next := changed(rates(n, e), r)
	e.Endpoint.Rates = &next
	p := ratePlan(n.Network, e, "rates set")
	if r.DryRun {
		return apiPlan(p), nil
	}
	set := func(rates *spec.Rates) error {
		return d.rec.update(e.Endpoint.ID, func(e *endpointRecord) { e.Endpoint.Rates = rates })
	}
	if err := set(&next); err != nil {
		return api.Plan{}, err
	}
	if err := d.fab.run(ctx, p); err != nil {
		return api.Plan{}, errors.Join(err, set(old)) // what is not in force is not kept
	}
	return apiPlan(p), nil
}

func (d *Driver) setNetworkRates(ctx context.Context, r api.RatesRequest) (api.Plan, error) {
	n, err := d.findNetwork(r.Network)
	if err != nil {
		return api.Plan{}, err
	}
	defer d.busy.read()()
	defer d.creating.Lock("")()
	n, ok := d.rec.network(n.Network.ID)
	if !ok {
		return api.Plan{}, fault.NotFound("network %.64q is gone", r.Network)
	}
	before := n
	n.Network.Rates = changed(n.Network.Rates, r)
	var p plan.Plan
	for _, e := range d.rec.allEndpoints() {
		if e.Endpoint.Network == n.Network.ID && e.Endpoint.Rates == nil {
			p = append(p, ratePlan(n.Network, e, "rates of the network set")...)
		}
	}
	if r.DryRun {
		return apiPlan(p), nil
	}
	if err := d.rec.putNetwork(n); err != nil {
		return api.Plan{}, err
	}
	if err := d.fab.run(ctx, p); err != nil {
		return api.Plan{}, errors.Join(err, d.rec.putNetwork(before))
	}
	return apiPlan(p), nil
}

// changed applies what a request sets.
func changed(old spec.Rates, r api.RatesRequest) spec.Rates {
	if r.In != nil {
		old.In = spec.Rate(*r.In)
	}
	if r.Out != nil {
		old.Out = spec.Rate(*r.Out)
	}
	return old
}

// ratePlan puts changed limits of one endpoint into force: meters first, since
// flows may only name meters that exist, and those not used any more last.
func ratePlan(n spec.Network, e endpointRecord, cause string) plan.Plan {
	if !e.Joined {
		return nil
	}
	port := e.Endpoint.ID.PortName()
	step := func(op plan.Op) plan.Step {
		return plan.Step{Op: op, Object: port, Bridge: n.Bridge, Endpoint: e.Endpoint.ID, Cause: cause}
	}
	return plan.Plan{step(plan.SetMeters), step(plan.AttachFlows), step(plan.TrimMeters)}
}
