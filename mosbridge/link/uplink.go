package link

import (
	"context"
	"net/netip"
)

// CheckUplink says whether an interface may be put on a bridge: it exists
// (else ErrNotFound), is no loopback, belongs to no bridge or bond, and neither
// a default route nor the host's only address depends on it, since the host's
// own traffic would stop (else ErrFailedPrecondition).
func CheckUplink(ctx context.Context, name string) error { return errTodo }

// Routes returns the prefixes that the host has routes to, without the default
// routes, multicast and link-local ranges, sorted and each once.
func Routes(ctx context.Context) ([]netip.Prefix, error) { return nil, errTodo }
