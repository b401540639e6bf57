// Package sink takes samples to where they are kept. What all sinks share is here:
// [Options] choose, name and tag what is sent ([Selector]), and [Push] delivers it:
//
//	sample ─► Selector ─► Backend.Encode ─► Backend.Deliver ─► back end
//	        (in the goroutine that measures)    │  ▲
//	                                            ▼  │ until it takes it, in order
//	                                           spool
//
// The back ends are the packages below; each speaks one protocol and passes the
// suite of package sinktest.
package sink
