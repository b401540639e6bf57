package ovs

import "context"

// Datapath is the type of a bridge's datapath.
type Datapath string

// The datapaths.
const (
	Kernel    Datapath = "system" // the kernel's module openvswitch
	Userspace Datapath = "netdev" // ovs-vswitchd itself
)

// Bridge is a bridge.
type Bridge struct {
	Name string
	// Datapath "" asks EnsureBridge to keep that of an existing bridge and
	// to choose for a missing one: the kernel's where there is one, else
	// userspace.
	Datapath    Datapath
	ExternalIDs map[string]string // beside the owner's mark
	Ours        bool              // carries the owner's mark; ignored by EnsureBridge
}

// Datapaths says which datapaths can be used.
type Datapaths struct {
	Types  []Datapath // that ovs-vswitchd was built with
	Kernel bool       // the kernel has Open vSwitch's module
}

// Choose returns the datapath for a new bridge: the kernel's where there is one.
func (d Datapaths) Choose() Datapath {
	if d.Kernel {
		return Kernel
	}
	return Userspace
}

// EnsureBridge makes the bridge if it is missing, repairs its settings
// (fail_mode secure, no in-band control, the given external ids), waits until
// ovs-vswitchd serves it, and returns it with its datapath. A bridge of another
// owner, or with another datapath than the one asked for, is refused with
// ErrFailedPrecondition. A bridge that ovs-vswitchd cannot make is taken back.
func (c *Client) EnsureBridge(ctx context.Context, b Bridge) (Bridge, error) {
	return b, errTodo
}

// DeleteBridge deletes a bridge of ours with all its ports; a missing one is
// no error, one of another owner is refused with ErrFailedPrecondition.
func (c *Client) DeleteBridge(ctx context.Context, name string) error { return errTodo }

// Bridges returns all bridges, by name, also those of other owners.
func (c *Client) Bridges(ctx context.Context) ([]Bridge, error) { return nil, errTodo }

// Datapaths returns which datapaths can be used.
func (c *Client) Datapaths(ctx context.Context) (Datapaths, error) {
	return Datapaths{}, errTodo
}
