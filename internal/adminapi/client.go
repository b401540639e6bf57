package adminapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errhttp"
)

// Client asks one daemon. Its methods may be called at once. A daemon that
// does not answer gives an error of class Unavailable.
type Client struct {
	name string
	http http.Client
}

// New returns a client of the daemon of that name at a unix socket.
func New(name, socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	return &Client{name, http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// Get asks for what a path has.
func Get[T any](ctx context.Context, c *Client, path string) (T, error) {
	return Send[T](ctx, c, http.MethodGet, path, nil)
}

// Send makes a call whose body is the JSON of body, none when it is nil.
func Send[T any](ctx context.Context, c *Client, method, path string, body any) (T, error) {
	var out T
	var b bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&b).Encode(body); err != nil {
			return out, err
		}
	}
	resp, err := c.Do(ctx, method, path, &b)
	if err != nil {
		return out, err
	}
	defer func() { _ = resp.Body.Close() }()
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		return out, fmt.Errorf("answer of %s to %s %s: %w", c.name, method, path, err)
	}
	return out, nil
}

// Do makes a call whose body and answer are streams. The answer's body must be
// closed; a status other than 200 is an error.
func (c *Client) Do(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+c.name+path, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, &unreachableError{c.name, err}
	}
	if resp.StatusCode != http.StatusOK {
		defer func() { _ = resp.Body.Close() }()
		return nil, c.failure(resp)
	}
	return resp, nil
}

// unreachableError says that no daemon answered. It is of class Unavailable
// and wraps what the dialing gave.
type unreachableError struct {
	name  string
	cause error
}

func (e *unreachableError) Error() string   { return e.name + " does not answer: " + e.cause.Error() }
func (e *unreachableError) Unwrap() []error { return []error{e.cause, errdefs.ErrUnavailable} }

// Error is an error of the daemon: its sentence, with the class back.
type Error struct {
	Sentence string
	class    error
}

func (e *Error) Error() string { return e.Sentence }

// Unwrap gives the errdefs class.
func (e *Error) Unwrap() error { return e.class }

func (c *Client) failure(resp *http.Response) error {
	var body struct {
		Error string `json:"error"`
		Code  string `json:"code"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil || body.Error == "" {
		return &Error{c.name + " answered " + resp.Status, errhttp.ToNative(resp.StatusCode)}
	}
	return &Error{body.Error, classOf(body.Code, resp.StatusCode)}
}

// NewError is an error as a daemon sends it: a sentence, and the word of its
// class.
func NewError(sentence, code string) *Error {
	return &Error{sentence, classOf(code, http.StatusInternalServerError)}
}

// classOf reads the class from the code word, since one HTTP status stands for
// several classes.
func classOf(code string, status int) error {
	switch code {
	case "already_exists":
		return errdefs.ErrAlreadyExists
	case "conflict":
		return errdefs.ErrConflict
	case "deadline_exceeded":
		return context.DeadlineExceeded
	case "failed_precondition":
		return errdefs.ErrFailedPrecondition
	case "invalid_argument":
		return errdefs.ErrInvalidArgument
	case "not_found":
		return errdefs.ErrNotFound
	case "not_implemented":
		return errdefs.ErrNotImplemented
	case "permission_denied":
		return errdefs.ErrPermissionDenied
	case "resource_exhausted":
		return errdefs.ErrResourceExhausted
	case "unavailable":
		return errdefs.ErrUnavailable
	}
	return errhttp.ToNative(status)
}
