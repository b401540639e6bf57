// Package cluster makes a host one of a cluster: it keeps a link to the controllers,
// takes the assignment of the host from them, and has the host's supervisor make the sets
// so; it reports how they do, and what the host has.
//
//	controllers ══ link ══► Host ── disk, fsync ──► Supervisor.Wish ──► Docker
//	            ◄═ reports ═══┴──◄── Supervisor.Told, Facts
//
// The assignment is on disk before it is acted on. A mosd that starts waits a moment for
// the controllers, since its sets may be elsewhere by now, and then goes by what is on
// disk; when controllers are away it goes on. An assignment of a leader that was deposed,
// of another host, or of another cluster is refused: also that of a cluster whose store
// was lost and made anew, so that an empty store stops no set.
package cluster
