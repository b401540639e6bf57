// Package cgroup caps sets as a whole, by the cgroup parent of their containers,
// whose name package render gives: a slice where systemd drives the Engine's
// cgroups, else a folder of the cgroup file system, with a record from which the
// caps are there again after the host started.
package cgroup
