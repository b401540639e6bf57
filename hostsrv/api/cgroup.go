package api

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/mosdocker/mosdocker/internal/adminapi"
)

// CgroupSetting is one setting of a cgroup that mosd keeps in force.
type CgroupSetting struct {
	// Target is the name of a container, set/NAME or volume/NAME.
	Target  string `json:"target"`
	Setting string `json:"setting"`
	Value   string `json:"value"` // as it is to be, sizes in bytes
	// Source is one of the sources of settings.
	Source string `json:"source"`
	// State is held, waiting or faulty, and Detail says why.
	State  string `json:"state"`
	Kernel string `json:"kernel,omitempty"` // what the kernel tells of it
	Detail string `json:"detail,omitempty"`
	// Repairs is how often somebody else changed it and mosd changed it back, since
	// mosd runs, and Repaired when that was last.
	Repairs  int       `json:"repairs"`
	Repaired time.Time `json:"repaired,omitzero"`
}

// The sources of settings.
const (
	CgroupByRecord = "record" // docker mos cgroup set
	CgroupBySpec   = "spec"   // Cgroup in the file of a set
	CgroupByVolume = "volume" // the iops and bps of a volume
)

// The states of settings.
const (
	CgroupHeld    = "held"    // in force
	CgroupWaiting = "waiting" // for the target to run
	CgroupFaulty  = "faulty"  // not in force
)

// CgroupSet gives a target settings beside those that it has, all or none.
type CgroupSet struct {
	Target   string            `json:"target"`
	Settings map[string]string `json:"settings"`
}

// CgroupUnset takes settings of a target away, without Settings all.
type CgroupUnset struct {
	Target   string   `json:"target"`
	Settings []string `json:"settings,omitempty"`
}

// Cgroup lists the settings of a target, or with "" of all.
func (c *Client) Cgroup(ctx context.Context, target string) ([]CgroupSetting, error) {
	return adminapi.Get[[]CgroupSetting](ctx, c.c, "/v1/cgroup?"+url.Values{"target": {target}}.Encode())
}

// CgroupSet gives a target settings, and returns all that it has.
func (c *Client) CgroupSet(ctx context.Context, r CgroupSet) ([]CgroupSetting, error) {
	return adminapi.Send[[]CgroupSetting](ctx, c.c, http.MethodPost, "/v1/cgroup/set", r)
}

// CgroupUnset takes settings away, and returns those that are left.
func (c *Client) CgroupUnset(ctx context.Context, r CgroupUnset) ([]CgroupSetting, error) {
	return adminapi.Send[[]CgroupSetting](ctx, c.c, http.MethodPost, "/v1/cgroup/unset", r)
}
