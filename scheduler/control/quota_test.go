package control_test

import (
	"strings"
	"testing"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/state"
)

// TestNoMoreIsPlacedThanAQuotaHas, though two services were stored that ask for more together;
// and it is placed when the quota becomes larger.
func TestNoMoreIsPlacedThanAQuotaHas(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.lead("c1")
	q := &api.Quota{Meta: api.Meta{Name: "shop"}, Spec: api.QuotaSpec{Usage: api.Usage{Sets: 5, Amounts: api.Amounts{Memory: 4 << 30}}}}
	must(t, r.store.Create(t.Context(), q))
	r.create(service("shop-a", 3))
	must(t, r.store.Create(t.Context(), service("shop-b", 3)))
	must(t, r.store.Create(t.Context(), service("bank-a", 3)))
	r.ready("bank-a")
	r.ready("shop-a")
	if why := r.waits("shop-b", 1); !strings.Contains(why, "quota of tenant shop: 4 GiB of 4 GiB memory are used, and 1 GiB more asked for") {
		t.Errorf("it waits: %s", why)
	}
	_, err := state.Edit(t.Context(), r.store, "shop", func(q *api.Quota) error { q.Spec.Memory = 0; return nil })
	must(t, err)
	if why := r.waits("shop-b", 2); !strings.Contains(why, "5 of 5 sets are used, and 1 more asked for") {
		t.Errorf("it waits: %s", why)
	}
	free := service("shop-c", 1) // of before there was a quota
	free.Spec.Set.CPU, free.Spec.Set.Containers[0].Options.CPU = 0, 0
	must(t, r.store.Create(t.Context(), free))
	_, err = state.Edit(t.Context(), r.store, "shop", func(q *api.Quota) error { q.Spec.Sets, q.Spec.CPU = 100, 100_000; return nil })
	must(t, err)
	if why := r.waits("shop-c", 0); !strings.Contains(why, "container app has no limit of it") {
		t.Errorf("it waits: %s", why)
	}
	q, err = state.Get[api.Quota](t.Context(), r.store, "shop")
	must(t, err)
	must(t, r.store.Delete(t.Context(), q))
	r.ready("shop-b")
}
