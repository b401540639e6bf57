// Package netapi holds what crosses the wire of Docker's network and IPAM
// plugin protocols, from engine 20.10 to 29: the requests and answers of each
// call, and typed readings of the option maps in them. The protocol is described
// in moby's daemon/libnetwork/docs/remote.md and ipam.md; go-plugins-helpers has
// the older part of it.
package netapi
