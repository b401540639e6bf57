package server_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/authz/policy"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/client"
	"github.com/mosdocker/mosdocker/scheduler/server"
	"github.com/mosdocker/mosdocker/scheduler/state"
)

// shopService is one of tenant shop, of a set with more members than those that it names.
func shopService(t *testing.T, set, options string) *api.Service {
	t.Helper()
	s := &api.Service{}
	must(t, api.Decode(fmt.Appendf(nil, `{"name":"shop-web","spec":{"set":{"CPU":1,"MEM":"64m"%s,
		"Containers":[{"Name":"app","Image":"shop/app:1","Options":{"MEM":50%s}}]}}}`, set, options), s))
	return s
}

// TestTenantsGetNoHost: hosts make what the cluster says with all rights, so a tenant may
// not say what makes him root there; an operator may.
func TestTenantsGetNoHost(t *testing.T) {
	t.Parallel()
	tenants, err := policy.Parse("p", []byte(`version = 1
[[who]]
name = "shop"
cn = ["shop"]
profile = "shop"
[profile.shop]
based = "tenant"
[[profile.shop.rule]]
allow = ["network.use"]
names = ["prod"]
`))
	must(t, err)
	usual, named := newRig(t, server.Config{}), newRig(t, server.Config{Tenants: tenants})
	shop := func(r *rig) *client.Client {
		made, err := r.CreateToken(t.Context(), api.TokenRequest{Name: "shop", Role: api.Tenant, Tenant: "shop"})
		must(t, err)
		return r.as(t, made.Secret)
	}
	usualShop, namedShop := shop(usual), shop(named)
	for _, c := range []struct{ set, options, rule string }{
		{"", `,"Privileged":true`, "limits.privileged"},
		{"", `,"Mounts":[{"Type":"bind","Source":"/","Path":"/h"}]`, "limits.binds"},
		{"", `,"CapAdd":["SYS_ADMIN"]`, "limits.capabilities"},
		{"", `,"Devices":["/dev/sda"]`, "limits.devices"},
		{"", `,"SecurityOpt":["seccomp=unconfined"]`, "limits.security_opts"},
		{"", `,"Cgroup":{"memory.min":"32m"}`, "limits.cgroup"},
		{"", `,"Mounts":[{"Type":"volume","Source":"bank-data","Path":"/h"}]`, "volume bank-data"},
		{"", `,"Labels":{"mos.owner":"bank"}`, "builtin: owner"},
		{`,"Network":{"Name":"host"}`, "", "limits.host_namespaces"},
		{`,"Network":{"Name":"prod"}`, "", "network prod"},
		{`,"Infra":{"Privileged":true}`, "", "limits.privileged"},
		{`,"Volume":{"Name":"bank-data","Size":"1g"}`, "", "volume bank-data"},
		{`,"Volume":{"Driver":"local","Options":{"type":"none","o":"bind","device":"/"}}`, "", "limits.local_options"},
		{`,"Ports":["22:22"]`, "", "limits.min_port"},
	} {
		s := shopService(t, c.set, c.options)
		_, err := client.Create(t.Context(), usualShop, s, client.Change{})
		if !errdefs.IsPermissionDenied(err) || !strings.Contains(err.Error(), c.rule) {
			t.Errorf("create of %s%s: %v, want %s", c.set, c.options, err, c.rule)
		}
		if _, err = usualShop.Plan(t.Context(), s); !errdefs.IsPermissionDenied(err) {
			t.Errorf("plan of %s%s: %v", c.set, c.options, err)
		}
	}
	fine := shopService(t, `,"Volume":{"Size":"1g","Path":"/data"},"Ports":["8080:80"]`, `,"Cgroup":{"memory.high":"20m"},"Live":{"TCP":80}`)
	made, err := client.Create(t.Context(), usualShop, fine, client.Change{})
	must(t, err)
	// What an operator put in stays as long as the tenant does not write.
	rights := map[string]any{"spec": map[string]any{"set": map[string]any{"Infra": map[string]any{"Privileged": true}}}}
	if _, err := client.Patch[api.Service](t.Context(), usualShop, made.Name, rights, client.Change{}); !errdefs.IsPermissionDenied(err) {
		t.Errorf("a patch: %v", err)
	}
	if _, err := client.Patch[api.Service](t.Context(), usual.Client, made.Name, rights, client.Change{}); err != nil {
		t.Errorf("an admin's patch: %v", err)
	}
	scale := map[string]any{"spec": map[string]any{"replicas": 2}}
	if _, err := client.Patch[api.Service](t.Context(), usualShop, made.Name, scale, client.Change{}); !errdefs.IsPermissionDenied(err) {
		t.Errorf("a tenant scales what is more than his: %v", err)
	}
	without := maps.Clone(scale)
	without["spec"] = map[string]any{"replicas": 2, "set": map[string]any{"Infra": nil}}
	if _, err := client.Patch[api.Service](t.Context(), usualShop, made.Name, without, client.Change{}); err != nil {
		t.Errorf("a patch to what he may have: %v", err)
	}
	if _, err := client.Create(t.Context(), namedShop, shopService(t, `,"Network":{"Name":"prod"}`, ""), client.Change{}); err != nil {
		t.Errorf("a network that the policy names: %v", err)
	}
	bank, err := named.CreateToken(t.Context(), api.TokenRequest{Name: "bank", Role: api.Tenant, Tenant: "bank"})
	must(t, err)
	if _, err := client.Create(t.Context(), named.as(t, bank.Secret), web("bank-x", 1), client.Change{}); !errdefs.IsPermissionDenied(err) {
		t.Errorf("a tenant that the policy does not know: %v", err)
	}
}

