// Package link makes and repairs links and their sysctls in the network
// namespace of the process: the veth pairs of endpoints, the gateways of
// networks, and what it must know of the host's own interfaces. It decides
// nothing and keeps no state; every verb may be repeated.
package link
