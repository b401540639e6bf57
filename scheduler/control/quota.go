package control

import (
	"github.com/mosdocker/mosdocker/scheduler"
	"github.com/mosdocker/mosdocker/scheduler/api"
)

// setQuota takes a quota over, or takes it away.
func (c *cache) setQuota(name string, q *api.Quota) {
	if q == nil {
		delete(c.quotas, name)
	} else {
		c.quotas[name] = q
	}
	c.roomier = true
}

// overQuota says why a set may not be placed by the quota of its tenant; nothing if it may. The
// API refuses what is too much before, but for services that are changed at the same time, and
// for quotas that became smaller.
func (k *look) overQuota(m *member) string {
	tenant := api.TenantOf(k.of.name)
	q := k.quotas[tenant]
	if q == nil {
		return ""
	}
	if why := scheduler.Unbounded(q, &m.Spec.Set.Set); why != "" {
		return why
	}
	used, counted := k.used[tenant]
	if !counted {
		if len(k.flights) > 0 { // what is on its way counts
			k.quiet, k.dirty[k.of.name] = true, true
			if was := k.was.Status.Reason; was != "" {
				return was
			}
			return "what tenant " + tenant + " uses is counted"
		}
		used = k.usage(tenant)
		k.used[tenant] = used
	}
	return scheduler.Exceeded(q, used, scheduler.Usage(&m.Spec.Set.Set, 1))
}

// charge counts a set that was placed.
func (k *look) charge(m *member) {
	tenant := api.TenantOf(k.of.name)
	if used, counted := k.used[tenant]; counted {
		k.used[tenant] = scheduler.Sum(used, scheduler.Usage(&m.Spec.Set.Set, 1))
	}
}

// usage is what sets of a tenant use that are on hosts, as the draft has it.
func (d *draft) usage(tenant string) (used api.Usage) {
	count := func(i *api.SetInstance) {
		if i.Spec.Host != "" && api.TenantOf(i.Spec.Service) == tenant {
			used = scheduler.Sum(used, scheduler.Usage(&i.Spec.Set.Set, 1))
		}
	}
	for _, s := range d.cache.sets {
		if d.members[s.Name] == nil {
			count(s.SetInstance)
		}
	}
	for _, m := range d.members {
		if !m.gone {
			count(m.SetInstance)
		}
	}
	return used
}
