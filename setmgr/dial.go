package setmgr

import (
	"context"
	"net"
	"net/http"
	"strconv"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// Dial connects to a port of the loopback address in the network of a process.
type Dial func(ctx context.Context, pid, port int) (net.Conn, error)

// dialProbe asks by tcp or http.
func dialProbe(ctx context.Context, p spec.Probe, pid int, dial Dial) error {
	if p.HTTP == nil {
		c, err := dial(ctx, pid, p.TCP)
		if err == nil {
			err = c.Close()
		}
		return err
	}
	t := &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, pid, p.HTTP.Port) },
	}
	defer t.CloseIdleConnections()
	path := p.HTTP.Path
	if path == "" {
		path = "/"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost:"+strconv.Itoa(p.HTTP.Port)+path, nil)
	if err != nil {
		return err
	}
	resp, err := t.RoundTrip(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 399 {
		return fault.Conflict("GET %s of port %d gives %s", path, p.HTTP.Port, resp.Status)
	}
	return nil
}
