package state

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"os"
	"time"

	"github.com/coreos/go-semver/semver"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// Remote is an etcd of its own, and how to prove to it who we are.
type Remote struct {
	Endpoints []string // https://host:port or unix:///path, as many of the members as there are
	CAFile    string   // who signed the servers' certificates
	CertFile  string   // ours, and its key
	KeyFile   string
}

// Dial makes a client of an etcd elsewhere. It connects when it is used, and again
// whenever a connection broke.
func Dial(r Remote) (*clientv3.Client, error) {
	if len(r.Endpoints) == 0 {
		return nil, fault.Invalid("etcd: no endpoint is given")
	}
	secure := false
	for _, e := range r.Endpoints {
		u, err := url.Parse(e)
		switch {
		case err != nil:
			return nil, fault.Invalid("etcd: %q is no endpoint: %w", e, err)
		case u.Scheme == "https" && u.Host != "":
			secure = true
		case u.Scheme == "unix" && u.Path != "":
		default:
			return nil, fault.Invalid("etcd: endpoint %q: take https://HOST:PORT, since whoever reaches an etcd without TLS owns the cluster, or unix:///PATH", e)
		}
	}
	c := clientv3.Config{
		Endpoints: r.Endpoints, Logger: zap.NewNop(),
		DialKeepAliveTime: 5 * time.Second, DialKeepAliveTimeout: 3 * time.Second, PermitWithoutStream: true,
	}
	if secure {
		var err error
		if c.TLS, err = r.tls(); err != nil {
			return nil, err
		}
	}
	client, err := clientv3.New(c)
	if err != nil {
		return nil, fault.Invalid("etcd: %w", err)
	}
	return client, nil
}

func (r Remote) tls() (*tls.Config, error) {
	if r.CAFile == "" || r.CertFile == "" || r.KeyFile == "" {
		return nil, fault.Invalid("etcd: https:// needs three files: the authority of its certificates, a certificate of ours, its key")
	}
	pem, err := os.ReadFile(r.CAFile)
	if err != nil {
		return nil, fault.Invalid("etcd: %w", err)
	}
	authority := x509.NewCertPool()
	if !authority.AppendCertsFromPEM(pem) {
		return nil, fault.Invalid("etcd: %s has no certificate", r.CAFile)
	}
	if _, err := tls.LoadX509KeyPair(r.CertFile, r.KeyFile); err != nil {
		return nil, fault.Invalid("etcd: %s: %w", r.CertFile, err)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: authority,
		// Read at each connection, so that a renewed one is taken.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			c, err := tls.LoadX509KeyPair(r.CertFile, r.KeyFile)
			return &c, err
		},
	}, nil
}

// supported looks whether servers that are reached over a network are of versions without
// known holes: before 3.6.14, and 3.7.0, endpoints answer without a certificate
// (CVE-2026-33413).
func supported(ctx context.Context, etcd *clientv3.Client) error {
	for _, e := range etcd.Endpoints() {
		r, err := etcd.Status(ctx, e)
		if err != nil {
			continue // it is down; a quorum is needed anyway
		}
		if tooOld(r.Version) {
			return fault.Conflict("etcd at %s is of version %s: run 3.6.14, 3.7.1 or a later one", e, r.Version)
		}
	}
	return nil
}

func tooOld(version string) bool {
	v, err := semver.NewVersion(version)
	if err != nil {
		return true
	}
	least := semver.New("3.6.14")
	if v.Major == 3 && v.Minor == 7 {
		least = semver.New("3.7.1")
	}
	return v.LessThan(*least)
}
