package api

import (
	"context"
	"net/http"
	"time"

	"github.com/mosdocker/mosdocker/internal/adminapi"
)

// Cluster is how the host does in its cluster.
type Cluster struct {
	Host string `json:"host"`
	// Cluster is the cluster's mark, "" of none.
	Cluster   string   `json:"cluster,omitempty"`
	Endpoints []string `json:"endpoints"`
	// Linked is the endpoint that the host is linked to, "" of none, Since when that was
	// last otherwise, and Error why it is so.
	Linked string    `json:"linked,omitempty"`
	Since  time.Time `json:"since"`
	Error  string    `json:"error,omitempty"`
	// Epoch and Revision are those of the assignment, and Sets how many it has.
	Epoch    int64 `json:"epoch,omitempty"`
	Revision int64 `json:"revision,omitempty"`
	Sets     int   `json:"sets"`
	// Expires is when the host's certificate ends.
	Expires time.Time `json:"expires,omitzero"`
}

// ClusterJoin asks a host to join a cluster.
type ClusterJoin struct {
	Endpoints []string `json:"endpoints"`
	Token     string   `json:"token"`
	Name      string   `json:"name,omitempty"` // that of mosd's configuration by default
}

// ClusterLeave asks a host to leave its cluster.
type ClusterLeave struct {
	Force bool `json:"force,omitempty"`
}

// Cluster asks how the host does in its cluster.
func (c *Client) Cluster(ctx context.Context) (Cluster, error) {
	return adminapi.Get[Cluster](ctx, c.c, "/v1/cluster")
}

// ClusterJoin makes the host one of a cluster.
func (c *Client) ClusterJoin(ctx context.Context, r ClusterJoin) (Cluster, error) {
	return adminapi.Send[Cluster](ctx, c.c, http.MethodPost, "/v1/cluster/join", r)
}

// ClusterLeave takes the host from its cluster.
func (c *Client) ClusterLeave(ctx context.Context, r ClusterLeave) (Cluster, error) {
	return adminapi.Send[Cluster](ctx, c.c, http.MethodPost, "/v1/cluster/leave", r)
}
