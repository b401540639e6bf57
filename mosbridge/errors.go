package mosbridge

import (
	"fmt"

	"github.com/containerd/errdefs"
)

// failure is an error with a class for code and only the sentence for people.
type failure struct {
	sentence string
	class    error
}

func (f *failure) Error() string { return f.sentence }
func (f *failure) Unwrap() error { return f.class }

func notFound(format string, args ...any) error {
	return &failure{fmt.Sprintf(format, args...), errdefs.ErrNotFound}
}

func conflict(format string, args ...any) error {
	return &failure{fmt.Sprintf(format, args...), errdefs.ErrFailedPrecondition}
}

func exhausted(format string, args ...any) error {
	return &failure{fmt.Sprintf(format, args...), errdefs.ErrResourceExhausted}
}
