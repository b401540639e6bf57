// Package hostsrv keeps the sets of a host as they are to be: it watches the events of
// the Docker Engine, and what its kernel has of the sets, and heals what differs, as
// docker set heal does by hand. Sets that files declare it makes as well. It looks
// whether the Engine answers, and asks members whether they work, where their specs
// say how.
//
// All that is known of sets is in Docker; what is kept here is when a set was looked
// at, how often healing did not help, and which members somebody stopped by hand.
//
//	events ──► dirty sets ──► look: lock, observe, plan.Up ──► nothing to do: right
//	every 30 s ─┘                                          └─► run the plan: healed
//
// A cluster's sets are kept in the same way, from what [Supervisor.Wish] says instead of
// a file: package cluster brings that. Those that it does not want any more are removed
// before any other is made or changed.
//
// It never fights its user: what docker set stop stopped stays down, and so does a
// member that docker stop stopped; while docker set changes a set, that is locked.
package hostsrv
