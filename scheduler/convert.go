package scheduler

import (
	"cmp"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-connections/nat"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/place"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// engineLabel is the label that a host has of its Engine's version, unless operators gave
// it another value.
const engineLabel = "engine"

// Host is a host as placement sees it. One that never spoke takes no sets.
func Host(h *api.Host) place.Host {
	labels := map[string]string{}
	if h.Status.Engine != "" {
		labels[engineLabel] = h.Status.Engine
	}
	maps.Copy(labels, h.Status.Labels)
	maps.Copy(labels, h.Labels)
	to := place.Host{
		ID: place.HostID(h.Name), State: hostState(h), Labels: labels,
		Room: cmp.Or(h.Spec.Room, h.Status.Labels["room"]), Rack: cmp.Or(h.Spec.Rack, h.Status.Labels["rack"]),
		Capacity: amounts(h.Status.Capacity), Overcommit: amounts(h.Spec.Overcommit),
		Networks: h.Status.Networks, Volumes: h.Status.Volumes,
	}
	for _, t := range h.Spec.Taints {
		to.Taints = append(to.Taints, place.Taint{Key: t.Key, Value: t.Value, Soft: t.Soft})
	}
	return to
}

func hostState(h *api.Host) place.State {
	switch {
	case h.Status.Health == api.Lost:
		return place.Lost
	case h.Status.Health != api.Healthy:
		return place.Suspect
	case h.Spec.Availability == api.Draining || !h.Deleted.IsZero():
		return place.Draining
	case h.Spec.Availability == api.Cordoned:
		return place.Cordoned
	case h.Status.Trouble != "":
		return place.Troubled
	}
	return place.Ready
}

func amounts(a api.Amounts) place.Amounts {
	return place.Amounts{place.CPU: a.CPU, place.Memory: a.Memory, place.Disk: a.Disk}
}

// Ask is what a set of a service, made of this template, needs of its host; all sets of
// the template share it. Where a set's volume exists already, give its name to [place.Ask]
// in a copy. What cannot be placed is of class InvalidArgument, and names the field.
func Ask(s *api.Service, set *spec.Set) (*place.Ask, error) {
	p := s.Spec.Placement
	a := &place.Ask{
		Service: place.ServiceID(s.Name), Amounts: need(set),
		Priority: p.Priority, Preemptible: p.Preemptible, Preempts: p.Preempts,
	}
	if p.Strategy == api.Even {
		a.Strategy = place.Even
	}
	var err error
	if a.Networks, err = networks(set); err != nil {
		return nil, err
	}
	if a.Ports, err = ports(set); err != nil {
		return nil, err
	}
	for _, c := range p.Constraints {
		a.Constraints = append(a.Constraints, constraint(c))
	}
	for _, t := range p.Tolerations {
		a.Tolerations = append(a.Tolerations, place.Toleration{Key: t.Key, Value: t.Value})
	}
	for _, w := range p.Preferences {
		a.Preferences = append(a.Preferences, place.Preference{Constraint: constraint(w.Constraint), Weight: w.Weight})
	}
	for _, w := range p.Spread {
		a.Spread = append(a.Spread, place.Spread{Level: level(w.Level), MaxSkew: w.MaxSkew, Weight: w.Weight})
	}
	for _, w := range p.Affinities {
		a.Affinities = append(a.Affinities, place.Affinity{
			Service: place.ServiceID(w.Service), Level: level(w.Level), Anti: w.Anti, Hard: w.Hard, Weight: w.Weight,
		})
	}
	return a, a.Check()
}

func constraint(c api.Constraint) place.Constraint {
	return place.Constraint{Key: c.Label, Op: place.Op(c.Op), Values: c.Values}
}

func level(l api.Level) place.Level {
	return map[api.Level]place.Level{api.LevelRack: place.LevelRack, api.LevelRoom: place.LevelRoom}[l] // else host
}

// need is what the set as a whole may use, or where it has no such limit, what its
// containers may in sum. Who has neither needs nothing of that kind.
func need(set *spec.Set) place.Amounts {
	cores, memory := float64(set.CPU), uint64(set.MEM)
	for _, c := range set.Containers {
		if set.CPU == 0 {
			cores += float64(c.Options.Cores)
		}
		if set.MEM == 0 {
			memory += uint64(c.Options.Memory)
		}
	}
	a := place.Amounts{place.CPU: int64(math.Ceil(cores*1000 - 1e-6)), place.Memory: bounded(memory)}
	if v := set.Volume; v != nil {
		a[place.Disk] = bounded(uint64(v.Size))
	}
	return a
}

// bounded keeps what no host has from becoming negative.
func bounded(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

// networks are those that hosts share; each host has a bridge, host and none of its own.
func networks(set *spec.Set) ([]place.Need, error) {
	var needs []place.Need
	for _, n := range append([]spec.Network{set.Network}, set.Networks...) {
		if slices.Contains([]string{"", "default", "bridge", "host", "none"}, n.Name) {
			continue
		}
		need := place.Need{Network: n.Name}
		if n.IP != "" {
			var err error
			if need.Address, err = netip.ParseAddr(n.IP); err != nil {
				return nil, fault.Invalid("spec.set: %q in network %s is no address", n.IP, n.Name)
			}
		}
		needs = append(needs, need)
	}
	return needs, nil
}

// ports are those of the host that the set must have. Where the Engine chooses, any host
// will do.
func ports(set *spec.Set) ([]place.Port, error) {
	var all []place.Port
	for _, line := range set.Ports {
		mappings, err := nat.ParsePortSpec(line)
		if err != nil {
			return nil, fault.Invalid("spec.set/Ports: %q: %w", line, err)
		}
		for _, m := range mappings {
			if m.Binding.HostPort == "" || strings.Contains(m.Binding.HostPort, "-") {
				continue
			}
			number, err := strconv.ParseUint(m.Binding.HostPort, 10, 16)
			if err != nil {
				return nil, fault.Invalid("spec.set/Ports: %q: %w", line, err)
			}
			p := place.Port{Protocol: m.Port.Proto(), Number: uint16(number)}
			if m.Binding.HostIP != "" {
				if p.At, err = netip.ParseAddr(m.Binding.HostIP); err != nil {
					return nil, fault.Invalid("spec.set/Ports: %q: %w", line, err)
				}
				p.At = p.At.Unmap()
			}
			if !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
	}
	return all, nil
}
