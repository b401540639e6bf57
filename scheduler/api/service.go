package api

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// Service is a template of a set, and how many of it there are.
type Service struct {
	Meta
	Spec   ServiceSpec   `json:"spec,omitzero"`
	Status ServiceStatus `json:"status,omitzero"`
}

// ServiceSpec is what is wished of a service.
type ServiceSpec struct {
	Replicas int      `json:"replicas"`
	Set      Template `json:"set"`
	// Placement says on which hosts.
	Placement Placement `json:"placement,omitzero"`
	Update    Update    `json:"update,omitzero"`
	// OnHostLost is keep by default for sets with a volume, which cannot move, or with a
	// fixed address, which must not be twice; and replace for others.
	OnHostLost LossPolicy `json:"onHostLost,omitzero"`
	// StickyAddresses has each set keep the addresses that the cluster gave it, wherever it
	// goes. They are then as fixed ones are: what runs of it must be silent first.
	StickyAddresses bool `json:"stickyAddresses,omitzero"`
}

// Template is a set without a name: each replica is named SERVICE-SLOT.
type Template struct{ spec.Set }

// MarshalJSON writes a set as its file is written.
func (t Template) MarshalJSON() ([]byte, error) { return spec.Marshal(&t.Set) }

// UnmarshalJSON reads what a set's file has, strictly. Check checks it.
func (t *Template) UnmarshalJSON(data []byte) (err error) {
	t.Set, err = spec.DecodePart(string(data))
	return err
}

// Named is the set of one replica.
func (s *Service) Named(slot int) spec.Set {
	set := s.Spec.Set.Set
	set.Name = s.Name + "-" + strconv.Itoa(slot)
	return set
}

// LossPolicy is what becomes of the sets of a host that is lost.
type LossPolicy string

// The policies.
const (
	Keep          LossPolicy = "keep"          // they wait for their host
	Replace       LossPolicy = "replace"       // others are made elsewhere at once
	ReplaceFenced LossPolicy = "replaceFenced" // others are made when the lost ones are surely silent
)

// Placement is where sets of a service may be and where they are better.
type Placement struct {
	Strategy    Strategy     `json:"strategy,omitzero"` // pack by default
	Constraints []Constraint `json:"constraints,omitzero"`
	Tolerations []Toleration `json:"tolerations,omitzero"`
	Preferences []Preference `json:"preferences,omitzero"`
	Spread      []Spread     `json:"spread,omitzero"`
	Affinities  []Affinity   `json:"affinities,omitzero"`
	Priority    int          `json:"priority,omitzero"`
	Preemptible bool         `json:"preemptible,omitzero"`
	Preempts    bool         `json:"preempts,omitzero"`
}

// Strategy says which hosts are better where several fit.
type Strategy string

// The strategies.
const (
	Pack Strategy = "pack" // fuller ones, so that large pieces stay free
	Even Strategy = "even" // emptier ones
)

// Constraint is a condition on a label of a host.
type Constraint struct {
	Label  string   `json:"label"`
	Op     string   `json:"op"` // in, not in, exists, absent, above, below
	Values []string `json:"values,omitzero"`
}

// Toleration lets sets onto hosts with a taint; without a Value, of any value.
type Toleration struct {
	Key   string `json:"key,omitzero"` // all taints if nothing is said
	Value string `json:"value,omitzero"`
}

// Preference gives Weight points to hosts that meet a constraint.
type Preference struct {
	Constraint
	Weight int `json:"weight"`
}

// Level is host, rack or room.
type Level string

// The levels.
const (
	LevelHost Level = "host"
	LevelRack Level = "rack"
	LevelRoom Level = "room"
)

// Spread keeps sets of the service apart: MaxSkew bounds how many more one part of the
// level may have than another, Weight points are lost for each that is there already.
type Spread struct {
	Level   Level `json:"level"`
	MaxSkew int   `json:"maxSkew,omitzero"`
	Weight  int   `json:"weight,omitzero"`
}

// Affinity draws sets to those of a service, or away from them if Anti.
type Affinity struct {
	Service string `json:"service"`
	Level   Level  `json:"level"`
	Anti    bool   `json:"anti,omitzero"`
	Hard    bool   `json:"hard,omitzero"`
	Weight  int    `json:"weight,omitzero"`
}

// Update says how sets are changed to a template that is new.
type Update struct {
	Partition      int  `json:"partition,omitzero"`      // how many stay as they were
	MaxUnavailable int  `json:"maxUnavailable,omitzero"` // at one time; 1 by default
	Paused         bool `json:"paused,omitzero"`
	// ReadyWithin is how many seconds a set of the new template may take to get ready, 120
	// by default. Where one does not, all go back to the template that was ready before,
	// unless KeepFailed.
	ReadyWithin int  `json:"readyWithin,omitzero"`
	KeepFailed  bool `json:"keepFailed,omitzero"`
}

