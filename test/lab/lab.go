// Package lab puts mosbridge on the hosts of a rig, as make up puts it on a
// machine, and gives scenarios the few words they are written in. Every lab ends
// with docker mos audit: a test that leaves something behind fails.
package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/mosbridge/api"
	"github.com/mosdocker/mosdocker/test/rig"
)

// Mosbridge is the daemon's name on a rig's host.
const Mosbridge = "mosbridge"

// Lab is a rig whose hosts run mosbridge.
type Lab struct {
	*rig.Rig
	Hosts []*Host
}

// Host is a rig's host with mosbridge.
type Host struct {
	*rig.Host
	API *api.Client
	tb  testing.TB
}

// New makes a lab. The daemon collects quickly, so that tests need not wait.
func New(tb testing.TB, cfg rig.Config, args ...string) *Lab {
	tb.Helper()
	cfg.OVS = true
	l := &Lab{Rig: rig.New(tb, cfg)}
	program := Binary(tb)
	for _, h := range l.Rig.Hosts() {
		host := &Host{Host: h, API: api.New(admin(h)), tb: tb}
		argv := append([]string{program, "-log.level=debug", "-grace=2s", "-interval=2s"}, args...)
		err := h.StartDaemon(rig.Daemon{Name: Mosbridge, Argv: argv, Ready: func() error { return dial(h.Path("/run/docker/plugins/mosbridge.sock")) }})
		if err != nil {
			tb.Fatal(err)
		}
		l.Hosts = append(l.Hosts, host)
	}
	tb.Cleanup(func() {
		for _, h := range l.Hosts {
			h.ended()
		}
	})
	return l
}

// admin is the admin API's socket by a path that outlives a restart of the host.
func admin(h *rig.Host) string {
	return filepath.Join(filepath.Dir(h.Socket()), "mos", "mosbridge.sock")
}

// ended removes containers and networks of a host and looks for leftovers.
func (h *Host) ended() {
	if h.tb.Failed() {
		h.record()
	}
	if !h.Running(rig.Dockerd) || !h.Running(Mosbridge) {
		return
	}
	if ids := strings.Fields(h.try("ps", "-aq")); len(ids) > 0 {
		h.try(append([]string{"rm", "-f"}, ids...)...)
	}
	for n := range strings.FieldsSeq(h.try("network", "ls", "-q", "-f", "driver=mosbridge")) {
		h.try("network", "rm", n)
	}
	h.Clean()
}

// record writes what is known of a host beside the daemons' logs.
func (h *Host) record() {
	f, err := os.Create(filepath.Join(filepath.Dir(h.Log(Mosbridge)), "state"))
	if err != nil {
		h.tb.Log(err)
		return
	}
	defer f.Close()
	for _, c := range []string{"ovs-vsctl show", "ovs-ofctl -O OpenFlow14 dump-flows mosbr0", "ip -br addr", "nft list ruleset"} {
		out, err := h.Exec(context.Background(), strings.Fields(c)...)
		fmt.Fprintf(f, "$ %s\n%v\n%s\n", c, err, out)
	}
}

func (h *Host) try(args ...string) string {
	out, err := h.Docker(args...)
	if err != nil {
		h.tb.Errorf("%s: docker %s: %v", h.Name, strings.Join(args, " "), err)
	}
	return out
}

// D runs docker and fails the test when that fails; it returns trimmed output.
func (h *Host) D(args ...string) string {
	h.tb.Helper()
	out, err := h.Docker(args...)
	if err != nil {
		h.tb.Fatalf("%s: docker %s: %v", h.Name, strings.Join(args, " "), err)
	}
	return strings.TrimSpace(out)
}

// Refused runs docker, which must fail with want in its words.
func (h *Host) Refused(want string, args ...string) {
	h.tb.Helper()
	out, err := h.Docker(args...)
	if err == nil {
		h.tb.Fatalf("%s: docker %s: was taken, want a refusal with %q: %s", h.Name, strings.Join(args, " "), want, out)
	}
	if !strings.Contains(err.Error(), want) {
		h.tb.Errorf("%s: docker %s: refused with %v, want %q", h.Name, strings.Join(args, " "), err, want)
	}
}

