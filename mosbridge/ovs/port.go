package ovs

import (
	"cmp"
	"context"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/mosbridge/link"
)

// letGo is how long DelPort waits for ovs-vswitchd: longer, and it is stuck,
// which is no reason to keep the port.
const letGo = time.Second

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

// what is how messages call the port.
func (p Port) what() string { return "port " + p.Name + " of bridge " + p.Bridge }

// row is the interface's row but its name, which cannot be changed.
func (p Port) row() ovsdb.Row {
	ids := marked(p.ExternalIDs)
	if i := p.ifindex(); i != "" {
		ids[IfindexKey] = i
	}
	row := ovsdb.Row{"type": p.Type, colExternalIDs: mapOf(ids), "ofport_request": ovsdb.OvsSet{}}
	if p.OfportRequest != 0 {
		row["ofport_request"] = p.OfportRequest
	}
	return row
}

// ifindex is the index of the port's link; "" when there is none, or none that
// is ours to make.
func (p Port) ifindex() string {
	if p.Type != "" {
		return ""
	}
	l, err := net.InterfaceByName(p.Name)
	if err != nil {
		return ""
	}
	return strconv.Itoa(l.Index)
}

func (p Port) config() ovsdb.OvsMap {
	if p.Transient {
		return mapOf(map[string]string{"transient": "true"})
	}
	return mapOf(nil)
}

// AddPort puts a link on a bridge and returns the OpenFlow port number that
// ovs-vswitchd gave it. A port of ours with the same name is repaired: moved
// from another bridge, its external ids and type set. A port of another owner
// is refused with ErrFailedPrecondition, a missing bridge gives ErrNotFound, an
// ovs-vswitchd that does not answer ErrUnavailable, and its refusal of the link
// ErrFailedPrecondition; after an error a port that this call made is gone.
func (c *Client) AddPort(ctx context.Context, p Port) (ofport uint32, err error) {
	err = c.verb(ctx, func(ctx context.Context) error {
		ofport, err = c.addPort(ctx, p)
		return err
	})
	return ofport, err
}

func (c *Client) addPort(ctx context.Context, p Port) (uint32, error) {
	err := c.insertPort(ctx, p)
	if timedOut(err) { // there is one of that name
		var done bool
		if done, err = c.repairPort(ctx, p); err == nil && !done {
			err = c.insertPort(ctx, p)
		}
	}
	if err != nil {
		return 0, err
	}
	n, err := c.ofport(ctx, p.what(), p.Name)
	if err != nil {
		return 0, c.undo(ctx, err, func(ctx context.Context) error { return c.delPort(ctx, p.Name) })
	}
	return n, nil
}

// insertPort makes the port. When there is one of that name its error is
// [timedOut].
func (c *Client) insertPort(ctx context.Context, p Port) error {
	iface := p.row()
	iface[colName] = p.Name
	owner := ovsdb.NewCondition(colExternalIDs, ovsdb.ConditionIncludes, mapOf(marked(nil)))
	res, err := c.transact(ctx,
		absentOp(tablePort, p.Name),
		insertOp(tableInterface, "i", iface),
		insertOp(tablePort, "p", ovsdb.Row{colName: p.Name, "interfaces": uuidSet("i"), colOtherConfig: p.config()}),
		// Without the bridge nothing refers to the two rows, and the server
		// drops them.
		mutateOp(tableBridge, []ovsdb.Condition{where(colName, p.Bridge), owner}, mutation(colPorts, "insert", uuidSet("p"))),
	)
	if err != nil || res[3].Count == 1 {
		return err
	}
	row, err := c.row(ctx, tableBridge, p.Bridge, colUUID)
	if err == nil && row != nil {
		return foreign("bridge", p.Bridge)
	}
	return cmp.Or(err, fault.NotFound("bridge %s is not there", p.Bridge))
}

