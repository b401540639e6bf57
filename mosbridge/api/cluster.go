package api

import (
	"context"
	"net/http"
	"net/netip"

	"github.com/mosdocker/mosdocker/internal/adminapi"
)

// Cluster is what this host has of the addresses that a cluster gives out. Of their subnets
// nothing else is given to containers; of other subnets it says nothing.
type Cluster struct {
	Host  string        `json:"host,omitempty"` // its name in the cluster
	Pools []ClusterPool `json:"pools"`
}

// ClusterPool is one subnet of a network of the cluster.
type ClusterPool struct {
	Network string       `json:"network"`
	Subnet  netip.Prefix `json:"subnet"`
	Range   netip.Prefix `json:"range,omitzero"` // of which the cluster gives out addresses; all of Subnet by default
	// Except are parts of that which others give out.
	Except []netip.Prefix `json:"except,omitempty"`
	Blocks []ClusterBlock `json:"blocks,omitempty"`
	// Sets are addresses of sets of this host, with the sets' names.
	Sets map[netip.Addr]string `json:"sets,omitempty"`
}

// ClusterBlock is addresses that this host gives out by itself.
type ClusterBlock struct {
	Prefix netip.Prefix `json:"prefix"`
	// Leaving says that it goes back to the cluster: nothing new is given of it.
	Leaving bool `json:"leaving,omitempty"`
	Used    int  `json:"used,omitempty"` // addresses that containers hold, in answers
}

// Cluster asks what the host has of a cluster's addresses.
func (c *Client) Cluster(ctx context.Context) (Cluster, error) {
	return adminapi.Get[Cluster](ctx, c.Client, "/v1/cluster")
}

// SetCluster says what the host has of a cluster's addresses, in place of what it had.
func (c *Client) SetCluster(ctx context.Context, to Cluster) (Cluster, error) {
	return adminapi.Send[Cluster](ctx, c.Client, http.MethodPut, "/v1/cluster", to)
}
