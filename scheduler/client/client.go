package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/api"
)

// DefaultSocket is where mos-scheduler listens on its own host.
const DefaultSocket = "/run/mos/scheduler.sock"

// Options say how a client proves who it is, and knows whom it asks. Over a unix socket none
// is needed.
type Options struct {
	Token    string
	CAFile   string // who signed the server's certificate; the system's by default
	CertFile string // ours, and its key
	KeyFile  string
	TLS      *tls.Config // in their place
	// Via is the mos-scheduler that asks in somebody's name; others leave it empty.
	Via string
}

// Client asks one scheduler.
type Client struct {
	at    string // of the API, for people
	base  string
	token string
	via   string
	http  http.Client
}

// New makes a client of an endpoint: https://HOST:PORT, unix:///PATH, or /PATH of a socket. It
// connects when it is used.
func New(endpoint string, o Options) (*Client, error) {
	if strings.HasPrefix(endpoint, "/") {
		endpoint = "unix://" + endpoint
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, fault.Invalid("scheduler %q: take https://HOST:PORT or the path of a unix socket", endpoint)
	}
	c := &Client{at: endpoint, token: o.Token, via: o.Via}
	t := &http.Transport{IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 16, ForceAttemptHTTP2: true}
	c.http.Transport = t
	switch {
	case u.Scheme == "unix" && u.Path != "":
		c.base = "http://scheduler"
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", u.Path)
		}
	case u.Scheme == "https" && u.Host != "":
		c.base = "https://" + u.Host
		const reached = 10 * time.Second // longer is a host that is away
		t.DialContext = (&net.Dialer{Timeout: reached}).DialContext
		if t.TLSClientConfig = o.TLS; o.TLS != nil {
			break
		}
		if t.TLSClientConfig, err = o.tls(); err != nil {
			return nil, err
		}
	default:
		return nil, fault.Invalid("scheduler %q: take https://HOST:PORT or the path of a unix socket", endpoint)
	}
	return c, nil
}

