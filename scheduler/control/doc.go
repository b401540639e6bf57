// Package control decides what runs where, and lets it be so. It works on the store of
// package scheduler/state and decides by package scheduler/place.
//
//	store ──list, watch──► cache ──► pass ──► draft ──► batches under the term ──► store
//	                        ▲         ▲
//	                        │         └── what hosts report (package link)
//	                        └──────────── Explain, assignments of hosts
//
// Every [Controller] keeps a cache and answers from it. One of them leads: it looks at all
// that changed (a pass), drafts what is to be, and writes the draft in batches, each with
// the claims of its sets, under its term. The next pass begins when the watch has shown what
// was written, so a decision is never made on what the leader only believes.
//
// # What a leader keeps to itself
//
// When it last heard of a host, and since when a set is not ready. Both begin anew with
// each leader, which therefore waits a grace before it calls a host lost.
//
// # Promises
//
// A thing that one set at most may hold is claimed in the batch that places the set, and
// released in the batch that takes it off its host. A set is taken off a host when that says
// that nothing of it runs, for an assignment that told so; when the host is lost and the
// set's policy lets it run twice; or by an operator's word that the host is silent. A host
// that comes back is told all that it is to run, and ends the rest first.
package control
