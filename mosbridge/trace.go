package mosbridge

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/mosbridge/api"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// trace asks Open vSwitch what it does with a packet from a container.
func (d *Driver) trace(ctx context.Context, r api.TraceRequest) (api.Trace, error) {
	e, err := d.findEndpoint(ctx, r.From)
	if err != nil {
		return api.Trace{}, err
	}
	n, err := d.knownNetwork(string(e.Endpoint.Network))
	if err != nil {
		return api.Trace{}, err
	}
	port := d.portStates(ctx)[e.Endpoint.ID.PortName()]
	if !e.Joined || port.Ofport == 0 {
		return api.Trace{}, fault.Conflict("%s has no port on the bridge: its container does not run", e.title())
	}
	packet, err := d.packet(n, e, r, port.Ofport)
	if err != nil {
		return api.Trace{}, err
	}
	raw, err := d.fab.ovs.Trace(ctx, n.Network.Bridge, packet)
	if err != nil {
		return api.Trace{}, err
	}
	return d.explainTrace(raw, n), nil
}

// packet is the packet in ovs-ofctl's syntax, addressed as the container would:
// to the destination itself within the subnet, else to the gateway.
func (d *Driver) packet(n networkRecord, e endpointRecord, r api.TraceRequest, ofport uint32) (string, error) {
	if !r.To.IsValid() {
		return "", fault.Invalid("give the address that the packet goes to")
	}
	own := e.Endpoint.IPv4.Addr()
	if r.To.Is6() {
		own = e.Endpoint.IPv6.Addr()
	}
	if !own.IsValid() {
		return "", fault.Conflict("%s has no address of the family of %s", e.title(), r.To)
	}
	src, dst := "nw_src", "nw_dst"
	family := ""
	if r.To.Is6() {
		src, dst, family = "ipv6_src", "ipv6_dst", "6"
	}
	proto := cmp.Or(r.Proto, "icmp")
	var l4 string
	switch proto {
	case "icmp":
		l4 = ",icmp_type=8"
		if family != "" {
			l4 = ",icmp_type=128"
		}
	case "tcp", "udp":
		l4 = fmt.Sprintf(",tp_src=40000,tp_dst=%d", cmp.Or(r.Port, 80))
	default:
		return "", fault.Invalid("protocol %.20q is none of icmp, tcp, udp", proto)
	}
	return fmt.Sprintf("in_port=%d,%s%s,dl_src=%s,dl_dst=%s,%s=%s,%s=%s%s", ofport, proto, family, e.Endpoint.MAC, d.nextHop(n, r.To), src, own, dst, r.To, l4), nil
}

// nextHop is the MAC that a container of the network sends such a packet to.
// One outside the record gets an unknown MAC, as of a host behind the uplink.
func (d *Driver) nextHop(n networkRecord, to netip.Addr) spec.MAC {
	s, ok := n.Network.Subnet(to.Is4())
	if n.Network.Gateway == spec.GatewayHost && ok && (!s.Prefix.Contains(to) || s.Gateway == to) {
		return n.Network.ID.GatewayMAC()
	}
	for _, e := range d.rec.allEndpoints() {
		for _, a := range e.Endpoint.Addrs() {
			if a == to && e.Endpoint.Network == n.Network.ID {
				return e.Endpoint.MAC
			}
		}
	}
	return spec.DeriveMAC(n.Network.ID, to)
}

var hop = regexp.MustCompile(`(?m)^\s*(\d+)\. (.*)$`)

// explainTrace reads the verdict from Open vSwitch's words.
func (d *Driver) explainTrace(raw string, n networkRecord) api.Trace {
	t := api.Trace{Raw: raw, Hops: []string{}}
	for _, m := range hop.FindAllStringSubmatch(raw, -1) {
		t.Hops = append(t.Hops, "table "+m[1]+": "+m[2])
	}
	_, actions, _ := strings.Cut(raw, "Datapath actions: ")
	actions, _, _ = strings.Cut(strings.TrimSpace(actions), "\n")
	t.Allowed = actions != "" && actions != "drop"
	last := "no rule"
	if len(t.Hops) > 0 {
		last = t.Hops[len(t.Hops)-1]
	}
	t.Reason = "dropped at " + last
	if t.Allowed {
		t.Reason = fmt.Sprintf("leaves bridge %s by %s", n.Network.Bridge, actions)
	}
	return t
}
