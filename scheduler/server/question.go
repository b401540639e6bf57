package server

import (
	"context"
	"net/http"
	"reflect"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/client"
	"github.com/mosdocker/mosdocker/scheduler/state"
)

type explainInput struct {
	Name string `maxLength:"253"                                     path:"name"`
	Host string `doc:"Say also all reasons of this host." query:"host"`
}

type planInput struct {
	RawBody []byte
}

func (s *Server) questions() {
	register(s, operation{
		id: "explainService", method: http.MethodGet, path: "/v1/services/{name}/explain",
		summary: "Say where one more set of the service would go, and which filters reject how many hosts.",
		verb:    look, kind: api.Services, out: reflect.TypeFor[api.Explanation](),
	}, func(ctx context.Context, in *explainInput) (*output, error) {
		service, err := state.Get[api.Service](ctx, s.cfg.Store, in.Name)
		if err != nil {
			return nil, err
		}
		e, err := s.explained(ctx, callOf(ctx), service, in.Host)
		if err != nil {
			return nil, err
		}
		return answer(e), nil
	})
	register(s, operation{
		id: "plan", method: http.MethodPost, path: "/v1/plan",
		summary: "Say what would become of a service if it were stored now; store nothing.",
		verb:    look, kind: api.Services, in: reflect.TypeFor[api.Service](), out: reflect.TypeFor[api.Forecast](),
	}, func(ctx context.Context, in *planInput) (*output, error) {
		service := &api.Service{}
		if err := api.Decode(in.RawBody, service); err != nil {
			return nil, err
		}
		if err := callOf(ctx).may(look, api.Services, service.Name); err != nil {
			return nil, err
		}
		if err := s.judged(callOf(ctx), service); err != nil {
			return nil, err
		}
		if err := s.affordablePlan(ctx, service); err != nil {
			return nil, err
		}
		f, err := s.cfg.Control.DryRun(ctx, service, callOf(ctx).names)
		if err != nil {
			return nil, err
		}
		return answer(f), nil
	})
	register(s, operation{
		id: "status", method: http.MethodGet, path: "/v1/status",
		summary: "Say who leads, which controllers are there, and how etcd does.",
		verb:    look, kind: api.Hosts, out: reflect.TypeFor[api.ClusterStatus](),
	}, func(ctx context.Context, _ *struct{}) (*output, error) {
		st, err := s.status(ctx)
		if err != nil {
			return nil, err
		}
		return answer(st), nil
	})
}

// explained is of the process that leads, if another does and is reached: only that one knows hosts'
// images and ports.
func (s *Server) explained(ctx context.Context, c *call, service *api.Service, host string) (e *api.Explanation, err error) {
	if c.via == "" {
		err = s.atLeader(ctx, c.Caller, func(at *client.Client) error {
			e, err = at.Explain(ctx, service.Name, host)
			return err
		})
		if err == nil {
			return e, nil
		}
	}
	return s.cfg.Control.Explain(ctx, service, host, c.names)
}

func (s *Server) status(ctx context.Context) (*api.ClusterStatus, error) {
	st := &api.ClusterStatus{Version: s.cfg.Version}
	var err error
	if st.Leader, st.Epoch, err = s.cfg.Store.Leader(ctx); err != nil {
		st.Leader = ""
	}
	members, revision, err := s.cfg.Store.Members(ctx)
	if err != nil {
		return nil, fault.Unavailable("etcd does not answer: %w", err)
	}
	st.Revision = revision
	for _, m := range members {
		st.Controllers = append(st.Controllers, m.Name)
	}
	h, err := s.cfg.Store.Health(ctx)
	if err != nil {
		return nil, err
	}
	st.Alarms = h.Alarms
	for _, server := range h.Servers {
		one := api.StoreServer{Name: server.Name, Leads: server.Leader, Bytes: server.Size, InUse: server.InUse, Quota: server.Quota, Version: server.Version}
		if server.Err != nil {
			one.Error = server.Err.Error()
		}
		st.Store = append(st.Store, one)
	}
	return st, nil
}
