package read

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/agent/metric"
)

// FileSystem is a mounted file system whose space is measured.
type FileSystem struct {
	Name string // of the volume
	Path string // any place in it
}

// mounted is a file system with its five series from base on.
type mounted struct {
	path []byte // ends with a zero
	base int
}

// AddFileSystem lets the source measure the space of a file system by one
// statfs(2) at the slow interval. It must not be one of a network, which could
// make that call wait for ever.
func (s *Source) AddFileSystem(f FileSystem) {
	m := mounted{path: append([]byte(f.Path), 0), base: s.Point.Add(metric.FSSize, f.Name)}
	for id := metric.FSSize + 1; id <= metric.FSInodesFree; id++ {
		s.Point.Add(id, f.Name)
	}
	s.mounts = append(s.mounts, m)
}

// space asks the file systems. A path that is gone has no values.
func (s *Source) space() {
	for i := range s.mounts {
		m := &s.mounts[i]
		var st unix.Statfs_t
		// unix.Statfs would copy the path to the heap.
		_, _, errno := unix.Syscall(unix.SYS_STATFS, uintptr(unsafe.Pointer(&m.path[0])), uintptr(unsafe.Pointer(&st)), 0) //nolint:gosec // both live until it returns
		if errno != 0 || st.Blocks == 0 {
			continue
		}
		block := float64(st.Frsize)
		used, available := float64(st.Blocks-st.Bfree)*block, float64(st.Bavail)*block
		for i, v := range [...]float64{float64(st.Blocks) * block, used, available, 100 * used / max(used+available, 1), float64(st.Ffree)} {
			s.Point.SetAt(m.base+i, v)
		}
	}
}
