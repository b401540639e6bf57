package control

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/link"
	"github.com/mosdocker/mosdocker/scheduler/state"
)

// A host has a block for as long as it may have containers in it: until it says that it gives
// nothing out of it any more and nothing of it is in use, or until it is removed, which for a
// host that is not heard is an operator's word that nothing of it runs.

// setBlocks notes which blocks a host has, instead of those that it had. A host that is
// removed becomes nil.
func (c *cache) setBlocks(was, is *api.Host) {
	var had, has []api.HostBlock
	if was != nil {
		had = was.Status.Blocks
	}
	if is != nil {
		has = is.Status.Blocks
		c.reblock[is.Name] = true
	}
	if was == nil || is == nil || !maps.Equal(was.Status.Networks, is.Status.Networks) || !slices.Equal(had, has) {
		for _, h := range []*api.Host{was, is} {
			if h != nil {
				c.tell(h.Name)
			}
		}
	}
	if slices.Equal(had, has) {
		return
	}
	if is != nil {
		c.blocked[is.Name] = is.Revision
	} else {
		delete(c.blocked, was.Name)
	}
	for _, b := range had {
		if p, err := netip.ParsePrefix(b.Prefix); err == nil {
			delete(c.blocks[b.Network], p)
			c.networks[b.Network].lend(p, -1)
		}
	}
	for _, b := range has {
		if p, err := netip.ParsePrefix(b.Prefix); err == nil {
			if c.blocks[b.Network] == nil {
				c.blocks[b.Network] = map[netip.Prefix]string{}
			}
			c.blocks[b.Network][p] = is.Name
			c.networks[b.Network].lend(p, 1)
		}
	}
	for _, b := range slices.Concat(had, has) {
		if n := c.networks[b.Network]; n != nil {
			c.resize(n)
		}
	}
	c.roomier = true
}

// reblockAll has the blocks of all hosts looked at, and all hosts told of the networks.
func (c *cache) reblockAll() {
	for name := range c.hosts {
		c.reblock[name] = true
		c.tell(name)
	}
}

// lend counts the addresses of a block that a host got, or by -1 gave back. A network that is not there has none.
func (n *network) lend(block netip.Prefix, by int) {
	if n == nil {
		return
	}
	for _, p := range n.pools {
		if p.subnet.Contains(block.Addr()) {
			p.lent += by << (block.Addr().BitLen() - block.Bits())
		}
	}
}

// blockAt is the block that an address is in; it is not valid if there is none.
func (c *cache) blockAt(network string, a netip.Addr) netip.Prefix {
	of := c.blocks[network]
	if len(of) == 0 {
		return netip.Prefix{}
	}
	for bits := a.BitLen() - 1; bits >= a.BitLen()-mostBlockBits; bits-- {
		if p, err := a.Prefix(bits); err == nil && of[p] != "" {
			return p
		}
	}
	return netip.Prefix{}
}

// mostBlockBits is how many bits of an address a block has at most.
const mostBlockBits = 10

// cuttable says whether a block lies in a pool, without what nobody may give out.
func (p *pool) cuttable(block netip.Prefix) bool {
	return block.IsValid() && !block.Addr().Less(p.lo) && !p.hi.Less(last(block)) && !slices.ContainsFunc(p.none, block.Overlaps)
}

// start is where what lies over a block begins: the block itself, or what nobody may give out.
func (p *pool) start(block netip.Prefix) netip.Addr {
	from := block.Addr()
	for _, out := range p.none {
		if out.Overlaps(block) && out.Addr().Less(from) {
			from = out.Addr()
		}
	}
	return from
}

// cut finds a block of a pool of which nobody has anything. They are cut from the end on, since
// sets have addresses from the beginning.
func (p *pool) cut(taken func(netip.Addr) bool, block func(netip.Addr) netip.Prefix) (netip.Prefix, bool) {
	if !p.below.IsValid() || p.below.Less(p.lo) {
		p.below = p.hi
	}
	start, _ := p.below.Prefix(p.block)
	one, wrapped := start, false
	for range mostCuts {
		if p.cuttable(one) && p.unused(one, taken, block) {
			p.below = one.Addr().Prev()
			return one, true
		}
		before := p.start(one).Prev()
		if !before.IsValid() || before.Less(p.lo) {
			if wrapped {
				return netip.Prefix{}, false
			}
			before, wrapped = p.hi, true
		}
		one, _ = before.Prefix(p.block)
		if wrapped && one.Addr().Less(start.Addr()) {
			return netip.Prefix{}, false
		}
	}
	return netip.Prefix{}, false
}

// mostCuts bounds the search for a block.
const mostCuts = 1 << 16

func (p *pool) unused(one netip.Prefix, taken func(netip.Addr) bool, block func(netip.Addr) netip.Prefix) bool {
	for a := one.Addr(); one.Contains(a); a = a.Next() {
		if block(a).IsValid() || taken(a) {
			return false
		}
	}
	return true
}

