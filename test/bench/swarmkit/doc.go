// Package swarmkit compares scheduler/place with swarmkit's scheduler in one run: the same
// hosts, the same sets, and the same wishes as far as both know them. Its benchmarks are run
// by test/ring bench; docs/BENCHMARKS.md has the figures.
package swarmkit
