package place

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func drawHost(t *rapid.T, id int) Host {
	h := Host{
		ID:       HostID(fmt.Sprintf("h%d", id)),
		State:    rapid.SampledFrom([]State{Ready, Ready, Ready, Ready, Cordoned}).Draw(t, "state"),
		Room:     rapid.SampledFrom([]string{"", "r1", "r2"}).Draw(t, "room"),
		Rack:     rapid.SampledFrom([]string{"", "k1", "k2", "k3"}).Draw(t, "rack"),
		Labels:   map[string]string{"disk": rapid.SampledFrom([]string{"ssd", "hdd"}).Draw(t, "disk")},
		Capacity: Amounts{int64(rapid.IntRange(0, 16).Draw(t, "cpu")) * 1000, int64(rapid.IntRange(0, 64).Draw(t, "mem")) * gib, 100 * gib},
		Networks: map[string]string{"prod": rapid.SampledFrom([]string{"p", "q"}).Draw(t, "pool")},
	}
	if rapid.IntRange(0, 5).Draw(t, "tainted") == 0 {
		h.Taints = []Taint{{"gpu", "", rapid.Bool().Draw(t, "soft")}}
	}
	if rapid.IntRange(0, 3).Draw(t, "volume") == 0 {
		h.Volumes = []string{fmt.Sprintf("v%d", id)}
	}
	if rapid.Bool().Draw(t, "image") {
		h.Layers = []LayerID{1}
	}
	h.Overcommit[CPU] = int64(rapid.SampledFrom([]int{0, 150}).Draw(t, "overcommit"))
	return h
}

func drawAsk(t *rapid.T) *Ask {
	few := func(name string) bool { return rapid.IntRange(0, 4).Draw(t, name) == 0 }
	a := &Ask{
		Service:  rapid.SampledFrom([]ServiceID{"", "a", "b", "c"}).Draw(t, "service"),
		Amounts:  Amounts{int64(rapid.IntRange(0, 4).Draw(t, "cpu")) * 500, int64(rapid.IntRange(0, 4).Draw(t, "mem")) * gib, int64(rapid.IntRange(0, 20).Draw(t, "disk")) * gib},
		Strategy: rapid.SampledFrom([]Strategy{BinPack, Even}).Draw(t, "strategy"),
		Layers:   []Layer{{1, 9, gib}},
	}
	if few("constrained") {
		a.Constraints = []Constraint{{"disk", In, []string{"ssd"}}}
	}
	if few("tolerant") {
		a.Tolerations = []Toleration{{"gpu", ""}}
	}
	if few("connected") {
		a.Networks = []Need{{Network: "prod"}}
	} else if few("fixed") {
		a.Networks = []Need{{"prod", netip.AddrFrom4([4]byte{10, 0, 0, byte(rapid.IntRange(1, 3).Draw(t, "address"))})}}
	}
	if few("published") {
		a.Ports = []Port{{Protocol: "tcp", Number: uint16(rapid.IntRange(80, 82).Draw(t, "port"))}}
	}
	if few("sticky") {
		a.Volumes = []string{fmt.Sprintf("v%d", rapid.IntRange(0, 9).Draw(t, "volume"))}
	}
	if few("preference") {
		a.Preferences = []Preference{{Constraint{"disk", In, []string{"hdd"}}, 3}}
	}
	level := rapid.SampledFrom([]Level{LevelHost, LevelRack, LevelRoom})
	for range rapid.IntRange(0, 2).Draw(t, "spreads") {
		if a.Service != "" {
			a.Spread = append(a.Spread, Spread{level.Draw(t, "level"), rapid.IntRange(0, 2).Draw(t, "skew"), rapid.IntRange(0, 5).Draw(t, "weight")})
		}
	}
	if few("affinity") {
		a.Affinities = []Affinity{{
			rapid.SampledFrom([]ServiceID{"a", "b", "c"}).Draw(t, "to"), level.Draw(t, "level"),
			rapid.Bool().Draw(t, "anti"), rapid.Bool().Draw(t, "hard"), rapid.IntRange(1, 5).Draw(t, "weight"),
		}}
	}
	return a
}

// world is a cluster and what the test itself knows of it.
type world struct {
	*Cluster
	hosts map[HostID]Host
	on    map[SetID]HostID
	asks  map[SetID]*Ask
	next  int
}

