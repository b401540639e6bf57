// Package embed runs a server of etcd in this process: alone, reached by nobody else
// (the default of the scheduler), or as one of several over TLS. It also restores backups
// of package scheduler/state into new data directories.
//
// Only the scheduler imports it: it adds 15 MB to a program.
package embed
