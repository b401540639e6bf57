package control

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/place"
	"github.com/mosdocker/mosdocker/scheduler/state"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// nets is who has which address of the cluster's networks. The cache's mu guards it.
type nets struct {
	networks  map[string]*network
	held      map[api.SetAddress]int              // by how many sets and leftovers
	inNet     map[string]map[string]*set          // by network: sets with an address in it
	listings  map[string]*listing                 // by network: the names in it
	leftovers map[string]map[string]*api.Leftover // by host and name of the set
	settling  map[string]bool                     // hosts whose leftovers are to be looked at
	blocks    map[string]map[netip.Prefix]string  // by network: the hosts that have them
	blocked   map[string]int64                    // by host: the revision at which its blocks changed
	reblock   map[string]bool                     // hosts whose blocks are to be looked at
}

func newNets() nets {
	return nets{
		networks: map[string]*network{}, held: map[api.SetAddress]int{}, inNet: map[string]map[string]*set{},
		leftovers: map[string]map[string]*api.Leftover{}, settling: map[string]bool{}, listings: map[string]*listing{},
		blocks: map[string]map[netip.Prefix]string{}, blocked: map[string]int64{}, reblock: map[string]bool{},
	}
}

// network is one whose addresses the cluster gives out.
type network struct {
	*api.Network
	pools []*pool
}

// pool is the addresses from lo to hi, but those in none.
type pool struct {
	subnet netip.Prefix
	lo, hi netip.Addr
	none   []netip.Prefix
	next   netip.Addr // where to look first: what was given back rests for a while
	block  int        // length of the prefix of blocks, 0 for none
	below  netip.Addr // blocks are cut from the end on: where to look first
	all    int        // how many addresses there are, or boundless
	lent   int        // how many of these are in blocks of hosts
}

func newNetwork(n *api.Network, was *network) *network {
	to := &network{Network: n}
	for i, of := range n.Spec.Pools {
		p := newPool(of)
		if was != nil && i < len(was.pools) {
			in := func(a netip.Addr) bool { return !a.Less(p.lo) && a.Compare(p.hi) <= 0 }
			if next := was.pools[i].next; in(next) {
				p.next = next
			}
			if below := was.pools[i].below; in(below) {
				p.below = below
			}
		}
		to.pools = append(to.pools, p)
	}
	return to
}

// newPool reads one that Check let pass.
func newPool(of api.AddressPool) *pool {
	p := &pool{subnet: netip.MustParsePrefix(of.Subnet), block: of.Block}
	from := p.subnet
	if of.Range != "" {
		from = netip.MustParsePrefix(of.Range)
	}
	p.lo, p.hi = from.Addr(), last(from)
	if p.lo == p.subnet.Addr() {
		p.lo = p.lo.Next()
	}
	if p.hi.Is4() && p.hi == last(p.subnet) {
		p.hi = p.hi.Prev()
	}
	for _, text := range append(slices.Clone(of.Exclude), of.Gateway) {
		if addr, err := netip.ParseAddr(text); err == nil {
			p.none = append(p.none, netip.PrefixFrom(addr, addr.BitLen()))
		} else if prefix, err := netip.ParsePrefix(text); err == nil {
			p.none = append(p.none, prefix)
		}
	}
	p.next, p.below, p.all = p.lo, p.hi, p.size()
	return p
}

func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// size is how many addresses there are, or boundless.
func (p *pool) size() int {
	n := 0
	for a := p.lo; n < boundless && a.Compare(p.hi) <= 0; a = a.Next() {
		out := p.excluded(a)
		switch {
		case out.IsValid():
			a = last(out)
		case p.lo.Is6() && p.lo.BitLen()-p.subnet.Bits() > 20 && len(p.none) < 100: // enough for everybody
			return boundless
		default:
			n++
		}
	}
	return n
}

// excluded is the part of none that has an address; it is not valid if none has.
func (p *pool) excluded(a netip.Addr) netip.Prefix {
	for _, out := range p.none {
		if out.Contains(a) {
			return out
		}
	}
	return netip.Prefix{}
}

