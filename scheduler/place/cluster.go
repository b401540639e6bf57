package place

import (
	"hash/fnv"
	"maps"
	"slices"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// Cluster is the hosts, and what is on them. It is not safe for concurrent use.
type Cluster struct {
	seed  uint64
	hosts map[HostID]*host
	slots []*host // in blocks, see block.go
	yard  yard

	sets     map[SetID]*set
	held     map[SetID]bool // sets that are holds
	services map[ServiceID]*service
	pools    map[string]*pool
	fixed    map[Need]SetID // addresses that were asked for
	volumes  map[string]*volume

	views viewCache
	log   changeLog
	terms terms // of the ask in work
}

// host is one of the cluster, with what sets take of it. What is read for each change of
// it stands first, on few cache lines.
type host struct {
	seq   uint64 // when it last changed at all
	told  uint64 // when it was last told to be otherwise
	tie   int64  // smaller than 1<<tieBits
	slot  int32
	cap   Amounts
	used  Amounts
	reach []reach
	ports map[Port]SetID // without addresses
	sets  map[SetID]*set
	Host
}

// reach is a network that a host has, and the pool of its addresses. There are few, so
// that a list is found through faster than a map.
type reach struct {
	network string
	pool    *pool
}

// pool is that of a network, nil if it does not reach the host.
func (h *host) pool(network string) *pool {
	for i := range h.reach {
		if h.reach[i].network == network {
			return h.reach[i].pool
		}
	}
	return nil
}

// set is one that is on a host, or holds a place there.
type set struct {
	id    SetID
	ask   *Ask
	host  *host
	until int64 // of a hold: when it ends, in seconds
}

type pool struct {
	Pool
	used  int
	hosts map[*host]bool
}

type volume struct {
	hosts map[*host]bool
	user  SetID
}

// New makes a cluster without hosts. The seed decides between hosts that are equally good.
func New(seed uint64) *Cluster {
	return &Cluster{
		seed: seed, hosts: map[HostID]*host{}, sets: map[SetID]*set{}, held: map[SetID]bool{}, services: map[ServiceID]*service{},
		pools: map[string]*pool{}, fixed: map[Need]SetID{}, volumes: map[string]*volume{},
		yard: newYard(), views: viewCache{byShape: map[string]*view{}},
	}
}

// Clone is a cluster of its own, equal to c, for what-if questions.
func (c *Cluster) Clone() *Cluster {
	to := New(c.seed)
	for _, p := range c.pools {
		to.SetPool(p.Pool)
	}
	for _, h := range c.hosts {
		to.SetHost(h.Host)
	}
	for _, s := range c.sets {
		to.book(s.id, s.ask, to.hosts[s.host.ID]).until = s.until
	}
	to.held = maps.Clone(c.held)
	return to
}

// Len is how many hosts and sets there are; holds are sets.
func (c *Cluster) Len() (hosts, sets int) { return len(c.hosts), len(c.sets) }

// Where says on which host a set is.
func (c *Cluster) Where(id SetID) (HostID, bool) {
	s, ok := c.sets[id]
	if !ok {
		return "", false
	}
	return s.host.ID, true
}

// Sets are those on a host, by name; nil if there is no such host.
func (c *Cluster) Sets(id HostID) []SetID {
	h, ok := c.hosts[id]
	if !ok {
		return nil
	}
	return slices.Sorted(maps.Keys(h.sets))
}

// Used is what sets of a host use, and their number; nothing if there is no such host.
func (c *Cluster) Used(id HostID) (Amounts, int) {
	h, ok := c.hosts[id]
	if !ok {
		return Amounts{}, 0
	}
	return h.used, len(h.sets)
}

// SetPool tells of a pool of addresses. One that is not known has none to give.
func (c *Cluster) SetPool(p Pool) {
	of := c.pool(p.ID)
	was := of.Size
	of.Pool = p
	if min(was, of.Size)-of.used <= scarce {
		c.touchPool(of)
	}
}

func (c *Cluster) pool(id string) *pool {
	p := c.pools[id]
	if p == nil {
		p = &pool{Pool: Pool{ID: id}, hosts: map[*host]bool{}}
		c.pools[id] = p
	}
	return p
}

// touchPool has all hosts of a pool looked at again.
func (c *Cluster) touchPool(p *pool) {
	for h := range p.hosts {
		c.log.add(h)
	}
}

// SetHost tells of a host. One that is known keeps its sets.
func (c *Cluster) SetHost(told Host) {
	h := c.hosts[told.ID]
	if h == nil {
		h = &host{Host: told, ports: map[Port]SetID{}, sets: map[SetID]*set{}, tie: c.tie(told.ID)}
		c.hosts[told.ID] = h
		c.settle(h)
	} else {
		c.forgetTold(h)
		c.move(h, told)
	}
	for r := range resources {
		h.cap[r] = told.Capacity[r]
		if percent := told.Overcommit[r]; percent > 0 {
			h.cap[r] = told.Capacity[r]/100*percent + told.Capacity[r]%100*percent/100
		}
	}
	c.learnTold(h)
	h.told = c.log.add(h)
}

// move gives a host what it is told to be, and another slot if its rack is another.
func (c *Cluster) move(h *host, told Host) {
	if h.Rack == told.Rack && h.Room == told.Room {
		h.Host = told
		return
	}
	c.recount(h, -1)
	c.clear(h)
	h.Host = told
	c.settle(h)
	c.recount(h, 1)
}

// forgetTold takes a host out of what was known through what it was told to be. Sets on it
// give back the addresses of its pools, and learnTold gives them again.
func (c *Cluster) forgetTold(h *host) {
	for _, r := range h.reach {
		delete(r.pool.hosts, h)
	}
	for _, s := range h.sets {
		c.draw(h, s.ask, -1)
	}
	for _, name := range h.Volumes {
		v := c.volume(name)
		delete(v.hosts, h)
		c.dropVolume(name, v)
	}
}

func (c *Cluster) learnTold(h *host) {
	h.reach = nil
	for network, id := range h.Networks {
		p := c.pool(id)
		h.reach = append(h.reach, reach{network, p})
		p.hosts[h] = true
	}
	for _, s := range h.sets {
		c.draw(h, s.ask, 1)
	}
	for _, name := range h.Volumes {
		c.volume(name).hosts[h] = true
	}
}

func (c *Cluster) volume(name string) *volume {
	v := c.volumes[name]
	if v == nil {
		v = &volume{hosts: map[*host]bool{}}
		c.volumes[name] = v
	}
	return v
}

// dropVolume forgets a volume of which nothing is known.
func (c *Cluster) dropVolume(name string, v *volume) {
	if len(v.hosts) == 0 && v.user == "" {
		delete(c.volumes, name)
	}
}

// RemoveHost forgets a host, and the sets on it, whose names it gives.
func (c *Cluster) RemoveHost(id HostID) []SetID {
	h, ok := c.hosts[id]
	if !ok {
		return nil
	}
	gone := c.Sets(id)
	for _, s := range gone {
		c.Remove(s)
	}
	c.forgetTold(h)
	c.clear(h)
	delete(c.hosts, id)
	return gone
}

// Add tells that a set is on a host. It is believed whatever filters say of it. The
// error is of class AlreadyExists or NotFound.
func (c *Cluster) Add(id SetID, a *Ask, on HostID) error {
	if s, ok := c.sets[id]; ok {
		return fault.Exists("set %s is on host %s already", id, s.host.ID)
	}
	h, ok := c.hosts[on]
	if !ok {
		return fault.NotFound("set %s is on host %s, which is not known", id, on)
	}
	c.book(id, a, h)
	return nil
}

// Remove tells that a set is gone, or that a hold is over. One that is not known is well.
func (c *Cluster) Remove(id SetID) {
	s, ok := c.sets[id]
	if !ok {
		return
	}
	h := s.host
	delete(c.held, id)
	delete(c.sets, id)
	delete(h.sets, id)
	c.take(h, s, -1)
	c.count(s, -1)
}

// book puts a set on a host.
func (c *Cluster) book(id SetID, a *Ask, h *host) *set {
	s := &set{id: id, ask: a, host: h}
	c.sets[id] = s
	h.sets[id] = s
	c.take(h, s, 1)
	c.count(s, 1)
	return s
}

// take takes what a set needs of its host, or gives it back.
func (c *Cluster) take(h *host, s *set, sign int) {
	for r := range resources {
		h.used[r] += int64(sign) * s.ask.Amounts[r]
	}
	for _, p := range s.ask.Ports {
		claim(h.ports, p.anywhere(), s.id, sign)
	}
	for _, n := range s.ask.Networks {
		if n.Address.IsValid() {
			claim(c.fixed, n, s.id, sign)
		}
	}
	for _, name := range s.ask.Volumes {
		v := c.volume(name)
		if sign > 0 && v.user == "" {
			v.user = s.id
		} else if sign < 0 && v.user == s.id {
			v.user = ""
			c.dropVolume(name, v)
		}
	}
	c.draw(h, s.ask, sign)
	c.log.add(h)
}

// claim notes the first that has a thing. One that was told to have it too does not free
// it when it goes.
func claim[K comparable](of map[K]SetID, key K, id SetID, sign int) {
	holder, held := of[key]
	switch {
	case sign > 0 && !held:
		of[key] = id
	case sign < 0 && holder == id:
		delete(of, key)
	}
}

// scarce is how few addresses make a difference to whether a host fits.
const scarce = 8

// draw takes addresses from the pools of a host, or gives them back.
func (c *Cluster) draw(h *host, a *Ask, sign int) {
	for _, n := range a.Networks {
		p := h.pool(n.Network)
		if p == nil || n.Address.IsValid() {
			continue
		}
		p.used += sign
		if p.Size-p.used <= scarce {
			c.touchPool(p)
		}
	}
}

const tieBits = 16

func (c *Cluster) tie(id HostID) int64 {
	f := fnv.New64a()
	var seed [8]byte
	for i := range seed {
		seed[i] = byte(c.seed >> (8 * i))
	}
	_, _ = f.Write(seed[:])
	_, _ = f.Write([]byte(id))
	return int64(f.Sum64() >> (64 - tieBits))
}
