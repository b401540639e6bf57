package fault_test

import (
	"errors"
	"io"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/fault"
)

func TestClassAndSentence(t *testing.T) {
	for want, err := range map[error]error{
		errdefs.ErrInvalidArgument:    fault.Invalid("a %d", 1),
		errdefs.ErrNotFound:           fault.NotFound("a %d", 1),
		errdefs.ErrAlreadyExists:      fault.Exists("a %d", 1),
		errdefs.ErrFailedPrecondition: fault.Conflict("a %d", 1),
		errdefs.ErrResourceExhausted:  fault.Exhausted("a %d", 1),
		errdefs.ErrUnavailable:        fault.Unavailable("a %d", 1),
		errdefs.ErrNotImplemented:     fault.Later("a %d", 1),
	} {
		if !errors.Is(err, want) || err.Error() != "a 1" {
			t.Errorf("%q is not of class %v", err, want)
		}
	}
}

func TestWhatIsWrappedStaysReachable(t *testing.T) {
	one := fault.Conflict("read x: %w", io.EOF)
	two := fault.Conflict("read x: %w, and %w", io.EOF, io.ErrClosedPipe)
	if !errors.Is(one, io.EOF) || !errors.Is(two, io.EOF) || !errors.Is(two, io.ErrClosedPipe) || !errdefs.IsFailedPrecondition(two) {
		t.Errorf("%v, %v", one, two)
	}
}
