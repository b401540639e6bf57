package server

import (
	"context"
	"net/http"
	"time"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/state"
)

// longestWait bounds how long a request may wait.
const longestWait = 10 * time.Minute

// patience reads how long a request waits; 0 for not.
func (s *Server) patience(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 || d > longestWait {
		return 0, fault.Invalid("wait: %.20q is no time such as 30s, at most %s", text, longestWait)
	}
	return d, nil
}

// awaited answers when a service is as wished.
func (s *Server) awaited(ctx context.Context, r api.Resource, limit time.Duration, status int) (*resourceOutput, error) {
	service, ok := r.(*api.Service)
	if !ok {
		return nil, fault.Invalid("wait: only a service can be waited for")
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	defer s.atEnd(cancel)()
	done, why := service.AsWished()
	generation := service.Generation
	for !done {
		if service.TakenBack() {
			return nil, fault.Conflict("service %s is stored (generation %d), and its sets went back to the template before: /v1/events says why", service.Name, generation)
		}
		for step, err := range s.cfg.Store.Watch(ctx, service.Revision, api.Services) {
			if err != nil {
				break // read it again
			}
			for _, c := range step.Changes {
				if c.Name != service.Name {
					continue
				}
				now, ok := c.Resource.(*api.Service)
				if !ok || now.UID != service.UID {
					return nil, fault.NotFound("service %s was removed while it was waited for", service.Name)
				}
				service = now
				done, why = service.AsWished()
			}
			if done || service.TakenBack() {
				break
			}
		}
		switch {
		case done, service.TakenBack():
		case ctx.Err() != nil:
			return nil, fault.Of(context.DeadlineExceeded, "service %s is stored (generation %d), but was not as wished within %s: %s", service.Name, generation, limit, why)
		default:
			now, err := state.Get[api.Service](ctx, s.cfg.Store, service.Name)
			if err != nil {
				return nil, err
			}
			service = now
			done, why = service.AsWished()
		}
	}
	return answerOne(service, status), nil
}

// forecast answers a dry run.
func (s *Server) forecast(ctx context.Context, r api.Resource) (*resourceOutput, error) {
	service, ok := r.(*api.Service)
	if !ok {
		return answerOne(r, http.StatusOK), nil
	}
	f, err := s.foreseen(ctx, service)
	if err != nil {
		return nil, err
	}
	return &resourceOutput{Status: http.StatusOK, Type: "application/json", Body: encode(f)}, nil
}
