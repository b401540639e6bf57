// Command modprobe stands for the real one in the managed plugin of mos-lvm, which has no
// kernel modules and no capability to load any: it has the kernel look for a target of the
// device mapper, and the kernel runs the host's modprobe for that.
//
//	modprobe dm-TARGET
//
// LVM calls it so when it needs a target that is not there. Kernels before 5.5 do not know
// the question; on these the host has to load its modules by itself.
package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "modprobe: error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 || !strings.HasPrefix(args[0], "dm-") {
		return fmt.Errorf("%q: this one knows targets of the device mapper only: want dm-TARGET", args)
	}
	control, err := os.OpenFile("/dev/mapper/control", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("the kernel's device mapper: %w", err)
	}
	defer func() { _ = control.Close() }()
	if err := find(control, strings.TrimPrefix(args[0], "dm-")); err != nil {
		return fmt.Errorf("the host's kernel has no module %s, or is older than 5.5 and wants modprobe %s on the host: %w", args[0], args[0], err)
	}
	return nil
}

// The call DM_GET_TARGET_VERSION of linux/dm-ioctl.h, and the layout of its argument.
const (
	getTargetVersion = 0xC138FD11
	headSize         = 312 // of struct dm_ioctl
	nameAt, nameSize = 48, 128
	answerSize       = 512 // for the versions that are told
)

// find has the kernel find a target, for which it loads the module.
func find(control *os.File, target string) error {
	if target == "" || len(target) >= nameSize {
		return errors.New("no name of a target")
	}
	var arg [headSize + answerSize]byte
	for i, word := range []uint32{4, 41, 0, uint32(len(arg)), headSize} { // version, data_size, data_start
		binary.NativeEndian.PutUint32(arg[4*i:], word)
	}
	copy(arg[nameAt:], target)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, control.Fd(), getTargetVersion, uintptr(unsafe.Pointer(&arg))) //nolint:gosec // x/sys has no call for it
	if errno != 0 {
		return errno
	}
	return nil
}
