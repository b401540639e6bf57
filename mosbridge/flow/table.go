package flow

// The tables of the pipeline.
const (
	tableClassify = 0
	tableSource   = 10
	tableNeighbor = 15
	tableRateOut  = 20
	tableEgress   = 30
	tableForward  = 40
	tableIngress  = 50
	tableRateIn   = 60
	tableOutput   = 70
)

// Table is one table of the pipeline, for documents and traces.
type Table struct {
	ID   uint8
	Name string
	Duty string
}

// Tables returns all tables in the order in which a frame meets them.
func Tables() []Table {
	return []Table{
		{tableClassify, "classify", "finds the network by the port the frame came in by, and by its VLAN tag on the uplink, and takes the tag off"},
		{tableSource, "source", "lets senders use their own MAC and addresses only"},
		{tableNeighbor, "neighbor", "lets endpoints advertise only themselves in IPv6 neighbor discovery"},
		{tableRateOut, "rate-out", "limits what an endpoint sends"},
		{tableEgress, "egress", "is kept for security groups of the sender"},
		{tableForward, "forward", "finds the port of the destination; copies broadcasts to all ports of the network"},
		{tableIngress, "ingress", "is kept for security groups of the receiver"},
		{tableRateIn, "rate-in", "limits what an endpoint receives"},
		{tableOutput, "output", "sends the frame, on the uplink with the network's tag"},
	}
}

// Reason is why a frame is dropped: a word for metrics and a sentence for
// people.
type Reason struct {
	Name string
	Help string
	kind kind
}

// The kinds of rules that drop. Their numbers are in the cookies of running
// bridges: add, never renumber.
const (
	dropUnassigned kind = kindDrop + iota
	dropTagged
	dropSourceARP
	dropSourceIPv4
	dropSourceIPv6
	dropProtocol
	dropRouterRole
	dropDHCPServer
	dropNeighbor
	dropControl
	dropUnknown
	dropLoop
)

// Reasons returns why frames are dropped, in the order of the pipeline. Two
// frames with the same fault in two networks count under one reason.
func Reasons() []Reason {
	return []Reason{
		{"unassigned", "came in by a port or with a VLAN tag of no network", dropUnassigned},
		{"tagged", "carries a VLAN tag that a container may not send", dropTagged},
		{"router_role", "is an IPv6 router advertisement or redirect", dropRouterRole},
		{"dhcp_server", "is the answer of a DHCP server", dropDHCPServer},
		{"source_arp", "is ARP with a MAC or address that is not the sender's", dropSourceARP},
		{"source_ipv4", "is IPv4 with a MAC or address that is not the sender's", dropSourceIPv4},
		{"source_ipv6", "is IPv6 with a MAC or address that is not the sender's", dropSourceIPv6},
		{"protocol", "is neither ARP nor IPv4 nor IPv6, or has a foreign MAC on the router's port", dropProtocol},
		{"loop", "came from the uplink with the MAC of a port of this host", dropLoop},
		{"neighbor", "is IPv6 neighbor discovery that speaks for another", dropNeighbor},
		{"control", "is for the bridges of a link only (01:80:c2:00:00:00 to 0f)", dropControl},
		{"unknown", "is for a MAC that no port of the network has, and there is no uplink", dropUnknown},
	}
}
