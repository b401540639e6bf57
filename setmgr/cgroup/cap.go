package cgroup

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/render"
)

// Where things are on a host.
const (
	mountPoint = "/sys/fs/cgroup"
	record     = "/var/lib/mos/set/caps.json"
)

// Cap is the cgroup parents of sets on this host.
type Cap interface {
	// Set gives a parent limits, 0 for none, and makes it where it is missing.
	Set(ctx context.Context, parent string, l plan.Limits) error
	// Read gives the limits that the kernel holds, or systemd does for a slice
	// without processes, and says whether there is anything to drop.
	Read(ctx context.Context, parent string) (l plan.Limits, there bool, err error)
	// Drop removes a parent that nobody is in. One that is absent is well, and one
	// with containers is of class FailedPrecondition.
	Drop(ctx context.Context, parent string) error
}

// CanCap says why this process cannot cap sets of an Engine on this host, "" when
// it can.
func CanCap(f render.Facts) string {
	if f.CgroupDriver == "none" {
		return "the Engine has no cgroups: it runs without root"
	}
	if os.Geteuid() != 0 {
		return "that needs root: run docker set as root on the Engine's host"
	}
	switch err := unix.Access(mountPoint, unix.W_OK); {
	case errors.Is(err, unix.EROFS):
		return "the cgroup file system is read-only here: is this a container?"
	case err != nil:
		return "there is no cgroup file system at " + mountPoint
	}
	return ""
}

// Open is the cgroup parents as the Engine's driver has them.
func Open(f render.Facts) Cap {
	if f.CgroupDriver == "systemd" {
		return &slices{connect: connectSystemd, dir: "/etc/systemd/system.control", root: mountPoint}
	}
	return &folders{root: mountPoint, version: f.CgroupVersion, record: record}
}
