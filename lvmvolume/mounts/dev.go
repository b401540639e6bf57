package mounts

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// Dev is the number of a device, as the third field of mountinfo has it.
type Dev struct {
	Major, Minor uint32
}

// String returns the form of the kernel, "254:3".
func (d Dev) String() string {
	return strconv.FormatUint(uint64(d.Major), 10) + ":" + strconv.FormatUint(uint64(d.Minor), 10)
}

// DevOf returns the number of the block device that a path names, through
// symbolic links. What is no block device gives ErrInvalidArgument, what is not
// there ErrNotFound.
func DevOf(path string) (Dev, error) {
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	if os.IsNotExist(err) {
		return Dev{}, fault.NotFound("device %s is not there", path)
	}
	if err != nil {
		return Dev{}, fmt.Errorf("look at device %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return Dev{}, fault.Invalid("%s is no block device", path)
	}
	return Dev{unix.Major(st.Rdev), unix.Minor(st.Rdev)}, nil
}

func parseDev(s string) (Dev, bool) {
	major, minor, ok := strings.Cut(s, ":")
	a, errA := strconv.ParseUint(major, 10, 32)
	b, errB := strconv.ParseUint(minor, 10, 32)
	return Dev{uint32(a), uint32(b)}, ok && errA == nil && errB == nil
}
