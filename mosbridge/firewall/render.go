package firewall

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Table is the name of the nftables table, of family inet, and of the one of
// family arp that is there while there are uplinks.
const Table = "mosbridge"

// Render is the nft script that replaces the table with that of s. It is the
// same for states that differ in order only. The state must be valid.
func Render(s State) string {
	var b strings.Builder
	// Adding before deleting makes the deletion work without a table, too.
	fmt.Fprintf(&b, "add table inet %[1]s\ndelete table inet %[1]s\n", Table)
	if s.empty() {
		return b.String()
	}
	fmt.Fprintf(&b, "table inet %s {\n", Table)
	s.sets(&b)
	s.maps(&b)
	b.WriteString(guard + publish)
	b.WriteString(s.postrouting())
	b.WriteString(forward + "}\n")
	return b.String()
}

// RenderARP is the same for the table of family arp.
func RenderARP(s State) string {
	var b strings.Builder
	fmt.Fprintf(&b, "add table arp %[1]s\ndelete table arp %[1]s\n", Table)
	if len(s.Uplinks) == 0 {
		return b.String()
	}
	fmt.Fprintf(&b, "table arp %s {\n", Table)
	set(&b, "set uplinks", "ifname", s.uplinks())
	b.WriteString(deaf + "}\n")
	return b.String()
}

// deaf keeps the host from answering for its own addresses on uplinks.
const deaf = `	chain guard {
		type filter hook input priority filter; policy accept;
		iifname @uplinks drop
	}
`

func (s State) uplinks() []string {
	var links []string
	for _, l := range s.Uplinks {
		links = append(links, quote(l))
	}
	slices.Sort(links)
	return slices.Compact(links)
}

// guard keeps 127.0.0.0/8 from containers, since the gateway links route it
// (route_localnet) for the sake of localhost. And it keeps the host from taking
// packets off the containers' ports and the uplinks: those are Open vSwitch's,
// but with the userspace datapath the kernel sees them too, past all flows.
const guard = `	chain guard {
		type filter hook prerouting priority raw; policy accept;
		iifname "mosp*" drop
		iifname @uplinks drop
		iifname @gateways ip daddr 127.0.0.0/8 drop
		iifname @gateways ip saddr 127.0.0.0/8 drop
	}
`

// publish translates to containers only what is for this host. Packets for
// 127.0.0.0/8 that did not begin here are left to the kernel, which drops
// them; a link-local or loopback source of IPv6 could not be forwarded.
const publish = `	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		ip daddr 127.0.0.0/8 return
		fib daddr type local jump publish
	}
	chain output {
		type nat hook output priority -100; policy accept;
		fib daddr type local jump publish
	}
	chain publish {
		ip6 daddr { ::1, fe80::/10 } return
		dnat ip to meta l4proto . ip daddr . th dport map @ports4
		dnat ip6 to meta l4proto . ip6 daddr . th dport map @ports6
		meta nfproto ipv4 dnat ip to meta l4proto . th dport map @anyports4
		meta nfproto ipv6 dnat ip6 to meta l4proto . th dport map @anyports6
	}
`

// forward only judges packets that come from or go to one of our gateways.
const forward = `	chain forward {
		type filter hook forward priority filter; policy accept;
		iifname @gateways jump leave
		oifname @gateways jump enter
	}
	chain leave {
		iifname . oifname @same return
		ct state established,related return
		iifname @internal drop
		ct status dnat return
		oifname @gateways drop
	}
	chain enter {
		iifname . oifname @same return
		ct state established,related return
		oifname @internal drop
		ct status dnat return
		iifname != @gateways oifname @routed return
		drop
	}
`

func (s State) sets(b *strings.Builder) {
	var all, internal, routed, same []string
	for _, n := range s.Networks {
		all = append(all, quote(n.Gateway))
		same = append(same, quote(n.Gateway)+" . "+quote(n.Gateway))
		switch {
		case n.Internal:
			internal = append(internal, quote(n.Gateway))
		case !n.NAT:
			routed = append(routed, quote(n.Gateway))
		}
	}
	set(b, "set gateways", "ifname", all)
	set(b, "set internal", "ifname", internal)
	set(b, "set routed", "ifname", routed)
	set(b, "set same", "ifname . ifname", same)
	set(b, "set uplinks", "ifname", s.uplinks())
}

func (s State) maps(b *strings.Builder) {
	elements := map[string][]string{}
	for _, p := range s.Ports {
		family := "6"
		if p.Container.Addr().Is4() {
			family = "4"
		}
		to := fmt.Sprintf("%s . %d", p.Container.Addr(), p.Container.Port())
		if p.anyIP() {
			name := "anyports" + family
			elements[name] = append(elements[name], fmt.Sprintf("%s . %d : %s", p.Proto, p.HostPort, to))
			continue
		}
		name := "ports" + family
		elements[name] = append(elements[name], fmt.Sprintf("%s . %s . %d : %s", p.Proto, p.HostIP, p.HostPort, to))
	}
	for _, family := range []string{"4", "6"} {
		addr := "ipv" + family + "_addr"
		to := " : " + addr + " . inet_service"
		set(b, "map ports"+family, "inet_proto . "+addr+" . inet_service"+to, elements["ports"+family])
		set(b, "map anyports"+family, "inet_proto . inet_service"+to, elements["anyports"+family])
	}
}

// postrouting gives translated packets a source whose answers come back here:
// to the host by localhost, and to a published port of the own network.
func (s State) postrouting() string {
	var rules []string
	for _, n := range s.Networks {
		for _, p := range n.Subnets {
			from := family(p) + " saddr " + p.String()
			rules = append(rules, fmt.Sprintf("%s oifname %s ct status dnat masquerade", from, quote(n.Gateway)))
			if n.NAT && !n.Internal {
				rules = append(rules, fmt.Sprintf("%s oifname != %s masquerade", from, quote(n.Gateway)))
			}
		}
	}
	slices.Sort(rules)
	rules = append([]string{
		"type nat hook postrouting priority srcnat; policy accept;",
		"ip saddr 127.0.0.0/8 oifname @gateways masquerade",
	}, rules...)
	return "\tchain postrouting {\n\t\t" + strings.Join(rules, "\n\t\t") + "\n\t}\n"
}

// set writes a set or map. An empty one has no elements line: nft takes none.
func set(b *strings.Builder, name, types string, elements []string) {
	fmt.Fprintf(b, "\t%s {\n\t\ttype %s;\n", name, types)
	if len(elements) > 0 {
		slices.Sort(elements)
		fmt.Fprintf(b, "\t\telements = {\n\t\t\t%s\n\t\t}\n", strings.Join(elements, ",\n\t\t\t"))
	}
	b.WriteString("\t}\n")
}

func family(p netip.Prefix) string {
	if p.Addr().Is4() {
		return "ip"
	}
	return "ip6"
}

func quote(s string) string { return `"` + s + `"` }
