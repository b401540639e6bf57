package ca

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/link"
	"github.com/mosdocker/mosdocker/scheduler/state"
)

// How long certificates are valid.
const (
	authorityFor = 10 * 365 * 24 * time.Hour
	serverFor    = 90 * 24 * time.Hour
	hostFor      = 30 * 24 * time.Hour // hosts renew theirs at two thirds
	early        = 5 * time.Minute     // clocks may differ so much
)

// stored is the authority as the store has it. It is of no kind that the API shows.
type stored struct {
	api.Meta
	Spec struct {
		Certificate string `json:"certificate"` // PEM
		Key         string `json:"key"`
	} `json:"spec"`
}

// Kind implements [api.Resource].
func (*stored) Kind() api.Kind { return "authorities" }

// Head implements [api.Resource].
func (s *stored) Head() *api.Meta { return &s.Meta }

// Check implements [api.Resource].
func (*stored) Check() error { return nil }

// Authority signs certificates. It is safe for concurrent use.
type Authority struct {
	store *state.Store
	now   func() time.Time
	cert  *x509.Certificate
	key   crypto.Signer
	pem   []byte
}

// Open reads the authority of a store, or makes it.
func Open(ctx context.Context, store *state.Store, now func() time.Time) (*Authority, error) {
	const name = "cluster"
	kept, err := state.Get[stored](ctx, store, name)
	if errdefs.IsNotFound(err) {
		if kept, err = create(name, now()); err != nil {
			return nil, err
		}
		err = store.Create(ctx, kept)
		if errdefs.IsAlreadyExists(err) { // another controller was faster
			kept, err = state.Get[stored](ctx, store, name)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the authority of certificates: %w", err)
	}
	pair, err := tls.X509KeyPair([]byte(kept.Spec.Certificate), []byte(kept.Spec.Key))
	if err != nil {
		return nil, fmt.Errorf("the authority of certificates as stored: %w", err)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, fault.Invalid("the stored authority has a key that cannot sign")
	}
	return &Authority{store: store, now: now, cert: pair.Leaf, key: key, pem: []byte(kept.Spec.Certificate)}, nil
}

func create(name string, now time.Time) (*stored, error) {
	key, keyPEM, err := newKey()
	if err != nil {
		return nil, err
	}
	t := template(now, authorityFor)
	t.Subject = pkix.Name{CommonName: "MosDocker cluster " + t.SerialNumber.Text(36)[:8]}
	t.IsCA, t.BasicConstraintsValid, t.MaxPathLenZero = true, true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the authority of certificates: %w", err)
	}
	s := &stored{Meta: api.Meta{Name: name}}
	s.Spec.Certificate, s.Spec.Key = string(block("CERTIFICATE", der)), string(keyPEM)
	return s, nil
}

func newKey() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make a key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("write a key: %w", err)
	}
	return key, block("PRIVATE KEY", der), nil
}

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// Made is when a certificate of ours was made, to the second.
func Made(c *x509.Certificate) time.Time { return c.NotBefore.Add(early) }

// template is a certificate of a random number that is valid from now.
func template(now time.Time, life time.Duration) *x509.Certificate {
	serial := make([]byte, 16)
	_, _ = rand.Read(serial) // never fails
	serial[0] |= 0x40        // so that it has all its digits
	serial[0] &= 0x7f
	return &x509.Certificate{SerialNumber: new(big.Int).SetBytes(serial), NotBefore: now.Add(-early), NotAfter: now.Add(life)}
}

// Pin is the SHA-256 of the authority's certificate, in hex.
func (a *Authority) Pin() string {
	sum := sha256.Sum256(a.cert.Raw)
	return hex.EncodeToString(sum[:])
}

// Cluster tells this cluster from others, also from one that was made anew at its place.
func (a *Authority) Cluster() string { return a.Pin()[:16] }

// PEM is the authority's certificate.
func (a *Authority) PEM() []byte { return a.pem }

// Admit checks the secret of a token of role host. It is of class PermissionDenied if it is
// none.
func (a *Authority) Admit(ctx context.Context, secret string) error {
	denied := func(why string) error {
		return fault.Of(errdefs.ErrPermissionDenied, "the token lets no host join: %s", why)
	}
	name, ok := api.TokenName(secret)
	if !ok {
		return denied("it is none; mos-scheduler token create NAME -role host makes one")
	}
	token, err := state.Get[api.Token](ctx, a.store, name)
	switch {
	case errdefs.IsNotFound(err):
		return denied("it is not known")
	case err != nil:
		return err
	}
	if err := token.Admits(secret, a.now()); err != nil {
		return denied(err.Error())
	}
	if token.Spec.Role != api.OfHost {
		return denied("it is of role " + string(token.Spec.Role))
	}
	return nil
}

