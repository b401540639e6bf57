// Package ovs drives Open vSwitch: bridges and ports through its database,
// flows through ovs-ofctl bundles, meters and the liveness of a bridge through
// OpenFlow itself. It knows nothing of Docker.
//
// A [Client] needs no running Open vSwitch to be made. It keeps one connection
// to the database, opened by the first call and again after a loss; while the
// database is down every call errs soon with ErrUnavailable, and works as soon
// as it is back. Nothing is cached: each answer was asked for.
//
// All that the client makes carries the mark external_ids:mos:owner=mosbridge,
// and it refuses to change bridges and ports without the mark. Every verb may
// be repeated. A bridge that is made has fail_mode=secure: without flows it
// forwards nothing.
package ovs
