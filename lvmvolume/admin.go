package lvmvolume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/pluginsrv"
	"github.com/mosdocker/mosdocker/lvmvolume/api"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

type (
	pathOf = func(string) string
	none   = pluginsrv.None
)

// Serve answers Docker and the admin API until ctx ends.
func (d *Driver) Serve(ctx context.Context) error {
	s := pluginsrv.New(pluginsrv.Config{Log: d.log.Logger, Registry: d.metrics.registry})
	d.Register(s)
	defer context.AfterFunc(ctx, d.cutImports)()
	return s.Run(
		ctx,
		pluginsrv.Socket{Name: "mos-lvm.socket", Path: d.cfg.Socket, Handler: s.Handler()},
		pluginsrv.Socket{Path: d.cfg.Admin, Handler: d.admin(s)},
	)
}

func (d *Driver) admin(s *pluginsrv.Server) http.Handler {
	a := s.NewAdmin()
	d.adminReads(a)
	pluginsrv.HandleAdmin(a, "POST /v1/volumes", d.adminCreate)
	pluginsrv.HandleAdmin(a, "POST /v1/resize", func(ctx context.Context, _ pathOf, r api.ResizeRequest) (api.Plan, error) {
		p, note, err := d.resize(ctx, r)
		out := d.done(apiPlan(p), r.Volume, r.DryRun)
		out.Note = note
		return out, err
	})
	pluginsrv.HandleAdmin(a, "POST /v1/remove", func(ctx context.Context, _ pathOf, r api.RemoveRequest) (api.Plan, error) {
		e, _ := d.idx.find(r.Volume, inService) // trashRef tells
		p, err := d.trashRef(ctx, r.Volume, r.DryRun)
		out := apiPlan(p)
		if err == nil {
			out.Note = d.neededBy(ctx, e.v.Name)
		}
		return out, err
	})
	d.adminSnapshots(a)
	pluginsrv.HandleAdmin(a, "POST /v1/trash/restore", func(ctx context.Context, _ pathOf, r api.RestoreRequest) (api.Plan, error) {
		p, v, err := d.restore(ctx, r.Volume, r.As, r.DryRun)
		return d.done(apiPlan(p), v.Name, r.DryRun || err != nil), err
	})
	pluginsrv.HandleAdmin(a, "POST /v1/gc", d.adminGC)
	pluginsrv.HandleAdmin(a, "POST /v1/look", func(ctx context.Context, _ pathOf, _ none) (none, error) {
		d.openTrials(ctx)
		return none{}, d.reconcile(ctx)
	})
	pluginsrv.HandleAdmin(a, "PUT /v1/loglevel", func(_ context.Context, _ pathOf, r api.LogLevel) (none, error) {
		if err := d.log.SetLevel(r.Level); err != nil {
			return none{}, fault.Invalid("%w", err)
		}
		return none{}, nil
	})
	a.Raw("POST /v1/trash/purge", http.HandlerFunc(d.servePurge))
	a.Raw("GET /v1/export", http.HandlerFunc(d.serveExport))
	a.Raw("POST /v1/import", http.HandlerFunc(d.serveImport))
	a.Raw("GET /metrics", promhttp.HandlerFor(d.metrics.registry, promhttp.HandlerOpts{}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains([]string{"/metrics", "/v1/status", "/v1/doctor", "/v1/events", "/v1/loglevel"}, r.URL.Path) {
			d.await(r.Context()) // these tell why the others wait
		}
		a.ServeHTTP(w, r)
	})
}

func (d *Driver) adminSnapshots(a *pluginsrv.Admin) {
	pluginsrv.HandleAdmin(a, "POST /v1/snapshots", func(ctx context.Context, _ pathOf, r api.SnapshotRequest) (api.Plan, error) {
		if strings.HasPrefix(r.Name, exportPrefix) {
			return api.Plan{}, fault.Invalid("snapshot name %.80s: those that begin with %s are taken and removed by exports; choose another", r.Name, exportPrefix)
		}
		p, snap, err := d.takeSnapshot(ctx, r.Volume, r.Name, r.DryRun)
		out := apiPlan(p)
		if !r.DryRun {
			s := showSnapshot(entry{v: snap})
			out.Snapshot = &s
		}
		return out, err
	})
	pluginsrv.HandleAdmin(a, "POST /v1/snapshots/remove", func(ctx context.Context, _ pathOf, r api.SnapshotRequest) (api.Plan, error) {
		p, err := d.removeSnapshot(ctx, r.Volume, r.Name, r.DryRun)
		return apiPlan(p), err
	})
}

