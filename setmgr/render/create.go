package render

import (
	"strconv"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"github.com/mosdocker/mosdocker/setmgr/label"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// Create is a container to be made, as the Engine API takes it. Args is the same as
// a line of docker.
type Create struct {
	Name   string
	Config *container.Config
	Host   *container.HostConfig
	Net    *network.NetworkingConfig
}

// Facts is what of an Engine decides how containers are made there.
type Facts struct {
	ID            string // of the Engine, for ever
	API           string // version, such as "1.41"
	CgroupDriver  string // "cgroupfs" or "systemd"
	CgroupVersion int    // 1 or 2
	CPUs          int
	Memory        uint64 // bytes of the host
	// Unprotected is an Engine without the right to shield a process from the
	// kernel's choice when memory runs out (CAP_SYS_RESOURCE): no container with
	// that wish starts there, and the error does not tell why.
	Unprotected bool
}

// AtLeast says whether the Engine speaks an API version. Versions count: 1.9 comes
// before 1.41.
func (f Facts) AtLeast(api string) bool {
	major, minor := version(f.API)
	wantMajor, wantMinor := version(api)
	return major > wantMajor || major == wantMajor && minor >= wantMinor
}

// version is the numbers of a version; what is none counts as 0, the oldest.
func version(s string) (major, minor int) {
	a, b, _ := strings.Cut(s, ".")
	major, _ = strconv.Atoi(a)
	minor, _ = strconv.Atoi(b)
	return major, minor
}

// InfraName is the name of a set's infra container.
func InfraName(set string) string { return set + ".infra" }

// MemberName is the name of the container that serves as a member of a set.
func MemberName(set, member string) string { return set + "." + member }

// Owner is the set that a container is of, by its labels and its name; "" is none. The
// labels alone do not tell: docker commit puts those of a container into its image,
// and so into all that is run of that.
func Owner(labels map[string]string, name string) string {
	set, want := labels[label.Set], InfraName(labels[label.Set])
	if member := labels[label.Member]; member != "" {
		want = MemberName(set, member)
		if number, replaced := strings.CutPrefix(name, want+".r"); replaced {
			if _, err := strconv.ParseUint(number, 10, 0); err == nil {
				return set
			}
		}
	}
	if name != want {
		return ""
	}
	return set
}

// Volume is the name of a set's volume, "" when it has none.
func Volume(s spec.Set) string {
	switch {
	case s.Volume == nil:
		return ""
	case s.Volume.Name != "":
		return s.Volume.Name
	}
	return s.Name + "-data"
}
