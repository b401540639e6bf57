package server_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/ca"
	"github.com/mosdocker/mosdocker/scheduler/client"
	"github.com/mosdocker/mosdocker/scheduler/server"
)

// measuring are controllers that answer with what they were asked.
type measuring struct {
	server.Control

	err error
}

func (m measuring) Usage(_ context.Context, q api.MeasuredQuery) (*api.Page[api.Measured], error) {
	if m.err != nil {
		return nil, m.err
	}
	p := &api.Page[api.Measured]{Items: []*api.Measured{{Host: "h1", Set: fmt.Sprintf("%+v", q), Use: &api.Use{CPU: 7}}}}
	if q.Limit == 1 && q.Continue == "" {
		p.Continue = "h1/"
	}
	return p, nil
}

// TestWhoSeesWhatIsUsed: tenants their own, hosts nothing, others all; by any process, of which
// the one that leads is asked.
func TestWhoSeesWhatIsUsed(t *testing.T) {
	one := newRig(t, server.Config{Name: "one", Control: measuring{}})
	authority, err := ca.Open(t.Context(), one.store, time.Now)
	must(t, err)
	public := httptest.NewUnstartedServer(one.server)
	public.Listener = tls.NewListener(public.Listener, authority.Server([]string{"127.0.0.1"}))
	public.Start()
	t.Cleanup(public.Close)
	two := one.another(t, server.Config{Name: "two", As: authority.As, Control: measuring{err: fault.Unavailable("it follows")}})
	var fails []error
	who := map[string]*client.Client{"admin": two.Client}
	for _, role := range []api.Role{api.ReadOnly, api.Operator, api.Tenant} {
		made, err := one.CreateToken(t.Context(), api.TokenRequest{Name: string(role), Role: role, Tenant: map[api.Role]string{api.Tenant: "shop"}[role]})
		must(t, err)
		who[string(role)] = two.as(t, made.Secret)
	}
	_, err = two.Usage(t.Context(), api.MeasuredQuery{})
	fails = append(fails, err)
	leave := one.lead(t, "one", "https://"+public.Listener.Addr().String())
	for name, by := range who {
		tenant := ""
		if name == "tenant" {
			tenant = "shop"
		}
		got, err := by.Usage(t.Context(), api.MeasuredQuery{Of: api.OnlySets, Host: "h1", Service: "shop-web", Tenant: "bank", Limit: 1})
		must(t, err)
		for i, after := range []string{"", "h1/"} {
			want := fmt.Sprintf("%+v", api.MeasuredQuery{Of: "sets", Host: "h1", Service: "shop-web", Tenant: tenant, Continue: after, Limit: 1})
			if len(got) != 2 || got[i].Set != want || got[i].Use.CPU != 7 {
				t.Fatalf("%s: %+v, want %s", name, got, want)
			}
		}
	}
	if _, err := who["tenant"].Usage(t.Context(), api.MeasuredQuery{Of: api.OnlyHosts}); !errdefs.IsPermissionDenied(err) || !strings.Contains(err.Error(), "may not look at hosts") {
		t.Errorf("a tenant asks for hosts: %v", err)
	}
	if got := two.raw(t, http.MethodGet, "/v1/usage", ""); got.status != http.StatusOK || !strings.Contains(got.text, "Limit:500") {
		t.Errorf("without a limit: %+v", got)
	}
	for query, want := range map[string]string{"?of=all": "query.of", "?limit=5001": "query.limit", "?tenant=bank": "tenant"} {
		if got := two.raw(t, http.MethodGet, "/v1/usage"+query, ""); got.status != http.StatusUnprocessableEntity || !strings.Contains(got.text, want) {
			t.Errorf("%s: %+v", query, got)
		}
	}
	// One that is asked by another asks nobody.
	fails = append(fails, nil)
	if got := two.raw(t, http.MethodGet, "/v1/usage", "", api.HeaderVia, "three"); got.status == http.StatusServiceUnavailable {
		fails[1] = fault.Unavailable("%s", got.text)
	}
	nobodys, secret := api.NewToken("nobodys", api.TokenSpec{Role: api.Tenant})
	must(t, one.store.Create(t.Context(), nobodys))
	if got, err := one.as(t, secret).Usage(t.Context(), api.MeasuredQuery{}); !errdefs.IsPermissionDenied(err) {
		t.Errorf("a tenant of no name: %d, %v", len(got), err)
	}
	leave()
	leave = one.lead(t, "three", "https://127.0.0.1:1")
	_, err = two.Usage(t.Context(), api.MeasuredQuery{})
	fails = append(fails, err)
	leave()
	for i, want := range []string{"no mos-scheduler leads", "it follows", "what is used is known to the mos-scheduler that leads: the scheduler at https://127.0.0.1:1 does not answer"} {
		if err := fails[i]; !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := newRig(t, server.Config{}).Usage(t.Context(), api.MeasuredQuery{}); !errdefs.IsNotImplemented(err) {
		t.Errorf("without controllers: %v", err)
	}
}
