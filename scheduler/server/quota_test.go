package server_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/client"
	"github.com/mosdocker/mosdocker/scheduler/server"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// TestQuotas: what is too much is refused with what is used and what is allowed, less is always
// taken, other tenants are not concerned, and tenants see their own quota only.
func TestQuotas(t *testing.T) {
	t.Parallel()
	r := newRig(t, server.Config{})
	for name, spec := range map[string]api.QuotaSpec{
		"shop": {Usage: api.Usage{Sets: 5, Amounts: api.Amounts{CPU: 4000, Memory: 1 << 30, Disk: 1 << 30}}, Priority: 3},
		"bank": {Usage: api.Usage{Sets: 1}},
	} {
		_, err := client.Create(t.Context(), r.Client, &api.Quota{Meta: api.Meta{Name: name}, Spec: spec}, client.Change{})
		must(t, err)
	}
	made, err := r.CreateToken(t.Context(), api.TokenRequest{Name: "shop", Role: api.Tenant, Tenant: "shop"})
	must(t, err)
	shop := r.as(t, made.Secret)
	replicas := func(n int) map[string]any { return map[string]any{"spec": map[string]any{"replicas": n}} }

	web := shopService(t, "", "")
	web.Spec.Replicas, web.Spec.Placement.Priority = 3, 3
	if _, err := client.Create(t.Context(), shop, web, client.Change{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ set, want string }{
		{``, "3 of 4 CPU are used, and 2 more asked for"},
		{`,"Volume":{"Size":"600m","Path":"/data"}`, "0 B of 1 GiB volume space are used, and 1.2 GiB more asked for"},
	} {
		s := shopService(t, c.set, "")
		s.Name, s.Spec.Replicas = "shop-more", 2
		for who, cl := range map[string]*client.Client{"the tenant": shop, "an admin": r.Client} {
			if _, err := client.Create(t.Context(), cl, s, client.Change{}); !errdefs.IsPermissionDenied(err) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s, for %s: %v", c.set, who, err)
			}
		}
		if _, err := shop.Plan(t.Context(), s); !errdefs.IsPermissionDenied(err) {
			t.Errorf("a plan of %s: %v", c.set, err)
		}
	}
	unbounded := shopService(t, "", "")
	unbounded.Name, unbounded.Spec.Replicas = "shop-free", 1
	for want, change := range map[string]func(*spec.Set){
		"it bounds CPU, and container app has no limit of it":    func(s *spec.Set) { s.CPU, s.Containers[0].Options.CPU = 0, 0 },
		"it bounds memory, and container app has no limit of it": func(s *spec.Set) { s.MEM, s.Containers[0].Options.MEM = 0, 0 },
	} {
		s := *unbounded
		s.Spec.Set.Containers = slices.Clone(s.Spec.Set.Containers)
		change(&s.Spec.Set.Set)
		if _, err := client.Create(t.Context(), r.Client, &s, client.Change{}); !errdefs.IsPermissionDenied(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %s, got %v", want, err)
		}
	}
	if _, err := client.Patch[api.Service](t.Context(), shop, "shop-web", replicas(6), client.Change{}); !errdefs.IsPermissionDenied(err) ||
		!strings.Contains(err.Error(), "3 of 5 sets are used, and 3 more asked for") {
		t.Errorf("6 replicas: %v", err)
	}
	_, err = client.Patch[api.Service](t.Context(), shop, "shop-web", replicas(4), client.Change{})
	must(t, err)
	// What an operator gave more of than the quota has does not keep the tenant from the rest.
	priority := func(n int) map[string]any {
		return map[string]any{"spec": map[string]any{"placement": map[string]any{"priority": n}}}
	}
	_, err = client.Patch[api.Service](t.Context(), r.Client, "shop-web", priority(9), client.Change{})
	must(t, err)
	_, err = client.Patch[api.Service](t.Context(), shop, "shop-web", replicas(4), client.Change{})
	must(t, err)
	if _, err := client.Patch[api.Service](t.Context(), shop, "shop-web", priority(10), client.Change{}); !errdefs.IsPermissionDenied(err) {
		t.Errorf("a higher priority: %v", err)
	}
	_, err = client.Patch[api.Service](t.Context(), shop, "shop-web", priority(3), client.Change{})
	must(t, err)
	got, err := client.Get[api.Quota](t.Context(), shop, "shop")
	must(t, err)
	if want := (api.Usage{Sets: 4, Amounts: api.Amounts{CPU: 4000, Memory: 4 * 64 << 20}}); got.Status.Asked != want {
		t.Errorf("asked for are %+v", got.Status.Asked)
	}

	// A quota that became smaller refuses more, and takes less.
	_, err = client.Patch[api.Quota](t.Context(), r.Client, "shop", map[string]any{"spec": map[string]any{"cpu": 1000}}, client.Change{})
	must(t, err)
	_, err = client.Patch[api.Service](t.Context(), shop, "shop-web", replicas(2), client.Change{})
	must(t, err)
	if _, err := client.Patch[api.Service](t.Context(), shop, "shop-web", replicas(3), client.Change{}); !errdefs.IsPermissionDenied(err) {
		t.Errorf("more of a quota that is exceeded: %v", err)
	}
	if _, err := client.Patch[api.Service](t.Context(), shop, "shop-web", map[string]any{"spec": map[string]any{"placement": map[string]any{"priority": 4}}}, client.Change{}); !errdefs.IsPermissionDenied(err) {
		t.Errorf("a priority above the quota's: %v", err)
	}

	l, err := client.List[api.Quota](t.Context(), shop, client.Filter{})
	must(t, err)
	if len(l.Items) != 1 || l.Items[0].Name != "shop" {
		t.Errorf("a tenant sees quotas %+v", l.Items)
	}
	if _, err := client.Get[api.Quota](t.Context(), shop, "bank"); !errdefs.IsPermissionDenied(err) {
		t.Errorf("of another: %v", err)
	}
	if _, err := client.Delete[api.Quota](t.Context(), shop, "shop"); !errdefs.IsPermissionDenied(err) {
		t.Errorf("a tenant deletes its quota: %v", err)
	}
	_, err = client.Delete[api.Quota](t.Context(), r.Client, "shop")
	must(t, err)
	_, err = client.Patch[api.Service](t.Context(), shop, "shop-web", map[string]any{"spec": map[string]any{"replicas": 9, "placement": nil}}, client.Change{})
	must(t, err)
}
