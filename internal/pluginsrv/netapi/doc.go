// Package netapi is the wire form of Docker's remote network and IPAM drivers:
// what the Engine sends and what it reads, from 20.10 to the newest.
//
// The types are those of moby's daemon/libnetwork/drivers/remote/api and
// ipams/remote/api, and agree with go-plugins-helpers where that has them.
// Options stay as the bytes that came until a method gives them a type:
// [CreateNetworkRequest.UserOptions], [CreateEndpointRequest.DriverOptions],
// [ParsePortMap] and others. All of these refuse values of a wrong type.
//
// Validate of a request tells what a plugin cannot work without. Options that
// are missing, {} or null are well: Engines send all three.
package netapi
