package ovs

import "context"

// Meter drops what goes beyond a rate.
type Meter struct {
	ID    uint32 // 1 or more
	Kbps  uint32 // rate in 1000 bits a second
	Burst uint32 // size in 1000 bits; 0 is the switch's default
}

// SetMeters makes the meters of the bridge or changes those that are there.
// Meters are no part of bundles: set them before the flows that use them.
func (c *Client) SetMeters(ctx context.Context, bridge string, ms ...Meter) error { return errTodo }

// DelMeters deletes meters, and with each the flows that use it; missing ones
// are no error.
func (c *Client) DelMeters(ctx context.Context, bridge string, ids ...uint32) error { return errTodo }

// Meters returns the bridge's meters by id.
func (c *Client) Meters(ctx context.Context, bridge string) ([]Meter, error) { return nil, errTodo }
