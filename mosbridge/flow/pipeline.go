package flow

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// Port is one port of a bridge that a container or the router sits behind.
type Port struct {
	// Ofport is the OpenFlow number that Open vSwitch gave the port, not 0.
	Ofport uint32
	// Object is the number of the endpoint on this host. It stays the same
	// over replays, and is not used in a router.
	Object uint32
	MAC    spec.MAC
	// IPv4 and IPv6 are the addresses the port may send from; zero for none.
	// They are not used in a router.
	IPv4, IPv6 netip.Addr
	// MeterIn and MeterOut are the OpenFlow meters of what the container
	// receives and sends; 0 for no limit.
	MeterIn, MeterOut uint32
}

// Network is one network on a bridge. Two networks of a bridge must not have
// the same uplink and VLAN: the caller refuses that.
type Network struct {
	// Object is the number of the network on this host, in reg0 of its
	// frames. It is not 0.
	Object uint32
	VLAN   uint16 // on the uplink; 0 is untagged
	Uplink uint32 // OpenFlow number; 0 for none
	// Router is the port of the gateway link, nil when this host has none.
	Router *Port
	Ports  []Port
}

const (
	untagged  = "vlan_tci=0x0000/0x1000"
	tagged    = "vlan_tci=0x1000/0x1000"
	multicast = "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00"
)

// Base returns the rules of the bridge itself: what each table does with what
// no other rule of it matches, and what nobody may send.
func Base(round uint16) []Rule {
	m := &maker{round: round}
	m.drop(dropUnassigned, tableClassify, 0, "")

	m.drop(dropTagged, tableSource, 300, tagged)
	m.drop(dropRouterRole, tableSource, 300, "icmp6,icmpv6_type=134")
	m.drop(dropRouterRole, tableSource, 300, "icmp6,icmpv6_type=137")
	m.drop(dropDHCPServer, tableSource, 300, "udp,udp_src=67,udp_dst=68")
	m.drop(dropDHCPServer, tableSource, 300, "udp6,udp_src=547,udp_dst=546")
	m.drop(dropSourceARP, tableSource, 10, "arp")
	m.drop(dropSourceIPv4, tableSource, 10, "ip")
	m.drop(dropSourceIPv6, tableSource, 10, "ipv6")
	m.drop(dropProtocol, tableSource, 0, "")

	m.drop(dropNeighbor, tableNeighbor, 10, "icmp6,icmpv6_type=135")
	m.drop(dropNeighbor, tableNeighbor, 10, "icmp6,icmpv6_type=136")
	m.add(tableNeighbor, 0, "", goTo(tableRateOut))

	m.add(tableRateOut, 0, "", goTo(tableEgress))
	m.add(tableEgress, 0, "", goTo(tableForward))

	m.drop(dropControl, tableForward, 300, "dl_dst=01:80:c2:00:00:00/ff:ff:ff:ff:ff:f0")
	m.drop(dropUnknown, tableForward, 0, "")

	m.add(tableIngress, 0, "", goTo(tableRateIn))
	m.add(tableRateIn, 200, "reg2=1", goTo(tableOutput))
	m.add(tableRateIn, 0, "", goTo(tableOutput))
	m.add(tableOutput, 0, "", "output:NXM_NX_REG1[]")
	return m.rules
}

// Rules returns the rules of the network but not of its endpoints: broadcast,
// uplink and router. The broadcast rule names all of its ports.
func (n Network) Rules(round uint16) []Rule {
	m := &maker{round: round, owner: kindNetwork, object: n.Object}
	m.rules = append(m.rules, n.flood(round))
	if n.Uplink != 0 {
		n.uplink(m)
	}
	if n.Router != nil {
		n.router(m)
	}
	return m.rules
}

// flood copies a broadcast to every port of the network. The port it came in
// by gets none: Open vSwitch leaves that out by itself. The uplink is last,
// since its tag would stay on later copies.
func (n Network) flood(round uint16) Rule {
	ports := n.ofports()
	var b strings.Builder
	b.WriteString("set_field:0x1->reg2")
	for _, p := range ports {
		fmt.Fprintf(&b, ",set_field:%#x->reg1,resubmit(,%d)", p, tableIngress)
	}
	if len(ports) == 0 {
		b.Reset()
		b.WriteString("drop")
	}
	return Rule{cookie(round, kindNetwork, n.Object), tableForward, 200, n.reg() + "," + multicast, b.String()}
}

func (n Network) ofports() []uint32 {
	var ports []uint32
	for _, p := range n.Ports {
		ports = append(ports, p.Ofport)
	}
	if n.Router != nil {
		ports = append(ports, n.Router.Ofport)
	}
	slices.Sort(ports)
	if n.Uplink != 0 {
		ports = append(ports, n.Uplink)
	}
	return ports
}

func (n Network) uplink(m *maker) {
	enter, leave := untagged, fmt.Sprintf("output:%d", n.Uplink)
	strip := ""
	if n.VLAN != 0 {
		enter, strip = fmt.Sprintf("dl_vlan=%d", n.VLAN), "pop_vlan,"
		leave = fmt.Sprintf("push_vlan:0x8100,set_field:%d->vlan_vid,%s", 0x1000|n.VLAN, leave)
	}
	m.add(tableClassify, 100, fmt.Sprintf("in_port=%d,%s", n.Uplink, enter), fmt.Sprintf("%sset_field:%#x->reg0,%s", strip, n.Object, goTo(tableSource)))
	m.add(tableSource, 100, fmt.Sprintf("%s,in_port=%d", n.reg(), n.Uplink), goTo(tableForward))
	m.add(tableForward, 50, n.reg(), fmt.Sprintf("set_field:%#x->reg1,%s", n.Uplink, goTo(tableIngress)))
	m.add(tableOutput, 100, fmt.Sprintf("%s,reg1=%#x", n.reg(), n.Uplink), leave)
	if n.Router != nil {
		n.loop(m, n.Router.MAC)
	}
}

