// Package plan decides, and only decides, which changes lead from what is
// observed on a host to what its record wishes. A [Plan] is data: it can be
// printed (`docker mos net plan`), compared in a test, and handed to the one
// file that changes the host.
//
// [Repair] is the whole comparison, used at start, after Open vSwitch came
// back, and every 30 s. [CreateNetwork], [DeleteNetwork], [Join] and [Leave]
// are the plans of single calls; each is what Repair would say for that one
// object, without looking at the others.
package plan
