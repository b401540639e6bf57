// Package cgroup finds containers and sets where the kernel keeps them, in the
// cgroup trees of version 1 or 2 or both, without asking an Engine: [Mounted]
// says which trees there are, [Tree.Scan] what lives in them, and [Watch] when it
// is worth to look again.
//
// A container's folder is named by its id under Docker's cgroupfs driver, and
// docker-ID.scope under its systemd driver, at any depth.
package cgroup
