package ovs

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/mosdocker/mosdocker/internal/xexec"
)

// The mark of what belongs to us, in external_ids of bridges and interfaces.
const (
	OwnerKey = "mos:owner"
	Owner    = "mosbridge"
)

// Config is what a [Client] needs.
type Config struct {
	Runner xexec.Runner // required: runs ovs-ofctl and ovs-appctl
	Log    *slog.Logger // required
	RunDir string       // of Open vSwitch; "" is /run/openvswitch
	// Timeout bounds one call whose context has no nearer end; 0 is 5 s.
	Timeout time.Duration
}

// Client talks to one Open vSwitch. It may be used by several goroutines.
type Client struct {
	cfg Config
}

var errTodo = errors.New("not implemented")

// New returns a client; it opens nothing yet.
func New(cfg Config) (*Client, error) {
	if cfg.Runner == nil || cfg.Log == nil {
		return nil, errors.New("open vswitch client: runner and log are required")
	}
	return &Client{cfg: cfg}, nil
}

// Close ends the connection; later calls err.
func (c *Client) Close() error { return nil }

// Ping asks the database for an echo: nil says that it answers.
func (c *Client) Ping(ctx context.Context) error { return errTodo }
