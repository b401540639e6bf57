// Package api holds the types of mosbridge's admin API and its client. The
// daemon serves it as JSON over HTTP on a unix socket, /run/mos/mosbridge.sock;
// paths begin with /v1. It is the only package of mosbridge that other parts
// import.
//
// Rates are in bits per second, 0 for no limit; durations in seconds; times in
// RFC 3339. Errors come as {"error": sentence, "code": word} with an HTTP status,
// and [Client] gives them the errdefs class back.
package api
