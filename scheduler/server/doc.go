// Package server is the HTTP API of the scheduler: JSON over the resources of
// scheduler/api, kept by scheduler/state, described by the OpenAPI document that
// [Server.OpenAPI] gives and scheduler/api/openapi.json is.
//
//	request ─► who is it (identity.go) ─► may they (roles.go) ─► huma: parameters
//	        ─► strict decoding and checks (scheduler/api) ─► one batch of the store
//	        ─► an audit line
//
// A client reads a list at one revision, page after page, and watches from that revision;
// a change names the revision it was made from by If-Match, or is a merge patch, which is
// applied to whatever is there. Nothing here decides: services and hosts are written as
// wished, and package scheduler/control sees to them.
//
// Errors are problems of RFC 9457: see [api.Problem].
package server
