package cluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mosdocker/mosdocker/hostsrv/api"
	"github.com/mosdocker/mosdocker/internal/fault"
	clusterapi "github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/link"
)

// The file of the host's key, its certificate, and that of the authority, in PEM.
const certFile = "host.pem"

// renewLook is how often it is looked whether the certificate is to be renewed.
const renewLook = time.Minute

// identity is who this host is to servers.
type identity struct {
	pair  tls.Certificate
	roots *x509.CertPool
}

// identity reads it; NotFound if the host has none.
func (h *Host) identity() (identity, error) {
	path := filepath.Join(h.cfg.State, certFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return identity{}, fault.NotFound("this host has no certificate: docker mos host join gets one")
	}
	if err != nil {
		return identity{}, err
	}
	pair, err := tls.X509KeyPair(data, data)
	if err != nil {
		return identity{}, fmt.Errorf("read %s: %w", path, err)
	}
	id := identity{pair, x509.NewCertPool()}
	ca, err := x509.ParseCertificate(pair.Certificate[len(pair.Certificate)-1])
	if err != nil {
		return identity{}, fmt.Errorf("read %s: %w", path, err)
	}
	id.roots.AddCert(ca)
	return id, nil
}

// tls is the configuration for the next connection.
func (h *Host) tls() (*tls.Config, error) {
	id, err := h.identity()
	if err != nil {
		return nil, err
	}
	return id.config(), nil
}

func (id identity) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: id.roots, Certificates: []tls.Certificate{id.pair}}
}

// request makes a key and a request for a certificate, in PEM.
func request(name string) (key, csr []byte, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		return nil, nil, err
	}
	req, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, k)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: req}), nil
}

// keep writes a key and its certificates, if they fit.
func (h *Host) keep(key []byte, c link.Certificate) error {
	data := slices.Concat(key, []byte(strings.TrimSpace(c.Own)+"\n"), []byte(strings.TrimSpace(c.Authority)+"\n"))
	if _, err := tls.X509KeyPair(data, data); err != nil {
		return fmt.Errorf("the certificate that the cluster gave: %w", err)
	}
	return write(h.cfg.State, certFile, data)
}

// Join makes the host one of a cluster, by a token. A host that is of one is refused.
func (h *Host) Join(ctx context.Context, r api.ClusterJoin) error {
	secret, pin, err := link.SplitToken(r.Token)
	if err != nil {
		return err
	}
	name := r.Name
	if name == "" {
		name = h.name
	}
	probe := clusterapi.Host{Meta: clusterapi.Meta{Name: name}}
	if err := probe.Check(); err != nil {
		return err
	}
	if len(r.Endpoints) == 0 {
		return fault.Invalid("name one endpoint of a mos-scheduler at least, such as https://HOST:PORT")
	}
	for _, e := range r.Endpoints {
		if err := link.CheckEndpoint(e); err != nil {
			return err
		}
		if !strings.HasPrefix(e, "https://") {
			return fault.Invalid("%s needs no join: name it in cluster.endpoints", e)
		}
	}
	h.mu.Lock()
	of, status := h.rec.Cluster, h.status
	joined := len(h.rec.Endpoints) > 0
	status.Machine, status.Labels = h.rec.Machine, h.labels
	h.mu.Unlock()
	if of != "" || joined {
		return fault.Conflict("this host is of cluster %s: docker mos host leave takes it from that", of)
	}
	key, csr, err := request(name)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range r.Endpoints {
		cert, err := link.Join(ctx, e, pin, link.JoinRequest{Host: name, Secret: secret, Sent: time.Now().UTC(), Request: string(csr), Status: status})
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", e, err))
			continue
		}
		if err := h.keep(key, cert); err != nil {
			return err
		}
		return h.alter(func(rec *record) error {
			rec.Name, rec.Endpoints = name, r.Endpoints
			return nil
		})
	}
	return errors.Join(errs...)
}

// Leave takes the host from its cluster. Sets that the cluster has here keep it from
// that, unless it is forced: then they are this host's own, and stay as they are.
func (h *Host) Leave(ctx context.Context, force bool) error {
	h.turn.Lock()
	defer h.turn.Unlock()
	if err := h.alter(func(rec *record) error { return h.left(rec, force) }); err != nil {
		return err
	}
	h.names.Serve(nil)
	h.sets.Wish(ctx, "", nil)
	h.tellBridge(ctx)
	if err := os.Remove(filepath.Join(h.cfg.State, certFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // the cluster refuses it, as that of a host that is not its
	}
	return nil
}

// left takes the cluster from a record, unless something keeps the host.
func (h *Host) left(rec *record, force bool) error {
	n := 0
	for _, s := range rec.Assignment.Sets {
		if !s.Stop {
			n++
		}
	}
	joined := len(rec.Endpoints) > 0
	switch {
	case rec.Cluster == "" && !joined:
		return fault.Conflict("this host is of no cluster")
	case !joined && len(h.cfg.Endpoints) > 0 && !force:
		return fault.Conflict("this host is of its cluster by cluster.endpoints of mosd's configuration: empty that first")
	case n > 0 && !force:
		return fault.Conflict("cluster %s has %d sets here: docker set host drain moves them away; --force leaves with them, and they stay as this host's own", rec.Cluster, n)
	}
	rec.Name, rec.Endpoints, rec.Peers, rec.Cluster, rec.Assignment = "", nil, nil, "", link.Assignment{}
	return nil
}

// alter changes the record, and begins the link anew. What the record is meanwhile does not
// change otherwise.
func (h *Host) alter(f func(*record) error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	rec := h.rec
	if err := f(&rec); err != nil {
		return err
	}
	if err := rec.save(h.cfg.State); err != nil {
		return err
	}
	h.rec = rec
	select {
	case h.rejoin <- struct{}{}:
	default:
	}
	return nil
}

// renewals renews the certificate when two thirds of its time are over.
func (h *Host) renewals(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(renewLook):
		}
		if err := h.renew(ctx, time.Now()); err != nil && ctx.Err() == nil {
			h.log.WarnContext(ctx, "the host's certificate is not renewed", "err", err)
		}
	}
}

// renew renews the certificate if it is time.
func (h *Host) renew(ctx context.Context, now time.Time) error {
	id, err := h.identity()
	if err != nil {
		return nil //nolint:nilerr // there is none, or the link says what is wrong with it
	}
	leaf := id.pair.Leaf
	if now.Before(leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) * 2 / 3)) {
		return nil
	}
	key, csr, err := request(h.Name())
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range h.endpoints() {
		cert, err := link.Renew(ctx, e, id.config(), link.RenewRequest{Request: string(csr)})
		if err == nil {
			if err = h.keep(key, cert); err == nil {
				h.log.InfoContext(ctx, "the host's certificate was renewed")
				return nil
			}
		}
		errs = append(errs, fmt.Errorf("%s: %w", e, err))
	}
	return errors.Join(errs...)
}
