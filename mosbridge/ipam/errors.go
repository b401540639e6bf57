package ipam

import (
	"fmt"
	"time"

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

func notFound(format string, args ...any) error {
	return &failure{fmt.Sprintf(format, args...), errdefs.ErrNotFound}
}

func conflict(format string, args ...any) error {
	return &failure{fmt.Sprintf(format, args...), errdefs.ErrFailedPrecondition}
}

func exhausted(format string, args ...any) error {
	return &failure{fmt.Sprintf(format, args...), errdefs.ErrResourceExhausted}
}

// TakenError says that an address asked for is held by another owner. It is of
// class FailedPrecondition. A caller that knows the holder to be gone may
// release its address and ask again.
type TakenError struct {
	Lease Lease // the holder's
}

// Error names the holder and what to do.
func (e *TakenError) Error() string {
	l := e.Lease
	since := l.Since.UTC().Format(time.RFC3339)
	switch l.Kind {
	case Gateway:
		return fmt.Sprintf("address %s is the gateway of pool %s since %s: choose another", l.Addr, l.Pool, since)
	case Auxiliary:
		return fmt.Sprintf("address %s is set aside by --aux-address in pool %s since %s: choose another", l.Addr, l.Pool, since)
	case Endpoint:
	}
	mac := ""
	if l.Name != "" && !l.MAC.IsZero() {
		mac = ", MAC address " + l.MAC.String()
	}
	return fmt.Sprintf("address %s is held by %s%s since %s: stop it or choose another", l.Addr, l.Owner(), mac, since)
}

// Unwrap gives the class.
func (e *TakenError) Unwrap() error { return errdefs.ErrFailedPrecondition }
