package link

import "context"

// Link is a link of the host.
type Link struct {
	Name      string
	Index     int
	Kind      string // veth, bridge, …; "device" for hardware
	MAC       string
	MTU       int
	Up        bool   // administratively
	Carrier   bool   // and able to pass packets
	PeerIndex int    // of a veth: its peer's index, in the peer's namespace
	Peer      string // of a veth: its peer's name while it is in this namespace
	Master    int    // index of the bridge or bond it belongs to; 0 is none
}

// Delete deletes a link and with it its peer; a missing one is no error.
func Delete(ctx context.Context, name string) error { return errTodo }

// List returns the links whose names begin with the prefix, by name.
func List(ctx context.Context, prefix string) ([]Link, error) { return nil, errTodo }

// MTU returns a link's MTU; a missing link gives ErrNotFound.
func MTU(ctx context.Context, name string) (int, error) { return 0, errTodo }

// DefaultMTU returns the MTU and name of the link behind the default route,
// IPv4's before IPv6's; 1500 and "" when there is none.
func DefaultMTU(ctx context.Context) (mtu int, name string, err error) { return 0, "", errTodo }
