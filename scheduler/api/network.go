package api

import (
	"fmt"
	"net/netip"
	"time"
)

// Network is one that spans hosts, by the name that Docker has it under on each of them. The
// cluster gives out its addresses: a set in it has one that no other set of the cluster has,
// on whatever hosts they are.
type Network struct {
	Meta
	Spec NetworkSpec `json:"spec,omitzero"`
}

// NetworkSpec is what the network is made of, on all its hosts alike.
type NetworkSpec struct {
	// Pools are one for each family, IPv4 or IPv6; a set has an address of each.
	Pools []AddressPool `json:"pools"`
}

// AddressPool is which addresses of a subnet the cluster gives out: those of Range, or of
// Subnet if there is none, without Gateway, Exclude and the two ends of the subnet that no
// host can have. All are written as 10.9.0.0/24 or 10.9.0.1.
type AddressPool struct {
	Subnet  string   `json:"subnet"`
	Range   string   `json:"range,omitzero"`
	Gateway string   `json:"gateway,omitzero"`
	Exclude []string `json:"exclude,omitzero"` // addresses or subnets that others give out
	// Block is the length of the prefix of a block, as 28 of 10.9.0.16/28, that each host with
	// the network has for containers which are of no set of the cluster. 0 gives hosts none.
	Block int `json:"block,omitzero"`
}

// SetAddress is an address in a network. That of a Leftover or of a SetInstance is claimed.
type SetAddress struct {
	Network string `json:"network"`
	Address string `json:"address"`
}

// Leftover is what a host that was lost may still have of a set that is elsewhere by now, or
// gone. Nobody is given its addresses until the host says that nothing is left, or is
// removed or fenced. Its name is HOST.SET.
type Leftover struct {
	Meta
	Spec LeftoverSpec `json:"spec,omitzero"`
}

// LeftoverSpec is not changed.
type LeftoverSpec struct {
	Host      string       `json:"host"`
	Set       string       `json:"set"`
	SetUID    string       `json:"setUID"`
	Service   string       `json:"service"`
	Addresses []SetAddress `json:"addresses"`
	Since     time.Time    `json:"since"`
}

// NewLeftover is that of a set on a host.
func NewLeftover(host string, s *SetInstance, since time.Time) *Leftover {
	return &Leftover{Meta: Meta{Name: host + "." + s.Name}, Spec: LeftoverSpec{
		Host: host, Set: s.Name, SetUID: s.UID, Service: s.Spec.Service, Addresses: s.Spec.Addresses, Since: since,
	}}
}

// Kind is Networks.
func (n *Network) Kind() Kind { return Networks }

// Head is the network's Meta.
func (n *Network) Head() *Meta { return &n.Meta }

// Kind is Leftovers.
func (l *Leftover) Kind() Kind { return Leftovers }

// Head is the leftover's Meta.
func (l *Leftover) Head() *Meta { return &l.Meta }

// mostBlockBits bounds how many addresses a block has.
const mostBlockBits = 10

// Check says all that is wrong with a network. The error is of class InvalidArgument.
func (n *Network) Check() error {
	var f flaws
	f.meta(&n.Meta, "network", longestHost, true)
	if len(n.Spec.Pools) == 0 {
		f.add("spec.pools", "the network has none: name its subnet")
	}
	families := map[bool]bool{}
	for i, p := range n.Spec.Pools {
		at := fmt.Sprintf("spec.pools[%d]", i)
		subnet := f.pool(at, p)
		if !subnet.IsValid() {
			continue
		}
		if families[subnet.Addr().Is4()] {
			f.add(at, "the network has another pool of that family already")
		}
		families[subnet.Addr().Is4()] = true
	}
	return f.err()
}

func (f *flaws) pool(at string, p AddressPool) netip.Prefix {
	subnet := f.subnet(at+".subnet", p.Subnet, netip.Prefix{})
	if !subnet.IsValid() {
		return subnet
	}
	if p.Range != "" {
		f.subnet(at+".range", p.Range, subnet)
	}
	if gateway, err := netip.ParseAddr(p.Gateway); p.Gateway != "" && (err != nil || !subnet.Contains(gateway)) {
		f.add(at+".gateway", "%.60q is no address of %s", p.Gateway, subnet)
	}
	from := subnet
	if p.Range != "" {
		from, _ = netip.ParsePrefix(p.Range) // it was looked at
	}
	most := subnet.Addr().BitLen()
	switch low := max(from.Bits()+1, most-mostBlockBits); {
	case p.Block == 0 || p.Block >= low && p.Block < most:
	case low >= most:
		f.add(at+".block", "no blocks can be cut out of %s: it is too small", from)
	default:
		f.add(at+".block", "blocks of /%d cannot be cut out of %s: say one from %d to %d", p.Block, subnet, low, most-1)
	}
	for i, text := range p.Exclude {
		field := fmt.Sprintf("%s.exclude[%d]", at, i)
		if addr, err := netip.ParseAddr(text); err == nil {
			if !subnet.Contains(addr) {
				f.add(field, "%s is not in %s", addr, subnet)
			}
			continue
		}
		f.subnet(field, text, subnet)
	}
	return subnet
}

// subnet reads one, which is to be in another if that is valid.
func (f *flaws) subnet(field, text string, in netip.Prefix) netip.Prefix {
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil || p.Addr().Is4In6():
		f.add(field, "%.60q is no subnet: write it as 10.9.0.0/24", text)
	case p.Masked() != p:
		f.add(field, "%s has bits behind its mask: write %s", p, p.Masked())
	case !in.IsValid() && (p.Bits() > p.Addr().BitLen()-2 || p.Addr().IsMulticast() || p.Addr().IsLoopback() || p.Addr().IsUnspecified()):
		f.add(field, "%s has no addresses that a gateway and a set could have", p)
	case in.IsValid() && (p.Bits() < in.Bits() || !in.Contains(p.Addr())):
		f.add(field, "%s is not in %s", p, in)
	default:
		return p
	}
	return netip.Prefix{}
}

// Check says all that is wrong with a leftover. The error is of class InvalidArgument.
func (l *Leftover) Check() error {
	var f flaws
	if l.Name != l.Spec.Host+"."+l.Spec.Set || !dnsName(l.Name, true) {
		f.add("name", "%.80q is not HOST.SET of host %.60q and set %.60q", l.Name, l.Spec.Host, l.Spec.Set)
	}
	f.addresses("spec.addresses", l.Spec.Addresses)
	return f.err()
}

func (f *flaws) addresses(field string, all []SetAddress) {
	for i, a := range all {
		if _, err := netip.ParseAddr(a.Address); err != nil || a.Network == "" {
			f.add(fmt.Sprintf("%s[%d]", field, i), "%.60q of network %.60q is no address", a.Address, a.Network)
		}
	}
}
