// Package ca is the authority of a cluster's certificates. It is made with the store and
// kept there, so that all controllers have the same one, and a backup has it, too. Whoever
// reads the store can be anybody in the cluster.
//
// A certificate names its owner by the URI mos://ROLE/NAME. Hosts get theirs by a token of
// role host, which has the hash of the authority's certificate at its end: by that they know
// the cluster before they have anything of it.
package ca
