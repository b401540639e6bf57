package place

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// Placement is a set and the host that takes it.
type Placement struct {
	Set   SetID
	Host  HostID
	Score Score
}

// RefusedError says that no host takes a set, and why. It is of class ResourceExhausted.
type RefusedError struct {
	Set SetID
	Why Explanation
}

func (r *RefusedError) Error() string { return fmt.Sprintf("no host for set %s: %s", r.Set, r.Why) }

// Unwrap is the class.
func (r *RefusedError) Unwrap() error { return errdefs.ErrResourceExhausted }

// Place books a host for each of the sets, in order, and stops at the first that none
// takes, with a [*RefusedError]. Those before it stay booked: who wants all or none removes
// them. A name that is taken is an error of class AlreadyExists. The ask is one that
// [Ask.Check] lets pass.
func (c *Cluster) Place(a *Ask, ids ...SetID) ([]Placement, error) {
	placed := make([]Placement, 0, len(ids))
	for _, id := range ids {
		if s, ok := c.sets[id]; ok {
			return placed, fault.Exists("set %s is on host %s already", id, s.host.ID)
		}
		v := c.view(a)
		c.terms.find(c, a, v)
		slot := c.pick(a, v)
		if slot < 0 {
			return placed, &RefusedError{id, c.Explain(a)}
		}
		h := c.slots[slot]
		placed = append(placed, Placement{id, h.ID, c.score(a, h, &c.terms)})
		c.book(id, a, h)
	}
	return placed, nil
}

// pick finds the best slot, -1 if there is none.
func (c *Cluster) pick(a *Ask, v *view) int32 {
	t := &c.terms
	best := candidate{-1, never}
	switch {
	case t.bars != 0:
	case len(a.Volumes) > 0:
		for h := range c.volumes[a.Volumes[0]].hosts {
			if c.holds(a, h) == 0 && (t.only == nil || t.only[h.slot] > 0) {
				best = c.better(best, c.candidate(v, h.slot))
			}
		}
	case t.only != nil:
		for slot := range t.only {
			best = c.better(best, c.candidate(v, slot))
		}
	default:
		best = c.scan(v)
	}
	return best.slot
}

// candidate is a slot with its key, terms included; never if it is barred.
type candidate struct {
	slot int32
	key  int64
}

func (c *Cluster) candidate(v *view, slot int32) candidate {
	sum := c.terms.sums[c.yard.rackOf[slot/blockSize]]
	own := c.terms.hosts[slot].sum()
	if v.seen[slot].key == never || sum == never || own == never {
		return candidate{-1, never}
	}
	return candidate{slot, v.seen[slot].key + (sum+own)<<tieBits}
}

func (c *Cluster) better(a, b candidate) candidate {
	if b.slot >= 0 && (a.slot < 0 || b.key > a.key || b.key == a.key && c.slots[b.slot].ID < c.slots[a.slot].ID) {
		return b
	}
	return a
}

// scan looks at the best host of each block, and at all hosts of blocks in which some
// have terms of their own.
func (c *Cluster) scan(v *view) candidate {
	t := &c.terms
	best := candidate{-1, never}
	for b, slot := range v.best {
		sum := t.sums[c.yard.rackOf[b]]
		if slot < 0 || sum == never {
			continue
		}
		if !t.marked[b] {
			best = c.better(best, candidate{slot, v.seen[slot].key + sum<<tieBits})
			continue
		}
		for slot := int32(b) * blockSize; slot < int32(b+1)*blockSize; slot++ {
			if v.seen[slot].key != never {
				best = c.better(best, c.candidate(v, slot))
			}
		}
	}
	return best
}

// score is that of a host for an ask whose terms were found.
func (c *Cluster) score(a *Ask, h *host, t *terms) Score {
	var s Score
	a.told(h, &s)
	a.fit(h, &s)
	e := t.of(c, h)
	s.Spread, s.Affinity = e.spread, e.affinity
	return s
}

// Hold books a host for a set that may come until a time; nobody else is given what it
// needs before. It is a set of its own name until [Cluster.Redeem] or [Cluster.Expire].
func (c *Cluster) Hold(a *Ask, id SetID, until time.Time) (Placement, error) {
	placed, err := c.Place(a, id)
	if err != nil {
		return Placement{}, err
	}
	c.sets[id].until = until.Unix()
	c.held[id] = true
	return placed[0], nil
}

// Redeem puts a set in the place of a hold. The error is of class NotFound or
// AlreadyExists, and the hold stays then.
func (c *Cluster) Redeem(hold, id SetID) (HostID, error) {
	if !c.held[hold] {
		return "", fault.NotFound("there is no hold %s: it is over, or never was", hold)
	}
	if s, ok := c.sets[id]; ok && id != hold {
		return "", fault.Exists("set %s is on host %s already", id, s.host.ID)
	}
	s := c.sets[hold]
	c.Remove(hold)
	c.book(id, s.ask, s.host)
	return s.host.ID, nil
}

// Expire ends the holds whose time has come and gives their names.
func (c *Cluster) Expire(now time.Time) []SetID {
	var over []SetID
	for _, id := range slices.Sorted(maps.Keys(c.held)) {
		if c.sets[id].until <= now.Unix() {
			over = append(over, id)
			c.Remove(id)
		}
	}
	return over
}