func (w *world) sameParts(l Level, a, b HostID) bool {
	x, y := w.hosts[a], w.hosts[b]
	return l == LevelHost && a == b || l == LevelRack && x.Room == y.Room && x.Rack == y.Rack || l == LevelRoom && x.Room == y.Room
}

// number is how many sets of a service are in the part of a level that a host is in.
func (w *world) number(s ServiceID, l Level, h HostID) (n int) {
	for id, on := range w.on {
		if w.asks[id].Service == s && w.sameParts(l, on, h) {
			n++
		}
	}
	return n
}

// allowed says all that speaks against a host, from nothing but what was told.
func (w *world) allowed(a *Ask, id HostID) error {
	h := w.hosts[id]
	used := a.Amounts
	pools, ports := map[string]int{}, map[Port]bool{}
	for set, on := range w.on {
		b := w.asks[set]
		for _, n := range b.Networks {
			if slices.Contains(a.Networks, n) && n.Address.IsValid() {
				return fmt.Errorf("address %s twice", n.Address)
			}
			if !n.Address.IsValid() {
				pools[w.hosts[on].Networks["prod"]]++
			}
		}
		for _, v := range b.Volumes {
			if slices.Contains(a.Volumes, v) {
				return fmt.Errorf("volume %s twice", v)
			}
		}
		for _, f := range b.Affinities {
			if f.Anti && f.Hard && f.Service == a.Service && w.sameParts(f.Level, on, id) {
				return fmt.Errorf("%s wants %s away", set, a.Service)
			}
		}
		if on != id {
			continue
		}
		for r := range resources {
			used[r] += b.Amounts[r]
		}
		for _, p := range b.Ports {
			ports[p] = true
		}
	}
	for r := range resources {
		if limit := h.Capacity[r] * max(h.Overcommit[r], 100*min(1, 1-min(h.Overcommit[r], 1))) / 100; a.Amounts[r] > 0 && used[r] > limit {
			return fmt.Errorf("%s: %d of %d", r, used[r], limit)
		}
	}
	return w.allowedBySelf(a, h, pools, ports)
}

func (w *world) allowedBySelf(a *Ask, h Host, pools map[string]int, ports map[Port]bool) error {
	switch {
	case h.State != Ready:
		return errors.New("state")
	case len(a.Constraints) > 0 && h.Labels["disk"] != "ssd":
		return errors.New("constraint")
	case len(h.Taints) > 0 && !h.Taints[0].Soft && len(a.Tolerations) == 0:
		return errors.New("taint")
	case len(a.Ports) > 0 && ports[a.Ports[0]]:
		return errors.New("port")
	case len(a.Volumes) > 0 && !slices.Equal(a.Volumes, h.Volumes):
		return errors.New("volume")
	case len(a.Networks) > 0 && !a.Networks[0].Address.IsValid() && pools[h.Networks["prod"]] >= poolSize:
		return errors.New("pool")
	}
	for _, f := range a.Affinities {
		n := w.number(f.Service, f.Level, h.ID)
		first := f.Service == a.Service && !slices.ContainsFunc(slices.Collect(maps.Values(w.asks)), func(b *Ask) bool { return b.Service == a.Service })
		if f.Hard && (f.Anti && n > 0 || !f.Anti && n == 0 && !first) {
			return errors.New("affinity")
		}
	}
	for _, s := range a.Spread {
		fewest := -1
		for id, other := range w.hosts {
			open := other.State == Ready && (len(a.Constraints) == 0 || other.Labels["disk"] == "ssd") &&
				(len(other.Taints) == 0 || other.Taints[0].Soft || len(a.Tolerations) > 0)
			if n := w.number(a.Service, s.Level, id); open && (fewest < 0 || n < fewest) {
				fewest = n
			}
		}
		if s.MaxSkew > 0 && w.number(a.Service, s.Level, h.ID)+1-max(fewest, 0) > s.MaxSkew {
			return errors.New("spread")
		}
	}
	return nil
}

const poolSize = 6

