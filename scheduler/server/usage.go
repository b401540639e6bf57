package server

import (
	"context"
	"net/http"
	"reflect"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/client"
)

type usageInput struct {
	Limit    int    `doc:"Items of a page at most; 500 if nothing is said."      maximum:"5000"     minimum:"0" query:"limit"`
	Continue string `doc:"That of the page before. Pages are as things are then." query:"continue"`
	Of       string `doc:"Only hosts, or only sets."                              enum:"hosts,sets" query:"of"`
	Service  string `doc:"Only sets of this service."                             query:"service"`
	Host     string `doc:"Only this host and its sets."                           query:"host"`
}

// usage lists what hosts and sets use.
func (s *Server) usage() {
	register(s, operation{
		id: "listUsage", method: http.MethodGet, path: "/v1/usage",
		summary: "List what hosts use, and behind each its sets, as hosts measured it last; tenants see sets of their own only.",
		verb:    look, kind: api.SetInstances, out: reflect.TypeFor[api.Page[api.Measured]](),
	}, func(ctx context.Context, in *usageInput) (*output, error) {
		c := callOf(ctx)
		q := api.MeasuredQuery{Of: in.Of, Host: in.Host, Service: in.Service, Continue: in.Continue, Limit: in.Limit}
		if q.Limit == 0 {
			q.Limit = usualLimit
		}
		if in.Of == api.OnlyHosts {
			if err := c.may(look, api.Hosts, ""); err != nil {
				return nil, err
			}
		}
		if c.Role == api.Tenant {
			q.Tenant = c.Tenant
		}
		page, err := s.measured(ctx, c, q)
		if err != nil {
			return nil, err
		}
		return answer(page), nil
	})
}

// measured asks the controllers of this process, or those of the one that leads: only hosts'
// leader knows.
func (s *Server) measured(ctx context.Context, c *call, q api.MeasuredQuery) (*api.Page[api.Measured], error) {
	page, err := s.cfg.Control.Usage(ctx, q)
	if !errdefs.IsUnavailable(err) || c.via != "" {
		return page, err
	}
	err = s.atLeader(ctx, c.Caller, func(at *client.Client) error {
		page, err = at.UsagePage(ctx, q)
		return err
	})
	if err != nil {
		return nil, fault.Unavailable("what is used is known to the mos-scheduler that leads: %w", err)
	}
	return page, nil
}
