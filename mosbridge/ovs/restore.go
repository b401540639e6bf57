package ovs

import (
	"context"

	"github.com/containerd/errdefs"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/mosdocker/mosdocker/internal/fault"
)

const restoreWait = "flow-restore-wait"

// ArmRestoreWait makes the next start of ovs-vswitchd wait: it forwards what
// the kernel's datapath still knows and decides nothing until
// [Client.ReleaseRestoreWait], so that no packet meets half a flow table. It
// arms only when every bridge of the database is ours, since the others' would
// wait with them, and says whether it did. It changes nothing for the running
// ovs-vswitchd.
func (c *Client) ArmRestoreWait(ctx context.Context) (armed bool, err error) {
	err = c.verb(ctx, func(ctx context.Context) error {
		armed, err = c.arm(ctx)
		return err
	})
	return armed, err
}

func (c *Client) arm(ctx context.Context) (bool, error) {
	res, err := c.transact(ctx, selectOp(tableBridge, every(), colExternalIDs))
	if err != nil {
		return false, err
	}
	for _, r := range res[0].Rows {
		if dict(r, colExternalIDs)[OwnerKey] != Owner {
			return false, c.setRoot(ctx, restoreWait, "")
		}
	}
	if len(res[0].Rows) == 0 {
		return false, c.setRoot(ctx, restoreWait, "")
	}
	return true, c.setRoot(ctx, restoreWait, "true")
}

// setRoot sets or, with an empty value, removes a key of the database's
// other_config.
func (c *Client) setRoot(ctx context.Context, key, value string) error {
	_, err := c.transact(ctx, setRootOp(key, value))
	return err
}

func setRootOp(key, value string) ovsdb.Operation {
	ms := []ovsdb.Mutation{mutation(colOtherConfig, "delete", ovsdb.OvsSet{GoSet: []any{key}})}
	if value != "" {
		ms = append(ms, mutation(colOtherConfig, "insert", mapOf(map[string]string{key: value})))
	}
	return mutateOp(tableRoot, []ovsdb.Condition{every()}, ms...)
}

// ReleaseRestoreWait ends the wait of the running ovs-vswitchd, once flows and
// meters of all bridges are in, and then arms again as [Client.ArmRestoreWait]
// does. The removal is read back and confirmed by ovs-vswitchd first: a mark
// that sticks would leave the host without forwarding.
func (c *Client) ReleaseRestoreWait(ctx context.Context) error {
	return c.verb(ctx, func(ctx context.Context) error {
		if err := c.disarm(ctx); err != nil {
			return err
		}
		_, err := c.arm(ctx)
		return err
	})
}

// DisarmRestoreWait removes the mark for good, for a clean stop or removal, and
// ends the wait of the running ovs-vswitchd.
func (c *Client) DisarmRestoreWait(ctx context.Context) error {
	return c.verb(ctx, c.disarm)
}

func (c *Client) disarm(ctx context.Context) error {
	ops := append([]ovsdb.Operation{setRootOp(restoreWait, "")}, touchOp()...)
	res, err := c.transact(ctx, ops...)
	if err != nil {
		return err
	}
	if err := c.caughtUp(ctx, "end of "+restoreWait, res); err != nil {
		return err
	}
	back, err := c.transact(ctx, selectOp(tableRoot, every(), colOtherConfig))
	if err != nil {
		return err
	}
	if len(back[0].Rows) > 0 && dict(back[0].Rows[0], colOtherConfig)[restoreWait] == "true" {
		return fault.Of(errdefs.ErrAborted, "somebody else sets other_config:%s of open vswitch: try again", restoreWait)
	}
	return nil
}
