package state

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/errdefs"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// ErrDeposed is what a leader gets that leads no more.
var ErrDeposed = fault.Conflict("this process does not lead any more: what it decided was not written")

// GoneError says that history since a revision cannot be had: list again, and go on from
// the revision of that list.
type GoneError struct {
	Asked  int64
	Oldest int64 // that can be had; 0 if that is not known
}

func (e *GoneError) Error() string {
	return fmt.Sprintf("the history since revision %d is not there any more: list again", e.Asked)
}

// Unwrap gives its class, OutOfRange.
func (*GoneError) Unwrap() error { return errdefs.ErrOutOfRange }

// HeldError says that a thing is held by another.
type HeldError struct {
	Thing Thing
	By    Holder
}

func (e *HeldError) Error() string { return fmt.Sprintf("%s is held by %s", e.Thing, e.By.Name) }

// Unwrap gives its class, AlreadyExists.
func (*HeldError) Unwrap() error { return errdefs.ErrAlreadyExists }

// staleError says that a resource is not of the revision that a change was made from.
type staleError struct {
	what       string
	seen, want int64
}

func (e *staleError) Error() string {
	return fmt.Sprintf("%s was changed meanwhile (revision %d, not %d): read it again", e.what, e.seen, e.want)
}

// Unwrap gives its class, FailedPrecondition.
func (*staleError) Unwrap() error { return errdefs.ErrFailedPrecondition }

// explain gives an error of etcd a class and a sentence.
func explain(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	doing := fmt.Sprintf(format, args...)
	known := rpctypes.Error(err)
	switch {
	case errors.Is(known, rpctypes.ErrNoSpace):
		return fault.Exhausted("%s: etcd is over its quota and takes no writes until it was compacted and defragmented, or its quota raised: %w", doing, err)
	case errors.Is(known, rpctypes.ErrRequestTooLarge), errors.Is(known, rpctypes.ErrTooManyOps):
		return fault.Invalid("%s: it is too much for one transaction of this etcd: %w", doing, err)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", doing, err)
	case unavailable(err, known):
		return fault.Unavailable("%s: etcd gave no answer in time: %w", doing, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

func unavailable(err, known error) bool {
	if errors.Is(known, rpctypes.ErrTooManyRequests) {
		return true
	}
	var e rpctypes.EtcdError
	if errors.As(known, &e) && e.Code() == codes.Unavailable {
		return true
	}
	switch status.Code(err) { //nolint:exhaustive // all others are answers
	case codes.Unavailable, codes.DeadlineExceeded, codes.Aborted:
		return true
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, clientv3.ErrNoAvailableEndpoints)
}
