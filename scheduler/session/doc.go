// Package session is what goes between a user and a container of a cluster's set: its logs,
// a command in it, its processes. A session is one connection from the user to a
// mos-scheduler and one from the container's host to it, which are joined there; both are
// HTTP requests that are upgraded, so hosts listen nowhere. What is written waits for who
// reads: nothing in between keeps more than a buffer.
//
// A [Conn] carries frames: a byte of [Kind], four of the payload's length, the payload. The
// host ends a session with one frame of kind [End], whatever became of it.
package session
