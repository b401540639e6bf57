package sink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/containerd/errdefs"
)

// HTTP posts batches.
type HTTP struct {
	url    string
	header http.Header
	client *http.Client
}

// HTTPConfig is the configuration of back ends behind HTTP.
type HTTPConfig struct {
	Config
	TLSConfig
	Headers []string `toml:"headers" doc:"Further headers of requests, such as 'Authorization: Bearer x'."`
}

// Check returns all faults.
func (c *HTTPConfig) Check() error {
	_, err := NewHTTP(*c, nil)
	if c.URL == "" {
		err = nil
	}
	return errors.Join(c.Config.Check(), err)
}

// NewHTTP makes a poster of what c says; header is what the protocol wants.
func NewHTTP(c HTTPConfig, header map[string]string) (*HTTP, error) {
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("url: want http://HOST:PORT/PATH, not %q", c.URL)
	}
	t := http.DefaultTransport.(*http.Transport).Clone() //nolint:errcheck,forcetypeassert // package http says that it is one
	if t.TLSClientConfig, err = c.Load(); err != nil {
		return nil, err
	}
	h := &HTTP{url: c.URL, header: http.Header{}, client: &http.Client{Transport: t}}
	for k, v := range header {
		h.header.Set(k, v)
	}
	for _, line := range c.Headers {
		k, v, ok := strings.Cut(line, ":")
		if !ok || strings.ContainsAny(line, "\r\n") || k == "" {
			return nil, fmt.Errorf("headers: want NAME: VALUE, not %q", line)
		}
		h.header.Set(k, strings.TrimSpace(v))
	}
	return h, nil
}

// answerLimit is what is read of an answer.
const answerLimit = 64 << 10

// Post posts a body and returns the answer. Answers that say that the request is
// wrong are an [errdefs.ErrInvalidArgument].
func (h *HTTP) Post(ctx context.Context, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
	return h.do(req, err)
}

// Get asks for what is at a path behind the URL.
func (h *HTTP) Get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(h.url, "/")+path, http.NoBody)
	return h.do(req, err)
}

func (h *HTTP) do(req *http.Request, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	req.Header = h.header
	resp, err := h.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // it was read
	answer, err := io.ReadAll(io.LimitReader(resp.Body, answerLimit))
	if resp.StatusCode/100 == 2 {
		return answer, err
	}
	err = fmt.Errorf("%s answers %s: %.200q", h.url, resp.Status, answer)
	switch resp.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		// The last three are faults of a configuration, which somebody mends.
		return nil, err
	}
	if resp.StatusCode/100 == 4 {
		return nil, fmt.Errorf("%w: %w", errdefs.ErrInvalidArgument, err)
	}
	return nil, err
}