// free is the next address that nobody has.
// Those of a block, which that says, are hosts'.
func (p *pool) free(taken func(netip.Addr) bool, block func(netip.Addr) netip.Prefix) (netip.Addr, bool) {
	a, wrapped := p.next, false
	for {
		if !a.IsValid() || p.hi.Less(a) {
			if wrapped {
				return netip.Addr{}, false
			}
			a, wrapped = p.lo, true
		}
		if wrapped && p.next.Less(a) {
			return netip.Addr{}, false
		}
		if out := cmp.Or(p.excluded(a), block(a)); out.IsValid() {
			a = last(out).Next()
			continue
		}
		if !taken(a) {
			p.next = a.Next()
			return a, true
		}
		a = a.Next()
	}
}

// poolOf is the core's name of a network's pool. No host has one of that name.
func poolOf(network string) string { return "network " + network }

// fits says whether a host's network of these subnets, with commas between them, is it.
func (n *network) fits(subnets string) bool {
	has := strings.Split(subnets, ",")
	return !slices.ContainsFunc(n.Spec.Pools, func(p api.AddressPool) bool { return !slices.Contains(has, p.Subnet) })
}

// asPlaced is a host as placement sees it: networks of the cluster have its pool, and one
// of that name that is otherwise on the host does not reach it.
func (c *cache) asPlaced(h *api.Host) place.Host {
	to := scheduler.Host(h)
	if has := c.holdings[h.Name]; has != nil {
		to.Layers, to.Ports = has.layers, has.ports
	}
	if len(c.networks) == 0 {
		return to
	}
	to.Networks = maps.Clone(to.Networks)
	for name, subnets := range h.Status.Networks {
		if n := c.networks[name]; n == nil {
			continue
		} else if n.fits(subnets) {
			to.Networks[name] = poolOf(name)
		} else {
			delete(to.Networks, name)
		}
	}
	return to
}

func (c *cache) setNetwork(n *api.Network) {
	was := c.networks[n.Name]
	to := newNetwork(n, was)
	c.networks[n.Name] = to
	for block := range c.blocks[n.Name] {
		to.lend(block, 1)
	}
	c.resize(to)
	c.rehost(n.Name)
	c.reblockAll()
	if !n.Deleted.IsZero() {
		c.endedNets[n.Name] = true
	}
}

// resize tells the core how many addresses of a network there are for sets.
func (c *cache) resize(n *network) {
	size := boundless
	for _, p := range n.pools {
		if p.all < boundless {
			size = min(size, max(p.all-p.lent, 0))
		}
	}
	c.cluster.SetPool(place.Pool{ID: poolOf(n.Name), Size: size})
}

// rehost tells the core again of the hosts that have a network.
func (c *cache) rehost(network string) {
	for _, h := range c.hosts {
		if _, has := h.Status.Networks[network]; has {
			c.cluster.SetHost(c.asPlaced(h))
		}
	}
	c.roomier = true
}

func (c *cache) setLeftover(l *api.Leftover) {
	if c.leftovers[l.Spec.Host][l.Spec.Set] != nil {
		return // they are not changed
	}
	if c.leftovers[l.Spec.Host] == nil {
		c.leftovers[l.Spec.Host] = map[string]*api.Leftover{}
	}
	c.leftovers[l.Spec.Host][l.Spec.Set] = l
	c.hold(l.Spec.Addresses, 1)
	c.settling[l.Spec.Host] = true
	c.tell(l.Spec.Host)
}

func (c *cache) removeLeftover(name string) {
	dot := strings.LastIndexByte(name, '.') // sets have none in their names
	host, of := name[:dot], name[dot+1:]
	l := c.leftovers[host][of]
	if l == nil {
		return
	}
	if delete(c.leftovers[host], of); len(c.leftovers[host]) == 0 {
		delete(c.leftovers, host)
	}
	c.hold(l.Spec.Addresses, -1)
	c.roomier = true
	c.tell(host)
}

func (c *cache) hold(all []api.SetAddress, n int) {
	for _, a := range all {
		if c.held[a] += n; c.held[a] == 0 {
			delete(c.held, a)
		}
	}
}

// holdSet notes which addresses a set has, instead of those that it had.
func (c *cache) holdSet(was, is *set) {
	c.renamed(was, is)
	if was != nil {
		had := addresses(was.SetInstance)
		c.hold(had, -1)
		for _, a := range had {
			if delete(c.inNet[a.Network], was.Name); len(c.inNet[a.Network]) == 0 {
				delete(c.inNet, a.Network)
			}
		}
	}
	if is == nil {
		return
	}
	has := addresses(is.SetInstance)
	c.hold(has, 1)
	for _, a := range has {
		if c.inNet[a.Network] == nil {
			c.inNet[a.Network] = map[string]*set{}
		}
		c.inNet[a.Network][is.Name] = is
	}
}