// best is the first host of those that the test's own rules allow.
func (w *world) check(t *rapid.T, a *Ask) Explanation {
	e := w.Explain(a)
	fit, alone, total := 0, map[Filter]int{}, map[Filter]int{}
	for id := range w.hosts {
		v, err := w.Why(a, id)
		if err != nil {
			t.Fatal(err)
		}
		if rule := w.allowed(a, id); (rule == nil) != (len(v.Reasons) == 0) {
			t.Fatalf("host %s for %+v: the rules say %v, we say %v", id, a, rule, v.Reasons)
		}
		if len(v.Reasons) == 0 {
			fit++
		}
		for _, r := range v.Reasons {
			if total[r.Filter]++; len(v.Reasons) == 1 {
				alone[r.Filter]++
			}
			if r.Text == "" {
				t.Fatalf("host %s: filter %s says nothing", id, r.Filter)
			}
		}
	}
	if e.Fit != fit || e.Hosts != len(w.hosts) || len(e.Counts) != len(total) {
		t.Fatalf("explained %v, but %d of %d hosts fit and %v reject", e, fit, len(w.hosts), total)
	}
	for _, n := range e.Counts {
		if n.Rejects != total[n.Filter] || n.Alone != alone[n.Filter] {
			t.Fatalf("%s: %d rejected, %d alone; hosts say %d and %d", n.Filter, n.Rejects, n.Alone, total[n.Filter], alone[n.Filter])
		}
	}
	return e
}

// TestPlacementIsAllowedAndTheBest goes through random lives of a cluster. Each host that
// is chosen is allowed by rules that the test works out by itself, is the best of a full
// scan, and none is chosen only if the rules allow none.
func TestPlacementIsAllowedAndTheBest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{Cluster: New(7), hosts: map[HostID]Host{}, on: map[SetID]HostID{}, asks: map[SetID]*Ask{}}
		w.SetPool(Pool{"p", poolSize})
		w.SetPool(Pool{"q", poolSize})
		for i := range rapid.IntRange(1, 10).Draw(t, "hosts") {
			w.tell(drawHost(t, i))
		}
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0:
				w.tell(drawHost(t, rapid.IntRange(0, 12).Draw(t, "host")))
			case 1:
				if id := w.any(t); id != "" {
					w.Remove(id)
					w.drop(id)
				}
			case 2:
				for _, id := range w.RemoveHost(HostID(fmt.Sprintf("h%d", rapid.IntRange(0, 12).Draw(t, "gone")))) {
					w.drop(id)
				}
				maps.DeleteFunc(w.hosts, func(id HostID, _ Host) bool { return w.Cluster.hosts[id] == nil })
			default:
				w.place(t, drawAsk(t))
			}
		}
		w.compare(t, w.Clone(), drawAsk(t))
	})
}

func (w *world) tell(h Host) {
	w.hosts[h.ID] = h
	w.SetHost(h)
}

func (w *world) drop(id SetID) {
	delete(w.on, id)
	delete(w.asks, id)
}

func (w *world) any(t *rapid.T) SetID {
	ids := slices.Sorted(maps.Keys(w.on))
	if len(ids) == 0 {
		return ""
	}
	return rapid.SampledFrom(ids).Draw(t, "set")
}

func (w *world) place(t *rapid.T, a *Ask) {
	if err := a.Check(); err != nil {
		t.Fatal(err)
	}
	e := w.check(t, a)
	w.next++
	id := SetID(fmt.Sprintf("s%d", w.next))
	placed, err := w.Place(a, id)
	switch {
	case err != nil && e.Fit > 0:
		t.Fatalf("no host is found where %d fit: %v", e.Fit, err)
	case err == nil && (e.Fit == 0 || placed[0].Host != e.Best[0].Host || placed[0].Score != e.Best[0].Score):
		t.Fatalf("placed %+v, the best are %+v", placed[0], e.Best)
	case err == nil:
		w.on[id], w.asks[id] = placed[0].Host, a
	}
}

// compare says whether a cluster that learned the same in another order answers the same.
func (w *world) compare(t *rapid.T, other *Cluster, a *Ask) {
	one, two := w.Explain(a), other.Explain(a)
	if fmt.Sprint(one) != fmt.Sprint(two) || !slices.Equal(one.Best, two.Best) {
		t.Fatalf("the same cluster, learned in another order, says\n%v %v, not\n%v %v", two, two.Best, one, one.Best)
	}
}
