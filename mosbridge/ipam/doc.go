// Package ipam decides which pools of addresses and which addresses of them are
// given out. It is pure: the [Store] and the time come in by the caller.
//
// A network takes one [Pool] per family ([Allocator.RequestPool]); [Allocator.Bind]
// ties the pool to its network when the network is created. Until then, and for
// [Repeat] at most, the same request again gets the same pool when Docker may
// have lost the answer: after a restart of the daemon, or later than [Settle].
// Otherwise it is another network's, and refused: that one would give the pool
// back when its creation fails.
//
// An address is known to a pool as a [Lease] in one of three states:
//
//	           RequestAddress             ReleaseAddress
//	no lease ────────────────► [Held] ──┬─ asked for by the user ──► [Kept]
//	    ▲                        ▲      └─ chosen by us ───────────► [Past]
//	    └─ Forget, or the oldest └─────── asked for again ◄────────────┘
//	       beyond MaxPast
//
// A kept address is never chosen for another owner. A past one is, but last of
// all and the longest released first, so that its owner, when it comes back,
// most likely finds it free, and neighbors have forgotten who had it. The
// network address of a pool and the broadcast address of IPv4 are never given
// out. Of a subnet that a cluster gives out a [Guard] leaves this host its blocks and
// the addresses of its sets.
//
// The allocator answers from an index in memory, of the size of what is leased
// and not of the pool; each change is in the store before it is in the index and
// before the answer.
package ipam
