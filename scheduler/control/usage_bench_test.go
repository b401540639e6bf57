package control

import (
	"fmt"
	"testing"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// BenchmarkUsage lists what 10,000 hosts with ten sets each use, as docker set host top --sets does:
// the whole list, and a tenant's that has ten sets of those.
func BenchmarkUsage(b *testing.B) {
	const hosts, pages = 10_000, 5000
	c := leads(hosts)
	for i := range hosts {
		host := fmt.Sprint("h", i)
		r := measured(host, 1, true)
		for n := range r.Sets {
			of := fmt.Sprint("acme-", i)
			name := fmt.Sprint(of, "-", n)
			c.cache.setSet(&api.SetInstance{Meta: api.Meta{Name: name, UID: name}, Spec: api.SetSpec{Service: of, Host: host, Set: api.Template{Set: spec.Set{CPU: 1, MEM: 1 << 30}}}})
			r.Usage.Sets[n].Name = name
		}
		if _, err := c.Report(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
	for name, q := range map[string]api.MeasuredQuery{
		"all": {Limit: pages}, "hosts": {Of: api.OnlyHosts, Limit: pages}, "service": {Service: "acme-77", Limit: pages}, "stranger": {Tenant: "other", Limit: pages},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				for q.Continue = ""; ; {
					p, err := c.Usage(b.Context(), q)
					if err != nil {
						b.Fatal(err)
					}
					if q.Continue = p.Continue; q.Continue == "" {
						break
					}
				}
			}
		})
	}
}
