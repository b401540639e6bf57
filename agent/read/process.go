package read

import (
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxProcesses is how many processes of a container are asked for their files.
const maxProcesses = 256

// filesOf counts the open files of processes, whose ids stand one a line. Since
// Linux 6.2 the size of /proc/PID/fd is their number; before, it is 0 and there is
// no number that costs little. Processes that are gone count as none.
func filesOf(pids []byte) (n int64, ok bool) {
	var name [32]byte
	for i := 0; len(pids) > 0 && i < maxProcesses; i++ {
		pid, rest, isNumber := number(pids)
		if !isNumber {
			break
		}
		_, pids = cut(rest, '\n')
		if pid == 0 {
			continue // of another pid namespace
		}
		p := append(strconv.AppendUint(append(name[:0], "/proc/"...), pid, 10), "/fd\x00"...)
		var st unix.Statx_t
		// unix.Statx would copy the name to the heap.
		_, _, errno := unix.Syscall6(unix.SYS_STATX, 0, uintptr(unsafe.Pointer(&p[0])), 0, unix.STATX_SIZE, uintptr(unsafe.Pointer(&st)), 0) //nolint:gosec // both live until it returns
		if errno != 0 {
			continue
		}
		n += int64(st.Size)
	}
	return n, n > 0
}
