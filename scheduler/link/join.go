package link

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// SplitToken takes the pin of the cluster's authority, the hexadecimal SHA-256 of its
// certificate, from what mos-scheduler token create prints for hosts:
// mos.NAME.SECRET.PIN. The secret is the rest.
func SplitToken(token string) (secret, pin string, err error) {
	const parts = 4
	if i := strings.LastIndexByte(token, '.'); i > 0 && strings.Count(token, ".") == parts-1 && len(token)-i-1 == hex.EncodedLen(sha256.Size) {
		return token[:i], token[i+1:], nil
	}
	return "", "", fault.Invalid("this is no token for hosts: mos-scheduler token create --role host prints one")
}

// Join asks an https endpoint for a host's first certificate. The server is one whose
// authority has the pin of the token.
func Join(ctx context.Context, endpoint, pin string, r JoinRequest) (Certificate, error) {
	return certify(ctx, endpoint, pathJoin, &tls.Config{
		MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, //nolint:gosec // verified by the pin
		VerifyConnection: func(s tls.ConnectionState) error { return pinned(s, pin, endpoint) },
	}, r)
}

// Renew asks for a host's next certificate by the one that it has.
func Renew(ctx context.Context, endpoint string, cfg *tls.Config, r RenewRequest) (Certificate, error) {
	return certify(ctx, endpoint, pathRenew, cfg, r)
}

func certify(ctx context.Context, endpoint, path string, cfg *tls.Config, in any) (Certificate, error) {
	c := Client{TLS: func() (*tls.Config, error) { return cfg, nil }}
	t, base, err := c.transport(endpoint)
	if err != nil {
		return Certificate{}, err
	}
	defer t.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, 2*callLimit)
	defer cancel()
	var out Certificate
	return out, (&conn{http: http.Client{Transport: t}, base: base}).send(ctx, path, in, &out)
}

// pinned verifies a server by the authority in its chain that has the pin.
func pinned(s tls.ConnectionState, pin, endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil {
		return err
	}
	for _, c := range s.PeerCertificates {
		if sum := sha256.Sum256(c.Raw); hex.EncodeToString(sum[:]) == pin {
			roots := x509.NewCertPool()
			roots.AddCert(c)
			_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, DNSName: u.Hostname()})
			return err
		}
	}
	return fault.Conflict("the server has another authority than the token says: the token is of another cluster, or somebody is in between")
}
