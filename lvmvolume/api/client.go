package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"syscall"

	"github.com/mosdocker/mosdocker/internal/adminapi"
)

// Where the daemon serves, and what it keeps, unless it is configured otherwise.
const (
	DefaultSocket = "/run/mos/mos-lvm.sock"
	DefaultState  = "/var/lib/mos/mos-lvm"
)

// Client asks one daemon. Its methods may be called at once. A daemon that
// does not answer gives an error of class Unavailable.
type Client struct{ *adminapi.Client }

// New returns a client of the daemon at a unix socket; "" is [DefaultSocket].
func New(socket string) *Client {
	if socket == "" {
		socket = DefaultSocket
	}
	return &Client{adminapi.New("mos-lvm", socket)}
}

// Status is how the daemon is.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return adminapi.Get[Status](ctx, c.Client, "/v1/status")
}

// Volumes lists the volumes in service.
func (c *Client) Volumes(ctx context.Context) ([]Volume, error) {
	return adminapi.Get[[]Volume](ctx, c.Client, "/v1/volumes")
}

// Volume is one volume in service.
func (c *Client) Volume(ctx context.Context, ref string) (Volume, error) {
	return adminapi.Get[Volume](ctx, c.Client, "/v1/volumes/"+url.PathEscape(ref))
}

// Create makes a volume.
func (c *Client) Create(ctx context.Context, r CreateRequest) (Plan, error) {
	return adminapi.Send[Plan](ctx, c.Client, http.MethodPost, "/v1/volumes", r)
}

// Resize grows a volume.
func (c *Client) Resize(ctx context.Context, r ResizeRequest) (Plan, error) {
	return adminapi.Send[Plan](ctx, c.Client, http.MethodPost, "/v1/resize", r)
}

// Remove moves a volume to the recycle bin.
func (c *Client) Remove(ctx context.Context, r RemoveRequest) (Plan, error) {
	return adminapi.Send[Plan](ctx, c.Client, http.MethodPost, "/v1/remove", r)
}

// Snapshots lists the snapshots of all volumes in service.
func (c *Client) Snapshots(ctx context.Context) ([]Snapshot, error) {
	return adminapi.Get[[]Snapshot](ctx, c.Client, "/v1/snapshots")
}

// Snapshot takes a snapshot.
func (c *Client) Snapshot(ctx context.Context, r SnapshotRequest) (Plan, error) {
	return adminapi.Send[Plan](ctx, c.Client, http.MethodPost, "/v1/snapshots", r)
}

// RemoveSnapshot removes a snapshot for good.
func (c *Client) RemoveSnapshot(ctx context.Context, r SnapshotRequest) (Plan, error) {
	return adminapi.Send[Plan](ctx, c.Client, http.MethodPost, "/v1/snapshots/remove", r)
}

// Trash lists the recycle bin.
func (c *Client) Trash(ctx context.Context) ([]Volume, error) {
	return adminapi.Get[[]Volume](ctx, c.Client, "/v1/trash")
}

// Restore brings a volume back from the recycle bin.
func (c *Client) Restore(ctx context.Context, r RestoreRequest) (Plan, error) {
	return adminapi.Send[Plan](ctx, c.Client, http.MethodPost, "/v1/trash/restore", r)
}

// Purge removes volumes from the recycle bin for good. What is said on the way
// goes to progress, when that is not nil.
func (c *Client) Purge(ctx context.Context, r PurgeRequest, progress func(Progress)) (Plan, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return Plan{}, err
	}
	return c.follow(ctx, "/v1/trash/purge", bytes.NewReader(body), progress)
}

// Pools lists where volumes get their space.
func (c *Client) Pools(ctx context.Context) ([]Pool, error) {
	return adminapi.Get[[]Pool](ctx, c.Client, "/v1/pools")
}

// Events lists what the daemon did by itself, oldest first. It keeps the last
// few hundred of its own life.
func (c *Client) Events(ctx context.Context) ([]Event, error) {
	return adminapi.Get[[]Event](ctx, c.Client, "/v1/events")
}

// Audit is the leak check.
func (c *Client) Audit(ctx context.Context) (Audit, error) {
	return adminapi.Get[Audit](ctx, c.Client, "/v1/audit")
}

// GC collects at once what is left over.
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

// Export writes a volume or a snapshot as a stream, see package stream, to w.
// It returns how many bytes there were. A volume that has no snapshots must not
// be in use.
func (c *Client) Export(ctx context.Context, ref string, w io.Writer) (int64, error) {
	resp, err := c.Do(ctx, http.MethodGet, "/v1/export?volume="+url.QueryEscape(ref), nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	n, err := io.Copy(w, resp.Body)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
		err = fmt.Errorf("the stream is not whole: mos-lvm ended while it was sent: %w", err)
	}
	if err == nil && resp.Trailer.Get(TrailerError) != "" {
		err = adminapi.NewError(resp.Trailer.Get(TrailerError), resp.Trailer.Get(TrailerCode))
	}
	return n, err
}

// The HTTP trailers that say why an export broke off: a sentence, and the word of
// its class.
const (
	TrailerError = "Mos-Error"
	TrailerCode  = "Mos-Code"
)

// Import makes a volume of a stream that Export wrote. An empty name is that in
// the stream; options win over those of the stream.
func (c *Client) Import(ctx context.Context, r io.Reader, req CreateRequest, progress func(Progress)) (Plan, error) {
	opts, err := json.Marshal(req.Options)
	if err != nil {
		return Plan{}, err
	}
	q := url.Values{"name": {req.Name}, "options": {string(opts)}, "dryRun": {strconv.FormatBool(req.DryRun)}}
	return c.follow(ctx, "/v1/import?"+q.Encode(), r, progress)
}

// follow makes a call that answers in lines of [Progress].
func (c *Client) follow(ctx context.Context, path string, body io.Reader, progress func(Progress)) (Plan, error) {
	resp, err := c.Do(ctx, http.MethodPost, path, body)
	if err != nil {
		return Plan{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	dec := json.NewDecoder(resp.Body)
	for {
		var p Progress
		if err := dec.Decode(&p); err != nil {
			return Plan{}, fmt.Errorf("answer of mos-lvm to %s was cut off: docker mos volume ls says what became of it: %w", path, err)
		}
		switch {
		case p.Error != "":
			return Plan{}, adminapi.NewError(p.Error, p.Code)
		case p.Plan != nil:
			return *p.Plan, nil
		case progress != nil:
			progress(p)
		}
	}
}
