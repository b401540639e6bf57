package api

import "time"

// SetInstance is one replica of a service. Its name is SERVICE-SLOT.
type SetInstance struct {
	Meta
	Spec   SetSpec   `json:"spec,omitzero"`
	Status SetStatus `json:"status,omitzero"`
}

// SetSpec is what is wished of a set.
type SetSpec struct {
	Service string `json:"service"`
	Slot    int    `json:"slot"`
	// ServiceGeneration is that of the template the set is made of, and Set the template.
	ServiceGeneration int64    `json:"serviceGeneration"`
	Set               Template `json:"set"`
	// Host is where it is placed; nothing while it waits for one.
	Host string `json:"host,omitzero"`
	// Leaving is that the set is taken off its host, to be placed again when nothing of it
	// runs there.
	Leaving bool `json:"leaving,omitzero"`
	// Addresses are those that the set has for itself: fixed ones of its template while it is
	// on a host, and those that the cluster gave it. It may have more than its template names,
	// of one before, until its host says that it is of this one.
	Addresses []SetAddress `json:"addresses,omitzero"`
}

// SetStatus is what the host says of a set.
type SetStatus struct {
	Phase   Phase     `json:"phase,omitzero"`
	Since   time.Time `json:"since,omitzero"`
	Message string    `json:"message,omitzero"`
}

// Phase is how far a set is.
type Phase string

// The phases. A set that no host has spoken of yet has none.
const (
	Starting Phase = "starting"
	Running  Phase = "running" // not ready
	Ready    Phase = "ready"
	Failed   Phase = "failed"
	Stopped  Phase = "stopped"
)

// Kind is SetInstances.
func (s *SetInstance) Kind() Kind { return SetInstances }

// Head is the set's Meta.
func (s *SetInstance) Head() *Meta { return &s.Meta }

// Check says all that is wrong with a set. The error is of class InvalidArgument.
func (s *SetInstance) Check() error {
	var f flaws
	of := Service{Meta: Meta{Name: s.Spec.Service}}
	if want := of.Named(s.Spec.Slot).Name; s.Name != want {
		f.add("name", "%.60q is not that of slot %d of service %q: it is %s", s.Name, s.Spec.Slot, s.Spec.Service, want)
	}
	within(&f, "spec.slot", int64(s.Spec.Slot), 0, mostReplicas)
	if !dnsName(s.Spec.Service, false) || len(s.Spec.Service) > longestService {
		f.add("spec.service", "%.60q is no name of a service", s.Spec.Service)
	}
	if s.Spec.Host != "" && !dnsName(s.Spec.Host, true) {
		f.add("spec.host", "%.60q is no name of a host", s.Spec.Host)
	}
	set := s.Spec.Set.Set
	set.Name = "name-of-a-replica"
	f.under("spec.set", set.Check())
	f.addresses("spec.addresses", s.Spec.Addresses)
	oneOf(&f, "status.phase", s.Status.Phase, "", Starting, Running, Ready, Failed, Stopped)
	return f.err()
}
