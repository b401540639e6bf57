// Package pluginsrv serves Docker plugins, and the admin APIs beside them, over
// unix sockets.
//
// A plugin call is an HTTP POST with a JSON body. Docker repeats calls after a
// broken connection, sometimes with an empty body, so a body that is empty,
// truncated or followed by more is an error and never a zero value. Fields the
// request type does not have are taken: newer engines add some. A failed call
// answers status 500 with {"Err": …, "Error": …}, because the network and
// volume protocols read the one and the IPAM protocol the other.
//
// Each call has a deadline: Docker itself would wait for ever. It is logged
// once, at debug level when well and as a warning when not, and counted.
//
// [Server.Run] takes its sockets from systemd where that hands them over, says
// READY=1 and feeds its watchdog, and on the end of its context finishes the
// calls under way before it returns.
package pluginsrv