// Sign makes a host's certificate for a request in PEM, of which only the key counts. It is
// of class InvalidArgument for what is no request.
func (a *Authority) Sign(_ context.Context, host string, request []byte) (link.Certificate, error) {
	b, _ := pem.Decode(request)
	if b == nil || b.Type != "CERTIFICATE REQUEST" {
		return link.Certificate{}, fault.Invalid("the request for a certificate is none in PEM")
	}
	csr, err := x509.ParseCertificateRequest(b.Bytes)
	if err == nil {
		err = csr.CheckSignature()
	}
	if err != nil {
		return link.Certificate{}, fault.Invalid("the request for a certificate: %w", err)
	}
	own, err := a.client(api.OfHost, host, hostFor, csr.PublicKey)
	if err != nil {
		return link.Certificate{}, err
	}
	return link.Certificate{Own: string(own), Authority: string(a.pem)}, nil
}

// Issue makes a key and its certificate for a user.
func (a *Authority) Issue(role api.Role, name string, life time.Duration) (cert, key []byte, err error) {
	if err := a.checked(role, name); err != nil {
		return nil, nil, err
	}
	if life <= 0 || life > authorityFor {
		return nil, nil, fault.Invalid("a certificate cannot be valid for %s", life)
	}
	private, key, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	cert, err = a.client(role, name, life, private.Public())
	return cert, key, err
}

// As is how a process of the cluster proves to another that it asks in somebody's name, for a
// minute from now. Users of a machine may have names that Issue makes no certificate for, so
// nobody else has theirs.
func (a *Authority) As(role api.Role, name string) (*tls.Config, error) {
	if role == api.Tenant || role == api.OfHost {
		if err := a.checked(role, name); err != nil {
			return nil, err
		}
	}
	private, key, err := newKey()
	if err != nil {
		return nil, err
	}
	cert, err := a.signed(role, name, early+time.Minute, private.Public())
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("a certificate of %s: %w", name, err)
	}
	servers := x509.NewCertPool()
	servers.AddCert(a.cert)
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: servers, Certificates: []tls.Certificate{pair}}, nil
}

// checked says whether a user may have a certificate of this name.
func (a *Authority) checked(role api.Role, name string) error {
	return (&api.Token{Meta: api.Meta{Name: name}, Spec: api.TokenSpec{Role: role, Tenant: tenantOf(role, name), Hash: a.Pin()}}).Check()
}

func tenantOf(role api.Role, name string) string {
	if role == api.Tenant {
		return name
	}
	return ""
}

func (a *Authority) client(role api.Role, name string, life time.Duration, key crypto.PublicKey) ([]byte, error) {
	if err := (&api.Host{Meta: api.Meta{Name: name}}).Check(); err != nil {
		return nil, err
	}
	return a.signed(role, name, life, key)
}

// signed is a certificate of any name: a URI writes all bytes, each name in its own way.
func (a *Authority) signed(role api.Role, name string, life time.Duration, key crypto.PublicKey) ([]byte, error) {
	t := template(a.now(), life)
	t.Subject = pkix.Name{CommonName: url.PathEscape(name), Organization: []string{string(role)}}
	t.URIs = []*url.URL{{Scheme: "mos", Host: string(role), Path: "/" + name}}
	t.KeyUsage, t.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return a.sign(t, key)
}

func (a *Authority) sign(t *x509.Certificate, key crypto.PublicKey) ([]byte, error) {
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, key, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate of %s: %w", t.Subject.CommonName, err)
	}
	return block("CERTIFICATE", der), nil
}

// Server is how the API is served to others, by a certificate for these names and addresses
// that is made anew in time. Who has a certificate of the cluster may show it.
func (a *Authority) Server(names []string) *tls.Config {
	clients := x509.NewCertPool()
	clients.AddCert(a.cert)
	s := &serving{a: a, names: names}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: clients,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.pair() },
	}
}

type serving struct {
	a     *Authority
	names []string

	mu   sync.Mutex // guards all below
	last *tls.Certificate
}

func (s *serving) pair() (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.a.now(); s.last == nil || s.last.Leaf.NotAfter.Sub(now) < serverFor/3 {
		key, keyPEM, err := newKey()
		if err != nil {
			return nil, err
		}
		t := template(now, serverFor)
		t.Subject = pkix.Name{CommonName: "mos-scheduler"}
		t.KeyUsage, t.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		for _, n := range s.names {
			if ip := net.ParseIP(n); ip != nil {
				t.IPAddresses = append(t.IPAddresses, ip)
			} else if n != "" {
				t.DNSNames = append(t.DNSNames, n)
			}
		}
		cert, err := s.a.sign(t, key.Public())
		if err != nil {
			return nil, err
		}
		// The authority goes along: a host that joins knows it by its hash only.
		pair, err := tls.X509KeyPair(append(cert, s.a.pem...), keyPEM)
		if err != nil {
			return nil, fmt.Errorf("the certificate of the API: %w", err)
		}
		s.last = &pair
	}
	return s.last, nil
}
