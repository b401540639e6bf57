// Package hostport picks the host's ports that are published for containers.
//
// The truth is twofold: the claims made here, and the kernel. A claimed port is
// bound, without listening, by a socket that is kept, so that no other program
// takes it and no connection of the host leaves from it. With the firewall's
// translation in place no packet reaches these sockets.
package hostport
