package spec

import (
	"fmt"

	"github.com/containerd/errdefs"
)

// invalid is an error of class InvalidArgument whose text is only the sentence
// for the user.
func invalid(format string, args ...any) error {
	return &inputError{fmt.Sprintf(format, args...), errdefs.ErrInvalidArgument}
}

func notImplemented(format string, args ...any) error {
	return &inputError{fmt.Sprintf(format, args...), errdefs.ErrNotImplemented}
}

type inputError struct {
	sentence string
	class    error
}

func (e *inputError) Error() string { return e.sentence }
func (e *inputError) Unwrap() error { return e.class }
