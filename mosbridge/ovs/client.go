package ovs

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/internal/xexec"
)

// The mark of what belongs to us, in external_ids of bridges and interfaces.
const (
	OwnerKey = "mos:owner"
	Owner    = "mosbridge"
)

// IfindexKey is the external id of an interface that holds the index of the
// link that the port was made for. On the userspace datapath ovs-vswitchd goes
// on reading from a link that is gone when one of the same name was made since,
// though it reports the new one's index.
const IfindexKey = "mos:ifindex"

const (
	defaultRunDir  = "/run/openvswitch"
	defaultTimeout = 5 * time.Second
	// patience is how long a call whose connection broke waits for the
	// database to come back: about what a restart of it takes.
	patience = time.Second
	// pause is the time between two looks at a socket that is not there.
	pause = 20 * time.Millisecond
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

	mu     sync.Mutex // guards all below
	db     *conn      // nil: not yet opened
	closed bool
}

// New returns a client; it opens nothing yet.
func New(cfg Config) (*Client, error) {
	if cfg.Runner == nil || cfg.Log == nil {
		return nil, errors.New("open vswitch client: runner and log are required")
	}
	if cfg.RunDir == "" {
		cfg.RunDir = defaultRunDir
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultTimeout
	}
	return &Client{cfg: cfg}, nil
}

// Close ends the connection; later calls err.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.db != nil {
		c.db.close()
	}
	return nil
}

// Ping asks the database for an echo: nil says that it answers.
func (c *Client) Ping(ctx context.Context) error {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	_, err := c.call(ctx, "echo", []string{"mos"})
	return err
}

func (c *Client) dbPath() string { return filepath.Join(c.cfg.RunDir, "db.sock") }

func (c *Client) mgmtPath(bridge string) string {
	return filepath.Join(c.cfg.RunDir, bridge+".mgmt")
}

// served says whether ovs-vswitchd runs and listens for the bridge.
func (c *Client) served(bridge string) bool {
	_, err := os.Stat(c.mgmtPath(bridge))
	return err == nil && c.running()
}

// running says whether ovs-vswitchd runs: it holds a lock on its pid file, seen
// from other pid namespaces too. Dialing it instead would leave a warning in
// its log each time.
func (c *Client) running() bool {
	f, err := os.Open(filepath.Join(c.cfg.RunDir, "ovs-vswitchd.pid"))
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // it was only read
	l := unix.Flock_t{Type: unix.F_WRLCK}
	return unix.FcntlFlock(f.Fd(), unix.F_GETLK, &l) == nil && l.Type != unix.F_UNLCK
}

// bound gives a call its end.
func (c *Client) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.cfg.Timeout)
}

func (c *Client) conn(ctx context.Context) (*conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, net.ErrClosed
	}
	if c.db != nil && !c.db.broken() {
		return c.db, nil
	}
	db, err := dialDB(ctx, c.dbPath())
	if err == nil {
		c.db = db
	}
	return db, err
}

func (c *Client) call(ctx context.Context, method string, params any) (json.RawMessage, error) {
	db, err := c.conn(ctx)
	if err != nil {
		return nil, c.unavailable(err)
	}
	res, err := db.call(ctx, method, params)
	if errors.Is(err, errLost) || errors.Is(err, context.DeadlineExceeded) {
		err = c.unavailable(err)
	}
	return res, err
}

// verb runs f within the client's time limit and repeats it when the connection
// broke under it, as all verbs may be repeated.
func (c *Client) verb(ctx context.Context, f func(ctx context.Context) error) error {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	err := f(ctx)
	if !errors.Is(err, errLost) {
		return err
	}
	end := time.Now().Add(patience)
	for time.Now().Before(end) {
		if wait(ctx, pause) != nil {
			return err
		}
		if _, e := c.conn(ctx); e != nil {
			continue
		}
		if err = f(ctx); !errors.Is(err, errLost) {
			return err
		}
	}
	return err
}

// wait returns after d or, with its cause, at the end of ctx.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// transact runs operations as one transaction: all or none.
func (c *Client) transact(ctx context.Context, ops ...ovsdb.Operation) ([]ovsdb.OperationResult, error) {
	params := make([]any, 0, len(ops)+1)
	params = append(params, "Open_vSwitch")
	for _, op := range ops {
		params = append(params, op)
	}
	raw, err := c.call(ctx, "transact", params)
	if err != nil {
		return nil, err
	}
	var res []ovsdb.OperationResult
	if err := json.Unmarshal(raw, &res); err != nil {
		return nil, err
	}
	for i, r := range res {
		if r.Error == "" {
			continue
		}
		e := &opError{op: "commit", table: "Open_vSwitch", name: r.Error, details: r.Details}
		if i < len(ops) {
			e.op, e.table = ops[i].Op, ops[i].Table
		}
		return nil, e
	}
	return res, nil
}