// networksOf are those of a set.
func networksOf(s *spec.Set) []spec.Network { return append([]spec.Network{s.Network}, s.Networks...) }

// fixed are the addresses that a template names in a network.
func fixed(n spec.Network) (all []netip.Addr) {
	for _, text := range []string{n.IP, n.IP6} {
		if a, err := netip.ParseAddr(text); err == nil {
			all = append(all, a)
		}
	}
	return all
}

func setAddress(network string, a netip.Addr) api.SetAddress {
	return api.SetAddress{Network: network, Address: a.Unmap().WithZone("").String()}
}

// addresses are those that a set has for itself.
func addresses(s *api.SetInstance) []api.SetAddress {
	all := slices.Clone(s.Spec.Addresses)
	if s.Spec.Host == "" {
		return all
	}
	for _, n := range networksOf(&s.Spec.Set.Set) {
		for _, a := range fixed(n) {
			if one := setAddress(n.Name, a); !slices.Contains(all, one) {
				all = append(all, one)
			}
		}
	}
	return all
}

// address finds addresses for a set of a template: those in own as far as they will do, and
// ones that nobody has.
func (k *look) address(of *spec.Set, own []api.SetAddress) ([]api.SetAddress, error) {
	var all []api.SetAddress
	for _, n := range networksOf(of) {
		declared := k.networks[n.Name]
		has := map[bool]bool{} // by whether it is of IPv4
		for _, a := range fixed(n) {
			one := setAddress(n.Name, a)
			switch {
			case declared != nil && !slices.ContainsFunc(declared.pools, func(p *pool) bool { return p.subnet.Contains(a) }):
				return nil, fault.Invalid("address %s is in no subnet of network %s", a, n.Name)
			case !slices.Contains(own, one) && k.blockAt(n.Name, a).IsValid():
				return nil, fault.Exhausted("address %s of network %s is in block %s of host %s, for containers of no set", a, n.Name, k.blockAt(n.Name, a), k.blocks[n.Name][k.blockAt(n.Name, a)])
			case !slices.Contains(own, one) && k.hasAddress(one):
				return nil, fault.Exhausted("address %s of network %s is another set's, or may still be in use on a host that is lost", a, n.Name)
			}
			all, has[a.Is4()] = append(all, one), true
		}
		if declared == nil {
			continue
		}
		if !declared.Deleted.IsZero() {
			return nil, fault.Conflict("network %s is being removed", n.Name)
		}
		for _, p := range declared.pools {
			if has[p.lo.Is4()] {
				continue
			}
			one, found := p.kept(n.Name, own)
			if !found {
				a, free := p.free(func(a netip.Addr) bool { return k.hasAddress(setAddress(n.Name, a)) },
					func(a netip.Addr) netip.Prefix { return k.blockAt(n.Name, a) })
				if !free {
					return nil, fault.Exhausted("network %s has no free address left in %s", n.Name, p.subnet)
				}
				one = setAddress(n.Name, a)
			}
			all = append(all, one)
		}
	}
	for _, one := range all {
		k.taken[one] = true
	}
	return all, nil
}

// kept is the address in own that is of the pool's network and subnet.
func (p *pool) kept(network string, own []api.SetAddress) (api.SetAddress, bool) {
	for _, a := range own {
		if addr, err := netip.ParseAddr(a.Address); a.Network == network && err == nil && p.subnet.Contains(addr) {
			return a, true
		}
	}
	return api.SetAddress{}, false
}

// abandoned is what a lost host may go on having of a set that goes elsewhere, nil where
// there is nothing to fear.
func (d *draft) abandoned(m *member) *api.Leftover {
	h := d.host(m.Spec.Host)
	if m.was == nil || h == nil || h.Status.Health != api.Lost || h.Spec.Fenced || !h.Deleted.IsZero() {
		return nil
	}
	if l := api.NewLeftover(h.Name, m.was.SetInstance, d.now); len(addresses(m.was.SetInstance)) > 0 {
		l.Spec.Addresses = addresses(m.was.SetInstance)
		return l
	}
	return nil
}

// sticks are the addresses that a set keeps without a host.
func (d *draft) sticks(m *member) (all []api.SetAddress) {
	of := d.services[m.Spec.Service]
	if m.left != nil || of == nil || of.Service == nil || !of.Spec.StickyAddresses {
		return nil
	}
	for _, a := range m.Spec.Addresses {
		if d.networks[a.Network] != nil {
			all = append(all, a)
		}
	}
	return all
}

