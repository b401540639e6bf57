// Netcheck checks from inside containers what busybox cannot: that data goes
// through unharmed, and that frames with forged addresses do not.
//
//	netcheck serve [-ready FILE] [-share] :PORT TCP, UDP and HTTP server on one port
//	netcheck send [-timeout D] tcp|udp ADDR BYTES   "ok BYTES SHA256", or exit 1
//	netcheck get [-timeout D] URL               body of an HTTP answer
//	netcheck load [-rate N] [-timeout D] URL    "sent N failed N outage D", until stopped
//	netcheck whoami [-timeout D] tcp|udp ADDR   the address the server saw
//	netcheck spoof [-n N] KIND IFACE key=value… raw frames with forged addresses
//
// The protocol of send: the client writes "send BYTES\n" and then BYTES random
// bytes; the server answers "ok BYTES SHA256\n", the hash of what came, and the
// client compares. Over UDP the data goes in numbered pieces of 1200 bytes, each
// of which the server acknowledges, so that losses are repaired but damage is
// not: the hash is over all pieces.
//
// With -share several servers may have one port (SO_REUSEPORT), and one that is
// told to end takes no more connections and serves those that it has. Those that
// the kernel holds for it go to another server where net.ipv4.tcp_migrate_req is
// set, and are reset elsewhere.
//
// Load asks N times a second (100), each time by a connection of its own. Its outage
// is from the first request that failed until the last one did.
package main
