package spec

import (
	"fmt"

	"github.com/containerd/errdefs"
)

// inputError is an error of class InvalidArgument whose text is only the
// sentence for the user.
type inputError struct{ sentence string }

func (e *inputError) Error() string { return e.sentence }
func (e *inputError) Unwrap() error { return errdefs.ErrInvalidArgument }

func invalid(format string, args ...any) error { return &inputError{fmt.Sprintf(format, args...)} }
