// Package setting is the settings of cgroups beyond those that Docker keeps: their
// names and values, which are those of cgroup version 2, what they are on version 1,
// and which property of systemd has them. It decides only; package cgpersist of
// hostsrv writes them.
package setting
