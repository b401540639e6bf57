package ovs

import "context"

// Event says that what is watched came up or went away.
type Event struct {
	Bridge string // "" for the database
	Up     bool
	// First is true for the first event of a watch: what is up may have been
	// up for long.
	First bool
}

// WatchBridge keeps an OpenFlow connection to the bridge and calls f, one event
// at a time, when ovs-vswitchd starts or ceases to serve it, within 100 ms. The
// first call comes at once and tells the present state. After each Up the
// bridge's flows and meters may be gone: the owner replays them. It returns
// when ctx ends, with its cause.
func (c *Client) WatchBridge(ctx context.Context, bridge string, f func(Event)) error {
	return errTodo
}

// WatchDB does the same for the connection to the database.
func (c *Client) WatchDB(ctx context.Context, f func(Event)) error { return errTodo }
