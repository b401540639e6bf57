// Package sink takes samples to where they are kept. What all sinks share is here:
// [Options] choose, name and tag what is sent ([Selector]). The sinks are the
// packages below.
package sink
