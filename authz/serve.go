package authz

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/mosdocker/mosdocker/authz/api"
	"github.com/mosdocker/mosdocker/authz/judge"
	"github.com/mosdocker/mosdocker/authz/policy"
	"github.com/mosdocker/mosdocker/authz/request"
	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/pluginsrv"
)

// mostBody is the largest JSON body that is judged, as of an Engine's own limit.
const mostBody = 4 << 20

// Serve answers Docker, the guarded socket and the admin API until ctx ends.
func (d *Daemon) Serve(ctx context.Context) error {
	s := pluginsrv.New(pluginsrv.Config{
		Log: d.log.Logger, Registry: d.metrics.registry,
		MaxBody:   2*mostBody + 1<<20, // bodies come in base64
		CallLimit: d.cfg.Lookup.Duration + 5*time.Second,
	})
	d.register(s)
	sockets := []pluginsrv.Socket{
		{Name: "mos-authz.socket", Path: d.cfg.Socket, Handler: s.Handler()},
		{Path: d.cfg.Admin, Handler: d.admin(s)},
	}
	if d.cfg.Listen != "" {
		sockets = append(sockets, pluginsrv.Socket{Path: d.cfg.Listen, Group: d.cfg.Group, Handler: d.newProxy(), ConnContext: withPeer, Wrap: d.guarded})
	}
	return s.Run(ctx, sockets...)
}

func (d *Daemon) admin(s *pluginsrv.Server) http.Handler {
	a := s.NewAdmin()
	type none = pluginsrv.None
	pluginsrv.HandleAdmin(a, "GET /v1/status", func(ctx context.Context, _ func(string) string, _ none) (api.Status, error) {
		return d.status(ctx), nil
	})
	pluginsrv.HandleAdmin(a, "POST /v1/reload", func(ctx context.Context, _ func(string) string, _ none) (api.Status, error) {
		if err := d.reload(ctx); err != nil {
			return api.Status{}, fault.Invalid("the policy is not in force: %w", err)
		}
		return d.status(ctx), nil
	})
	pluginsrv.HandleAdmin(a, "POST /v1/explain", func(ctx context.Context, _ func(string) string, r api.ExplainRequest) (api.Explanation, error) {
		return d.explain(ctx, r)
	})
	a.Raw("GET /metrics", promhttp.HandlerFor(d.metrics.registry, promhttp.HandlerOpts{}))
	return a
}

// explain judges a request that nobody sent. It is not noted.
func (d *Daemon) explain(ctx context.Context, r api.ExplainRequest) (api.Explanation, error) {
	front, who, raw, err := Asked(r)
	if err != nil {
		return api.Explanation{}, err
	}
	v := d.judge(ctx, front, who, raw)
	share, _, _ := d.share(who)
	return Explain(front, v, share), nil
}

// Asked is the request that somebody wants explained.
func Asked(r api.ExplainRequest) (judge.Front, policy.Who, request.Raw, error) {
	front := judge.Proxy
	switch r.Front {
	case "", "proxy":
	case "plugin":
		front = judge.Plugin
	default:
		return 0, policy.Who{}, request.Raw{}, fault.Invalid("front %.20q is neither proxy nor plugin", r.Front)
	}
	who, err := judge.ParseWho(r.Who)
	return front, who, request.Raw{Method: r.Method, URI: r.URI, Body: []byte(r.Body), Whole: front == judge.Proxy, Header: judge.Headers(r.Body)}, err
}

// Explain is a verdict in the words of the API.
func Explain(front judge.Front, v judge.Verdict, share policy.Share) api.Explanation {
	e := api.Explanation{
		Allow: v.Allow, Denied: v.Denied, Mode: string(v.Mode), Subject: v.Subject, Profile: v.Profile, Action: v.Action, Object: v.Object,
		Rule: v.Rule, Reason: v.Reason,
	}
	if front == judge.Proxy {
		e.Share = share.String()
	}
	if !v.Denied && !v.Free {
		e.Change = v.Edit.String()
	}
	return e
}
