package control

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-connections/nat"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/link"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// namesEvery is how soon a host is told of names that changed, and namesMore how much later for
// each of them: in a large network the host and its link rest longer.
const (
	namesEvery = time.Second
	namesMore  = time.Millisecond
)

// listing is the names of a network, made when they are asked for after a change.
type listing struct {
	version int64 // another with each change
	made    int64 // the version that names are of
	names   []link.Name
	cut     bool
}

// renamed notes that what names of a network say may have changed.
func (c *cache) renamed(was, is *set) {
	if was != nil && is != nil && slices.Equal(was.Spec.Addresses, is.Spec.Addresses) && was.hash == is.hash && answers(was) == answers(is) {
		return
	}
	for _, s := range []*set{was, is} {
		if s == nil {
			continue
		}
		for _, a := range addresses(s.SetInstance) {
			if c.listings[a.Network] == nil {
				c.listings[a.Network] = &listing{}
			}
			c.listings[a.Network].version = c.renames.Add(1)
		}
	}
}

// answers says whether a set stands behind the name of its service.
func answers(s *set) bool { return s.Status.Phase == api.Ready && !stops(s.SetInstance) }

// nameVersions are those of the networks that sets of a host are in. Who calls has mu.
func (c *cache) nameVersions(host string) map[string]int64 {
	all := map[string]int64{}
	for _, s := range c.onHost[host] {
		for _, a := range addresses(s.SetInstance) {
			if l := c.listings[a.Network]; l != nil {
				all[a.Network] = l.version
			}
		}
	}
	return all
}

// names are those that sets of a host may ask: of all sets in the networks that they are in.
func (c *cache) names(versions map[string]int64) *link.Names {
	all := &link.Names{Revision: c.revision, Networks: map[string][]link.Name{}}
	for network := range versions {
		l := c.listings[network]
		if l.made != l.version {
			l.made, l.names, l.cut = l.version, nil, len(c.inNet[network]) > link.MostNames
			for _, s := range named(c.inNet[network])[:min(len(c.inNet[network]), link.MostNames)] {
				l.names = append(l.names, nameOf(network, s))
			}
		}
		all.Networks[network] = l.names
		if l.cut {
			all.Cut = append(all.Cut, network)
		}
	}
	slices.Sort(all.Cut)
	return all
}

func nameOf(network string, s *set) link.Name {
	n := link.Name{Set: s.Name, Service: s.Spec.Service, Ready: answers(s), Ports: containerPorts(&s.Spec.Set.Set)}
	for _, a := range addresses(s.SetInstance) {
		if a.Network == network {
			n.Addresses = append(n.Addresses, a.Address)
		}
	}
	return n
}

// containerPorts are those on which a set is known to serve: those it publishes, and those it is
// asked at whether it is ready.
func containerPorts(s *spec.Set) []string {
	all := map[string]bool{}
	for _, line := range s.Ports {
		mappings, err := nat.ParsePortSpec(line)
		for _, m := range mappings {
			if err == nil {
				all[m.Port.Proto()+"/"+strings.TrimSuffix(string(m.Port), "/"+m.Port.Proto())] = true
			}
		}
	}
	for _, c := range s.Containers {
		if c.Options.Ready != nil && c.Options.Ready.TCP != 0 {
			all["tcp/"+strconv.Itoa(c.Options.Ready.TCP)] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// newNames are the names to tell a host that was told those of these versions; nil if there is
// nothing new.
func (c *Controller) newNames(host string, told map[string]int64) (*link.Names, map[string]int64) {
	c.cache.mu.Lock()
	defer c.cache.mu.Unlock()
	now := c.cache.nameVersions(host)
	if told != nil && maps.Equal(told, now) {
		return nil, told
	}
	return c.cache.names(now), now
}

func pace(n *link.Names) time.Duration {
	wait := namesEvery
	if n != nil {
		for _, of := range n.Networks {
			wait += time.Duration(len(of)) * namesMore
		}
	}
	return wait
}