// Network makes a network on mosbridge with mosbridge's IPAM.
func (h *Host) Network(name string, args ...string) {
	h.tb.Helper()
	h.D(append(append([]string{"network", "create", "-d", "mosbridge", "--ipam-driver", "mosbridge"}, args...), name)...)
}

// Serve starts a container that answers netcheck on port 7000.
func (h *Host) Serve(name, network string, args ...string) {
	h.tb.Helper()
	argv := append([]string{"run", "-d", "--name", name, "--network", network}, args...)
	h.D(append(argv, rig.Image, "netcheck", "serve", ":7000")...)
}

// Talks fails the test unless the container reaches the address by ICMP, and
// with 1 MiB over TCP and UDP whose hashes agree.
func (h *Host) Talks(container, addr string) {
	h.tb.Helper()
	if err := h.Reach(container, addr); err != nil {
		h.tb.Fatal(err)
	}
}

// Silent fails the test if the container reaches the address in any way.
func (h *Host) Silent(container, addr string) {
	h.tb.Helper()
	for _, c := range [][]string{
		{"ping", "-c1", "-W1", addr},
		{"netcheck", "send", "-timeout", "1s", "tcp", net.JoinHostPort(addr, "7000"), "10"},
		{"netcheck", "send", "-timeout", "1s", "udp", net.JoinHostPort(addr, "7000"), "10"},
	} {
		if out, err := h.Docker(append([]string{"exec", container}, c...)...); err == nil {
			h.tb.Errorf("%s: %s reached %s by %v: %s", h.Name, container, addr, c, out)
		}
	}
}

// Reach is the reason why a container does not reach an address, or nil.
func (h *Host) Reach(container, addr string) error {
	for _, c := range [][]string{
		{"ping", "-c1", "-W3", addr},
		{"netcheck", "send", "tcp", net.JoinHostPort(addr, "7000"), "1048576"},
		{"netcheck", "send", "udp", net.JoinHostPort(addr, "7000"), "1048576"},
	} {
		if _, err := h.Docker(append([]string{"exec", container}, c...)...); err != nil {
			return fmt.Errorf("%s: %s to %s by %v: %w", h.Name, container, addr, c, err)
		}
	}
	return nil
}

// Clean waits until the audit finds nothing, and fails the test with what it
// finds otherwise.
func (h *Host) Clean() {
	h.tb.Helper()
	err := testx.Poll(20*time.Second, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		a, err := h.API.Audit(ctx)
		if err != nil {
			return err
		}
		var errs []error
		for _, f := range a.Findings {
			errs = append(errs, fmt.Errorf("%s %s: %s", f.Kind, f.Object, f.Detail))
		}
		return errors.Join(errs...)
	})
	if err != nil {
		h.tb.Errorf("%s: audit: %v", h.Name, err)
	}
}

// IP is the address of a container on a network as Docker tells it.
func (h *Host) IP(container, network string) string {
	h.tb.Helper()
	return h.D("inspect", "-f", fmt.Sprintf("{{(index .NetworkSettings.Networks %q).IPAddress}}", network), container)
}

func dial(socket string) error {
	c, err := net.DialTimeout("unix", socket, time.Second)
	if err != nil {
		return err
	}
	return c.Close()
}

var build struct { // built once a test binary
	once sync.Once
	dir  string
	err  error
}

// Binary is the daemon, built from this tree; $MOS_BINARY names another.
func Binary(tb testing.TB) string {
	tb.Helper()
	if b := os.Getenv("MOS_BINARY"); b != "" {
		return b
	}
	build.once.Do(func() {
		build.dir, build.err = os.MkdirTemp("", "mosbin-")
		if build.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-o", build.dir, "github.com/mosdocker/mosdocker/cmd/mosbridge")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			build.err = fmt.Errorf("build mosbridge: %w: %s", err, out)
		}
	})
	if build.err != nil {
		tb.Fatal(build.err)
	}
	return filepath.Join(build.dir, "mosbridge")
}

// Remove deletes what Binary built; a package's TestMain calls it at the end.
func Remove() {
	if build.dir != "" {
		_ = os.RemoveAll(build.dir)
	}
}
