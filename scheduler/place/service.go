package place

// counts are how many sets there are in each part of each level that has any.
type counts [levels]map[int32]int32

// service is where the sets of a service are, and where it is not wanted.
type service struct {
	sets counts
	// shunned counts sets, of any service, that want this one away from their own part
	// of a level.
	shunned counts
}

func (n *counts) add(l Level, part, by int32) {
	if n[l] == nil {
		n[l] = map[int32]int32{}
	}
	if n[l][part] += by; n[l][part] == 0 {
		delete(n[l], part)
	}
}

func (n *counts) empty() bool {
	for _, parts := range n {
		if len(parts) > 0 {
			return false
		}
	}
	return true
}

// change counts for a service, and forgets one of which nothing is left.
func (c *Cluster) change(id ServiceID, do func(*service)) {
	s := c.services[id]
	if s == nil {
		s = &service{}
		c.services[id] = s
	}
	do(s)
	if s.sets.empty() && s.shunned.empty() {
		delete(c.services, id)
	}
}

// count counts a set to its service, or off, and what it wants away.
func (c *Cluster) count(s *set, sign int32) {
	if s.ask.Service != "" {
		c.change(s.ask.Service, func(of *service) {
			for l := range levels {
				of.sets.add(l, c.part(s.host, l), sign)
			}
		})
	}
	for _, f := range s.ask.Affinities {
		if f.Anti && f.Hard {
			c.change(f.Service, func(of *service) { of.shunned.add(f.Level, c.part(s.host, f.Level), sign) })
		}
	}
}

// recount counts the sets of a host off, or again, when it moves to another slot.
func (c *Cluster) recount(h *host, sign int32) {
	for _, s := range h.sets {
		c.count(s, sign)
	}
}