// loop drops frames from the uplink that bear the MAC of one of our ports.
func (n Network) loop(m *maker, mac spec.MAC) {
	m.drop(dropLoop, tableSource, 200, fmt.Sprintf("%s,in_port=%d,dl_src=%s", n.reg(), n.Uplink, mac))
}

func (n Network) router(m *maker) {
	r := n.Router
	m.add(tableClassify, 100, fmt.Sprintf("in_port=%d", r.Ofport), n.enter())
	for _, proto := range []string{"arp", "ip", "ipv6"} {
		m.add(tableSource, 100, fmt.Sprintf("%s,in_port=%d,dl_src=%s", proto, r.Ofport, r.MAC), goTo(tableForward))
	}
	n.destination(m, *r)
}

func (n Network) reg() string { return fmt.Sprintf("reg0=%#x", n.Object) }

func (n Network) enter() string {
	return fmt.Sprintf("set_field:%#x->reg0,%s", n.Object, goTo(tableSource))
}

func (n Network) destination(m *maker, p Port) {
	m.add(tableForward, 100, fmt.Sprintf("%s,dl_dst=%s", n.reg(), p.MAC), fmt.Sprintf("set_field:%#x->reg1,%s", p.Ofport, goTo(tableIngress)))
}

// PortRules returns the rules of one endpoint of the network, without the
// network's broadcast rule.
func (n Network) PortRules(round uint16, p Port) []Rule {
	m := &maker{round: round, owner: kindEndpoint, object: p.Object}
	from := fmt.Sprintf("in_port=%d,dl_src=%s", p.Ofport, p.MAC)
	m.add(tableClassify, 100, fmt.Sprintf("in_port=%d", p.Ofport), n.enter())
	if p.IPv4.IsValid() {
		m.add(tableSource, 100, fmt.Sprintf("ip,%s,nw_src=%s", from, p.IPv4), goTo(tableNeighbor))
		m.add(tableSource, 100, fmt.Sprintf("arp,%s,arp_spa=%s,arp_sha=%s", from, p.IPv4, p.MAC), goTo(tableNeighbor))
		m.add(tableSource, 100, fmt.Sprintf("arp,%s,arp_op=1,arp_spa=0.0.0.0,arp_tpa=%s,arp_sha=%s", from, p.IPv4, p.MAC), goTo(tableNeighbor))
	}
	if p.IPv6.IsValid() {
		p.ipv6(m, from)
	}
	if n.Uplink != 0 {
		n.loop(m, p.MAC)
	}
	if p.MeterOut != 0 {
		m.add(tableRateOut, 100, fmt.Sprintf("in_port=%d", p.Ofport), fmt.Sprintf("meter:%d,%s", p.MeterOut, goTo(tableEgress)))
	}
	n.destination(m, p)
	if p.MeterIn != 0 {
		m.add(tableRateIn, 100, fmt.Sprintf("reg1=%#x", p.Ofport), fmt.Sprintf("meter:%d,%s", p.MeterIn, goTo(tableOutput)))
	}
	return m.rules
}

// ipv6 lets the endpoint speak from its two addresses. Linux leaves the link
// layer option out of an advertisement that answers a unicast probe, so that
// none at all (zero) is as good as the own MAC.
func (p Port) ipv6(m *maker, from string) {
	const nothing = "00:00:00:00:00:00"
	m.add(tableSource, 100, fmt.Sprintf("icmp6,%s,ipv6_src=::,icmpv6_type=143", from), goTo(tableNeighbor))
	m.add(tableNeighbor, 100, fmt.Sprintf("icmp6,in_port=%d,icmpv6_type=135,icmpv6_code=0,nd_sll=%s", p.Ofport, p.MAC), goTo(tableRateOut))
	m.add(tableNeighbor, 100, fmt.Sprintf("icmp6,in_port=%d,icmpv6_type=135,icmpv6_code=0,nd_sll=%s", p.Ofport, nothing), goTo(tableRateOut))
	own := []netip.Addr{p.IPv6, p.MAC.LinkLocal()}
	for _, a := range slices.Compact(own) {
		m.add(tableSource, 100, fmt.Sprintf("ipv6,%s,ipv6_src=%s", from, a), goTo(tableNeighbor))
		m.add(tableSource, 100, fmt.Sprintf("icmp6,%s,ipv6_src=::,icmpv6_type=135,icmpv6_code=0,nd_target=%s,nd_sll=%s", from, a, nothing), goTo(tableNeighbor))
		for _, tll := range []string{p.MAC.String(), nothing} {
			m.add(tableNeighbor, 100, fmt.Sprintf("icmp6,in_port=%d,icmpv6_type=136,icmpv6_code=0,nd_target=%s,nd_tll=%s", p.Ofport, a, tll), goTo(tableRateOut))
		}
	}
}

// sorted returns the networks by their numbers, ports by theirs.
func sorted(ns []Network) []Network {
	ns = slices.Clone(ns)
	slices.SortFunc(ns, func(a, b Network) int { return cmp.Compare(a.Object, b.Object) })
	for i := range ns {
		ns[i].Ports = slices.Clone(ns[i].Ports)
		slices.SortFunc(ns[i].Ports, func(a, b Port) int { return cmp.Compare(a.Object, b.Object) })
	}
	return ns
}
