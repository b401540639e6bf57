package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"

	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errhttp"
)

// DefaultSocket is where the daemon serves.
const DefaultSocket = "/run/mos/mosbridge.sock"

// Client asks one daemon. Its methods may be called at once. A daemon that
// does not answer gives an error of class Unavailable.
type Client struct {
	http http.Client
}

// New returns a client of the daemon at a unix socket; "" is [DefaultSocket].
func New(socket string) *Client {
	if socket == "" {
		socket = DefaultSocket
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	return &Client{http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// Status is how the daemon is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, "/v1/status")
}

// Networks lists the networks.
func (c *Client) Networks(ctx context.Context) ([]Network, error) {
	return get[[]Network](ctx, c, "/v1/networks")
}

// Network is one network, by id, its beginning, or name.
func (c *Client) Network(ctx context.Context, ref string) (Network, error) {
	return get[Network](ctx, c, "/v1/networks/"+url.PathEscape(ref))
}

// Endpoints lists the endpoints.
func (c *Client) Endpoints(ctx context.Context) ([]Endpoint, error) {
	return get[[]Endpoint](ctx, c, "/v1/endpoints")
}

// Endpoint is one endpoint, by its id, its beginning, or its container's id or name.
func (c *Client) Endpoint(ctx context.Context, ref string) (Endpoint, error) {
	return get[Endpoint](ctx, c, "/v1/endpoints/"+url.PathEscape(ref))
}

// Ports lists the published ports.
func (c *Client) Ports(ctx context.Context) ([]Port, error) { return get[[]Port](ctx, c, "/v1/ports") }

// Leases lists the addresses that IPAM holds or keeps.
func (c *Client) Leases(ctx context.Context) ([]Lease, error) {
	return get[[]Lease](ctx, c, "/v1/leases")
}

// Forget drops a kept address.
func (c *Client) Forget(ctx context.Context, r ForgetRequest) error {
	_, err := send[struct{}](ctx, c, http.MethodPost, "/v1/leases/forget", r)
	return err
}

// SetRates changes limits, live.
func (c *Client) SetRates(ctx context.Context, r RatesRequest) (Plan, error) {
	return send[Plan](ctx, c, http.MethodPost, "/v1/rates", r)
}

// Trace says what happens to a packet.
func (c *Client) Trace(ctx context.Context, r TraceRequest) (Trace, error) {
	return send[Trace](ctx, c, http.MethodPost, "/v1/trace", r)
}

// Plan is what a repair would do.
func (c *Client) Plan(ctx context.Context) (Plan, error) { return get[Plan](ctx, c, "/v1/plan") }

// Audit is the leak check.
func (c *Client) Audit(ctx context.Context) (Audit, error) { return get[Audit](ctx, c, "/v1/audit") }

// GC collects at once what Docker does not know.
func (c *Client) GC(ctx context.Context, r GCRequest) (GC, error) {
	return send[GC](ctx, c, http.MethodPost, "/v1/gc", r)
}

// Doctor examines the host.
func (c *Client) Doctor(ctx context.Context) (Doctor, error) {
	return get[Doctor](ctx, c, "/v1/doctor")
}

// SetLogLevel changes what the daemon logs.
func (c *Client) SetLogLevel(ctx context.Context, l LogLevel) error {
	_, err := send[struct{}](ctx, c, http.MethodPut, "/v1/loglevel", l)
	return err
}

func get[T any](ctx context.Context, c *Client, path string) (T, error) {
	return send[T](ctx, c, http.MethodGet, path, nil)
}

func send[T any](ctx context.Context, c *Client, method, path string, body any) (T, error) {
	var out T
	var b bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&b).Encode(body); err != nil {
			return out, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://mosbridge"+path, &b)
	if err != nil {
		return out, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return out, &unreachableError{err}
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return out, failure(resp)
	}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		return out, fmt.Errorf("answer of mosbridge to %s %s: %w", method, path, err)
	}
	return out, nil
}

// unreachableError says that no daemon answered. It is of class Unavailable
// and wraps what the dialing gave.
type unreachableError struct{ cause error }

func (e *unreachableError) Error() string   { return "mosbridge does not answer: " + e.cause.Error() }
func (e *unreachableError) Unwrap() []error { return []error{e.cause, errdefs.ErrUnavailable} }

// Error is an error of the daemon: its sentence, with the class back.
type Error struct {
	Sentence string
	class    error
}

func (e *Error) Error() string { return e.Sentence }

// Unwrap gives the errdefs class.
func (e *Error) Unwrap() error { return e.class }

func failure(resp *http.Response) error {
	var body struct {
		Error string `json:"error"`
		Code  string `json:"code"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil || body.Error == "" {
		return &Error{"mosbridge answered " + resp.Status, errhttp.ToNative(resp.StatusCode)}
	}
	return &Error{body.Error, classOf(body.Code, resp.StatusCode)}
}

// classOf reads the class from the code word, since one HTTP status stands for
// several classes.
func classOf(code string, status int) error {
	switch code {
	case "already_exists":
		return errdefs.ErrAlreadyExists
	case "failed_precondition":
		return errdefs.ErrFailedPrecondition
	case "resource_exhausted":
		return errdefs.ErrResourceExhausted
	case "deadline_exceeded":
		return context.DeadlineExceeded
	}
	return errhttp.ToNative(status)
}
