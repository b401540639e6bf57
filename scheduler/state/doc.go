// Package state keeps what the scheduler knows in etcd: the resources of package
// scheduler/api, who holds which address and volume, who leads and who is there. A
// [Store] works on any client of etcd; package scheduler/state/embed runs a server in
// this process, [Dial] reaches others.
//
// # Changes
//
// All changes are a [Batch], which happens as a whole or not at all, at one revision.
// An update or a delete names the revision that it was made from, and is refused if the
// resource changed since. A claim is refused if somebody holds the thing. So a set, its
// host, its addresses and its volume are one batch, and no thing has two holders. Batches
// that wait at the same time share a transaction of etcd (and its fsync), which none of
// them can tell from one of its own.
//
// A transaction that is not answered, as when the leader of etcd dies, is sent again, and
// happens once all the same. An error of class Unavailable means that nothing is known: the change may have been
// made. Who gets one reads again before it decides anew.
//
// # Reading
//
// Get and List are linearizable. A list has the revision at which it was true; its pages
// are of that one. [Store.Watch] goes on from there: list, then watch after the revision
// of the list, and after a [GoneError], which says that history was compacted or that the
// store was restored, list again.
//
// # Leading
//
// [Store.Join] makes this process a member for as long as it keeps a lease alive;
// [Member.Lead] waits until it leads. A lease alone excludes nobody: a leader that was
// stopped for a while finds out late. So its batches carry its [Term], which etcd compares
// in the transaction, and those of a former leader fail with [ErrDeposed].
//
// # Layout
//
//	/mos/schema                          version of all below
//	/mos/receipts/PROCESS/N              of the last transaction of each that may be under way
//	/mos/v1/KIND/NAME                    resources, as scheduler/api encodes them
//	/mos/v1/claims/CLASS/WITHIN/NAME     the holder of an address or volume
//	/mos/v1/members/NAME                 processes, each under its lease
//	/mos/v1/leader/LEASE                 candidates; the oldest leads
//
// Revisions are those of etcd and stand in no value. What a store does not do: it checks
// no resource (that is done where they come in), and it keeps no heartbeats of hosts,
// which are soft state of the leader.
package state
