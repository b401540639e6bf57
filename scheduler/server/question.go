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
		c := callOf(ctx)
		e, err := atLeaderElseHere(ctx, s, func(at *client.Client) (*api.Explanation, error) {
			return at.Explain(ctx, service.Name, in.Host)
		}, func() (*api.Explanation, error) {
			return s.cfg.Control.Explain(ctx, service, in.Host, c.names)
		})
		if err != nil {
			return nil, err
		}
		return answer(c.withheld(e)), nil
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
		f, err := s.foreseen(ctx, service)
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

// atLeaderElseHere asks the process that leads, if another does and is reached: only that one
// knows hosts' images and ports. Else this one answers, with what it knows.
func atLeaderElseHere[T any](ctx context.Context, s *Server, there func(*client.Client) (T, error), here func() (T, error)) (is T, err error) {
	if c := callOf(ctx); c.via == "" {
		err = s.atLeader(ctx, c.Caller, func(at *client.Client) error {
			is, err = there(at)
			return err
		})
		if err == nil {
			return is, nil
		}
	}
	return here()
}

// foreseen says what would become of a service if it were stored now.
func (s *Server) foreseen(ctx context.Context, service *api.Service) (*api.Forecast, error) {
	c := callOf(ctx)
	f, err := atLeaderElseHere(ctx, s, func(at *client.Client) (*api.Forecast, error) {
		return at.Plan(ctx, service)
	}, func() (*api.Forecast, error) {
		return s.cfg.Control.DryRun(ctx, service, c.names)
	})
	if err == nil {
		f.Why = c.withheld(f.Why)
	}
	return f, err
}

// withheld is what a caller is told of an explanation, which may be nil: not tenants what hosts
// lack of images, which may be others'.
func (c *call) withheld(e *api.Explanation) *api.Explanation {
	if e == nil || c.Role != api.Tenant {
		return e
	}
	for i := range e.Best {
		e.Best[i].Pull = 0
	}
	if e.Host != nil {
		e.Host.Pull = 0
	}
	return e
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
