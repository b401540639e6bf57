package embed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/errdefs"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/state"
)

// Config is that of a server. Dir and Log are required.
type Config struct {
	Dir string // made if it is not there, for this user only
	Log *slog.Logger
	// Quota of the database in bytes, 8 GiB by default. At it no write is taken.
	Quota int64
	// History is how long watches may be behind, 10 minutes by default.
	History time.Duration
	// Cluster makes it one of several. Without, it listens on sockets in Dir only.
	Cluster *Cluster
}

// Cluster is what a server must know of itself and the others.
type Cluster struct {
	Name   string            // of this one
	Client string            // https://HOST:PORT on which clients reach it
	Peers  map[string]string // of all, by name: https://HOST:PORT on which the others do
	// Files of PEM: who signed all certificates, and ours, for servers and clients.
	CAFile, CertFile, KeyFile string
}

// Server is a running server.
type Server struct {
	lock   *os.File
	etcd   *embed.Etcd
	client *clientv3.Client
	outer  *clientv3.Client
}

const alone = "mos" // its name, where it is the only one

// Start runs a server until [Server.Close]. It returns when the server takes requests, which
// in a cluster is when a quorum is there. A directory in use is refused.
func Start(ctx context.Context, c Config) (*Server, error) {
	if c.Dir == "" || c.Log == nil {
		return nil, fault.Invalid("etcd: it needs a data directory and a logger")
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make etcd's data directory: %w", err)
	}
	if err := os.Chmod(c.Dir, 0o700); err != nil { //nolint:gosec // a folder; its sockets are for everybody
		return nil, fmt.Errorf("close etcd's data directory to others: %w", err)
	}
	ec, err := c.etcd()
	if err != nil {
		return nil, err
	}
	lock, err := take(c.Dir)
	if err != nil {
		return nil, err
	}
	s, err := c.run(ctx, ec)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	s.lock = lock
	return s, nil
}

// take locks a data directory, until the file is closed: etcd itself would take the
// sockets of the one who has it, and wait for its database without end.
func take(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock etcd's data directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fault.Conflict("etcd's data directory %s is in use by another process: %w", dir, err), f.Close())
	}
	return f, nil
}

func (c Config) run(ctx context.Context, ec *embed.Config) (*Server, error) {
	var last lastWords
	ec.ZapLoggerBuilder = embed.NewZapLoggerBuilder(logger(c.Log, &last))
	e, err := launch(ec, &last)
	switch {
	case errdefs.IsDataLoss(err):
		return nil, err
	case err != nil:
		return nil, fault.Unavailable("start etcd in %s: %w", c.Dir, err)
	}
	select {
	case <-e.Server.ReadyNotify():
		outer, dialed := state.Dial(c.remote(ec))
		if err = dialed; err == nil {
			s := &Server{etcd: e, client: v3client.New(e.Server), outer: outer}
			// Within the process defragmentation panics (v3client gives it nobody to tell),
			// and a status is always that of this server.
			s.client.Maintenance = clientv3.NewMaintenance(outer)
			return s, nil
		}
	case <-e.Server.StopNotify():
		err = fault.Unavailable("start etcd in %s: it stopped by itself", c.Dir)
	case err = <-e.Err():
		err = fault.Unavailable("start etcd in %s: %w", c.Dir, err)
	case <-ctx.Done():
		err = fault.Unavailable("start etcd in %s: %w", c.Dir, ctx.Err())
	}
	e.Server.HardStop() // Close alone would wait until a server is ready
	e.Close()
	return nil, err
}

// Client speaks to the server without a connection. It is closed with it.
func (s *Server) Client() *clientv3.Client { return s.client }

// Failed gives an error when the server stops by itself.
func (s *Server) Failed() <-chan error { return s.etcd.Err() }

// Close ends the server. Stores and watches on its client end before.
func (s *Server) Close() error {
	// The clients first: the server would wait 7 s for them.
	var errs []error
	for _, c := range []*clientv3.Client{s.client, s.outer} {
		if err := c.Close(); !errors.Is(err, context.Canceled) { // what it says when it is closed
			errs = append(errs, err)
		}
	}
	s.etcd.Close()
	return errors.Join(append(errs, s.lock.Close())...)
}

// remote is this server for a client over its socket.
func (c Config) remote(ec *embed.Config) state.Remote {
	r := state.Remote{Endpoints: []string{ec.AdvertiseClientUrls[0].String()}}
	if c.Cluster != nil {
		r.CAFile, r.CertFile, r.KeyFile = c.Cluster.CAFile, c.Cluster.CertFile, c.Cluster.KeyFile
	}
	return r
}

func (c Config) etcd() (*embed.Config, error) {
	ec := embed.NewConfig()
	ec.Dir = c.Dir
	ec.QuotaBackendBytes = c.Quota
	if c.Quota == 0 {
		ec.QuotaBackendBytes = 8 << 30
	}
	history := c.History
	if history == 0 {
		history = 10 * time.Minute
	}
	ec.AutoCompactionMode, ec.AutoCompactionRetention = embed.CompactorModePeriodic, history.String()
	ec.MaxTxnOps = state.MaxOps
	ec.WatchProgressNotifyInterval = 10 * time.Second
	ec.EnableGRPCGateway = false
	if c.Cluster == nil {
		return ec, c.alone(ec)
	}
	return ec, c.Cluster.join(ec)
}

// alone makes it listen on two sockets: etcd insists on them.
func (c Config) alone(ec *embed.Config) error {
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return fmt.Errorf("etcd's data directory: %w", err)
	}
	const longest = 107 // of a socket's path, in Linux
	client, peer := filepath.Join(dir, "client.sock"), filepath.Join(dir, "peer.sock")
	if len(client) > longest {
		return fault.Invalid("etcd's data directory %s: its sockets would have names longer than %d bytes: take a shorter one", dir, longest)
	}
	ec.Name = alone
	ec.ListenClientUrls = []url.URL{{Scheme: "unix", Path: client}}
	// Of a peer's URL it listens on the host; without one, on a socket that has no place in
	// the file system and is open to everybody.
	ec.ListenPeerUrls = []url.URL{{Scheme: "unix", Host: peer}}
	ec.AdvertiseClientUrls, ec.AdvertisePeerUrls = ec.ListenClientUrls, []url.URL{{Scheme: "unix", Path: peer}}
	ec.InitialCluster = ec.InitialClusterFromName(alone)
	return nil
}

func (c *Cluster) join(ec *embed.Config) error {
	if c.CAFile == "" || c.CertFile == "" || c.KeyFile == "" {
		return fault.Invalid("etcd: a cluster needs three files: the authority of its certificates, a certificate of this server, its key")
	}
	client, err := secure(c.Client)
	if err != nil {
		return err
	}
	peer, err := secure(c.Peers[c.Name])
	if err != nil {
		return fmt.Errorf("%s among the peers: %w", c.Name, err)
	}
	ec.Name = c.Name
	ec.ListenClientUrls, ec.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	ec.ListenPeerUrls, ec.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	ec.InitialCluster = initial(c.Peers)
	ec.TlsMinVersion = "TLS1.3"
	ec.ClientTLSInfo = transport.TLSInfo{CertFile: c.CertFile, KeyFile: c.KeyFile, TrustedCAFile: c.CAFile, ClientCertAuth: true}
	ec.PeerTLSInfo = ec.ClientTLSInfo
	return nil
}

func secure(address string) (url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Port() == "" {
		return url.URL{}, fault.Invalid("etcd: %q is no address: take https://HOST:PORT", address)
	}
	return *u, nil
}
