// Package engine asks a Docker Engine the few read-only questions that daemons
// of ours have: its version, the networks of a driver, all containers with
// their addresses, all volumes with their drivers. It works with Engines from 20.10 on.
//
// These calls are for reconcilers, out of band. A plugin must never make them
// while it answers the Engine: the Engine may hold the lock that it would need
// for the answer.
package engine
