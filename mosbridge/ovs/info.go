package ovs

import "context"

// Info describes the running Open vSwitch.
type Info struct {
	Version   string // of ovs-vswitchd, such as 3.1.0
	DBVersion string // of the database's schema
	Datapaths Datapaths
	TSOSet    bool // other_config:userspace-tso-enable is set, for the next start
	// TSO says that the running ovs-vswitchd provably does userspace TSO.
	// Without it TX checksum offload must be off on links of userspace
	// bridges, or TCP does not pass.
	TSO bool
}

// Info describes the running Open vSwitch.
func (c *Client) Info(ctx context.Context) (Info, error) { return Info{}, errTodo }

// EnableTSO asks for userspace TSO from the next start of ovs-vswitchd on.
func (c *Client) EnableTSO(ctx context.Context) error { return errTodo }
