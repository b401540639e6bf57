package ovs

import "context"

// Port is a port that is wished for: one link of the host on one bridge.
type Port struct {
	Bridge      string
	Name        string            // of the link and of the port
	ExternalIDs map[string]string // of the interface, beside the owner's mark
	// OfportRequest is the OpenFlow port number asked for, 1 to 65279; 0
	// leaves the choice to ovs-vswitchd. A number in use gives another one.
	OfportRequest uint32
	Transient     bool   // other_config:transient, which lets ovs-ctl remove it after a reboot
	Type          string // of the interface; "" is a link of the host, "internal" makes one
}

// Stats are counters of a port as the switch sees them: received is what came
// from the port's link, for an endpoint what the container sent.
type Stats struct {
	RxPackets, RxBytes, RxDropped, RxErrors uint64
	TxPackets, TxBytes, TxDropped, TxErrors uint64
}

// PortState is a port as it is.
type PortState struct {
	Name        string
	Bridge      string
	Ours        bool   // carries the owner's mark
	Ofport      uint32 // 0: ovs-vswitchd has given none
	Error       string // of ovs-vswitchd, why the port does not work
	Type        string // of the interface
	ExternalIDs map[string]string
	LinkUp      bool
	MTU         int    // 0: not known
	MAC         string // in use
	Stats       Stats  // refreshed by ovs-vswitchd every 5 s
}

// AddPort puts a link on a bridge and returns the OpenFlow port number that
// ovs-vswitchd gave it. A port of ours with the same name is repaired: moved
// from another bridge, its external ids and type set. A port of another owner
// is refused with ErrFailedPrecondition, a missing bridge gives ErrNotFound, an
// ovs-vswitchd that does not answer ErrUnavailable, and its refusal of the link
// ErrFailedPrecondition; after an error a port that this call made is gone.
func (c *Client) AddPort(ctx context.Context, p Port) (ofport uint32, err error) {
	return 0, errTodo
}

// DelPort takes a port of ours off its bridge, whichever that is, and waits
// until ovs-vswitchd, if it runs, has let go of the link. A missing port is no
// error, one of another owner is refused with ErrFailedPrecondition.
func (c *Client) DelPort(ctx context.Context, name string) error { return errTodo }

// Ports returns the ports of a bridge, or of all for "", by name, without the
// bridges' own local ports.
func (c *Client) Ports(ctx context.Context, bridge string) ([]PortState, error) {
	return nil, errTodo
}

// SetExternalIDs sets keys in the external ids of a port of ours and leaves the
// others; an empty value removes its key. A missing port gives ErrNotFound.
func (c *Client) SetExternalIDs(ctx context.Context, port string, ids map[string]string) error {
	return errTodo
}
