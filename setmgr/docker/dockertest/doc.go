// Package dockertest stands in for a Docker Engine in tests of sets. [Fake] is an
// Engine in memory, with the host's cgroup parents; [Suite] is what it and real
// Engines both have to pass, so that it behaves as they do.
package dockertest