// ServiceStatus is how far a service is.
type ServiceStatus struct {
	ObservedGeneration int64 `json:"observedGeneration,omitzero"`
	Replicas           int   `json:"replicas,omitzero"` // sets that there are
	Placed             int   `json:"placed,omitzero"`   // of these, on a host
	Ready              int   `json:"ready,omitzero"`    // of these, ready
	Updated            int   `json:"updated,omitzero"`  // of these, of the template that is wished
	// Reason is why not all are placed, or of the template.
	Reason string `json:"reason,omitzero"`
	// Stable is the template that last was ready in all sets, and Previous the one before:
	// where an update goes back to, and where an undo does.
	Stable   *Version `json:"stable,omitzero"`
	Previous *Version `json:"previous,omitzero"`
	// Failed is the hash of a template that did not get ready. While it is that of the
	// Spec, sets are of Stable.
	Failed string `json:"failed,omitzero"`
}

// Version is a template that a service had.
type Version struct {
	Generation int64    `json:"generation"` // of the service when the template was new
	Set        Template `json:"set"`
}

// AsWished says whether all sets of a service are ready and of its template, as far as its
// Update lets them, and what is missing if not.
func (s *Service) AsWished() (bool, string) {
	st, up := s.Status, s.Spec.Update
	var why string
	switch {
	case st.ObservedGeneration < s.Generation:
		return false, "the controllers have not seen it yet"
	case st.Failed != "":
		why = "the update was taken back"
		if st.Stable != nil && st.Updated == 0 {
			why += fmt.Sprintf(", and all sets are as of generation %d", st.Stable.Generation)
		} else if st.Stable != nil {
			why += fmt.Sprintf(" to generation %d, and %d of %d sets are not back yet", st.Stable.Generation, st.Updated, st.Replicas)
		}
	case st.Replicas != s.Spec.Replicas || st.Ready < s.Spec.Replicas:
		why = fmt.Sprintf("%d of %d sets are ready", st.Ready, s.Spec.Replicas)
	case !up.Paused && st.Updated < s.Spec.Replicas-up.Partition:
		why = fmt.Sprintf("%d of %d sets are updated", st.Updated, s.Spec.Replicas-up.Partition)
	default:
		return true, ""
	}
	if st.Reason != "" {
		why += ": " + st.Reason
	}
	return false, why
}

// Held says that an update is paused before all sets are of the template that is wished: more
// become so when it is resumed.
func (s *Service) Held() bool {
	return s.Spec.Update.Paused && s.Status.Failed == "" && s.Status.Updated < s.Spec.Replicas-s.Spec.Update.Partition
}

// TakenBack says that the template that is wished did not get ready, and that the sets go back to
// the one before: it becomes as wished by another change only.
func (s *Service) TakenBack() bool {
	return s.Status.ObservedGeneration >= s.Generation && s.Status.Failed != ""
}

// Kind is Services.
func (s *Service) Kind() Kind { return Services }

// Head is the service's Meta.
func (s *Service) Head() *Meta { return &s.Meta }

// mostReplicas keeps SERVICE-SLOT within the length of a set's name.
const mostReplicas = 99_999

const mostSeconds = 86_400

// Check says all that is wrong with a service. The error is of class InvalidArgument.
func (s *Service) Check() error {
	var f flaws
	f.meta(&s.Meta, "service", longestService, false)
	within(&f, "spec.replicas", int64(s.Spec.Replicas), 0, mostReplicas)
	f.template(s)
	f.placement("spec.placement", s.Spec.Placement)
	within(&f, "spec.update.partition", int64(s.Spec.Update.Partition), 0, mostReplicas)
	within(&f, "spec.update.maxUnavailable", int64(s.Spec.Update.MaxUnavailable), 0, mostReplicas)
	within(&f, "spec.update.readyWithin", int64(s.Spec.Update.ReadyWithin), 0, mostSeconds)
	oneOf(&f, "spec.onHostLost", s.Spec.OnHostLost, "", Keep, Replace, ReplaceFenced)
	if s.Spec.OnHostLost == Replace && HasFixed(&s.Spec.Set.Set) {
		f.add("spec.onHostLost", "a set with a fixed address cannot be replaced before the lost one is silent: take replaceFenced or keep")
	}
	if s.Spec.OnHostLost == Replace && s.Spec.StickyAddresses {
		f.add("spec.onHostLost", "a set that keeps its address cannot be replaced before the lost one is silent: take replaceFenced or keep")
	}
	return f.err()
}

