package api

import (
	"fmt"
	"net/netip"
	"time"
)

// Host is a machine with an Engine and a mosd.
type Host struct {
	Meta
	Spec   HostSpec   `json:"spec,omitzero"`
	Status HostStatus `json:"status,omitzero"`
}

// HostSpec is what operators say of a host.
type HostSpec struct {
	Room         string       `json:"room,omitzero"`
	Rack         string       `json:"rack,omitzero"`
	Availability Availability `json:"availability,omitzero"` // active by default
	Taints       []Taint      `json:"taints,omitzero"`
	// Overcommit is how many percent of each amount may be given; 0 is 100.
	Overcommit Amounts `json:"overcommit,omitzero"`
	// Fenced is an operator's word that nothing of a lost host runs or reaches a network:
	// sets with replaceFenced then run elsewhere. It ends when the host comes back.
	Fenced bool `json:"fenced,omitzero"`
}

// Availability is whether a host may be given sets.
type Availability string

// The availabilities.
const (
	Active   Availability = "active"
	Cordoned Availability = "cordoned" // takes no more
	Draining Availability = "draining" // is being emptied
)

// Taint keeps away sets that do not tolerate it; if Soft, it only makes a host worse.
type Taint struct {
	Key   string `json:"key"`
	Value string `json:"value,omitzero"`
	Soft  bool   `json:"soft,omitzero"`
}

// Amounts are of processors in thousandths of a core, and of memory and volumes in bytes.
type Amounts struct {
	CPU    int64 `json:"cpu,omitzero"`
	Memory int64 `json:"memory,omitzero"`
	Disk   int64 `json:"disk,omitzero"`
}

// HostStatus is what a host says of itself, and the leader of it.
type HostStatus struct {
	Health   Health            `json:"health,omitzero"`
	Since    time.Time         `json:"since,omitzero"` // when Health became so
	Capacity Amounts           `json:"capacity,omitzero"`
	Networks map[string]string `json:"networks,omitzero"` // those that reach it, with their pools
	Volumes  []string          `json:"volumes,omitzero"`
	Engine   string            `json:"engine,omitzero"` // version
	// Trouble is why the host can start and change no sets right now, such as an Engine that
	// does not answer. Those that run there go on. It is in the words of its begin, which is the
	// leader's to say.
	Trouble      string    `json:"trouble,omitzero"`
	TroubleSince time.Time `json:"troubleSince,omitzero"`
	// Machine is a mark that the host's mosd keeps on its disk: two hosts of one name differ
	// in it.
	Machine string `json:"machine,omitzero"`
	// Labels are what the host's configuration says; those of the Meta win. Its room and
	// rack are labels, too, where the Spec names none.
	Labels map[string]string `json:"labels,omitzero"`
	// Blocks are addresses that the host gives to containers which are of no set of the
	// cluster. They are the leader's to say, and each is claimed.
	Blocks []HostBlock `json:"blocks,omitzero"`
}

// HostBlock is a part of a network's pool that a host has for itself, as 10.9.0.16/28. One that
// leaves is not given out of any more, and goes back when no container has an address of it.
type HostBlock struct {
	Network string `json:"network"`
	Prefix  string `json:"prefix"`
	Leaving bool   `json:"leaving,omitzero"`
}

// Health is whether a host is heard of.
type Health string

// The states of health. A host that never spoke has none.
const (
	Healthy Health = "healthy"
	Suspect Health = "suspect"
	Lost    Health = "lost"
)

// Kind is Hosts.
func (h *Host) Kind() Kind { return Hosts }

// Head is the host's Meta.
func (h *Host) Head() *Meta { return &h.Meta }

const (
	mostCPU   = 1 << 30 // thousandths: a million cores
	mostBytes = 1 << 50
)

// Check says all that is wrong with a host. The error is of class InvalidArgument.
func (h *Host) Check() error {
	var f flaws
	f.meta(&h.Meta, "host", longestHost, true)
	oneOf(&f, "spec.availability", h.Spec.Availability, "", Active, Cordoned, Draining)
	for i, t := range h.Spec.Taints {
		if t.Key == "" {
			f.add(fmt.Sprintf("spec.taints[%d].key", i), "the taint has no key")
		}
	}
	const mostPercent = 10_000
	over := h.Spec.Overcommit
	within(&f, "spec.overcommit.cpu", over.CPU, 0, mostPercent)
	within(&f, "spec.overcommit.memory", over.Memory, 0, mostPercent)
	within(&f, "spec.overcommit.disk", over.Disk, 0, mostPercent)
	f.amounts("status.capacity", h.Status.Capacity)
	for i, b := range h.Status.Blocks {
		if p, err := netip.ParsePrefix(b.Prefix); err != nil || p != p.Masked() || b.Network == "" {
			f.add(fmt.Sprintf("status.blocks[%d]", i), "%.60q of network %.60q is no block of addresses", b.Prefix, b.Network)
		}
	}
	oneOf(&f, "status.health", h.Status.Health, "", Healthy, Suspect, Lost)
	return f.err()
}

func (f *flaws) amounts(field string, a Amounts) {
	within(f, field+".cpu", a.CPU, 0, mostCPU)
	within(f, field+".memory", a.Memory, 0, mostBytes)
	within(f, field+".disk", a.Disk, 0, mostBytes)
}