func (o Options) tls() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS13}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fault.Invalid("the scheduler's authority: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fault.Invalid("the scheduler's authority: %s has no certificate", o.CAFile)
		}
	}
	if o.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
		if err != nil {
			return nil, fault.Invalid("the certificate for the scheduler: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Endpoint is where it asks.
func (c *Client) Endpoint() string { return c.at }

// call is one request.
type call struct {
	method, path string
	query        url.Values
	header       map[string]string
	body         any
}

func (c *Client) do(ctx context.Context, k call) (*http.Response, error) {
	var body io.Reader
	if k.body != nil {
		data, err := json.Marshal(k.body, json.Deterministic(true))
		if err != nil {
			return nil, fmt.Errorf("write the request: %w", err)
		}
		body = bytes.NewReader(data)
	}
	at := c.base + k.path
	if len(k.query) > 0 {
		at += "?" + k.query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, k.method, at, body)
	if err != nil {
		return nil, fault.Invalid("%w", err)
	}
	c.sign(r)
	for key, value := range k.header {
		r.Header.Set(key, value)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("ask the scheduler at %s: %w", c.at, ctx.Err())
		}
		return nil, fault.Unavailable("the scheduler at %s does not answer: %w", c.at, plain(err))
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close() //nolint:errcheck // it is only read
		return nil, problem(resp)
	}
	return resp, nil
}

// sign says in a request whose it is.
func (c *Client) sign(r *http.Request) {
	r.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	if c.via != "" {
		r.Header.Set(api.HeaderVia, c.via)
	}
}

// plain leaves out the method and the URL, which nobody typed.
func plain(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

func problem(resp *http.Response) error {
	const most = 1 << 20
	data, err := io.ReadAll(io.LimitReader(resp.Body, most))
	p := &api.Problem{}
	if err == nil && json.Unmarshal(data, p) == nil && p.Detail != "" {
		return p
	}
	return api.ProblemOf(resp.StatusCode, "the scheduler answered "+resp.Status)
}

// read makes a call whose answer is JSON.
func read[T any](ctx context.Context, c *Client, k call) (T, error) {
	var out T
	resp, err := c.do(ctx, k)
	if err != nil {
		return out, err
	}
	defer resp.Body.Close() //nolint:errcheck // it is only read
	if resp.StatusCode == http.StatusNoContent {
		return out, nil
	}
	if err := json.UnmarshalRead(resp.Body, &out); err != nil {
		return out, fault.Unavailable("read the answer of the scheduler to %s %s: %w", k.method, k.path, err)
	}
	return out, nil
}

// resource is *T, which is a resource.
type resource[T any] interface {
	*T
	api.Resource
}

func pathOf[T any, R resource[T]](name string) string {
	p := "/v1/" + string(R(new(T)).Kind())
	if name != "" {
		p += "/" + url.PathEscape(name)
	}
	return p
}

// Filter says which resources of a list are wanted.
type Filter struct {
	Labels        []string // KEY=VALUE or KEY
	Service, Host string   // of sets
	On            string   // of events: KIND/NAME
	Limit         int      // items of one page; 0 is the server's
}

func (f Filter) query() url.Values {
	q := url.Values{}
	for _, l := range f.Labels {
		q.Add("label", l)
	}
	for key, value := range map[string]string{"service": f.Service, "host": f.Host, "on": f.On} {
		if value != "" {
			q.Set(key, value)
		}
	}
	if f.Limit > 0 {
		q.Set("limit", strconv.Itoa(f.Limit))
	}
	return q
}

// List reads all resources of a kind that the filter lets through, at one revision.
func List[T any, R resource[T]](ctx context.Context, c *Client, f Filter) (api.Page[T], error) {
	all := api.Page[T]{}
	q := f.query()
	for {
		page, err := read[api.Page[T]](ctx, c, call{method: http.MethodGet, path: pathOf[T, R](""), query: q})
		if err != nil {
			return api.Page[T]{}, err
		}
		all.Items, all.Revision = append(all.Items, page.Items...), page.Revision
		if page.Continue == "" {
			return all, nil
		}
		q.Set("continue", page.Continue)
	}
}

// Get reads one: Get[api.Host](ctx, c, "h1").
func Get[T any, R resource[T]](ctx context.Context, c *Client, name string) (*T, error) {
	return read[*T](ctx, c, call{method: http.MethodGet, path: pathOf[T, R](name)})
}

// Change says how a change is made.
type Change struct {
	Wait time.Duration // until a service is as wished; 0 for not
	Key  string        // Idempotency-Key of a create
	// DryRun stores nothing. It is not for services, which are answered with a forecast: see
	// [Client.Plan].
	DryRun bool
}

func (o Change) query() url.Values {
	q := url.Values{}
	if o.Wait > 0 {
		q.Set("wait", o.Wait.String())
	}
	if o.DryRun {
		q.Set("dryRun", "true")
	}
	return q
}

// Create stores a new resource, and returns it as stored.
func Create[T any, R resource[T]](ctx context.Context, c *Client, r R, o Change) (*T, error) {
	k := call{method: http.MethodPost, path: pathOf[T, R](""), query: o.query(), body: r}
	if o.Key != "" {
		k.header = map[string]string{"Idempotency-Key": o.Key}
	}
	return read[*T](ctx, c, k)
}

// Replace changes a resource that is still of the revision that r has.
func Replace[T any, R resource[T]](ctx context.Context, c *Client, r R, o Change) (*T, error) {
	return read[*T](ctx, c, call{method: http.MethodPut, path: pathOf[T, R](r.Head().Name), query: o.query(), body: r})
}

// Patch merges members of spec and labels into a resource, whatever the rest is.
func Patch[T any, R resource[T]](ctx context.Context, c *Client, name string, patch map[string]any, o Change) (*T, error) {
	return read[*T](ctx, c, call{method: http.MethodPatch, path: pathOf[T, R](name), query: o.query(), body: patch})
}

// Delete asks a resource to go; it stays until nothing of it is left.
func Delete[T any, R resource[T]](ctx context.Context, c *Client, name string) (*T, error) {
	return read[*T](ctx, c, call{method: http.MethodDelete, path: pathOf[T, R](name)})
}

// Explain says where one more set of a service would go; with a host, also why not there.
func (c *Client) Explain(ctx context.Context, service, host string) (*api.Explanation, error) {
	k := call{method: http.MethodGet, path: pathOf[api.Service](service) + "/explain", query: url.Values{}}
	if host != "" {
		k.query.Set("host", host)
	}
	return read[*api.Explanation](ctx, c, k)
}

// Plan says what would become of a service if it were stored now.
func (c *Client) Plan(ctx context.Context, s *api.Service) (*api.Forecast, error) {
	return read[*api.Forecast](ctx, c, call{method: http.MethodPost, path: "/v1/plan", body: s})
}

// Status is how the cluster's own parts do.
func (c *Client) Status(ctx context.Context) (*api.ClusterStatus, error) {
	return read[*api.ClusterStatus](ctx, c, call{method: http.MethodGet, path: "/v1/status"})
}

// Usage is what hosts and sets use, all that the query wants; its tenant is by who asks.
func (c *Client) Usage(ctx context.Context, q api.MeasuredQuery) ([]*api.Measured, error) {
	var all []*api.Measured
	for {
		page, err := c.UsagePage(ctx, q)
		if err != nil {
			return nil, err
		}
		if all = append(all, page.Items...); page.Continue == "" {
			return all, nil
		}
		q.Continue = page.Continue
	}
}

// UsagePage is one page of [Client.Usage].
func (c *Client) UsagePage(ctx context.Context, q api.MeasuredQuery) (*api.Page[api.Measured], error) {
	query := Filter{Service: q.Service, Host: q.Host, Limit: q.Limit}.query()
	for key, value := range map[string]string{"of": q.Of, "continue": q.Continue} {
		if value != "" {
			query.Set(key, value)
		}
	}
	return read[*api.Page[api.Measured]](ctx, c, call{method: http.MethodGet, path: "/v1/usage", query: query})
}

// CreateToken makes a token, whose secret is in the answer only.
func (c *Client) CreateToken(ctx context.Context, ask api.TokenRequest) (*api.NewTokenSecret, error) {
	return read[*api.NewTokenSecret](ctx, c, call{method: http.MethodPost, path: "/v1/tokens", body: ask})
}

// DeleteToken takes a token away.
func (c *Client) DeleteToken(ctx context.Context, name string) error {
	_, err := read[struct{}](ctx, c, call{method: http.MethodDelete, path: pathOf[api.Token](cmp.Or(name, "-"))})
	return err
}
