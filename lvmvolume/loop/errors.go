package loop

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// classError carries a class of errdefs without adding its words to the
// sentence.
type classError struct {
	class error
	err   error
}

func (e *classError) Error() string   { return e.err.Error() }
func (e *classError) Unwrap() []error { return []error{e.err, e.class} }

func classed(class error, format string, args ...any) error {
	return &classError{class: class, err: fmt.Errorf(format, args...)}
}

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
