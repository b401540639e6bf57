package link

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/mosdocker/mosdocker/internal/adminapi"
	"github.com/mosdocker/mosdocker/internal/fault"
)

// The times of a host's end.
const (
	heartbeat     = 2 * time.Second // until a leader says another
	callLimit     = 3 * time.Second // for one report
	firstBackoff  = 100 * time.Millisecond
	mostBackoff   = 4 * time.Second
	mostLine      = 16 << 20              // bytes of an assignment
	reportsAtOnce = 20 * time.Millisecond // is the least between two
)

// Host is the end of the link that is a host. Its methods may be called at once.
type Host interface {
	// Name is the host's.
	Name() string
	// Report is how the host does now.
	Report(ctx context.Context) Report
	// Assign takes an assignment over. One that is refused is reported by not being
	// reported as had; the error is logged.
	Assign(ctx context.Context, a Assignment) error
	// Changed gives a value after each transition that is to be reported at once.
	Changed() <-chan struct{}
	// Linked is told when a leader has the host's reports, from which endpoint, and when
	// that is over, and why.
	Linked(endpoint string, lease Lease, err error)
}

// Client is a host's way to the controllers.
type Client struct {
	// Endpoints are of mos-schedulers, any of them: unix:///run/mos/scheduler.sock, or
	// https://HOST:PORT. They are asked for before each round, and are one at least.
	Endpoints func() []string
	// TLS is for https; it is asked for each connection, so that a renewed certificate is
	// taken.
	TLS func() (*tls.Config, error)
	Log *slog.Logger

	large sync.Once // a report was
}

// CheckEndpoint says whether an endpoint can be one. The error is of class InvalidArgument.
func CheckEndpoint(endpoint string) error {
	u, err := url.Parse(endpoint)
	if err == nil && (u.Scheme == "unix" && strings.HasPrefix(u.Path, "/") && u.Host == "" ||
		u.Scheme == "https" && u.Port() != "" && u.Hostname() != "" && (u.Path == "" || u.Path == "/")) {
		return nil
	}
	return fault.Invalid("%.100q is no endpoint: want unix:///PATH or https://HOST:PORT", endpoint)
}

// Run keeps a host linked until ctx ends: it goes from one endpoint to the next until one
// leads, and begins anew, later and later, when none does.
func (c *Client) Run(ctx context.Context, h Host) {
	backoff, said, last := firstBackoff, "", ""
	for ctx.Err() == nil {
		order := slices.Clone(c.Endpoints())
		rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] }) //nolint:gosec // jitter
		// One that fell silent may hold each call for as long as one may take: it comes last.
		if at := slices.Index(order, last); at >= 0 {
			order = append(slices.Delete(order, at, at+1), last)
		}
		for _, endpoint := range order {
			well, err := c.session(ctx, endpoint, h)
			if ctx.Err() != nil {
				return
			}
			if well {
				backoff, last = firstBackoff, endpoint
				break // somebody leads soon: ask all again
			}
			if text := fmt.Sprint(endpoint, err); text != said {
				c.Log.InfoContext(ctx, "not linked", "endpoint", endpoint, "err", err)
				said = text
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(rand.N(backoff)): //nolint:gosec // jitter
		}
		backoff = min(2*backoff, mostBackoff)
	}
}

// session reports to one endpoint and takes its assignments until one of them fails. It
// was well if there was a lease.
func (c *Client) session(ctx context.Context, endpoint string, h Host) (well bool, err error) {
	t, base, err := c.transport(endpoint)
	if err != nil {
		return false, err
	}
	defer t.CloseIdleConnections()
	conn := &conn{http: http.Client{Transport: t}, base: base, large: func(bytes int) {
		c.large.Do(func() {
			c.Log.WarnContext(ctx, "what the host has of images is not told: the report would be too large", "bytes", bytes)
		})
	}}
	lease, err := conn.report(ctx, h)
	if err != nil {
		return false, err
	}
	h.Linked(endpoint, lease, nil)
	c.Log.InfoContext(ctx, "linked", "endpoint", endpoint, "epoch", lease.Epoch)
	ctx, cancel := context.WithCancelCause(ctx)
	var work sync.WaitGroup
	work.Go(func() { cancel(c.follow(ctx, conn, h)) })
	if carrier, ok := h.(Carrier); ok {
		work.Go(func() { c.carry(ctx, conn, h.Name(), carrier) })
	}
	err = conn.beat(ctx, endpoint, h, lease)
	cancel(err)
	work.Wait()
	err = context.Cause(ctx)
	h.Linked("", Lease{}, err)
	c.Log.WarnContext(ctx, "link lost", "endpoint", endpoint, "err", err)
	return true, err
}

