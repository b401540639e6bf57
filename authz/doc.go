// Package authz guards Docker Engines by a policy: as an authorization plugin,
// which an Engine asks about each request, and as a guarded socket, a proxy in
// front of the Engine's own one.
//
//	docker -H unix:///run/mos/docker.sock …          dockerd --authorization-plugin=mos-authz
//	        │ SO_PEERCRED: who is it                          │ TLS certificate, or nobody
//	        ▼                                                 ▼
//	 proxy.go                                           plugin.go
//	        └──────────► authz/request   one spelling, one reading       (pure)
//	                     authz/judge     rules, limits, sets             (pure)
//	                     authz/policy    the policy file                 (pure)
//	        ◄────────────┘    │ engine.go: whose is it, asked of the Engine
//	        │ names become ids, lists are narrowed, owners are labelled
//	        ▼
//	     dockerd
//
// The plugin alone cannot guard an Engine: it does not learn who reaches a unix
// socket, does not see all bodies, cannot narrow lists, and since 29.2 is not asked
// about gRPC. The guarded socket can. Where both are set up, what came through the
// guarded socket, and what this package asks itself, carries a secret of this
// process, and is not judged again.
//
// Both fail closed: a policy that cannot be read, an Engine that does not tell
// whose an object is, and a panic are refusals.
package authz
