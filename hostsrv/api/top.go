package api

import (
	"context"
	"time"

	"github.com/mosdocker/mosdocker/internal/adminapi"
)

// Top is what all use, at one moment and since the one before.
type Top struct {
	At time.Time `json:"at"`
	// Over is the time in seconds that the rates are of.
	Over float64 `json:"over_seconds"`
	Host string  `json:"host"`
	Uses []Use   `json:"uses"`
}

// Use is what one object uses. Rates are per second; -1 is what was not measured, such as
// the network of a container that shares that of another.
type Use struct {
	Scope  string `json:"scope"` // host, set or container
	Name   string `json:"name"`
	Set    string `json:"set,omitempty"`    // of a container
	Member string `json:"member,omitempty"` // of a container in its set, "" of the infra
	Image  string `json:"image,omitempty"`
	// CPU is in cores, CPULimit too, 0 for none; CPUPercent is of the limit, of the host
	// of all its cores.
	CPU        float64 `json:"cpu_cores"`
	CPULimit   float64 `json:"cpu_limit_cores"`
	CPUPercent float64 `json:"cpu_percent"`
	// Throttled is the part of the time in percent in which the CPU limit held it.
	Throttled float64 `json:"cpu_throttled_percent"`
	// Memory is the working set in bytes, of the host what is not available.
	Memory        float64 `json:"memory_bytes"`
	MemoryLimit   float64 `json:"memory_limit_bytes"`
	MemoryPercent float64 `json:"memory_percent"`
	// Bytes a second.
	Read     float64 `json:"io_read_bytes"`
	Written  float64 `json:"io_write_bytes"`
	Received float64 `json:"net_rx_bytes"`
	Sent     float64 `json:"net_tx_bytes"`
	// The part of the time in percent in which some task waited, where the kernel tells.
	WaitCPU    float64 `json:"wait_cpu_percent"`
	WaitMemory float64 `json:"wait_memory_percent"`
	WaitIO     float64 `json:"wait_io_percent"`
	Threads    float64 `json:"threads"`
	Kills      float64 `json:"oom_kills"` // for want of memory, in all
}

// Top asks what all use. The first to ask for a while waits for the next sample.
func (c *Client) Top(ctx context.Context) (Top, error) {
	return adminapi.Get[Top](ctx, c.c, "/v1/top")
}
