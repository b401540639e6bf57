// Package rig gives a test whole hosts, on this machine and in a few seconds:
// each with its own Docker Engine, its own Open vSwitch (userspace datapath),
// its own network, files and processes.
//
//	r := rig.New(t, rig.Config{Hosts: 2, OVS: true, Outside: true})
//	h := r.Host(1)
//	out, err := h.Docker("run", "--rm", rig.Image, "echo", "hi")
//	h.Kill9(rig.Dockerd)
//	h.Start(rig.Dockerd)
//
// # What a host is
//
// A host is a set of namespaces (mount, network, pid, UTS, cgroup) held by one
// process. Its /run, /etc, /var and /opt are private: daemons run in it with
// the paths they have in real life, and nothing they write reaches the machine.
// When the process that made the rig ends, in whatever way, the holders read
// the end of their standard input, end, and the kernel kills all that lives in
// their pid namespaces: engines, shims, containers.
//
//	      ┌ outside ── 203.0.113.1 2001:db8:113::1 ┐     plays the internet
//	 out0 │ 198.51.100.0/24  2001:db8:100::/64     │ out0
//	┌ h1 ─┴─────────┐                    ┌─ h2 ────┴────┐
//	│ dockerd  OVS  │                    │ dockerd  OVS │
//	└────────┬──────┘                    └──────┬───────┘
//	     up0 └────────── fabric: one bridge ────┘ up0     passes VLAN tags
//
// # What a test gets
//
// [New] makes the rig, fails the test when a daemon ended by itself, keeps all
// daemon logs in the test's artifacts when it failed, and takes everything away
// at its end, after a check that nothing is left on the machine. [Open] is the
// same for programs. A [Host] runs commands ([Host.Exec], [Host.Docker],
// [Host.Run]), handles daemons ([Host.Start], [Host.Stop], [Host.Kill9],
// [Host.StartDaemon]), loses its power ([Host.Restart]), and compares itself
// with what it was ([Host.LeakCheck]).
//
// README.md lists the traps.
package rig
