// Package simulate has hosts that are none: they speak with a controller as mosd does and
// run sets that take time only. Tests of package scheduler/control use them, and so does
// the simulation of a cluster.
package simulate
