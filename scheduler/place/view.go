package place

import (
	"encoding/binary"
	"math"
	"slices"
)

// view is what a shape makes of each host, without what other sets of its service do.
type view struct {
	ask  *Ask
	pos  uint64 // up to where of the log it is
	used uint64 // when it was last asked

	seen []seen  // by slot
	best []int32 // by block: the slot of the best host, -1 without any

	openRacks, openRooms []int32 // how many hosts each has that static filters allow
}

// seen is what a view makes of the host in a slot.
type seen struct {
	key  int64  // score and tie of the host as it is, or never
	told int64  // the score of what it was told to be, or never
	at   uint64 // when it was told so
}

// viewCache keeps the views that were asked last.
type viewCache struct {
	byShape map[string]*view
	clock   uint64
	shape   []byte // scratch
}

// budget is how many keys are kept in all views; there are always some views.
const (
	budget     = 8 << 20
	fewestView = 8
	mostViews  = 512
)

// view is that of an ask, up to date.
func (c *Cluster) view(a *Ask) *view {
	vc := &c.views
	vc.clock++
	vc.shape = a.shape(vc.shape[:0])
	v := vc.byShape[string(vc.shape)]
	if v == nil {
		if len(vc.byShape) >= max(fewestView, min(mostViews, budget/max(len(c.slots), 1))) {
			vc.drop()
		}
		v = &view{ask: a}
		vc.byShape[string(vc.shape)] = v
	}
	v.used = vc.clock
	v.catchUp(c)
	return v
}

// drop forgets the view that was asked longest ago.
func (vc *viewCache) drop() {
	oldest, of := uint64(math.MaxUint64), ""
	for shape, v := range vc.byShape {
		if v.used < oldest {
			oldest, of = v.used, shape
		}
	}
	delete(vc.byShape, of)
}

// shape appends all that makes hosts differ for an ask by themselves.
func (a *Ask) shape(b []byte) []byte {
	for r := range resources {
		b = binary.AppendVarint(b, a.Amounts[r])
	}
	b = append(b, byte(a.Strategy), byte(len(a.Networks)), byte(len(a.Ports)))
	for _, n := range a.Networks {
		b = text(b, n.Network)
		b = append(b, byte(n.Address.BitLen()))
	}
	for _, p := range a.Ports {
		b = append(binary.BigEndian.AppendUint16(text(b, p.Protocol), p.Number), byte(p.At.BitLen()))
		b, _ = p.At.AppendBinary(b)
	}
	b = binary.AppendUvarint(b, uint64(len(a.Constraints)))
	for _, c := range a.Constraints {
		b = c.shape(b)
	}
	b = binary.AppendUvarint(b, uint64(len(a.Tolerations)))
	for _, t := range a.Tolerations {
		b = text(text(b, t.Key), t.Value)
	}
	b = binary.AppendUvarint(b, uint64(len(a.Layers)))
	for _, l := range a.Layers {
		b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, uint64(l.ID)), uint64(l.Image))
		b = binary.AppendVarint(b, l.Bytes)
	}
	for _, p := range a.Preferences {
		b = binary.AppendVarint(p.shape(b), int64(p.Weight))
	}
	return b
}

func (c Constraint) shape(b []byte) []byte {
	b = binary.AppendUvarint(text(text(b, c.Key), string(c.Op)), uint64(len(c.Values)))
	for _, v := range c.Values {
		b = text(b, v)
	}
	return b
}

// text appends s so that no other text can follow from it.
func text(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// catchUp looks again at the hosts that changed since.
func (v *view) catchUp(c *Cluster) {
	v.seen = slices.Grow(v.seen, len(c.slots)-len(v.seen))
	for len(v.seen) < len(c.slots) {
		v.seen = append(v.seen, seen{key: never, told: never})
	}
	for len(v.best)*blockSize < len(c.slots) {
		v.best = append(v.best, -1)
	}
	v.openRacks = grow(v.openRacks, len(c.yard.roomOf))
	v.openRooms = grow(v.openRooms, len(c.yard.rooms))
	if v.pos < c.log.first {
		for slot := range c.slots {
			v.update(c, int32(slot))
		}
		v.pos = c.log.end()
	}
	for ; v.pos < c.log.end(); v.pos++ {
		slot := c.log.slots[v.pos-c.log.first]
		if h := c.slots[slot]; h == nil || h.seq == v.pos+1 {
			v.update(c, slot)
		}
	}
}

func grow(s []int32, n int) []int32 {
	for len(s) < n {
		s = append(s, 0)
	}
	return s
}

// update looks again at one slot.
func (v *view) update(c *Cluster, slot int32) {
	h, s := c.slots[slot], &v.seen[slot]
	was := s.key
	switch {
	case h == nil:
		v.setTold(c, slot, never)
		s.at = 0
	case s.at != h.told:
		told := never
		if v.ask.static(h) == 0 {
			var of Score
			v.ask.told(h, &of)
			told = of.Total()
		}
		v.setTold(c, slot, told)
		s.at = h.told
	}
	s.key = never
	if s.told != never && v.ask.dynamic(h) == 0 {
		var of Score
		v.ask.fit(h, &of)
		s.key = (s.told+of.Total())<<tieBits | h.tie
	}
	b := slot / blockSize
	best := v.best[b]
	switch {
	case best == slot && s.key < was:
		v.best[b] = v.search(c, b)
	case s.key != never && (best < 0 || best != slot && v.beats(c, slot, best)):
		v.best[b] = slot
	}
}

// setTold counts the parts of the cluster in which hosts are allowed.
func (v *view) setTold(c *Cluster, slot int32, score int64) {
	change := int32(0)
	if v.seen[slot].told != never {
		change--
	}
	if score != never {
		change++
	}
	v.seen[slot].told = score
	rack := c.yard.rackOf[slot/blockSize]
	v.openRacks[rack] += change
	v.openRooms[c.yard.roomOf[rack]] += change
}

// beats says whether slot a is better than b.
func (v *view) beats(c *Cluster, a, b int32) bool {
	return v.seen[a].key > v.seen[b].key || v.seen[a].key == v.seen[b].key && c.slots[a].ID < c.slots[b].ID
}

// search finds the best slot of a block.
func (v *view) search(c *Cluster, b int32) int32 {
	best := int32(-1)
	for slot := b * blockSize; slot < (b+1)*blockSize; slot++ {
		if v.seen[slot].key != never && (best < 0 || v.beats(c, slot, best)) {
			best = slot
		}
	}
	return best
}
