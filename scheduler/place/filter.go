package place

import "slices"

// Filter is a kind of reason for which a host does not take a set.
type Filter int

// The filters, in the order in which they are told.
const (
	FilterState Filter = iota
	FilterTaint
	FilterConstraint
	FilterVolume  // a volume that the set has is elsewhere, or is used by another set
	FilterNetwork // a network does not reach the host
	FilterAddress // a pool is empty, or a fixed address is taken
	FilterPort
	FilterCPU
	FilterMemory
	FilterDisk
	FilterSpread   // it would stand too close to others of its service
	FilterAffinity // a hard affinity is not met, of the set or of one that is there
	filters
)

func (f Filter) String() string {
	return [...]string{
		"state", "taint", "constraint", "volume", "network", "address", "port",
		"CPU", "memory", "volume space", "spread", "affinity",
	}[f]
}

// reasons is a set of filters that reject.
type reasons uint16

func (r reasons) has(f Filter) bool { return r&(1<<f) != 0 }

func mark(r *reasons, f Filter, rejects bool) {
	if rejects {
		*r |= 1 << f
	}
}

// static is what filters say that depends only on what the host was told to be.
func (a *Ask) static(h *host) (r reasons) {
	mark(&r, FilterState, h.State != Ready)
	for _, t := range h.Taints {
		mark(&r, FilterTaint, !t.Soft && !a.tolerates(t))
	}
	for _, c := range a.Constraints {
		mark(&r, FilterConstraint, !c.of(&h.Host))
	}
	for _, n := range a.Networks {
		mark(&r, FilterNetwork, h.pool(n.Network) == nil)
	}
	return r
}

// dynamic is what filters say that changes with the sets of the host.
func (a *Ask) dynamic(h *host) (r reasons) {
	mark(&r, FilterCPU, a.Amounts[CPU] > 0 && h.used[CPU]+a.Amounts[CPU] > h.cap[CPU])
	mark(&r, FilterMemory, a.Amounts[Memory] > 0 && h.used[Memory]+a.Amounts[Memory] > h.cap[Memory])
	mark(&r, FilterDisk, a.Amounts[Disk] > 0 && h.used[Disk]+a.Amounts[Disk] > h.cap[Disk])
	for _, p := range a.Ports {
		_, held := h.ports[p.anywhere()]
		mark(&r, FilterPort, held || h.hasPort(p))
	}
	for i, n := range a.Networks {
		if p := h.pool(n.Network); p != nil && !n.Address.IsValid() {
			mark(&r, FilterAddress, p.used+a.earlier(i, h, p) >= p.Size)
		}
	}
	return r
}

func (h *host) hasPort(p Port) bool {
	return slices.ContainsFunc(h.Host.Ports, p.clashes)
}

// earlier is how many addresses of a pool networks before the i-th take.
func (a *Ask) earlier(i int, h *host, p *pool) (n int) {
	for _, before := range a.Networks[:i] {
		if h.pool(before.Network) == p && !before.Address.IsValid() {
			n++
		}
	}
	return n
}

// claims is what filters say because of things there is one of in the cluster.
func (c *Cluster) claims(a *Ask) (r reasons) {
	for _, n := range a.Networks {
		if n.Address.IsValid() {
			_, held := c.fixed[n]
			mark(&r, FilterAddress, held)
		}
	}
	for _, name := range a.Volumes {
		v := c.volumes[name]
		mark(&r, FilterVolume, v == nil || v.user != "")
	}
	return r
}

// holds says whether the host has the volumes of an ask.
func (c *Cluster) holds(a *Ask, h *host) (r reasons) {
	for _, name := range a.Volumes {
		v := c.volumes[name]
		mark(&r, FilterVolume, v == nil || !v.hosts[h])
	}
	return r
}
