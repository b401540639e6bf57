package api

import "time"

// Use is what a host or a set used when it was measured last. Rates are a second's; -1 is what
// was not measured, such as the network of a set that has its host's.
type Use struct {
	CPU int64 `json:"cpu,omitzero"` // thousandths of a core
	// Memory is the working set in bytes, of a host what is not available.
	Memory   int64 `json:"memory,omitzero"`
	Received int64 `json:"received,omitzero"` // bytes from the network
	Sent     int64 `json:"sent,omitzero"`
	Read     int64 `json:"read,omitzero"` // bytes from block devices
	Written  int64 `json:"written,omitzero"`
}

// Measured is what a host or a set uses, beside what it may. It is no resource: the leader has
// it in memory, as hosts told it last.
type Measured struct {
	Host string `json:"host"`
	// Set is the set's name, and nothing of the host itself.
	Set     string `json:"set,omitzero"`
	Service string `json:"service,omitzero"`
	// Sets is how many sets are on a host, and Capacity what it has for them.
	Sets     int     `json:"sets,omitzero"`
	Capacity Amounts `json:"capacity,omitzero"`
	// Given is a set's size, of a host that of its sets in sum; 0 is what has no limit.
	Given Amounts `json:"given,omitzero"`
	// Measured is when, by the host's clock. It and Use are missing while nothing is known:
	// the host is lost, its mosd does not tell, or the set has just begun.
	Measured time.Time `json:"measured,omitzero"`
	Use      *Use      `json:"use,omitzero"`
}

// MeasuredQuery is what is wanted of all that is measured. Hosts are in the order of their names,
// and the sets of each behind it in that of theirs.
type MeasuredQuery struct {
	Of      string // "hosts", "sets", or "" for both
	Host    string // only this one and its sets
	Service string // only its sets
	Tenant  string // only its sets
	// Continue is that of the page before, and Limit how much a page has; 0 is no bound.
	Continue string
	Limit    int
}

// The words of MeasuredQuery.Of.
const (
	OnlyHosts = "hosts"
	OnlySets  = "sets"
)
