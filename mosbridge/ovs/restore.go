package ovs

import "context"

// ArmRestoreWait makes the next start of ovs-vswitchd wait: it forwards what
// the kernel's datapath still knows and decides nothing until
// [Client.ReleaseRestoreWait], so that no packet meets half a flow table. It
// arms only when every bridge of the database is ours, since the others' would
// wait with them, and says whether it did. It changes nothing for the running
// ovs-vswitchd.
func (c *Client) ArmRestoreWait(ctx context.Context) (armed bool, err error) { return false, errTodo }

// ReleaseRestoreWait ends the wait of the running ovs-vswitchd, once flows and
// meters of all bridges are in, and then arms again as [Client.ArmRestoreWait]
// does. The removal is read back and confirmed by ovs-vswitchd first: a mark
// that sticks would leave the host without forwarding.
func (c *Client) ReleaseRestoreWait(ctx context.Context) error { return errTodo }

// DisarmRestoreWait removes the mark for good, for a clean stop or removal.
func (c *Client) DisarmRestoreWait(ctx context.Context) error { return errTodo }
