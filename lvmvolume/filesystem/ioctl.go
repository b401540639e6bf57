package filesystem

import (
	"errors"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Requests that golang.org/x/sys/unix has no names for; they are the same on all
// 64-bit architectures that Docker runs on but MIPS and PowerPC.
const (
	fiTrim        = 0xc0185879 // FITRIM of linux/fs.h
	fiFreeze      = 0xc0045877 // FIFREEZE
	fiThaw        = 0xc0045878 // FITHAW
	ext4Resize    = 0x40086610 // EXT4_IOC_RESIZE_FS of linux/ext4.h
	xfsGeometry   = 0x8070587c // XFS_IOC_FSGEOMETRY_V4 of xfs/libxfs/xfs_fs.h
	xfsGrowFSData = 0x4010586e // XFS_IOC_FSGROWFSDATA
)

func ioctl[T any](f *os.File, request uintptr, arg *T) error {
	for {
		//nolint:gosec // the kernel reads and writes a struct of ours
		_, _, e := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, uintptr(unsafe.Pointer(arg)))
		if e == 0 {
			return nil
		}
		if e != unix.EINTR {
			return os.NewSyscallError("ioctl", e)
		}
	}
}

func isErrno(err error, codes ...syscall.Errno) bool {
	for _, c := range codes {
		if errors.Is(err, c) {
			return true
		}
	}
	return false
}
