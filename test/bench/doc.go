// Package bench measures our parts beside their peers, in one run and on the same
// host: mosbridge beside Docker's bridge, macvlan, and plugins that do nothing; sets
// beside docker compose and podman. Times on a shared
// machine say little, so what counts are ratios of pairs measured one after
// the other, and their median.
//
//	make bench
//	go test -run '^$' -bench Throughput -benchtime 5x ./test/bench
//
// The number of -benchtime is the number of rounds. All benchmarks add to one
// table, which is printed at the end:
//
//	MOS bench: name, value, peer, peer's value, ratio, goal, met?
//
// A goal that is not met fails nothing: docs/BENCHMARKS.md says why it is missed.
package bench