// lookAtBlocks gives hosts blocks of the networks that they have, and takes back those that they gave back.
func (l *leader) lookAtBlocks(d *draft) {
	l.mu.Lock()
	reports := map[string]*link.Report{}
	for name := range d.reblock {
		if b := l.own.beats[name]; b != nil {
			r := b.report
			reports[name] = &r
		}
	}
	l.mu.Unlock()
	full, wished := map[*pool]bool{}, sync.OnceValue(d.wished)
	for _, name := range slices.Sorted(maps.Keys(d.reblock)) {
		if slices.ContainsFunc(l.flights, func(f *flight) bool { return f.hosts[name] }) {
			continue // it is looked at when that is seen
		}
		delete(d.reblock, name)
		h := d.host(name)
		if h == nil {
			delete(l.short, name)
			continue
		}
		r := reports[name]
		if r != nil && (h.Status.Health != api.Healthy || r.Status.Machine != h.Status.Machine) {
			r = nil
		}
		next := d.kept(h, r)
		missing := ""
		if r != nil && r.Guarded && h.Deleted.IsZero() {
			next, missing = l.give(d, h, next, full, wished)
		}
		l.lack(d, h, missing)
		if !slices.Equal(next, h.Status.Blocks) {
			d.noteBlocks(h, next)
			d.editHost(h).Status.Blocks = next
		}
	}
}

// mostMoved is how many blocks a host gets at a time, and how many leave or go back: they are in
// one batch with the host and its events, and when that is seen the host is looked at again.
const mostMoved = batchOps / 3

// kept are the blocks that a host has still, those that it is not to have on their way back. A
// report from before the last change may speak of a block that was given back, and given again.
func (d *draft) kept(h *api.Host, r *link.Report) (next []api.HostBlock) {
	moved := 0
	for _, b := range h.Status.Blocks {
		switch {
		case moved == mostMoved:
		case b.Leaving && r != nil && r.Revision >= d.blocked[h.Name] && slices.Contains(r.Returned, b):
			moved++
			continue
		case !b.Leaving && !d.needs(h, b):
			moved++
			b.Leaving = true
		}
		next = append(next, b)
	}
	return next
}

// needs says whether a host is to have a block. Of one whose Engine is not heard it is not known
// which networks it has.
func (d *draft) needs(h *api.Host, b api.HostBlock) bool {
	n := d.networks[b.Network]
	if n == nil || !n.Deleted.IsZero() || !h.Deleted.IsZero() {
		return false
	}
	if subnets, has := h.Status.Networks[b.Network]; h.Status.Engine != "" && (!has || !n.fits(subnets)) {
		return false
	}
	block, err := netip.ParsePrefix(b.Prefix)
	return err == nil && slices.ContainsFunc(n.pools, func(p *pool) bool { return p.block == block.Bits() && p.cuttable(block) })
}

// wished are the addresses that services name: sets that have no host right now do not hold them.
func (d *draft) wished() map[api.SetAddress]bool {
	all := map[api.SetAddress]bool{}
	for _, s := range d.services {
		if s.Service == nil {
			continue
		}
		templates := []api.Template{s.Spec.Set}
		if stable := s.Status.Stable; stable != nil {
			templates = append(templates, stable.Set)
		}
		for _, t := range templates {
			for _, n := range networksOf(&t.Set) {
				for _, a := range fixed(n) {
					all[setAddress(n.Name, a)] = true
				}
			}
		}
	}
	return all
}

// give adds the blocks that a host lacks, and says of which network there is none left.
func (l *leader) give(d *draft, h *api.Host, next []api.HostBlock, full map[*pool]bool, wished func() map[api.SetAddress]bool) (all []api.HostBlock, missing string) {
	had := len(next)
	for _, name := range slices.Sorted(maps.Keys(h.Status.Networks)) {
		n := d.networks[name]
		if n == nil || !n.Deleted.IsZero() || !n.fits(h.Status.Networks[name]) {
			continue
		}
		for _, p := range n.pools {
			has := func(b api.HostBlock) bool {
				block, err := netip.ParsePrefix(b.Prefix)
				return err == nil && b.Network == name && !b.Leaving && p.subnet.Contains(block.Addr())
			}
			if p.block == 0 || len(next) == had+mostMoved || slices.ContainsFunc(next, has) {
				continue
			}
			taken := func(a netip.Addr) bool { return l.hasAddress(d, setAddress(name, a)) || wished()[setAddress(name, a)] }
			block, found := netip.Prefix{}, false
			if !full[p] {
				block, found = p.cut(taken, func(a netip.Addr) netip.Prefix { return d.blockAt(name, a) })
			}
			if !found {
				full[p], missing = true, name
				continue
			}
			for a := block.Addr(); block.Contains(a); a = a.Next() {
				d.taken[setAddress(name, a)] = true // until the cache has it
			}
			next = append(next, api.HostBlock{Network: name, Prefix: block.String()})
		}
	}
	return next, missing
}