// HasFixed says whether a set has an address, of any kind, that is written down, and so must
// not be there twice.
func HasFixed(set *spec.Set) bool {
	return slices.ContainsFunc(append([]spec.Network{set.Network}, set.Networks...), func(n spec.Network) bool {
		return n.IP != "" || n.IP6 != "" || n.MAC != ""
	})
}

func (f *flaws) template(s *Service) {
	set := s.Spec.Set.Set
	if set.Name != "" {
		f.add("spec.set/Name", "each replica is named %s-SLOT: drop it", s.Name)
	}
	set.Name = "name-of-a-replica" // that of the service is looked at as such
	f.under("spec.set", set.Check())
	f.sources(&set)
	if s.Spec.Replicas <= 1 {
		return
	}
	once := func(field, what string) {
		if what != "" {
			f.add("spec.set"+field, "%s cannot be that of %d replicas: drop it, or have one replica", what, s.Spec.Replicas)
		}
	}
	for i, n := range append([]spec.Network{set.Network}, set.Networks...) {
		at := "/Network"
		if i > 0 {
			at = fmt.Sprintf("/Networks/%d", i-1)
		}
		once(at+"/IP", n.IP)
		once(at+"/IP6", n.IP6)
		once(at+"/MAC", n.MAC)
	}
	if set.Volume != nil {
		once("/Volume/Name", set.Volume.Name)
	}
}

// sources complains of what a set would read from a folder of its file, which no host has.
func (f *flaws) sources(set *spec.Set) {
	for i, c := range set.Containers {
		at := fmt.Sprintf("spec.set/Containers/%d/Options", i)
		if len(c.Options.EnvFiles) > 0 {
			f.add(at+"/EnvFiles", "files of this machine are not on the hosts of a cluster: say Env")
		}
		for j, file := range c.Options.Files {
			if file.Source != "" || file.Digest != "" {
				f.add(fmt.Sprintf("%s/Files/%d", at, j), "%s has a Source or Digest, and files of this machine are not on the hosts of a cluster: say Text", file.Path)
			}
		}
	}
}

const mostWeight = 100

func (f *flaws) placement(at string, p Placement) {
	oneOf(f, at+".strategy", p.Strategy, "", Pack, Even)
	for i, c := range p.Constraints {
		f.constraint(fmt.Sprintf("%s.constraints[%d]", at, i), c)
	}
	for i, w := range p.Preferences {
		f.constraint(fmt.Sprintf("%s.preferences[%d]", at, i), w.Constraint)
		within(f, fmt.Sprintf("%s.preferences[%d].weight", at, i), int64(w.Weight), -mostWeight, mostWeight)
	}
	for i, s := range p.Spread {
		field := fmt.Sprintf("%s.spread[%d]", at, i)
		oneOf(f, field+".level", s.Level, LevelHost, LevelRack, LevelRoom)
		within(f, field+".maxSkew", int64(s.MaxSkew), 0, mostReplicas)
		within(f, field+".weight", int64(s.Weight), 0, mostWeight)
		if s.MaxSkew == 0 && s.Weight == 0 {
			f.add(field, "it has neither maxSkew nor weight, so it says nothing")
		}
	}
	for i, a := range p.Affinities {
		field := fmt.Sprintf("%s.affinities[%d]", at, i)
		oneOf(f, field+".level", a.Level, LevelHost, LevelRack, LevelRoom)
		within(f, field+".weight", int64(a.Weight), -mostWeight, mostWeight)
		if !dnsName(a.Service, false) {
			f.add(field+".service", "%.60q is no name of a service", a.Service)
		}
		if !a.Hard && a.Weight == 0 {
			f.add(field, "it is neither hard nor has a weight, so it says nothing")
		}
	}
	within(f, at+".priority", int64(p.Priority), -mostPriority, mostPriority)
}

func (f *flaws) constraint(at string, c Constraint) {
	if c.Label == "" {
		f.add(at+".label", "it names no label")
	}
	oneOf(f, at+".op", c.Op, "in", "not in", "exists", "absent", "above", "below")
	switch n := len(c.Values); c.Op {
	case "in", "not in":
		if n == 0 {
			f.add(at+".values", "%q needs one value at least", c.Op)
		}
	case "exists", "absent":
		if n != 0 {
			f.add(at+".values", "%q takes none", c.Op)
		}
	case "above", "below":
		if n != 1 {
			f.add(at+".values", "%q takes one value, not %d", c.Op, n)
		}
	}
}
