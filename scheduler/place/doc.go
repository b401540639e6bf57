// Package place decides which host takes a set, and says why. It is pure: no clock, no
// system, no goroutine; the same calls with the same seed give the same answers.
//
// A [Cluster] is what the leader knows: hosts, what is on them, what is held for later.
// [Cluster.Place] takes the best host for each set of an [Ask] and books it at once;
// [Cluster.Explain] says for the same ask how many hosts each filter rejects and how the
// best ones score, and changes nothing; [Cluster.Why] says all reasons of one host.
// A [Cluster.Clone] answers what-if questions.
//
// # How a host is chosen
//
//	Ask ─► shape (what it needs of a host) ─► view: a key for each host, kept from one
//	│                                          ask to the next, mended host by host
//	└───► terms (what depends on other sets) ─► added per rack, and per host that has any
//	                                            │
//	               the host with the greatest sum; ties by a hash of seed and name
//
// Few shapes make up a workload (Alibaba's public traces have 151 in 8,152 pods), so keys
// are kept per shape, as the score caching of Borg (EuroSys 2015, section 3.4) does. What
// is found is what a full scan finds, always; a test compares the two. No sampling: that
// costs free space in large pieces.
//
// Hosts stand in blocks of one rack each. A view knows the best host of each block, so an
// ask looks at some hundred blocks, not at ten thousand hosts. Hosts for which a term of
// their own holds, because the service already has a set there, are looked at one by one.
//
// # Promises
//
// Place never gives more of a host than its capacity times the overcommit, never a host
// that a hard rule bars, never an address, a host port or a volume twice. The order in
// which hosts and sets became known does not matter. What is told to be so by [Cluster.Add]
// is believed, even above capacity: it is a fact. An Ask must not be changed after it was
// given.
package place