// lack tells once that no block is left for a host, which is looked at again.
func (l *leader) lack(d *draft, h *api.Host, network string) {
	if network != "" && !l.short[h.Name] {
		d.note("/"+h.Name, note{
			on: api.Reference{Kind: api.Hosts, Name: h.Name}, what: "no-block",
			text: "network " + network + " has no block of addresses left for it: its containers of no set get none",
		})
	}
	if delete(l.short, h.Name); network != "" {
		l.short[h.Name] = true
	}
}

func (d *draft) noteBlocks(h *api.Host, next []api.HostBlock) {
	tell := func(what string, b api.HostBlock) {
		on := api.Reference{Kind: api.Hosts, Name: h.Name}
		d.note("/"+h.Name, note{on: on, what: what, text: b.Prefix + " of network " + b.Network})
	}
	for _, b := range next {
		staying := b
		staying.Leaving = false
		switch {
		case slices.Contains(h.Status.Blocks, b):
		case b.Leaving && slices.Contains(h.Status.Blocks, staying):
			tell("block-leaves", b)
		default:
			tell("block-given", b)
		}
	}
	for _, b := range h.Status.Blocks {
		if !slices.ContainsFunc(next, func(n api.HostBlock) bool { return n.Network == b.Network && n.Prefix == b.Prefix }) {
			tell("block-returned", b)
		}
	}
}

// keepsBlocks says whether a host that is to go has to give blocks back first. One that is not
// heard cannot.
func keepsBlocks(h *api.Host) bool {
	return len(h.Status.Blocks) > 0 && (h.Status.Health == api.Healthy || h.Status.Health == api.Suspect)
}

func blockThings(h *api.Host) (all []state.Thing) {
	for _, b := range h.Status.Blocks {
		if p, err := netip.ParsePrefix(b.Prefix); err == nil {
			all = append(all, state.Block(b.Network, p))
		}
	}
	return all
}

// hostChange writes a host with the claims of its blocks.
func hostChange(was, is *api.Host) change {
	had, has, by := blockThings(was), blockThings(is), state.Holder{Name: is.Name, UID: is.UID}
	lost, taken := without(had, has), without(has, had)
	return change{host: is.Name, ops: 1 + len(lost) + len(taken), fill: func(b *state.Batch) {
		b.Update(is)
		for _, t := range lost {
			b.Release(t, by)
		}
		for _, t := range taken {
			b.Claim(t, by)
		}
	}}
}

// hostEnd takes a host away with what it has.
func hostEnd(h *api.Host) change {
	held := blockThings(h)
	return change{host: h.Name, ops: 1 + len(held), fill: func(b *state.Batch) {
		b.Delete(h)
		for _, t := range held {
			b.Release(t, state.Holder{Name: h.Name, UID: h.UID})
		}
	}}
}

// gives is what a host may give out in the networks of the cluster: those that it has, and those
// that it does not have under another name, for the moment when it makes them. Those that it has
// come first: of two with one subnet its mosbridge goes by the first.
func (c *cache) gives(host string) (all []link.Given) {
	h := c.hosts[host]
	for _, n := range named(c.networks) {
		g := link.Given{Network: n.Name, Pools: n.Spec.Pools, Sets: map[string]string{}}
		for _, b := range h.Status.Blocks {
			if b.Network == n.Name {
				g.Blocks = append(g.Blocks, b)
			}
		}
		if len(g.Blocks) == 0 && n.otherwise(h.Status.Networks) {
			continue
		}
		note := func(set string, of []api.SetAddress) {
			for _, a := range of {
				if a.Network == n.Name {
					g.Sets[a.Address] = set
				}
			}
		}
		for _, s := range c.onHost[host] {
			note(s.Name, addresses(s.SetInstance))
		}
		for name, l := range c.leftovers[host] {
			note(name, l.Spec.Addresses)
		}
		all = append(all, g)
	}
	has := func(g link.Given) bool { _, is := h.Status.Networks[g.Network]; return is }
	return append(slices.DeleteFunc(slices.Clone(all), func(g link.Given) bool { return !has(g) }), slices.DeleteFunc(all, has)...)
}

// otherwise says whether a host's networks of other names have a subnet of this one.
func (n *network) otherwise(has map[string]string) bool {
	for name, subnets := range has {
		of := strings.Split(subnets, ",")
		if name != n.Name && slices.ContainsFunc(n.Spec.Pools, func(p api.AddressPool) bool { return slices.Contains(of, p.Subnet) }) {
			return true
		}
	}
	return false
}
