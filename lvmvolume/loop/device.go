package loop

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// major is the device number that all loop devices share.
const major = 7

// node returns the path of a loop device's node and makes it when it is missing. A
// device that the kernel does not have gives ENXIO, as opening it would.
func node(n int) (string, error) {
	path := "/dev/loop" + strconv.Itoa(n)
	want := unix.Mkdev(major, uint32(n))
	for range 2 {
		var st unix.Stat_t
		err := unix.Lstat(path, &st)
		if err == nil && (st.Mode&unix.S_IFMT != unix.S_IFBLK || st.Rdev != want) {
			return "", fault.Conflict("%s is not loop device %d: remove it", path, n)
		}
		if err == nil {
			return path, nil
		}
		if !os.IsNotExist(err) {
			return "", fmt.Errorf("look at %s: %w", path, err)
		}
		if _, err := os.Stat(sysfs(n)); os.IsNotExist(err) {
			return "", fmt.Errorf("make the node %s: %w", path, unix.ENXIO)
		}
		if err := unix.Mknod(path, unix.S_IFBLK|0o660, int(want)); err != nil && !os.IsExist(err) {
			return "", fmt.Errorf("make the node %s: %w", path, err)
		}
	}
	return path, nil
}

// sysfs returns the folder in which the kernel shows a device.
func sysfs(n int) string { return filepath.Join(block, "loop"+strconv.Itoa(n)) }

// control opens the device that makes loop devices.
func control() (*os.File, error) {
	const path, misc, minor = "/dev/loop-control", 10, 237
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_CLOEXEC, 0)
	if os.IsNotExist(err) {
		if err := unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(misc, minor))); err != nil && !os.IsExist(err) {
			return nil, fmt.Errorf("make the node %s: %w", path, err)
		}
		f, err = os.OpenFile(path, os.O_RDWR|unix.O_CLOEXEC, 0)
	}
	switch {
	case isErrno(err, unix.ENXIO, unix.ENODEV):
		return nil, fault.Conflict("the kernel has no loop devices: modprobe loop")
	case err != nil:
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return f, nil
}

func size(d *os.File) (int64, error) {
	n, err := d.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, fmt.Errorf("read the size of %s: %w", d.Name(), err)
	}
	return n, nil
}

// openDevice opens device n; gone says that it is not, or no longer, there.
func openDevice(n, flag int) (d *os.File, gone bool, err error) {
	path, err := node(n)
	if err == nil {
		d, err = os.OpenFile(path, flag|unix.O_CLOEXEC, 0)
	}
	if isErrno(err, unix.ENXIO, unix.ENODEV, unix.ENOENT) {
		return nil, true, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("open loop device %d: %w", n, err)
	}
	return d, false, nil
}

// noDiscard makes a device refuse discards and zeroing by holes.
func noDiscard(n int) error {
	if err := os.WriteFile(filepath.Join(sysfs(n), "queue/discard_max_bytes"), []byte("0"), 0); err != nil {
		return fmt.Errorf("turn discards of loop device %d off: %w", n, err)
	}
	return nil
}

// sectorOf returns which sectors a device must have so that the kernel can read and
// write its image past the page cache: those of the disk below.
func sectorOf(f *os.File) uint32 {
	const usual = 512
	var st unix.Statx_t
	err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st)
	if err != nil || st.Mask&unix.STATX_DIOALIGN == 0 {
		return usual
	}
	if n := st.Dio_offset_align; n > usual && n <= Align && n&(n-1) == 0 {
		return n
	}
	return usual
}
