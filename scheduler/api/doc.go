// Package api has the resources of the cluster, version 1, as they are stored and as the
// API speaks of them: [Host], [Service], [SetInstance], [Operation], [Event], [Token].
//
// A resource has a [Meta]; what is wished stands in Spec, what is so in Status. Check says
// all that cannot be meant, a line each, beginning with the field. [Decode] is strict: it
// refuses what it does not know and what stands there twice.
//
// The spec of a set inside a service is that of package setmgr/spec, in its own spelling,
// so that a file for docker set is also a template here.
package api
