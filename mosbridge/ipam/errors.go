package ipam

import (
	"fmt"
	"time"

	"github.com/containerd/errdefs"
)

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
