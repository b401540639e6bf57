package api

import (
	"context"
	"net/http"
	"net/url"

	"github.com/mosdocker/mosdocker/internal/adminapi"
)

// DefaultSocket is where the daemon serves.
const DefaultSocket = "/run/mos/mosbridge.sock"

// Client asks one daemon. Its methods may be called at once. A daemon that
// does not answer gives an error of class Unavailable.
type Client struct{ *adminapi.Client }

// New returns a client of the daemon at a unix socket; "" is [DefaultSocket].
func New(socket string) *Client {
	if socket == "" {
		socket = DefaultSocket
	}
	return &Client{adminapi.New("mosbridge", socket)}
}

// Status is how the daemon is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return adminapi.Get[Status](ctx, c.Client, "/v1/status")
}

// Networks lists the networks.
func (c *Client) Networks(ctx context.Context) ([]Network, error) {
	return adminapi.Get[[]Network](ctx, c.Client, "/v1/networks")
}

// Network is one network, by id, its beginning, or name.
func (c *Client) Network(ctx context.Context, ref string) (Network, error) {
	return adminapi.Get[Network](ctx, c.Client, "/v1/networks/"+url.PathEscape(ref))
}

// Endpoints lists the endpoints.
func (c *Client) Endpoints(ctx context.Context) ([]Endpoint, error) {
	return adminapi.Get[[]Endpoint](ctx, c.Client, "/v1/endpoints")
}

// Endpoint is one endpoint, by its id, its beginning, or its container's id or name.
func (c *Client) Endpoint(ctx context.Context, ref string) (Endpoint, error) {
	return adminapi.Get[Endpoint](ctx, c.Client, "/v1/endpoints/"+url.PathEscape(ref))
}

// Ports lists the published ports.
func (c *Client) Ports(ctx context.Context) ([]Port, error) {
	return adminapi.Get[[]Port](ctx, c.Client, "/v1/ports")
}

// Leases lists the addresses that IPAM holds or keeps.
func (c *Client) Leases(ctx context.Context) ([]Lease, error) {
	return adminapi.Get[[]Lease](ctx, c.Client, "/v1/leases")
}

// Forget drops a kept address.
func (c *Client) Forget(ctx context.Context, r ForgetRequest) error {
	_, err := adminapi.Send[struct{}](ctx, c.Client, http.MethodPost, "/v1/leases/forget", r)
	return err
}

// SetRates changes limits, live.
func (c *Client) SetRates(ctx context.Context, r RatesRequest) (Plan, error) {
	return adminapi.Send[Plan](ctx, c.Client, http.MethodPost, "/v1/rates", r)
}

// Trace says what happens to a packet.
func (c *Client) Trace(ctx context.Context, r TraceRequest) (Trace, error) {
	return adminapi.Send[Trace](ctx, c.Client, http.MethodPost, "/v1/trace", r)
}

// Plan is what a repair would do.
func (c *Client) Plan(ctx context.Context) (Plan, error) {
	return adminapi.Get[Plan](ctx, c.Client, "/v1/plan")
}

// Audit is the leak check.
func (c *Client) Audit(ctx context.Context) (Audit, error) {
	return adminapi.Get[Audit](ctx, c.Client, "/v1/audit")
}

// GC collects at once what Docker does not know.
func (c *Client) GC(ctx context.Context, r GCRequest) (GC, error) {
	return adminapi.Send[GC](ctx, c.Client, http.MethodPost, "/v1/gc", r)
}

// Doctor examines the host.
func (c *Client) Doctor(ctx context.Context) (Doctor, error) {
	return adminapi.Get[Doctor](ctx, c.Client, "/v1/doctor")
}

// SetLogLevel changes what the daemon logs.
func (c *Client) SetLogLevel(ctx context.Context, l LogLevel) error {
	_, err := adminapi.Send[struct{}](ctx, c.Client, http.MethodPut, "/v1/loglevel", l)
	return err
}
