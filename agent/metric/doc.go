// Package metric is what the agent measures: the table of metrics ([Table]), and
// a [Sample], the values of all objects at one moment.
//
// A sample keeps its shape: the same series lie at the same places until
// containers or devices come and go, which [Sample.Generation] counts. So who
// sends samples prepares names and labels once per generation and only copies
// numbers after that.
package metric
