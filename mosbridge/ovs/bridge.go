package ovs

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/mosbridge/link"
)

// Datapath is the type of a bridge's datapath.
type Datapath string

// The datapaths.
const (
	Kernel    Datapath = "system" // the kernel's module openvswitch
	Userspace Datapath = "netdev" // ovs-vswitchd itself
)

// kernelFamily is the generic netlink family of the kernel's module. Asking for
// it makes a kernel that may load modules load it.
const kernelFamily = "ovs_datapath"

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
	if d.Kernel && slices.Contains(d.Types, Kernel) {
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
	b.ExternalIDs = marked(b.ExternalIDs)
	b.Ours = true
	err := c.verb(ctx, func(ctx context.Context) error {
		row, err := c.row(ctx, tableBridge, b.Name, colUUID, "datapath_type", colExternalIDs)
		switch {
		case err != nil:
			return err
		case row != nil:
			return c.repairBridge(ctx, &b, row)
		}
		return c.makeBridge(ctx, &b)
	})
	return b, err
}

func (c *Client) repairBridge(ctx context.Context, b *Bridge, row ovsdb.Row) error {
	has := cmp.Or(Datapath(str(row, "datapath_type")), Kernel)
	switch {
	case dict(row, colExternalIDs)[OwnerKey] != Owner:
		return foreign("bridge", b.Name)
	case b.Datapath != "" && b.Datapath != has:
		return fault.Conflict("bridge %s has datapath %s, not %s: delete the networks on it first, or name another bridge", b.Name, has, b.Datapath)
	}
	b.Datapath = has
	res, err := c.transact(ctx, append(
		[]ovsdb.Operation{updateOp(tableBridge, where(colUUID, row[colUUID]), settings(*b))}, touchOp()...,
	)...)
	if err != nil {
		return err
	}
	return c.confirmed(ctx, "bridge "+b.Name, b.Name, res)
}

// settings are the columns of a bridge that are kept as they should be.
func settings(b Bridge) ovsdb.Row {
	return ovsdb.Row{
		"fail_mode":             "secure",
		"mcast_snooping_enable": false,
		"stp_enable":            false,
		"rstp_enable":           false,
		colExternalIDs:          mapOf(b.ExternalIDs),
		colOtherConfig:          mapOf(map[string]string{"disable-in-band": "true"}),
	}
}

func (c *Client) makeBridge(ctx context.Context, b *Bridge) error {
	if b.Datapath == "" {
		d, err := c.datapaths(ctx)
		if err != nil {
			return err
		}
		b.Datapath = d.Choose()
	}
	row := settings(*b)
	row[colName] = b.Name
	row["datapath_type"] = string(b.Datapath)
	row[colPorts] = uuidSet("p")
	ops := append([]ovsdb.Operation{
		absentOp(tableBridge, b.Name),
		insertOp(tableInterface, "i", ovsdb.Row{colName: b.Name, "type": "internal", colExternalIDs: mapOf(marked(nil))}),
		insertOp(tablePort, "p", ovsdb.Row{colName: b.Name, "interfaces": uuidSet("i")}),
		insertOp(tableBridge, "b", row),
		mutateOp(tableRoot, []ovsdb.Condition{every()}, mutation("bridges", "insert", uuidSet("b"))),
	}, touchOp()...)
	res, err := c.transact(ctx, ops...)
	if timedOut(err) { // made by somebody else since we looked
		return fault.Of(errdefs.ErrAborted, "bridge %s was made by somebody else: try again", b.Name)
	}
	if err != nil {
		return err
	}
	if err = c.made(ctx, *b, res); err != nil {
		return c.undo(ctx, err, func(ctx context.Context) error { return c.dropBridge(ctx, b.Name) })
	}
	return nil
}

// made waits until ovs-vswitchd has made the bridge, or has not been able to.
func (c *Client) made(ctx context.Context, b Bridge, res []ovsdb.OperationResult) error {
	if err := c.caughtUp(ctx, "bridge "+b.Name, res); err != nil {
		return err
	}
	local, err := c.row(ctx, tableInterface, b.Name, colOfport, "error")
	if err != nil {
		return err
	}
	if n, ok := num(local, colOfport); !ok || n < 0 || !c.served(b.Name) {
		return fault.Conflict("ovs-vswitchd cannot make bridge %s with datapath %s: %s", b.Name, b.Datapath, reason(local))
	}
	return nil
}

// DeleteBridge deletes a bridge of ours with all its ports; a missing one is
// no error, one of another owner is refused with ErrFailedPrecondition.
func (c *Client) DeleteBridge(ctx context.Context, name string) error {
	return c.verb(ctx, func(ctx context.Context) error { return c.dropBridge(ctx, name) })
}

func (c *Client) dropBridge(ctx context.Context, name string) error {
	row, err := c.row(ctx, tableBridge, name, colUUID, colExternalIDs)
	if err != nil || row == nil {
		return err
	}
	if dict(row, colExternalIDs)[OwnerKey] != Owner {
		return foreign("bridge", name)
	}
	alive := c.served(name)
	res, err := c.transact(ctx, append(
		[]ovsdb.Operation{mutateOp(tableRoot, []ovsdb.Condition{every()}, mutation("bridges", "delete", uuidSet(uuid(row))))},
		touchOp()...,
	)...)
	if err != nil || !alive {
		return err
	}
	return c.caughtUp(ctx, "bridge "+name, res)
}

// Bridges returns all bridges, by name, also those of other owners.
func (c *Client) Bridges(ctx context.Context) ([]Bridge, error) {
	var bs []Bridge
	err := c.verb(ctx, func(ctx context.Context) error {
		res, err := c.transact(ctx, selectOp(tableBridge, every(), colName, "datapath_type", colExternalIDs))
		if err != nil {
			return err
		}
		bs = nil
		for _, r := range res[0].Rows {
			ids := dict(r, colExternalIDs)
			bs = append(bs, Bridge{
				Name: str(r, colName), Datapath: cmp.Or(Datapath(str(r, "datapath_type")), Kernel),
				ExternalIDs: ids, Ours: ids[OwnerKey] == Owner,
			})
		}
		return nil
	})
	slices.SortFunc(bs, func(a, b Bridge) int { return cmp.Compare(a.Name, b.Name) })
	return bs, err
}

// Datapaths returns which datapaths can be used.
func (c *Client) Datapaths(ctx context.Context) (d Datapaths, err error) {
	err = c.verb(ctx, func(ctx context.Context) error {
		d, err = c.datapaths(ctx)
		return err
	})
	return d, err
}

func (c *Client) datapaths(ctx context.Context) (Datapaths, error) {
	res, err := c.transact(ctx, selectOp(tableRoot, every(), "datapath_types"))
	if err != nil {
		return Datapaths{}, err
	}
	var d Datapaths
	for _, r := range res[0].Rows {
		for _, a := range atoms(r, "datapath_types") {
			s, _ := a.(string) // the schema says so
			d.Types = append(d.Types, Datapath(s))
		}
	}
	d.Kernel, err = link.HasFamily(kernelFamily)
	return d, err
}

func marked(ids map[string]string) map[string]string {
	m := maps.Clone(ids)
	if m == nil {
		m = map[string]string{}
	}
	m[OwnerKey] = Owner
	return m
}

func foreign(what, name string) error {
	return fault.Conflict("%s %s of open vswitch belongs to somebody else (no external_ids:%s=%s): choose another name or delete it", what, name, OwnerKey, Owner)
}
