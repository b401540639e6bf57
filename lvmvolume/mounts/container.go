package mounts

import "strings"

// idLen is the length of a container's id, in hexadecimal digits.
const idLen = 64

// containerOf finds a container's id in the text of /proc/PID/cgroup. It knows
// the forms of both cgroup drivers, for cgroup v1 and v2:
//
//	12:memory:/docker/ID
//	0::/system.slice/docker-ID.scope
//
// and those of other engines, which differ in the words before the id. Of
// containers inside containers it is the outermost: that is the one which the
// host's engine knows.
func containerOf(text string) string {
	for line := range strings.Lines(text) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) < 3 {
			continue
		}
		for part := range strings.SplitSeq(f[2], "/") {
			if id := idIn(part); id != "" {
				return id
			}
		}
	}
	return ""
}

// idIn returns the id in one element of a cgroup's path.
func idIn(part string) string {
	part, scope := strings.CutSuffix(part, ".scope")
	if i := strings.LastIndexByte(part, '-'); scope && i >= 0 {
		part = part[i+1:]
	}
	if len(part) != idLen || strings.Trim(part, "0123456789abcdef") != "" {
		return ""
	}
	return part
}
