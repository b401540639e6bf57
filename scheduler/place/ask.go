package place

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// Ask is what a set needs of its host. Sets of one service that are alike share one.
type Ask struct {
	Service  ServiceID // "" for a set that is of none
	Amounts  Amounts
	Networks []Need
	Ports    []Port
	// Volumes exist already and are on one host each: the set goes where they are.
	Volumes     []string
	Constraints []Constraint
	Tolerations []Toleration
	Strategy    Strategy
	Layers      []Layer
	Preferences []Preference
	Spread      []Spread
	Affinities  []Affinity

	// Priority orders: sets of a lower one that are Preemptible may be named as victims
	// for a set with Preempts.
	Priority              int
	Preemptible, Preempts bool
}

// Strategy says which hosts are better where several fit.
type Strategy int

// The strategies.
const (
	BinPack Strategy = iota // those that are left with the least: large pieces stay free
	Even                    // those with the smallest part in use
)

// Layer is a part of an image. A host that has Image by its name need not pull it.
type Layer struct {
	ID, Image LayerID
	Bytes     int64
}

// Constraint is a condition on a label of the host. The labels host, room and rack are
// those of its place.
type Constraint struct {
	Key    string
	Op     Op
	Values []string // one for Above and Below, none for Exists and Absent
}

// Op is how a label is compared.
type Op string

// The comparisons. Above and Below compare the numbers in both, part by part: 29.1 is
// above 20.10. A label that is missing is neither, and is NotIn everything.
const (
	In     Op = "in"
	NotIn  Op = "not in"
	Exists Op = "exists"
	Absent Op = "absent"
	Above  Op = "above"
	Below  Op = "below"
)

func (c Constraint) String() string {
	return strings.TrimSpace(c.Key + " " + string(c.Op) + " " + strings.Join(c.Values, ", "))
}

// Toleration lets a set onto hosts with a taint: of Key, and of Value unless that is "".
// Key "" tolerates all.
type Toleration struct{ Key, Value string }

// Preference gives Weight points to hosts that meet a constraint. Weights of all kinds
// are between -100 and 100; 10 points are what a host that fits perfectly has ahead of one
// that fits badly.
type Preference struct {
	Constraint
	Weight int
}

// Level is a part of the cluster that fails as a whole.
type Level int

// The levels.
const (
	LevelHost Level = iota
	LevelRack
	LevelRoom
	levels
)

func (l Level) String() string { return [...]string{"host", "rack", "room"}[l] }

// Spread keeps the sets of the service apart. MaxSkew bounds how many more of them one
// part of the level may have than the one with the fewest, of those parts that have a host
// which constraints, taints, state and networks allow; 0 is no bound. Weight points are
// lost for each set that the part has already.
type Spread struct {
	Level   Level
	MaxSkew int
	Weight  int
}

// Affinity draws the set to sets of Service, or away from them if Anti. If Hard it is a
// condition, and one with Anti is also kept by the sets of Service that come later. The
// first set of a service has nobody to be near, so a Hard one to the set's own service
// lets that be anywhere. Else Weight points are given where there are such sets, or lost for each.
type Affinity struct {
	Service ServiceID
	Level   Level
	Anti    bool
	Hard    bool
	Weight  int
}

const mostWeight = 100

// Check says all that cannot be meant, a line each, beginning with the field. The error
// is of class InvalidArgument.
func (a *Ask) Check() error {
	var lines []string
	bad := func(field, format string, args ...any) {
		lines = append(lines, field+": "+fmt.Sprintf(format, args...))
	}
	for r := range resources {
		if n := a.Amounts[r]; n < 0 || n > most(r) {
			bad("Amounts", "%s of %d cannot be: it is between 0 and %d", r, n, most(r))
		}
	}
	a.checkPlaces(bad)
	a.checkConstraints(bad)
	for i, p := range a.Preferences {
		at := fmt.Sprintf("Preferences[%d]", i)
		p.check(at, bad)
		weigh(at, p.Weight, bad)
	}
	for i, s := range a.Spread {
		at := fmt.Sprintf("Spread[%d]", i)
		weigh(at, s.Weight, bad)
		switch {
		case s.Level < 0 || s.Level >= levels:
			bad(at, "there is no level %d: take host, rack or room", int(s.Level))
		case s.MaxSkew < 0:
			bad(at, "a skew of %d cannot be: it is 1 or more, or 0 for no bound", s.MaxSkew)
		case a.Service == "":
			bad(at, "a set of no service has nobody to be spread from: name a service or drop it")
		}
	}
	a.checkAffinities(bad)
	if len(lines) > 0 {
		return fault.Invalid("%s", strings.Join(lines, "\n"))
	}
	return nil
}

