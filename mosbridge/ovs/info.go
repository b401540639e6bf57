package ovs

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/mosdocker/mosdocker/mosbridge/link"
)

// Info describes the running Open vSwitch.
type Info struct {
	Version   string // of ovs-vswitchd, such as 3.1.0
	DBVersion string // of the database's schema
	Datapaths Datapaths
	TSOSet    bool // other_config:userspace-tso-enable is set, for the next start
	// TSO says that the running ovs-vswitchd provably does userspace TSO.
	// Without it TX checksum offload must be off on links of userspace
	// bridges, or TCP does not pass. The proof is on the local port of a
	// userspace bridge; while there is none, it is false.
	TSO bool
}

const tsoEnable = "userspace-tso-enable"

// Info describes the running Open vSwitch.
func (c *Client) Info(ctx context.Context) (i Info, err error) {
	out, err := c.appctl(ctx, "version")
	if err != nil {
		return Info{}, err
	}
	// ovs-vswitchd (Open vSwitch) 3.1.0
	if first, _, _ := strings.Cut(string(out), "\n"); strings.Contains(first, ") ") {
		_, i.Version, _ = strings.Cut(first, ") ")
	}
	err = c.verb(ctx, func(ctx context.Context) error {
		raw, err := c.call(ctx, "get_schema", []string{"Open_vSwitch"})
		if err != nil {
			return err
		}
		var schema struct {
			Version string `json:"version"`
		}
		if err := json.Unmarshal(raw, &schema); err != nil {
			return err
		}
		i.DBVersion = schema.Version
		res, err := c.transact(ctx, selectOp(tableRoot, every(), colOtherConfig), selectOp(tableBridge, every(), colName, "datapath_type"))
		if err != nil {
			return err
		}
		if i.Datapaths, err = c.datapaths(ctx); err != nil {
			return err
		}
		for _, r := range res[0].Rows {
			i.TSOSet = dict(r, colOtherConfig)[tsoEnable] == "true"
		}
		for _, r := range res[1].Rows {
			if Datapath(str(r, "datapath_type")) != Userspace || i.TSO {
				continue
			}
			// ovs-vswitchd gives its taps the header that TSO needs
			// when, and only when, it does TSO.
			name := str(r, colName)
			vnet, err := link.VNetHeader(ctx, name)
			if err != nil {
				c.cfg.Log.DebugContext(ctx, "local port not seen", "bridge", name, "err", err)
			}
			i.TSO = vnet
		}
		return nil
	})
	if err != nil {
		return Info{}, fmt.Errorf("describe open vswitch: %w", err)
	}
	return i, nil
}

// EnableTSO asks for userspace TSO from the next start of ovs-vswitchd on.
func (c *Client) EnableTSO(ctx context.Context) error {
	return c.verb(ctx, func(ctx context.Context) error { return c.setRoot(ctx, tsoEnable, "true") })
}
