// Package embed runs a server of etcd in this process: alone, reached by nobody else
// (the default of the scheduler), or as one of several over TLS. It also restores backups
// of package scheduler/state into new data directories.
//
// Only the scheduler imports it: it adds 9 MB to a stripped program that speaks to etcd
// already, and that is 10 MB more than one that does not.
package embed
