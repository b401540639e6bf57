package loop

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

func isErrno(err error, codes ...syscall.Errno) bool {
	for _, c := range codes {
		if errors.Is(err, c) {
			return true
		}
	}
	return false
}

// eintr calls f until no signal interrupts it; the runtime sends many.
func eintr(f func() error) error {
	for {
		if err := f(); !isErrno(err, unix.EINTR) {
			return err
		}
	}
}
