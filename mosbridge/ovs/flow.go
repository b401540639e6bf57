package ovs

import "context"

// Flow is a flow of a bridge.
type Flow struct {
	Table    uint8
	Cookie   uint64
	Priority uint16
	Match    string // "" matches all
	Actions  string
	Packets  uint64
	Bytes    uint64
}

// Bundle changes flows of a bridge atomically: all lines or none. A line is a
// flow in ovs-ofctl's syntax, after an optional word "add" (the default),
// "modify", "modify_strict", "delete" or "delete_strict" and a space. No lines
// do nothing. A line that ovs-ofctl does not understand gives
// ErrInvalidArgument, a bridge that is not served ErrUnavailable.
func (c *Client) Bundle(ctx context.Context, bridge string, lines []string) error {
	return errTodo
}

// DumpFlows returns the flows of a bridge that match, in ovs-ofctl's syntax
// such as "table=3" or "cookie=0x1000/0xf000"; "" is all.
func (c *Client) DumpFlows(ctx context.Context, bridge, match string) ([]Flow, error) {
	return nil, errTodo
}

// DiffFlows compares a bridge's flows with the wished ones, cookies and
// timeouts included. Missing are lines that have to be added, extra those that
// have to go; a changed flow is in both.
func (c *Client) DiffFlows(ctx context.Context, bridge string, want []string) (missing, extra []string, err error) {
	return nil, nil, errTodo
}

// CountFlows returns the number of flows of a bridge, of all tables.
func (c *Client) CountFlows(ctx context.Context, bridge string) (int, error) {
	return 0, errTodo
}

// Trace returns what the bridge would do with a packet, as ovs-appctl
// ofproto/trace prints it; the flow is in ovs-ofctl's syntax, with in_port.
func (c *Client) Trace(ctx context.Context, bridge, flow string) (string, error) {
	return "", errTodo
}
