// Package link is what hosts and controllers say to each other. A host reports how it
// does, and is told all that it is to run.
//
//	mosd ──── Report, each heartbeat and at once on a transition ───► leader
//	     ◄─── Lease ────────────────────────────────────────────────
//	     ◄─── Assignment, the whole truth, now and at each change ───
//
// A host asks any controller; one that does not lead answers Unavailable, and the host
// goes on to the next. Nothing here stops a set: a host that hears nothing goes on with
// the last Assignment, which it keeps on disk. An Assignment of an epoch before that of
// the one a host has is of a leader that was deposed, and is refused.
package link
