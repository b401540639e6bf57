// Package adminapi is the client's half of the daemons' admin APIs, whose other
// half is pluginsrv.Admin, and the types that all of them share.
//
// An admin API is JSON over HTTP on a unix socket; paths begin with /v1. Errors
// come as {"error": sentence, "code": word} with an HTTP status, and [Client]
// gives them the errdefs class back. Durations are in seconds, times in RFC
// 3339, sizes in bytes.
package adminapi
