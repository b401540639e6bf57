// Package api holds the types of mos-lvm's admin API and its client. The daemon
// serves it as JSON over HTTP on a unix socket, /run/mos/mos-lvm.sock; paths
// begin with /v1. It is the only package of lvmvolume that other parts import.
//
// Sizes are in bytes, rates in operations or bytes per second with 0 for no
// limit, durations in seconds, times in RFC 3339. A reference to a volume is its
// name, its id or a beginning of the id that no other volume has; "NAME@SNAPSHOT"
// is a snapshot. Errors come as in package adminapi.
package api
