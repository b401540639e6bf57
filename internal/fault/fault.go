// Package fault makes errors for two readers: a class of containerd/errdefs for
// code, and a bare sentence that tells people which object it is about and what
// to do. What the sentence wraps with %w stays reachable.
package fault

import (
	"errors"
	"fmt"

	"github.com/containerd/errdefs"
)

type fault struct {
	sentence string
	class    error
	behind   error
}

func (f *fault) Error() string { return f.sentence }

func (f *fault) Unwrap() []error {
	if f.behind == nil {
		return []error{f.class}
	}
	return []error{f.class, f.behind}
}

// Of makes an error of a class.
func Of(class error, format string, args ...any) error {
	f := &fault{class: class}
	err := fmt.Errorf(format, args...)
	f.sentence = err.Error()
	if errors.Unwrap(err) != nil {
		f.behind = err
	} else if _, several := err.(interface{ Unwrap() []error }); several {
		f.behind = err
	}
	return f
}

// Invalid is an input that cannot be meant.
func Invalid(format string, args ...any) error {
	return Of(errdefs.ErrInvalidArgument, format, args...)
}

// NotFound is an object that is surely absent.
func NotFound(format string, args ...any) error { return Of(errdefs.ErrNotFound, format, args...) }

// Exists is an object that is there, as something else.
func Exists(format string, args ...any) error { return Of(errdefs.ErrAlreadyExists, format, args...) }

// Conflict is a state in which the request cannot be.
func Conflict(format string, args ...any) error {
	return Of(errdefs.ErrFailedPrecondition, format, args...)
}

// Exhausted is too little of something.
func Exhausted(format string, args ...any) error {
	return Of(errdefs.ErrResourceExhausted, format, args...)
}

// Unavailable is what may work later.
func Unavailable(format string, args ...any) error {
	return Of(errdefs.ErrUnavailable, format, args...)
}

// Later is what has a name but no code yet, or cannot be had here.
func Later(format string, args ...any) error { return Of(errdefs.ErrNotImplemented, format, args...) }
