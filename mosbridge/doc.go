// Package mosbridge is Docker's network and IPAM driver on Open vSwitch.
//
// # The life of a network and an endpoint
//
// Docker calls CreateNetwork once in a network's life and never repeats it, so
// the record (a bbolt file) must outlive everything. CreateEndpoint, under a
// lock that dockerd holds for the whole network, only checks and records; the
// work is in Join: a veth pair whose one end the engine moves into the
// container, an Open vSwitch port, the port's flows, its meters, its published
// ports. Join answers when all of it is there. Leave takes it away,
// DeleteEndpoint forgets the endpoint.
//
//	request ─ spec ─► record ─► plan ─► steps ─► Open vSwitch, links, nftables
//	                    ▲                 ▲
//	   start, OVS back, every 30 s:  observe + plan.Repair
//
// # What it promises
//
// Every call may be repeated, and may be cut off anywhere: the record is
// written before the act, and the next repair finishes or takes back what is
// half done. A call that fails leaves nothing behind. Nothing here is on the
// data path: with the daemon stopped, containers go on.
//
// No call to Docker is made inside a plugin call: dockerd would wait for
// itself. What the engine knows (names, which endpoints still exist) is read
// by the reconciler beside the calls.
//
// # Who owns which state
//
// Networks and endpoints: the record, mirrored in external_ids of bridges and
// ports. Addresses: the IPAM buckets of the same file. Flows, meters, rules and
// links: computed from the record, and replaced when they differ.
package mosbridge