// repairPort sets an existing port right where that can be done in place; else
// it deletes it and returns false.
func (c *Client) repairPort(ctx context.Context, p Port) (done bool, err error) {
	res, err := c.transact(ctx,
		selectOp(tablePort, where(colName, p.Name), colUUID),
		selectOp(tableInterface, where(colName, p.Name), colUUID, "type", colOfport, colExternalIDs),
		selectOp(tableBridge, where(colName, p.Bridge), colPorts),
	)
	if err != nil {
		return false, err
	}
	ports, ifaces, bridges := res[0].Rows, res[1].Rows, res[2].Rows
	if len(ports) == 0 { // gone since we looked
		return false, nil
	}
	if len(ifaces) == 0 || dict(ifaces[0], colExternalIDs)[OwnerKey] != Owner {
		return false, foreign("port", p.Name)
	}
	if len(bridges) == 0 {
		return false, fault.NotFound("bridge %s is not there", p.Bridge)
	}
	if !slices.Contains(uuids(bridges[0], colPorts), uuid(ports[0])) || stale(p, ifaces[0]) {
		return false, c.delPort(ctx, p.Name)
	}
	_, err = c.transact(ctx,
		updateOp(tableInterface, where(colUUID, ifaces[0][colUUID]), p.row()),
		updateOp(tablePort, where(colUUID, ports[0][colUUID]), ovsdb.Row{colOtherConfig: p.config()}),
	)
	return true, err
}

// stale says that ovs-vswitchd has refused the port, has it as another type, or
// holds on to a link that was since made again.
func stale(p Port, iface ovsdb.Row) bool {
	n, ok := num(iface, colOfport)
	return ok && n < 0 || str(iface, "type") != p.Type || dict(iface, colExternalIDs)[IfindexKey] != p.ifindex()
}

// DelPort takes a port of ours off its bridge, whichever that is, and waits
// until ovs-vswitchd, if it runs, has let go of the link. A missing port is no
// error, one of another owner is refused with ErrFailedPrecondition.
func (c *Client) DelPort(ctx context.Context, name string) error {
	return c.verb(ctx, func(ctx context.Context) error { return c.delPort(ctx, name) })
}

func (c *Client) delPort(ctx context.Context, name string) error {
	res, err := c.transact(ctx,
		selectOp(tablePort, where(colName, name), colUUID),
		selectOp(tableInterface, where(colName, name), colExternalIDs),
	)
	if err != nil || len(res[0].Rows) == 0 {
		return err
	}
	port, ifaces := uuid(res[0].Rows[0]), res[1].Rows
	if len(ifaces) == 0 || dict(ifaces[0], colExternalIDs)[OwnerKey] != Owner {
		return foreign("port", name)
	}
	ops := append([]ovsdb.Operation{
		selectOp(tableBridge, holds(colPorts, port), colName),
		mutateOp(tableBridge, []ovsdb.Condition{holds(colPorts, port)}, mutation(colPorts, "delete", uuidSet(port))),
	}, touchOp()...)
	if res, err = c.transact(ctx, ops...); err != nil {
		return err
	}
	if len(res[0].Rows) == 0 || !c.served(str(res[0].Rows[0], colName)) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, letGo)
	defer cancel()
	if err := c.caughtUp(ctx, "port "+name, res); err != nil {
		c.cfg.Log.WarnContext(ctx, "ovs-vswitchd has not confirmed a deletion", "port", name, "err", err)
	}
	return nil
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
	Error       string // why the port does not work; adding it again may help
	Type        string // of the interface
	ExternalIDs map[string]string
	LinkUp      bool
	MTU         int    // 0: not known
	MAC         string // in use
	Stats       Stats  // refreshed by ovs-vswitchd every 5 s
}

