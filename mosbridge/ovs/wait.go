package ovs

import (
	"context"
	"errors"
	"time"

	"github.com/containerd/errdefs"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// undoLimit bounds the taking back of what a call made.
const undoLimit = 3 * time.Second

// row returns the row of that name, or nil.
func (c *Client) row(ctx context.Context, table, name string, columns ...string) (ovsdb.Row, error) {
	res, err := c.transact(ctx, selectOp(table, where(colName, name), columns...))
	if err != nil || len(res[0].Rows) == 0 {
		return nil, err
	}
	return res[0].Rows[0], nil
}

// undo takes back what a call made when it met err, also when ctx is at its
// end.
func (c *Client) undo(ctx context.Context, err error, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
	defer cancel()
	return errors.Join(err, f(ctx))
}

// ofport waits until ovs-vswitchd has given the interface an OpenFlow port
// number, or has refused it.
func (c *Client) ofport(ctx context.Context, what, iface string) (uint32, error) {
	res, err := c.transact(ctx,
		changedOp(tableInterface, where(colName, iface), colOfport, ovsdb.OvsSet{}, c.left(ctx)),
		selectOp(tableInterface, where(colName, iface), colOfport, "error"),
	)
	switch {
	case timedOut(err):
		return 0, silent(what)
	case err != nil:
		return 0, err
	case len(res[1].Rows) == 0:
		return 0, fault.Of(errdefs.ErrAborted, "%s was deleted by somebody else: try again", what)
	}
	n, _ := num(res[1].Rows[0], colOfport)
	if n < 0 {
		return 0, fault.Conflict("ovs-vswitchd refuses %s: %s", what, reason(res[1].Rows[0]))
	}
	return uint32(n), nil
}

func reason(r ovsdb.Row) string {
	if s := str(r, "error"); s != "" {
		return s
	}
	return "see its log"
}

// left is the time that a wait at the server may take: a little less than the
// context has, so that the server's answer arrives.
func (c *Client) left(ctx context.Context) time.Duration {
	const margin = 50 * time.Millisecond
	if d, ok := ctx.Deadline(); ok {
		return max(time.Until(d)-margin, 0)
	}
	return c.cfg.Timeout
}

// confirmed waits until ovs-vswitchd has done the transaction that ended with
// [touchOp], and checks that it serves the bridge.
func (c *Client) confirmed(ctx context.Context, what, bridge string, res []ovsdb.OperationResult) error {
	if err := c.caughtUp(ctx, what, res); err != nil {
		return err
	}
	if !c.served(bridge) {
		return silent(what)
	}
	return nil
}

// caughtUp waits until ovs-vswitchd has done the transaction that ended with
// [touchOp].
func (c *Client) caughtUp(ctx context.Context, what string, res []ovsdb.OperationResult) error {
	rows := res[len(res)-1].Rows
	if len(rows) == 0 {
		return fault.Conflict("the database of open vswitch has no row Open_vSwitch: run ovs-vsctl init")
	}
	want, _ := num(rows[0], "next_cfg")
	for {
		res, err := c.transact(ctx, selectOp(tableRoot, every(), "cur_cfg"))
		if err != nil || len(res[0].Rows) == 0 {
			return err
		}
		have, _ := num(res[0].Rows[0], "cur_cfg")
		if have >= want {
			return nil
		}
		_, err = c.transact(ctx, changedOp(tableRoot, every(), "cur_cfg", have, c.left(ctx)))
		switch {
		case timedOut(err):
			return silent(what)
		case err != nil:
			return err
		}
	}
}
