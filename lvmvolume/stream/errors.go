package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/containerd/errdefs"
)

// failure is an error with a class for code and only the sentence for people.
type failure struct {
	sentence string
	class    error
}

func (f *failure) Error() string { return f.sentence }
func (f *failure) Unwrap() error { return f.class }

func invalid(format string, args ...any) error {
	return &failure{fmt.Sprintf(format, args...), errdefs.ErrInvalidArgument}
}

func conflict(format string, args ...any) error {
	return &failure{fmt.Sprintf(format, args...), errdefs.ErrFailedPrecondition}
}

// DamageError says that a stream is not what [Write] wrote. It is of class
// DataLoss.
type DamageError struct {
	Offset int64  // in the stream, of the part that is wrong
	Frame  int64  // the frame's number from 1 on, 0 for header and trailer
	Reason string // what is wrong with it
}

// Error names the place and what to do.
func (e *DamageError) Error() string {
	frame := ""
	if e.Frame > 0 {
		frame = fmt.Sprintf(" (frame %d)", e.Frame)
	}
	return fmt.Sprintf("stream is damaged at byte %d%s: %s: copy it again, or export the volume again", e.Offset, frame, e.Reason)
}

// Unwrap gives the class.
func (e *DamageError) Unwrap() error { return errdefs.ErrDataLoss }

// cut is the reason when a part of the stream is not all there.
const cut = "it ends within the %s, so a part of it is missing"

// broken tells damage from failure: a stream that ends within the named part is
// damaged, anything else is trouble of whatever carries it.
func broken(err error, part string, at, frame int64) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &DamageError{at, frame, fmt.Sprintf(cut, part)}
	}
	return fmt.Errorf("read the stream at byte %d: %w", at, classed(err))
}

// classed gives a class to an error of input or output that has none.
func classed(err error) error {
	switch {
	case known(err):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: make room there: %w", err, errdefs.ErrResourceExhausted)
	}
	return fmt.Errorf("%w: %w", err, errdefs.ErrUnavailable)
}

func known(err error) bool {
	return !errdefs.IsUnknown(errdefs.Resolve(err))
}

// stopped replaces what a cancelled context made go wrong by the context's own
// cause; errors with a reason of their own stay.
func stopped(ctx context.Context, err error, verb string, at int64) error {
	var damage *DamageError
	if err == nil || ctx.Err() == nil || errors.As(err, &damage) {
		return err
	}
	return fmt.Errorf("%s the stream, stopped at byte %d: %w", verb, at, context.Cause(ctx))
}