func (d *Driver) adminReads(a *pluginsrv.Admin) {
	pluginsrv.HandleAdmin(a, "GET /v1/status", func(context.Context, pathOf, none) (api.Status, error) { return d.overview(), nil })
	pluginsrv.HandleAdmin(a, "GET /v1/volumes", func(ctx context.Context, _ pathOf, _ none) ([]api.Volume, error) {
		_, _, err := d.see(ctx)
		vs := d.showAll(d.idx.all(inService))
		d.nameUsers(ctx, vs)
		return vs, err
	})
	pluginsrv.HandleAdmin(a, "GET /v1/volumes/{ref}", func(ctx context.Context, path pathOf, _ none) (api.Volume, error) {
		_, _, serr := d.see(ctx)
		e, err := d.idx.find(path("ref"), inService)
		if err = errors.Join(err, serr); err != nil {
			return api.Volume{}, err
		}
		vs := d.showAll([]entry{e})
		d.nameUsers(ctx, vs)
		return vs[0], nil
	})
	pluginsrv.HandleAdmin(a, "GET /v1/snapshots", func(context.Context, pathOf, none) ([]api.Snapshot, error) { return d.snapshots(), nil })
	pluginsrv.HandleAdmin(a, "GET /v1/trash", func(context.Context, pathOf, none) ([]api.Volume, error) { return d.showAll(d.idx.all(inTrash)), nil })
	pluginsrv.HandleAdmin(a, "GET /v1/pools", func(context.Context, pathOf, none) ([]api.Pool, error) { return d.pools(), nil })
	pluginsrv.HandleAdmin(a, "GET /v1/events", func(context.Context, pathOf, none) ([]api.Event, error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		return append([]api.Event{}, d.events...), nil
	})
	pluginsrv.HandleAdmin(a, "GET /v1/audit", func(ctx context.Context, _ pathOf, _ none) (api.Audit, error) { return d.audit(ctx), nil })
	pluginsrv.HandleAdmin(a, "GET /v1/doctor", func(ctx context.Context, _ pathOf, _ none) (api.Doctor, error) { return d.doctor(ctx), nil })
}

func (d *Driver) adminCreate(ctx context.Context, _ pathOf, r api.CreateRequest) (api.Plan, error) {
	if err := d.shadowed(ctx, r.Name); err != nil {
		return api.Plan{}, err
	}
	d.oddName(ctx, r.Name)
	p, err := d.create(ctx, spec.Request{Name: r.Name, Options: r.Options}, r.DryRun)
	if err != nil {
		return api.Plan{}, err
	}
	out := d.done(apiPlan(p), r.Name, r.DryRun)
	if e, ok := d.idx.named(r.Name); ok && len(p) == 0 {
		out.Note = fmt.Sprintf("volume %s is there already, with %s: nothing was done", r.Name, spec.Bytes(e.v.Size))
	}
	return out, nil
}

// done adds to a plan what became of its volume.
func (d *Driver) done(p api.Plan, ref string, dry bool) api.Plan {
	if dry {
		return p
	}
	if e, err := d.idx.find(ref, inService); err == nil {
		vs := d.showAll([]entry{e})
		p.Volume = &vs[0]
	}
	return p
}

// lines answers a call that takes long in lines of [api.Progress].
type lines struct {
	w   http.ResponseWriter
	enc *json.Encoder
}

func newLines(w http.ResponseWriter) *lines {
	w.Header().Set("Content-Type", "application/x-ndjson")
	return &lines{w, json.NewEncoder(w)}
}

// say writes a line. A caller who is gone is not told, and the work goes on.
func (l *lines) say(p api.Progress) {
	if l.enc.Encode(p) == nil {
		_ = http.NewResponseController(l.w).Flush()
	}
}

func (l *lines) progress(object string, done, total uint64) {
	l.say(api.Progress{Object: object, Done: done, Total: total})
}

// end writes the last line.
func (l *lines) end(p api.Plan, err error) {
	if err != nil {
		_, code := pluginsrv.Class(err)
		l.say(api.Progress{Error: err.Error(), Code: code})
		return
	}
	l.say(api.Progress{Plan: &p})
}

func (d *Driver) servePurge(w http.ResponseWriter, r *http.Request) {
	out := newLines(w)
	var req api.PurgeRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&req); err != nil {
		out.end(api.Plan{}, fault.Invalid("request: %w", err))
		return
	}
	vs, err := d.trashOf(req.Volumes, req.All)
	if err != nil {
		out.end(api.Plan{}, err)
		return
	}
	p, err := d.purge(context.WithoutCancel(r.Context()), vs, "asked for", req.DryRun, out.progress)
	out.end(apiPlan(p), err)
}