// away are the hosts that may still have something of a set of this name, where it must not
// go before that is settled.
func (c *cache) away(name string) (hosts []string) {
	for host, of := range c.leftovers {
		if of[name] != nil {
			hosts = append(hosts, host)
		}
	}
	slices.Sort(hosts)
	return hosts
}

// surplus says whether a set has addresses that its template does not need.
func surplus(s *api.SetInstance) (needed []api.SetAddress, more bool) {
	for _, a := range s.Spec.Addresses {
		addr, err := netip.ParseAddr(a.Address)
		uses := func(n spec.Network) bool {
			other := slices.ContainsFunc(fixed(n), func(f netip.Addr) bool { return f.Is4() == addr.Is4() && f != addr })
			return n.Name == a.Network && !other
		}
		if err == nil && slices.ContainsFunc(networksOf(&s.Spec.Set.Set), uses) {
			needed = append(needed, a)
		}
	}
	return needed, len(needed) < len(s.Spec.Addresses)
}

// addressed is a set's template with the addresses that the cluster gave it.
func addressed(s *api.SetInstance) api.Template {
	t := s.Spec.Set
	if len(s.Spec.Addresses) == 0 {
		return t
	}
	give := func(n spec.Network) spec.Network {
		for _, a := range s.Spec.Addresses {
			addr, err := netip.ParseAddr(a.Address)
			switch {
			case err != nil || a.Network != n.Name:
			case addr.Is4() && n.IP == "":
				n.IP = a.Address
			case addr.Is6() && n.IP6 == "":
				n.IP6 = a.Address
			}
		}
		return n
	}
	t.Network, t.Networks = give(t.Network), slices.Clone(t.Networks)
	for i, n := range t.Networks {
		t.Networks[i] = give(n)
	}
	return t
}

// settle gives the addresses of leftovers back that are surely silent: their host is removed
// or fenced, or says so in a report.
func (d *draft) settle(l *api.Leftover, why string) {
	d.freed = true
	d.settled[l.Name] = l
	d.note("/"+l.Spec.Host, note{
		on: api.Reference{Kind: api.Hosts, Name: l.Spec.Host}, what: "addresses-free", cause: why, text: "those of " + l.Spec.Set,
	})
}

func (d *draft) settleHosts() {
	for _, host := range slices.Sorted(maps.Keys(d.settling)) {
		h := d.host(host)
		if h != nil && h.Deleted.IsZero() && !h.Spec.Fenced {
			continue
		}
		for _, l := range named(d.leftovers[host]) {
			d.settle(l, "the host is fenced or removed")
		}
	}
	clear(d.settling)
}

// settlement is the change that gives them back.
func settlement(l *api.Leftover) change {
	return change{host: l.Spec.Host, ops: 1 + len(l.Spec.Addresses), fill: func(b *state.Batch) {
		b.Delete(l)
		for _, t := range addressThings(l.Spec.Addresses) {
			b.Release(t, state.Holder{Name: l.Spec.Set, UID: l.Spec.SetUID})
		}
	}}
}

func addressThings(all []api.SetAddress) (things []state.Thing) {
	for _, a := range all {
		if addr, err := netip.ParseAddr(a.Address); err == nil {
			things = append(things, state.Address(a.Network, addr))
		}
	}
	return things
}

// endNetworks takes networks away that were asked to go, when nobody has anything of them.
func (d *draft) endNetworks() {
	for _, name := range slices.Sorted(maps.Keys(d.endedNets)) {
		n := d.networks[name]
		if n == nil {
			delete(d.endedNets, name)
			continue
		}
		if d.inUse(name) == "" {
			d.ends = append(d.ends, n.Network)
		}
	}
}

// inUse says who has something of a network, nothing if nobody has.
func (c *cache) inUse(network string) string {
	for _, s := range c.services {
		if s.Service != nil && slices.ContainsFunc(networksOf(&s.Spec.Set.Set), func(n spec.Network) bool { return n.Name == network }) {
			return "service " + s.name
		}
	}
	for name := range c.inNet[network] {
		return "set " + name
	}
	for prefix, host := range c.blocks[network] {
		return "block " + prefix.String() + " of host " + host
	}
	for a := range c.held {
		if a.Network == network {
			return "address " + a.Address
		}
	}
	return ""
}