// transport is for one endpoint; base is what its URLs begin with.
func (c *Client) transport(endpoint string) (t *http.Transport, base string, err error) {
	if err := CheckEndpoint(endpoint); err != nil {
		return nil, "", err
	}
	dial := &net.Dialer{Timeout: callLimit}
	if path, ok := strings.CutPrefix(endpoint, "unix://"); ok {
		if _, err := os.Stat(path); err != nil {
			return nil, "", err // as on most hosts: no report is made for nobody
		}
		return &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dial.DialContext(ctx, "unix", path)
		}}, "http://mos-scheduler", nil
	}
	if c.TLS == nil {
		return nil, "", fault.Conflict("this host has no certificate: docker mos host join gets one")
	}
	cfg, err := c.TLS()
	if err != nil {
		return nil, "", err
	}
	return &http.Transport{
		DialContext: dial.DialContext, TLSClientConfig: cfg, TLSHandshakeTimeout: callLimit, ForceAttemptHTTP2: true,
		HTTP2: &http.HTTP2Config{SendPingTimeout: callLimit, PingTimeout: callLimit},
	}, strings.TrimSuffix(endpoint, "/"), nil
}

type conn struct {
	http  http.Client
	base  string
	large func(bytes int) // is told of a report that is so
}

// beat reports until that fails.
func (c *conn) beat(ctx context.Context, endpoint string, h Host, lease Lease) error {
	last := time.Now()
	for {
		every := heartbeat
		if lease.Heartbeat.Duration > 0 {
			every = lease.Heartbeat.Duration
		}
		// A tenth of jitter keeps hosts that began together from speaking together.
		wait := time.NewTimer(every - rand.N(every/10+1)) //nolint:gosec // jitter
		select {
		case <-ctx.Done():
			wait.Stop()
			return context.Cause(ctx)
		case <-wait.C:
		case <-h.Changed():
			wait.Stop()
			select { // somebody may wait for the first change; what comes soon after it goes together
			case <-ctx.Done():
			case <-time.After(time.Until(last.Add(reportsAtOnce))):
			}
		}
		last = time.Now()
		next, err := c.report(ctx, h)
		if err != nil {
			return err
		}
		lease = next
		h.Linked(endpoint, lease, nil)
	}
}

func (c *conn) report(ctx context.Context, h Host) (Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	r := h.Report(ctx)
	r.Sent = time.Now().UTC()
	data, err := json.Marshal(r)
	if len(data) > mostHolding && r.Holding != nil { // a host that is not heard is lost for it
		c.large(len(data))
		r.Holding = &Holding{Ports: r.Holding.Ports[:min(len(r.Holding.Ports), MostPorts)]}
		data, err = json.Marshal(r)
	}
	var lease Lease
	if err != nil {
		return lease, err
	}
	return lease, c.post(ctx, pathReports, data, &lease)
}

// send makes a call.
func (c *conn) send(ctx context.Context, path string, in, out any) error {
	data, err := json.Marshal(in)
	if err != nil {
		return err
	}
	return c.post(ctx, path, data, out)
}

func (c *conn) post(ctx context.Context, path string, data []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, bytes.NewReader(data))
	if err != nil {
		return err
	}
	resp, err := c.do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if data, err = io.ReadAll(io.LimitReader(resp.Body, mostReport)); err != nil {
		return err
	}
	return json.Unmarshal(data, out)
}

func (c *conn) do(req *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fault.Unavailable("%w", err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }()
	var body struct {
		Error string `json:"error"`
		Code  string `json:"code"`
	}
	data, _ := io.ReadAll(io.LimitReader(resp.Body, mostReport))
	if json.Unmarshal(data, &body) != nil || body.Error == "" {
		return nil, fault.Unavailable("%s %s is answered by %s", req.Method, req.URL.Path, resp.Status)
	}
	return nil, adminapi.NewError(body.Error, body.Code)
}

// follow takes assignments until their stream ends or is silent.
func (c *Client) follow(ctx context.Context, conn *conn, h Host) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, conn.base+pathAssignments+"?host="+url.QueryEscape(h.Name()), nil)
	if err != nil {
		return err
	}
	watch := time.AfterFunc(3*keepalive, func() { cancel(fault.Unavailable("the stream of assignments is silent")) })
	defer watch.Stop()
	resp, err := conn.do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, mostLine)
	for lines.Scan() {
		watch.Reset(3 * keepalive)
		if len(lines.Bytes()) == 0 {
			continue
		}
		var a Assignment
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			// A template may be of a later version: going on with the rest would stop that set.
			return fault.Invalid("read an assignment: %w", err)
		}
		if err := h.Assign(ctx, a); err != nil {
			c.Log.WarnContext(ctx, "assignment refused", "epoch", a.Epoch, "revision", a.Revision, "err", err)
		}
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return errors.Join(fault.Unavailable("the stream of assignments ended"), lines.Err())
}
