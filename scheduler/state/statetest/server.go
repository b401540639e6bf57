package statetest

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mosdocker/mosdocker/scheduler/state"
	"github.com/mosdocker/mosdocker/scheduler/state/embed"
)

const serverEnv = "MOS_TEST_ETCD"

// Main is what TestMain of a package calls that uses [Start]: in processes started by it
// the test binary is a server, until its input ends.
func Main(m *testing.M) int {
	config := os.Getenv(serverEnv)
	if config == "" {
		return m.Run()
	}
	if err := serve(context.Background(), config); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func serve(ctx context.Context, config string) error {
	var c embed.Config
	if err := json.Unmarshal([]byte(config), &c); err != nil { //nolint:musttag // Start writes it
		return err
	}
	c.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := embed.Start(ctx, c)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, s.Close())
}

// Cluster is servers in processes of their own, over TLS on the loopback.
type Cluster struct {
	tb                        testing.TB
	CAFile, CertFile, KeyFile string
	servers                   []*server
}

type server struct {
	config embed.Config

	mu      sync.Mutex // guards all below
	process *exec.Cmd
	input   io.Closer
}

// Plan chooses names, ports, folders and certificates of n servers and starts none.
func Plan(tb testing.TB, n int) *Cluster {
	tb.Helper()
	c := &Cluster{tb: tb}
	dir := tb.TempDir()
	c.CAFile, c.CertFile, c.KeyFile = certificates(tb, dir)
	peers := map[string]string{}
	for i := range n {
		peers[fmt.Sprintf("etcd%d", i)] = listen(tb)
	}
	for i := range n {
		name := fmt.Sprintf("etcd%d", i)
		c.servers = append(c.servers, &server{config: embed.Config{
			Dir: filepath.Join(dir, name),
			Cluster: &embed.Cluster{
				Name: name, Client: listen(tb), Peers: peers,
				CAFile: c.CAFile, CertFile: c.CertFile, KeyFile: c.KeyFile,
			},
		}})
	}
	return c
}

// Start runs n servers until the test ends.
func Start(tb testing.TB, n int) *Cluster {
	tb.Helper()
	c := Plan(tb, n)
	c.StartAll()
	return c
}

// Config is that of a server.
func (c *Cluster) Config(i int) embed.Config { return c.servers[i].config }

// Endpoints are where clients reach the servers.
func (c *Cluster) Endpoints() []string {
	var all []string
	for _, s := range c.servers {
		all = append(all, s.config.Cluster.Client)
	}
	return all
}

// Client makes a client of all servers.
func (c *Cluster) Client(tb testing.TB) *clientv3.Client {
	tb.Helper()
	client, err := state.Dial(state.Remote{Endpoints: c.Endpoints(), CAFile: c.CAFile, CertFile: c.CertFile, KeyFile: c.KeyFile})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { client.Close() })
	return client
}

// StartAll starts all servers at once and waits for them.
func (c *Cluster) StartAll() {
	c.tb.Helper()
	var all sync.WaitGroup
	errs := make([]error, len(c.servers))
	for i := range c.servers {
		all.Go(func() { errs[i] = c.Start(i) })
	}
	all.Wait()
	c.tb.Cleanup(func() {
		for i := range c.servers {
			c.Kill(i)
		}
	})
	if err := errors.Join(errs...); err != nil {
		c.tb.Fatal(err)
	}
}

// Start starts a server, if it does not run, and waits until it is ready, which it is with
// a quorum only.
func (c *Cluster) Start(i int) error {
	s := c.servers[i]
	config, err := json.Marshal(s.config) //nolint:musttag // serve reads it
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		return nil
	}
	s.process = exec.Command(os.Args[0])
	s.process.Env = append(os.Environ(), serverEnv+"="+string(config))
	var stderr strings.Builder
	s.process.Stderr = &stderr
	if s.input, err = s.process.StdinPipe(); err != nil {
		return err
	}
	out, err := s.process.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.process.Start(); err != nil {
		return err
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		s.process.Process.Kill()
		s.process.Wait()
		s.process = nil
		return fmt.Errorf("etcd%d did not start: %w: %s", i, err, stderr.String())
	}
	return nil
}

// Leader is the server that leads, by its number; of those that answer at all.
func (c *Cluster) Leader(ctx context.Context, client *clientv3.Client) (int, error) {
	var errs []error
	for i, at := range c.Endpoints() {
		r, err := client.Status(ctx, at)
		if err == nil && r.Leader == r.Header.MemberId {
			return i, nil
		}
		errs = append(errs, err)
	}
	return 0, fmt.Errorf("no server of etcd leads: %w", errors.Join(errs...))
}

// Kill ends a server as kill -9 does.
func (c *Cluster) Kill(i int) {
	s := c.servers[i]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return
	}
	s.process.Process.Kill()
	s.process.Wait()
	s.process = nil
}

func listen(tb testing.TB) string {
	tb.Helper()
	return "https://" + Address(tb)
}

// Address is one on the loopback that nobody listens on, outside of the range that the
// kernel takes ports from for others: who is killed finds it free when it starts again.
func Address(tb testing.TB) string {
	tb.Helper()
	for range 100 {
		at := fmt.Sprintf("127.0.0.1:%d", 20_000+mathrand.IntN(12_000))
		l, err := net.Listen("tcp", at)
		if err != nil {
			continue
		}
		l.Close()
		return at
	}
	tb.Fatal("found no free port")
	return ""
}

// certificates makes an authority, and a certificate of it for servers and clients on the
// loopback.
func certificates(tb testing.TB, dir string) (ca, cert, key string) {
	tb.Helper()
	must := func(err error) {
		if err != nil {
			tb.Helper()
			tb.Fatal(err)
		}
	}
	write := func(name, kind string, data []byte) string {
		path := filepath.Join(dir, name)
		must(os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600))
		return path
	}
	now := time.Now()
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	der, err := x509.CreateCertificate(rand.Reader, authority, authority, signer.Public(), signer)
	must(err)
	ca = write("ca.pem", "CERTIFICATE", der)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "etcd"},
		NotBefore: authority.NotBefore, NotAfter: authority.NotAfter, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	der, err = x509.CreateCertificate(rand.Reader, leaf, authority, private.Public(), signer)
	must(err)
	cert = write("cert.pem", "CERTIFICATE", der)
	der, err = x509.MarshalPKCS8PrivateKey(private)
	must(err)
	return ca, cert, write("key.pem", "PRIVATE KEY", der)
}
