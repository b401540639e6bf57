package place

// effect is what other sets do to a part of the cluster, for one ask.
type effect struct {
	spread, affinity int64
	bars             reasons
}

func (e effect) sum() int64 {
	if e.bars != 0 {
		return never
	}
	return e.spread + e.affinity
}

// terms are what depends on other sets than those of a host alone, for one ask.
type terms struct {
	racks, rooms []effect
	sums         []int64         // by rack, with its room, or never
	hosts        []effect        // by slot
	own          []int32         // the slots that have effects of their own
	marked       []bool          // by block: whether such a slot stands in it
	only         map[int32]int32 // if not nil, only these slots are allowed
	bars         reasons         // of all hosts
}

// farMost bounds what a term counts, so that sums stay far from overflow.
const farMost = 1000

// find finds the terms of an ask. The view says in which parts hosts are allowed.
func (t *terms) find(c *Cluster, a *Ask, v *view) {
	t.reset(c)
	own := c.services[a.Service]
	if a.Service == "" {
		own = nil
	}
	t.bars = c.claims(a)
	for _, s := range a.Spread {
		t.spread(s, own, v)
	}
	for _, f := range a.Affinities {
		t.near(c, a, f)
	}
	if own != nil {
		for l := range levels {
			t.barAll(l, own.shunned[l])
		}
	}
	t.sums = t.sums[:0]
	for rack, e := range t.racks {
		room := t.rooms[c.yard.roomOf[rack]]
		if e.bars |= room.bars; e.bars != 0 {
			t.sums = append(t.sums, never)
			continue
		}
		t.sums = append(t.sums, e.sum()+room.sum())
	}
}

func (t *terms) reset(c *Cluster) {
	t.racks = zero(t.racks, len(c.yard.roomOf))
	t.rooms = zero(t.rooms, len(c.yard.rooms))
	for _, slot := range t.own {
		t.hosts[slot] = effect{}
		t.marked[slot/blockSize] = false
	}
	t.own = t.own[:0]
	if n := len(c.slots) - len(t.hosts); n > 0 {
		t.hosts = append(t.hosts, make([]effect, n)...)
		t.marked = append(t.marked, make([]bool, n/blockSize)...)
	}
	t.only, t.bars = nil, 0
}

func zero(s []effect, n int) []effect {
	if cap(s) < n {
		return make([]effect, n)
	}
	s = s[:n]
	clear(s)
	return s
}

// at is the effect on a part of a level, to be changed.
func (t *terms) at(l Level, part int32) *effect {
	switch l {
	case LevelRoom:
		return &t.rooms[part]
	case LevelRack:
		return &t.racks[part]
	case LevelHost, levels:
	}
	t.own = append(t.own, part)
	t.marked[part/blockSize] = true
	return &t.hosts[part]
}

func (t *terms) barAll(l Level, parts map[int32]int32) {
	for part := range parts {
		t.at(l, part).bars |= 1 << FilterAffinity
	}
}

func (t *terms) spread(s Spread, own *service, v *view) {
	if own == nil {
		return
	}
	parts := own.sets[s.Level]
	fewest := int32(0)
	if s.MaxSkew > 0 {
		fewest = v.fewest(s.Level, parts)
	}
	for part, n := range parts {
		e := t.at(s.Level, part)
		e.spread -= int64(s.Weight) * int64(min(n, farMost)) * Point
		mark(&e.bars, FilterSpread, s.MaxSkew > 0 && int(n+1-fewest) > s.MaxSkew)
	}
}

// fewest is how many sets the part has that has the fewest, of those with allowed hosts.
func (v *view) fewest(l Level, parts map[int32]int32) int32 {
	open := v.openRooms
	if l == LevelRack {
		open = v.openRacks
	}
	if l == LevelHost {
		return v.fewestOfHost(parts)
	}
	fewest := int32(-1)
	for part, hosts := range open {
		if n := parts[int32(part)]; hosts > 0 && (fewest < 0 || n < fewest) {
			fewest = n
		}
	}
	return max(fewest, 0)
}

func (v *view) fewestOfHost(parts map[int32]int32) int32 {
	without := 0
	for _, hosts := range v.openRooms {
		without += int(hosts)
	}
	fewest := int32(-1)
	for slot, n := range parts {
		if v.seen[slot].told == never {
			continue
		}
		without--
		if fewest < 0 || n < fewest {
			fewest = n
		}
	}
	if without > 0 {
		return 0
	}
	return max(fewest, 0)
}

func (t *terms) near(c *Cluster, a *Ask, f Affinity) {
	of := c.services[f.Service]
	var parts map[int32]int32
	if of != nil {
		parts = of.sets[f.Level]
	}
	switch {
	case f.Hard && f.Anti:
		t.barAll(f.Level, parts)
	case f.Hard && len(parts) == 0 && f.Service == a.Service:
		// The first of its service.
	case f.Hard:
		t.keepTo(f.Level, parts)
	}
	if f.Weight == 0 {
		return
	}
	for part, n := range parts {
		if e := t.at(f.Level, part); f.Anti {
			e.affinity -= int64(f.Weight) * int64(min(n, farMost)) * Point
		} else {
			e.affinity += int64(f.Weight) * Point
		}
	}
}

// keepTo bars all parts of a level but some.
func (t *terms) keepTo(l Level, parts map[int32]int32) {
	switch l {
	case LevelRoom:
		keepTo(t.rooms, parts)
	case LevelRack:
		keepTo(t.racks, parts)
	case LevelHost, levels:
		both := map[int32]int32{}
		for slot := range parts {
			if t.only == nil || t.only[slot] > 0 {
				both[slot] = 1
			}
		}
		t.only = both
	}
}

func keepTo(of []effect, parts map[int32]int32) {
	for part := range of {
		if parts[int32(part)] == 0 {
			of[part].bars |= 1 << FilterAffinity
		}
	}
}

// of is the effect on one host, of all levels together.
func (t *terms) of(c *Cluster, h *host) effect {
	e := t.hosts[h.slot]
	rack := c.yard.rackOf[h.slot/blockSize]
	for _, more := range []effect{t.racks[rack], t.rooms[c.yard.roomOf[rack]]} {
		e.spread += more.spread
		e.affinity += more.affinity
		e.bars |= more.bars
	}
	mark(&e.bars, FilterAffinity, t.only != nil && t.only[h.slot] == 0)
	e.bars |= t.bars
	return e
}
