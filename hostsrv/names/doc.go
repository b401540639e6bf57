// Package names answers the names of a cluster's services to the containers of this host:
// SERVICE.DOMAIN by the addresses of its sets that are ready, SET.SERVICE.DOMAIN by those of
// one set, both as far as they are in a network that the asking set is in; SRV and PTR alike.
// What is not of the domain goes on to the resolvers of the host.
//
// A set's containers ask the Engine's own resolver, which knows containers by their names and
// asks on at the servers of the set. The first of these is [Loopback]: this package listens on
// it inside the set's own network, so that it can be reached whatever the network is made of,
// by the set and by nobody else, and knows who asks. Behind it stand the host's resolvers as
// they were at first, for when nobody listens: then all but the domain's names go on.
package names
