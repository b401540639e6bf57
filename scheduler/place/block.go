package place

// blockSize is how many hosts stand in a block.
const blockSize = 32

type rackKey struct{ room, rack string }

// yard says which slots are of which rack. Block b has the slots from b*blockSize on,
// all of them of one rack.
type yard struct {
	racks  map[rackKey]int32
	rooms  map[string]int32
	roomOf []int32   // by rack
	blocks [][]int32 // of each rack
	rackOf []int32   // by block
}

func newYard() yard { return yard{racks: map[rackKey]int32{}, rooms: map[string]int32{}} }

func (y *yard) rack(h *Host) int32 {
	key := rackKey{h.Room, h.Rack}
	if id, ok := y.racks[key]; ok {
		return id
	}
	room, ok := y.rooms[h.Room]
	if !ok {
		room = int32(len(y.rooms))
		y.rooms[h.Room] = room
	}
	id := int32(len(y.racks))
	y.racks[key] = id
	y.roomOf = append(y.roomOf, room)
	y.blocks = append(y.blocks, nil)
	return id
}

// settle gives a host a slot.
func (c *Cluster) settle(h *host) {
	rack := c.yard.rack(&h.Host)
	for _, b := range c.yard.blocks[rack] {
		for slot := b * blockSize; slot < (b+1)*blockSize; slot++ {
			if c.slots[slot] == nil {
				c.occupy(h, slot)
				return
			}
		}
	}
	b := int32(len(c.yard.rackOf))
	c.yard.rackOf = append(c.yard.rackOf, rack)
	c.yard.blocks[rack] = append(c.yard.blocks[rack], b)
	c.slots = append(c.slots, make([]*host, blockSize)...)
	c.occupy(h, b*blockSize)
}

func (c *Cluster) occupy(h *host, slot int32) {
	h.slot = slot
	c.slots[slot] = h
}

// clear takes a host from its slot.
func (c *Cluster) clear(h *host) {
	c.slots[h.slot] = nil
	c.log.addSlot(h.slot)
}

// part is the number of the host itself, its rack or its room.
func (c *Cluster) part(h *host, l Level) int32 {
	if l == LevelHost {
		return h.slot
	}
	rack := c.yard.rackOf[h.slot/blockSize]
	if l == LevelRack {
		return rack
	}
	return c.yard.roomOf[rack]
}

// changeLog is the slots that changed, in order. Entries before the first are forgotten.
type changeLog struct {
	first uint64
	slots []int32
}

const longestLog = 1 << 16

// add notes that a host changed and gives when.
func (l *changeLog) add(h *host) uint64 {
	l.addSlot(h.slot)
	h.seq = l.end()
	return h.seq
}

func (l *changeLog) addSlot(slot int32) {
	if len(l.slots) >= longestLog {
		drop := longestLog / 2
		l.first += uint64(drop)
		l.slots = append(l.slots[:0], l.slots[drop:]...)
	}
	l.slots = append(l.slots, slot)
}

func (l *changeLog) end() uint64 { return l.first + uint64(len(l.slots)) }
