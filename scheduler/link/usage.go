package link

import (
	"time"

	"github.com/mosdocker/mosdocker/scheduler/api"
)

// Usage is what a host measured. It tells nothing that is decided by: it is kept in memory,
// and sent with the report that is due next.
type Usage struct {
	At   time.Time `json:"at"`
	Host api.Use   `json:"host"`
	// Sets are those of the cluster that were measured.
	Sets []SetUsage `json:"sets,omitzero"`
}

// SetUsage is what one set uses.
type SetUsage struct {
	Name string `json:"name"`
	api.Use
}
