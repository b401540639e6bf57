package client

import (
	"bytes"
	"context"
	"io"
	"net/http"

	"github.com/go-json-experiment/json"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/session"
)

// Session begins a session with a container of a set. It ends with ctx, at the latest, and
// the caller closes it.
func (c *Client) Session(ctx context.Context, set string, in session.Request) (*session.Conn, error) {
	rw, err := c.Upgrade(ctx, set, in)
	if err != nil {
		return nil, err
	}
	return session.NewConn(rw), nil
}

// Upgrade is a session whose frames nobody has read.
func (c *Client) Upgrade(ctx context.Context, set string, in session.Request) (io.ReadWriteCloser, error) {
	data, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+pathOf[api.SetInstance](set)+"/session", bytes.NewReader(data))
	if err != nil {
		return nil, fault.Invalid("%w", err)
	}
	c.sign(req)
	shared, ok := c.http.Transport.(*http.Transport)
	if !ok {
		return nil, fault.Later("this client has no transport for sessions")
	}
	rw, resp, err := session.Dial(ctx, shared, req)
	switch {
	case err != nil:
		return nil, fault.Unavailable("the scheduler at %s does not answer: %w", c.at, plain(err))
	case resp != nil:
		defer resp.Body.Close() //nolint:errcheck // it is only read
		return nil, problem(resp)
	}
	return rw, nil
}
