// Package cgpersist keeps settings of cgroups that Docker has no place for in force,
// for containers and for sets as a whole. What is to be is in records, one small file a
// target, and is called by names: a container that is made anew under its name has its
// settings again.
//
//	records ──┐
//	volumes ──┴─► wanted, by cgroup ──► compare with the kernel ──► write what differs
//	                                      ▲
//	cgroups come and go, files are written to (inotify), each ten seconds
//
// No Engine is asked, so it works as well while that hangs. What was in a file before
// is kept beside, as long as the host runs: it comes back when a setting is taken away.
// Where systemd has a property for a setting of a unit of its own that is set too, since
// it would write its own value at a daemon-reload.
package cgpersist
