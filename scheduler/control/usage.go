package control

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/link"
	"github.com/mosdocker/mosdocker/scheduler/place"
)

// Usage is what hosts and their sets use, as hosts told it last; only the leader knows. A page
// is as things are now, not as they were at the page before.
func (c *Controller) Usage(ctx context.Context, q api.MeasuredQuery) (*api.Page[api.Measured], error) {
	l, err := c.leading()
	if err != nil {
		return nil, err
	}
	hosts, err := c.usageHosts(q)
	if err != nil {
		return nil, err
	}
	page := &api.Page[api.Measured]{Items: []*api.Measured{}}
	for _, host := range hosts {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := c.usageOf(l, host, q, page); err != nil || page.Continue != "" {
			return page, err
		}
	}
	return page, nil
}

// usageHosts are those that a page may begin with, in order.
func (c *Controller) usageHosts(q api.MeasuredQuery) ([]string, error) {
	if err := c.cache.lock(); err != nil {
		return nil, err
	}
	from, _, _ := strings.Cut(q.Continue, "/")
	names := map[string]bool{}
	add := func(host string) {
		if h := c.cache.hosts[host]; h != nil && host >= from && (q.Host == "" || q.Host == host) {
			names[host] = true
		}
	}
	switch {
	case q.Host != "":
		add(q.Host)
	case q.Service == "":
		for host := range c.cache.hosts {
			add(host)
		}
	default:
		if v := c.cache.services[q.Service]; v != nil {
			for _, s := range v.sets {
				add(s.Spec.Host)
			}
		}
	}
	c.cache.mu.Unlock()
	return slices.Sorted(maps.Keys(names)), nil
}

// usageOf adds a host and its sets to a page, as far as that has room. The cache is locked for
// one host at a time: reports want it, too.
func (c *Controller) usageOf(l *lead, host string, q api.MeasuredQuery, page *api.Page[api.Measured]) error {
	if err := c.cache.lock(); err != nil {
		return err
	}
	defer c.cache.mu.Unlock()
	page.Revision = c.cache.revision
	h := c.cache.hosts[host]
	if h == nil {
		return nil
	}
	of := api.Measured{Host: host, Capacity: h.Status.Capacity}
	var sets []*api.Measured
	for name, s := range c.cache.onHost[host] {
		given := c.cache.given(s)
		of.Sets++
		of.Given.CPU += given.CPU
		of.Given.Memory += given.Memory
		of.Given.Disk += given.Disk
		if q.Of != api.OnlyHosts && (q.Service == "" || s.Spec.Service == q.Service) && (q.Tenant == "" || api.TenantOf(s.Spec.Service) == q.Tenant) {
			sets = append(sets, &api.Measured{Host: host, Set: name, Service: s.Spec.Service, Given: given})
		}
	}
	from, after, _ := strings.Cut(q.Continue, "/") // in which no name has one
	slices.SortFunc(sets, func(a, b *api.Measured) int { return cmp.Compare(a.Set, b.Set) })
	if q.Of != api.OnlySets && q.Service == "" && q.Tenant == "" {
		sets = slices.Insert(sets, 0, &of)
	}
	told := c.toldBy(l, host, q.Of != api.OnlyHosts)
	for _, u := range sets {
		if host == from && u.Set <= after {
			continue
		}
		if n := len(page.Items); q.Limit > 0 && n == q.Limit {
			page.Continue = page.Items[n-1].Host + "/" + page.Items[n-1].Set
			return nil
		}
		told.fill(u)
		page.Items = append(page.Items, u)
	}
	return nil
}

// toldUsage is what a host measured last, with its sets by their names.
type toldUsage struct {
	*link.Usage
	sets map[string]*api.Use
}

// toldBy is what a host told last, maybe with its sets. The caller has locked the cache.
func (c *Controller) toldBy(l *lead, host string, sets bool) toldUsage {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := l.beats[host]
	if b == nil || b.usage == nil {
		return toldUsage{}
	}
	t := toldUsage{Usage: b.usage}
	if !sets {
		return t
	}
	t.sets = make(map[string]*api.Use, len(b.usage.Sets))
	for i := range b.usage.Sets {
		t.sets[b.usage.Sets[i].Name] = &b.usage.Sets[i].Use
	}
	return t
}

func (t toldUsage) fill(u *api.Measured) {
	switch {
	case t.Usage == nil:
		return
	case u.Set == "":
		u.Use = &t.Host
	default:
		u.Use = t.sets[u.Set]
	}
	if u.Use != nil {
		u.Measured = t.At
	}
}

// given is the size of a set: what is booked for it on its host.
func (c *cache) given(s *set) api.Amounts {
	a, err := c.services[s.Spec.Service].ask(s.hash, &s.Spec.Set.Set)
	if err != nil {
		return api.Amounts{} // as nothing is booked for it
	}
	return api.Amounts{CPU: a.Amounts[place.CPU], Memory: a.Amounts[place.Memory], Disk: a.Amounts[place.Disk]}
}