// most keeps sums and scores far from overflow.
func most(r Resource) int64 {
	if r == CPU {
		return 1 << 30
	}
	return 1 << 50
}

type complain func(field, format string, args ...any)

func weigh(at string, weight int, bad complain) {
	if weight < -mostWeight || weight > mostWeight {
		bad(at, "a weight of %d cannot be: it is between %d and %d", weight, -mostWeight, mostWeight)
	}
}

func (a *Ask) checkPlaces(bad complain) {
	if len(a.Networks) > scarce {
		bad("Networks", "%d networks are more than the %d that a set may have", len(a.Networks), scarce)
	}
	networks := map[string]bool{}
	for i, n := range a.Networks {
		switch {
		case n.Network == "":
			bad(fmt.Sprintf("Networks[%d]", i), "the network has no name")
		case networks[n.Network]:
			bad(fmt.Sprintf("Networks[%d]", i), "network %q is there twice: name it once", n.Network)
		}
		networks[n.Network] = true
	}
	ports := map[Port]bool{}
	for i, p := range a.Ports {
		switch {
		case p.Number == 0 || p.Protocol != "tcp" && p.Protocol != "udp":
			bad(fmt.Sprintf("Ports[%d]", i), "%s is no port of a host: take 1 to 65535 with tcp or udp", p)
		case ports[p]:
			bad(fmt.Sprintf("Ports[%d]", i), "port %s is there twice: name it once", p)
		}
		ports[p] = true
	}
	for i, l := range a.Layers {
		if l.Bytes < 0 || l.Bytes > most(Memory) {
			bad(fmt.Sprintf("Layers[%d]", i), "a layer of %d bytes cannot be", l.Bytes)
		}
	}
}

// check says what is wrong with a constraint by itself.
func (c Constraint) check(at string, bad complain) {
	values := map[Op]int{In: -1, NotIn: -1, Exists: 0, Absent: 0, Above: 1, Below: 1}
	want, known := values[c.Op]
	switch {
	case c.Key == "":
		bad(at, "it names no label")
	case !known:
		bad(at, "%q is no comparison: take one of in, not in, exists, absent, above, below", c.Op)
	case want < 0 && len(c.Values) == 0:
		bad(at, "%q needs one value at least", c.Op)
	case want >= 0 && len(c.Values) != want:
		bad(at, "%q takes %d values, not %d", c.Op, want, len(c.Values))
	}
}

// checkConstraints also finds those that no label can meet together.
func (a *Ask) checkConstraints(bad complain) {
	allowed := map[string][]string{} // by key, of the constraints with In
	for i, c := range a.Constraints {
		at := fmt.Sprintf("Constraints[%d]", i)
		c.check(at, bad)
		if c.Op != In {
			continue
		}
		left := c.Values
		if before, ok := allowed[c.Key]; ok {
			left = slices.DeleteFunc(slices.Clone(before), func(v string) bool { return !slices.Contains(c.Values, v) })
		}
		allowed[c.Key] = left
	}
	for _, key := range slices.Sorted(maps.Keys(allowed)) {
		meets := func(v string) bool {
			return !slices.ContainsFunc(a.Constraints, func(c Constraint) bool { return c.Key == key && !c.met(v, true) })
		}
		if !slices.ContainsFunc(allowed[key], meets) {
			bad("Constraints", "no value of %s meets them all: they contradict each other", key)
		}
	}
}

func (a *Ask) checkAffinities(bad complain) {
	for i, f := range a.Affinities {
		at := fmt.Sprintf("Affinities[%d]", i)
		weigh(at, f.Weight, bad)
		switch {
		case f.Level < 0 || f.Level >= levels:
			bad(at, "there is no level %d: take host, rack or room", int(f.Level))
		case f.Service == "":
			bad(at, "it names no service")
		case f.Hard && slices.ContainsFunc(a.Affinities, func(g Affinity) bool {
			return g.Hard && !f.Anti && g.Anti && g.Service == f.Service && g.Level >= f.Level
		}):
			bad(at, "to be near %s and away from it contradict each other", f.Service)
		case !f.Hard && f.Weight == 0:
			bad(at, "it is neither hard nor has a weight, so it says nothing")
		}
	}
}
