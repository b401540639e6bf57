// Package pluginsrv serves Docker plugins, and the admin APIs beside them, over
// unix sockets.
//
// A plugin call is an HTTP POST with a JSON body. Docker repeats calls after a
// broken connection, sometimes with an empty body, so a body that is empty,
// truncated or followed by more is an error and never a zero value. Fields the
// request type does not have are taken, since newer Engines add some; a field
// that is there twice or has a wrong type is refused. A failed call answers
// status 500 with {"Err": …, "Error": …}, because the network and volume
// protocols read the one and the IPAM protocol the other. Status 404 is kept for
// calls that do not exist: the Engine takes it as "not implemented".
//
// Docker would wait for ever, so each call has a deadline: the context of its
// handler ends, and a handler that does not heed it is answered for shortly
// after. A call goes on when Docker hangs up: half a change is worth less. Each
// is logged once, at debug level when well and as a warning when not, and
// counted.
//
// [Server.Run] takes its sockets from systemd where that hands them over, says
// READY=1 and feeds its watchdog, and on the end of its context finishes the
// calls under way before it returns.
package pluginsrv
