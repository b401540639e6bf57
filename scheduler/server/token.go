package server

import (
	"context"
	"net/http"
	"reflect"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/state"
)

// tokens are served without their hashes, and are made with a secret.
func (s *Server) tokens() {
	const path = "/v1/tokens"
	register(s, operation{
		id: "listTokens", method: http.MethodGet, path: path, summary: "List tokens; their secrets are not kept.",
		verb: look, kind: api.Tokens, out: reflect.TypeFor[api.Page[api.Token]](),
	}, func(ctx context.Context, q *listInput) (*output, error) {
		got, err := state.All[api.Token](ctx, s.cfg.Store, state.Page{Limit: q.Limit, More: q.Continue})
		if err != nil {
			return nil, err
		}
		page := api.Page[api.Token]{Items: []*api.Token{}, Revision: got.Revision, Continue: got.More}
		for _, t := range got.Items {
			t.Spec.Hash = ""
			page.Items = append(page.Items, t)
		}
		return answer(page), nil
	})
	register(s, operation{
		id: "createToken", method: http.MethodPost, path: path, summary: "Make a token. Its secret is in the answer only.",
		verb: create, kind: api.Tokens, in: reflect.TypeFor[api.TokenRequest](), out: reflect.TypeFor[api.NewTokenSecret](), status: http.StatusCreated,
	}, func(ctx context.Context, in *planInput) (*output, error) {
		var ask api.TokenRequest
		if err := json.Unmarshal(in.RawBody, &ask, json.RejectUnknownMembers(true)); err != nil {
			return nil, fault.Invalid("the request for a token: %w", err)
		}
		callOf(ctx).name = ask.Name
		t, err := s.token(ctx, ask)
		if err != nil {
			return nil, err
		}
		return answer(t), nil
	})
	register(s, operation{
		id: "deleteToken", method: http.MethodDelete, path: path + "/{name}", summary: "Take a token away. It is let in for two seconds more at most.",
		verb: remove, kind: api.Tokens, status: http.StatusNoContent,
	}, func(ctx context.Context, in *nameInput) (*struct{}, error) {
		t, err := state.Get[api.Token](ctx, s.cfg.Store, in.Name)
		if err == nil {
			err = s.cfg.Store.Delete(ctx, t)
		}
		return nil, err
	})
}

func (s *Server) token(ctx context.Context, ask api.TokenRequest) (*api.NewTokenSecret, error) {
	spec := api.TokenSpec{Role: ask.Role, Tenant: ask.Tenant}
	if ask.TTL != "" {
		d, err := time.ParseDuration(ask.TTL)
		if err != nil || d <= 0 {
			return nil, fault.Invalid("ttl: %.20q is no time such as 24h", ask.TTL)
		}
		spec.Expires = s.cfg.Now().Add(d).UTC().Round(time.Second)
	}
	t, secret := api.NewToken(ask.Name, spec)
	if err := t.Check(); err != nil {
		return nil, err
	}
	if err := s.cfg.Store.Create(ctx, t); err != nil {
		return nil, err
	}
	t.Spec.Hash = ""
	if ask.Role == api.OfHost && s.cfg.Pin != "" {
		secret += "." + s.cfg.Pin
	}
	return &api.NewTokenSecret{Token: t, Secret: secret}, nil
}
