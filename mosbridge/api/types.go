package api

import (
	"net/netip"
	"time"

	"github.com/mosdocker/mosdocker/internal/adminapi"
)

// Status is how the daemon and what it stands on are.
type Status struct {
	Version  string        `json:"version"`
	Started  time.Time     `json:"started"`
	Engine   EngineStatus  `json:"engine"`
	Switch   SwitchStatus  `json:"switch"`
	Repair   RepairStatus  `json:"repair"`
	Networks int           `json:"networks"`
	Endpoint EndpointCount `json:"endpoints"`
}

// EndpointCount counts endpoints: all in the record, and those whose container runs.
type EndpointCount struct {
	All    int `json:"all"`
	Joined int `json:"joined"`
}

// EngineStatus is the Docker Engine as seen by the collector.
type EngineStatus struct {
	Version string `json:"version,omitempty"`
	Error   string `json:"error,omitempty"` // why it did not answer
}

// SwitchStatus is Open vSwitch.
type SwitchStatus struct {
	Version string         `json:"version,omitempty"`
	Error   string         `json:"error,omitempty"`
	TSO     bool           `json:"tso"` // userspace segmentation offload is in force
	Bridges []BridgeStatus `json:"bridges"`
}

// BridgeStatus is one bridge that has networks.
type BridgeStatus struct {
	Name     string `json:"name"`
	Datapath string `json:"datapath"` // kernel or userspace
	Reason   string `json:"reason"`   // of the choice, and what follows for checksums
	Round    uint16 `json:"round"`    // of the flows in force
	Flows    int    `json:"flows"`
	Error    string `json:"error,omitempty"`
}

// RepairStatus is the last repair.
type RepairStatus struct {
	At    time.Time `json:"at"`
	Took  float64   `json:"took"` // seconds
	Steps int       `json:"steps"`
	Error string    `json:"error,omitempty"`
}

// Network is one network of the record.
type Network struct {
	ID        string         `json:"id"`
	Name      string         `json:"name,omitempty"` // as Docker calls it, when it was learned
	Number    uint32         `json:"number"`         // on this host, in cookies and reg0
	Bridge    string         `json:"bridge"`
	VLAN      uint16         `json:"vlan"`
	Uplink    string         `json:"uplink,omitempty"`
	Gateway   string         `json:"gateway"` // host, external or none
	NAT       bool           `json:"nat"`
	Internal  bool           `json:"internal"`
	MTU       int            `json:"mtu"` // in force
	RateIn    uint64         `json:"rateIn"`
	RateOut   uint64         `json:"rateOut"`
	Subnets   []netip.Prefix `json:"subnets"`
	Gateways  []netip.Addr   `json:"gateways"`
	Endpoints int            `json:"endpoints"` // in the record
	Joined    int            `json:"joined"`    // whose container runs
	Created   time.Time      `json:"created"`
}

// Endpoint is one interface of a container.
type Endpoint struct {
	ID        string       `json:"id"`
	Network   string       `json:"network"` // id
	NetName   string       `json:"networkName,omitempty"`
	Container string       `json:"container,omitempty"` // id, when it was learned
	Name      string       `json:"name,omitempty"`      // of the container
	State     string       `json:"state"`               // created, joined, or lost when its link is gone
	Port      string       `json:"port"`                // link of the host and port of the bridge
	Ofport    uint32       `json:"ofport"`
	Number    uint32       `json:"number"`
	MAC       string       `json:"mac"`
	Addrs     []netip.Addr `json:"addresses"`
	RateIn    uint64       `json:"rateIn"`
	RateOut   uint64       `json:"rateOut"`
	Stats     Stats        `json:"stats"`
	Since     time.Time    `json:"since"`
}

// Stats are an endpoint's counters as its container sees them.
type Stats struct {
	RxBytes   uint64 `json:"rxBytes"`
	RxPackets uint64 `json:"rxPackets"`
	RxDropped uint64 `json:"rxDropped"`
	TxBytes   uint64 `json:"txBytes"`
	TxPackets uint64 `json:"txPackets"`
	TxDropped uint64 `json:"txDropped"`
}

// Port is one published port.
type Port struct {
	Proto     string         `json:"proto"`
	HostIP    netip.Addr     `json:"hostIP"`
	HostPort  uint16         `json:"hostPort"`
	Target    netip.AddrPort `json:"target"`
	Endpoint  string         `json:"endpoint"`
	Network   string         `json:"network"`
	NetName   string         `json:"networkName,omitempty"`
	Container string         `json:"container,omitempty"`
	Name      string         `json:"name,omitempty"`
}

// Lease is one address that IPAM holds, or keeps for its owner.
type Lease struct {
	Pool  string     `json:"pool"`
	Addr  netip.Addr `json:"address"`
	State string     `json:"state"` // held or kept
	Owner string     `json:"owner"`
	Since time.Time  `json:"since"`
}

// ForgetRequest drops an address that is kept for an owner who is gone.
type ForgetRequest struct {
	Addr netip.Addr `json:"address"`
}

// RatesRequest changes the limits of a network or an endpoint. Exactly one of
// Network and Endpoint is set, to an id, its beginning, or a name. A nil rate
// stays as it is.
type RatesRequest struct {
	Network  string  `json:"network,omitempty"`
	Endpoint string  `json:"endpoint,omitempty"`
	In       *uint64 `json:"in,omitempty"`
	Out      *uint64 `json:"out,omitempty"`
	DryRun   bool    `json:"dryRun,omitempty"`
}

// Step is one change that a plan makes, and why.
type Step struct {
	Op     string `json:"op"`
	Object string `json:"object"`
	Bridge string `json:"bridge,omitempty"`
	Cause  string `json:"cause"`
}

// Plan is what was done, or with a dry run what would be.
type Plan struct {
	Steps []Step `json:"steps"`
}

// TraceRequest asks what happens to a packet that a container sends.
type TraceRequest struct {
	From  string     `json:"from"` // container or endpoint: id, its beginning, or name
	To    netip.Addr `json:"to"`
	Proto string     `json:"proto,omitempty"` // icmp (default), tcp or udp
	Port  uint16     `json:"port,omitempty"`  // destination port of tcp and udp
}

// Trace is the answer.
type Trace struct {
	Allowed bool     `json:"allowed"`
	Reason  string   `json:"reason"` // one sentence: where it goes, or which rule drops it
	Hops    []string `json:"hops"`   // the tables it passes
	Raw     string   `json:"raw"`    // as Open vSwitch prints it
}

// The types that all admin APIs share: see package adminapi.
type (
	// Finding is one thing that is not as it should be.
	Finding = adminapi.Finding
	// Audit is the leak check's answer.
	Audit = adminapi.Audit
	// GCRequest asks to collect.
	GCRequest = adminapi.GCRequest
	// GC is what was collected.
	GC = adminapi.GC
	// Check is one question of the doctor.
	Check = adminapi.Check
	// Doctor is the doctor's answer.
	Doctor = adminapi.Doctor
	// LogLevel is what is logged from now on.
	LogLevel = adminapi.LogLevel
	// Error is the answer to a request that was not done.
	Error = adminapi.Error
)