// TestTenantsDoNotOutrankOthers: a priority would have everybody's preemptible sets yield.
func TestTenantsDoNotOutrankOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t, server.Config{})
	made, err := r.CreateToken(t.Context(), api.TokenRequest{Name: "shop", Role: api.Tenant, Tenant: "shop"})
	must(t, err)
	shop := r.as(t, made.Secret)
	s := shopService(t, "", "")
	s.Spec.Placement.Priority, s.Spec.Placement.Preempts = 1, true
	if _, err := client.Create(t.Context(), shop, s, client.Change{}); !errdefs.IsPermissionDenied(err) || !strings.Contains(err.Error(), "0 at most") {
		t.Errorf("a priority of 1: %v", err)
	}
	s.Spec.Placement.Priority = -1
	_, err = client.Create(t.Context(), shop, s, client.Change{})
	must(t, err)
	if _, err := client.Patch[api.Service](t.Context(), shop, s.Name, map[string]any{"spec": map[string]any{"placement": map[string]any{"priority": 1}}}, client.Change{}); !errdefs.IsPermissionDenied(err) {
		t.Errorf("a priority by a patch: %v", err)
	}
}

// TestATenantsSetsAreThoseOfItsServices: not those of a service that has the tenant's name, whose
// own names begin with it, too.
func TestATenantsSetsAreThoseOfItsServices(t *testing.T) {
	r := newRig(t, server.Config{})
	b := r.store.Batch(nil)
	for _, service := range []string{"shop", "shop-web"} {
		set := &api.SetInstance{Meta: api.Meta{Name: service + "-1"}, Spec: api.SetSpec{Service: service, Slot: 1, ServiceGeneration: 1, Set: web(service, 1).Spec.Set}}
		b.Create(set)
		b.Create(&api.Event{Meta: api.Meta{Name: "of-" + service}, Spec: api.EventSpec{On: api.Reference{Kind: api.SetInstances, Name: set.Name}, What: "placed"}})
	}
	at, err := b.Commit(t.Context())
	must(t, err)
	shop := r.bearer(t, api.TokenRequest{Name: "shop", Role: api.Tenant, Tenant: "shop"})
	sets, err := client.List[api.SetInstance](t.Context(), shop, client.Filter{})
	must(t, err)
	if len(sets.Items) != 1 || sets.Items[0].Name != "shop-web-1" {
		t.Errorf("it sees %d sets", len(sets.Items))
	}
	events, err := client.List[api.Event](t.Context(), shop, client.Filter{})
	must(t, err)
	if len(events.Items) != 1 || events.Items[0].Spec.On.Name != "shop-web-1" {
		t.Errorf("it sees %d events", len(events.Items))
	}
	_, err = client.Get[api.SetInstance](t.Context(), shop, "shop-1")
	if !errdefs.IsPermissionDenied(err) {
		t.Errorf("it reads another's: %v", err)
	}
	if _, err := shop.Session(t.Context(), "shop-1", cat); !errdefs.IsPermissionDenied(err) {
		t.Errorf("it enters another's: %v", err)
	}
	for _, name := range []string{"shop-1", "shop-web-1"} {
		set, err := state.Get[api.SetInstance](t.Context(), r.store, name)
		must(t, err)
		must(t, r.store.Delete(t.Context(), set))
	}
	for told, err := range client.Watch[api.SetInstance](t.Context(), shop, at) {
		must(t, err)
		if told.What != api.Bookmark {
			if told.Name != "shop-web-1" {
				t.Errorf("it is told of %s", told.Name)
			}
			break
		}
	}
}

// telling are controllers that say of which sets they may tell.
type telling struct{ server.Control }

func (telling) Explain(_ context.Context, _ *api.Service, _ string, tell func(string) bool) (*api.Explanation, error) {
	return &api.Explanation{
		Sentence: fmt.Sprintf("%t,%t,%t", tell("shop-web-1"), tell("bank-x-1"), tell("shop-1")),
		Best:     []api.Candidate{{Host: "h1", Pull: 7}}, Host: &api.Verdict{Host: "h1", Pull: 7},
	}, nil
}

func (c telling) DryRun(ctx context.Context, s *api.Service, tell func(string) bool) (*api.Forecast, error) {
	e, err := c.Explain(ctx, s, "", tell)
	return &api.Forecast{Why: e}, err
}

// TestATenantIsToldOfNobodyElse by an explanation, nor which images hosts have; an operator is of all.
func TestATenantIsToldOfNobodyElse(t *testing.T) {
	r := newRig(t, server.Config{Control: telling{}})
	_, err := client.Create(t.Context(), r.Client, web("shop-web", 1), client.Change{})
	must(t, err)
	for role, want := range map[api.Role]string{api.Tenant: "true,false,false", api.Operator: "true,true,true", api.ReadOnly: "true,true,true"} {
		by := r.bearer(t, api.TokenRequest{Name: string(role), Role: role, Tenant: map[api.Role]string{api.Tenant: "shop"}[role]})
		e, err := by.Explain(t.Context(), "shop-web", "h1")
		must(t, err)
		if e.Sentence != want {
			t.Errorf("%s: %s, want %s", role, e.Sentence, want)
		}
		f, err := by.Plan(t.Context(), web("shop-web", 1))
		must(t, err)
		for _, e := range []*api.Explanation{e, f.Why} {
			if told := e.Best[0].Pull > 0 && e.Host.Pull > 0; told != (role != api.Tenant) {
				t.Errorf("%s: to pull %+v, %+v", role, e.Best, e.Host)
			}
		}
	}
}
