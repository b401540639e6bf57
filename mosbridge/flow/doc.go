// Package flow makes the OpenFlow rules of a bridge. It is pure: networks and
// ports in, the text of rules out, for
//
//	ovs-ofctl --bundle -O OpenFlow14 add-flows BRIDGE -
//
// Nothing is learned and nothing is left to the NORMAL action: every rule
// follows from what mosbridge knows. A frame walks through the tables of
// [Tables], one duty each:
//
//	      endpoint ─┐   ┌─ router (gateway)  ┌─ uplink, tag taken off
//	                ▼   ▼                    ▼
//	 0 classify   which network is it of?  → reg0 = network
//	10 source     is the sender who it says? ── router, uplink ──┐
//	15 neighbor   does its neighbor discovery tell the truth?     │
//	20 rate-out   meter of the sender                             │
//	30 egress     (security groups, later)                        │
//	40 forward    destination MAC → reg1 = port  ◄────────────────┘
//	50 ingress    (security groups, later)
//	60 rate-in    meter of the receiver
//	70 output     to port reg1, tag put on for the uplink
//
// # Registers
//
// reg0 is the number of the network: networks that share a bridge never meet,
// since table 40 matches it. reg1 is the port to send to. reg2 is 1 for a copy
// of a broadcast: it passes by the receiver's meter, since a meter that drops
// one copy ends the datapath's work on the frame and with it all later copies.
//
// # Cookies
//
//	 63      48 47     40 39     32 31                 0
//	┌──────────┬─────────┬─────────┬────────────────────┐
//	│  round   │  kind   │  0x4d   │       object       │
//	└──────────┴─────────┴─────────┴────────────────────┘
//
// The round counts full replays: rules of all other rounds go by one [Sweep].
// The kind says whose rule it is (bits 7 and 6: bridge, network, endpoint) and
// whether it drops (bit 5). 0x4d marks our rules. The object is the number of
// the network or endpoint on this host, 0 for rules of the bridge.
//
// # Who may say what
//
// An endpoint sends from its own MAC and addresses only. ARP names itself as
// sender; probes with sender 0.0.0.0 may ask for its own address. IPv6 may come
// from its address and from the link-local address of its MAC, and from :: only
// to detect a duplicate of these two and to report multicast groups. Neighbor
// solicitations and advertisements carry its own MAC or none, and advertise its
// own addresses only. Answers of DHCP servers, router advertisements and
// redirects are dropped whoever sends them, the uplink included: addresses and
// routes of a container come from the Engine, and an address that a container
// took from an advertisement could not send anyway. Frames with a VLAN tag and
// of other protocols than ARP, IPv4 and IPv6 are dropped.
//
// The router, a gateway link of this host, sends from the gateway's MAC and any
// address, since it forwards. Frames from the uplink with the MAC of a port of
// this host are a loop or a lie, and dropped.
package flow