// Ports returns the ports of a bridge, or of all for "", by name, without the
// bridges' own local ports.
func (c *Client) Ports(ctx context.Context, bridge string) ([]PortState, error) {
	cond := every()
	if bridge != "" {
		cond = where(colName, bridge)
	}
	var ps []PortState
	err := c.verb(ctx, func(ctx context.Context) error {
		res, err := c.transact(ctx,
			selectOp(tableBridge, cond, colName, colPorts),
			selectOp(tablePort, every(), colUUID, colName, "interfaces"),
			selectOp(tableInterface, every(), colUUID, "type", colOfport, "error", colExternalIDs, "link_state", "mtu", "mac_in_use", "statistics"),
		)
		if err == nil {
			ps = portStates(res[0].Rows, res[1].Rows, res[2].Rows)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return ps, checkLinks(ctx, ps)
}

// checkLinks finds ports whose link is not the one that they were made for.
func checkLinks(ctx context.Context, ps []PortState) error {
	links, err := link.List(ctx, "")
	if err != nil {
		return err
	}
	index := map[string]string{}
	for _, l := range links {
		index[l.Name] = strconv.Itoa(l.Index)
	}
	for i, p := range ps {
		was := p.ExternalIDs[IfindexKey]
		switch now := index[p.Name]; {
		case p.Error != "" || was == "" || now == was:
		case now == "":
			ps[i].Error = "its link is gone"
		default:
			ps[i].Error = "its link was made again since the port was"
		}
	}
	return nil
}

func portStates(bridges, ports, ifaces []ovsdb.Row) []PortState {
	byUUID := map[string]ovsdb.Row{}
	for _, r := range slices.Concat(ports, ifaces) {
		byUUID[uuid(r)] = r
	}
	var ps []PortState
	for _, b := range bridges {
		for _, u := range uuids(b, colPorts) {
			port := byUUID[u]
			is := uuids(port, "interfaces")
			if len(is) == 0 || str(port, colName) == str(b, colName) {
				continue
			}
			ps = append(ps, portState(str(b, colName), str(port, colName), byUUID[is[0]]))
		}
	}
	slices.SortFunc(ps, func(a, b PortState) int { return cmp.Compare(a.Name, b.Name) })
	return ps
}

func portState(bridge, name string, i ovsdb.Row) PortState {
	ids, s := dict(i, colExternalIDs), numbers(i, "statistics")
	n, _ := num(i, colOfport)
	mtu, _ := num(i, "mtu")
	return PortState{
		Name: name, Bridge: bridge, Ours: ids[OwnerKey] == Owner,
		Ofport: uint32(max(n, 0)), Error: str(i, "error"), Type: str(i, "type"), ExternalIDs: ids,
		LinkUp: str(i, "link_state") == "up", MTU: int(mtu), MAC: str(i, "mac_in_use"),
		Stats: Stats{
			RxPackets: s["rx_packets"], RxBytes: s["rx_bytes"], RxDropped: s["rx_dropped"], RxErrors: s["rx_errors"],
			TxPackets: s["tx_packets"], TxBytes: s["tx_bytes"], TxDropped: s["tx_dropped"], TxErrors: s["tx_errors"],
		},
	}
}

// SetExternalIDs sets keys in the external ids of a port of ours and leaves the
// others; an empty value removes its key. A missing port gives ErrNotFound.
func (c *Client) SetExternalIDs(ctx context.Context, port string, ids map[string]string) error {
	set, keys := maps.Clone(ids), ovsdb.OvsSet{}
	for k, v := range ids {
		keys.GoSet = append(keys.GoSet, k)
		if v == "" {
			delete(set, k)
		}
	}
	return c.verb(ctx, func(ctx context.Context) error {
		row, err := c.row(ctx, tableInterface, port, colUUID, colExternalIDs)
		switch {
		case err != nil:
			return err
		case row == nil:
			return fault.NotFound("port %s is not there", port)
		case dict(row, colExternalIDs)[OwnerKey] != Owner:
			return foreign("port", port)
		}
		_, err = c.transact(ctx, mutateOp(tableInterface, []ovsdb.Condition{where(colUUID, row[colUUID])},
			mutation(colExternalIDs, "delete", keys), mutation(colExternalIDs, "insert", mapOf(set))))
		return err
	})
}
