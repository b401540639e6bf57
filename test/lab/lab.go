// Package lab puts our daemons on the hosts of a rig, as make up puts them on a
// machine, and gives scenarios the few words they are written in: [New] is
// mosbridge, [NewVolumes] is mos-lvm. Every lab ends with docker mos audit: a
// test that leaves something behind fails. [NewSets] is both, for docker set.
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

	"github.com/mosdocker/mosdocker/internal/adminapi"
	"github.com/mosdocker/mosdocker/internal/testx"
	volumeapi "github.com/mosdocker/mosdocker/lvmvolume/api"
	"github.com/mosdocker/mosdocker/mosbridge/api"
	"github.com/mosdocker/mosdocker/test/rig"
)

// The daemons' names on a rig's host.
const (
	Mosbridge = "mosbridge"
	Lvm       = "mos-lvm"
	Mosd      = "mosd"
	Scheduler = "mos-scheduler"
)

// Lab is a rig whose hosts run one of our daemons.
type Lab struct {
	*rig.Rig
	Hosts []*Host
}

// Host is a rig's host with our daemons.
type Host struct {
	*rig.Host
	API     *api.Client       // of mosbridge, nil in a lab of volumes
	Volumes *volumeapi.Client // of mos-lvm, nil in a lab of networks
	daemons []string
	tb      testing.TB
}

// New makes a lab. The daemon collects quickly, so that tests need not wait.
func New(tb testing.TB, cfg rig.Config, args ...string) *Lab {
	tb.Helper()
	cfg.OVS = true
	l := &Lab{Rig: rig.New(tb, cfg)}
	for _, h := range l.Rig.Hosts() {
		host := &Host{Host: h, API: api.New(admin(h, Mosbridge)), tb: tb}
		l.add(host, Mosbridge, append([]string{"-log.level=debug", "-grace=2s", "-interval=2s"}, args...))
		l.Hosts = append(l.Hosts, host)
	}
	return l
}

// NewSets makes a lab with both daemons and docker set.
func NewSets(tb testing.TB, cfg rig.Config) *Lab {
	tb.Helper()
	cfg.OVS = true
	l := &Lab{Rig: rig.New(tb, cfg)}
	for _, h := range l.Rig.Hosts() {
		host := &Host{Host: h, API: api.New(admin(h, Mosbridge)), Volumes: volumeapi.New(admin(h, Lvm)), tb: tb}
		l.add(host, Mosbridge, []string{"-log.level=debug", "-grace=2s", "-interval=2s"})
		l.add(host, Lvm, []string{"-log.level=debug", "-linger=1s", "-interval=2s"})
		l.Hosts = append(l.Hosts, host)
	}
	return l
}

// NewVolumes makes a lab of volumes: images behind loop devices, since the
// machine's kernel may have no device mapper. The daemon lets go quickly.
func NewVolumes(tb testing.TB, cfg rig.Config, args ...string) *Lab {
	tb.Helper()
	l := &Lab{Rig: rig.New(tb, cfg)}
	for _, h := range l.Rig.Hosts() {
		host := &Host{Host: h, Volumes: volumeapi.New(admin(h, Lvm)), tb: tb}
		l.add(host, Lvm, append([]string{"-log.level=debug", "-linger=1s", "-interval=2s"}, args...))
		l.Hosts = append(l.Hosts, host)
	}
	return l
}

// add starts the daemon on a host, which at the test's end is cleaned.
func (l *Lab) add(h *Host, daemon string, args []string) {
	h.tb.Helper()
	socket := filepath.Join(h.PluginDir(), daemon+".sock") // by a path that outlives a restart of the host
	argv := append([]string{Program(h.tb, daemon)}, args...)
	if err := h.StartDaemon(rig.Daemon{Name: daemon, Argv: argv, Ready: func() error { return dial(socket) }}); err != nil {
		h.tb.Fatal(err)
	}
	if h.daemons = append(h.daemons, daemon); len(h.daemons) == 1 {
		h.tb.Cleanup(h.ended)
	}
}

// admin is the admin API's socket by a path that outlives a restart of the host.
func admin(h *rig.Host, daemon string) string {
	return filepath.Join(filepath.Dir(h.Socket()), "mos", daemon+".sock")
}

// ended removes containers and networks of a host and looks for leftovers.
func (h *Host) ended() {
	if h.tb.Failed() {
		h.record()
	}
	for _, d := range append([]string{rig.Dockerd}, h.daemons...) {
		if !h.Running(d) {
			return
		}
	}
	if ids := strings.Fields(h.try("ps", "-aq")); len(ids) > 0 {
		h.try(append([]string{"rm", "-f"}, ids...)...)
	}
	for n := range strings.FieldsSeq(h.try("network", "ls", "-q", "-f", "driver=mosbridge")) {
		h.try("network", "rm", n)
	}
	for n := range strings.FieldsSeq(h.try("volume", "ls", "-q", "-f", "driver="+Lvm)) {
		h.try("volume", "rm", n)
	}
	h.Clean()
}

// record writes what is known of a host beside the daemons' logs.
func (h *Host) record() {
	commands := []string{"docker ps -a"}
	if h.API != nil {
		commands = append(commands, "ovs-vsctl show", "ovs-ofctl -O OpenFlow14 dump-flows mosbr0", "ip -br addr", "nft list ruleset")
	}
	if h.Volumes != nil {
		commands = append(commands, "cat /proc/self/mountinfo", "ls -la /var/lib/mos/mos-lvm/loop /var/lib/mos/mos-lvm/mnt", "docker volume ls")
	}
	f, err := os.Create(filepath.Join(filepath.Dir(h.Log(rig.Dockerd)), "state"))
	if err != nil {
		h.tb.Log(err)
		return
	}
	defer f.Close()
	for _, c := range commands {
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
		var errs []error
		if h.API != nil {
			a, err := h.API.Audit(ctx)
			errs = append(errs, err, found(a.Findings))
		}
		if h.Volumes != nil {
			a, err := h.Volumes.Audit(ctx)
			errs = append(errs, err, found(a.Findings))
		}
		return errors.Join(errs...)
	})
	if err != nil {
		h.tb.Errorf("%s: audit: %v", h.Name, err)
	}
}

func found(findings []adminapi.Finding) error {
	var errs []error
	for _, f := range findings {
		errs = append(errs, fmt.Errorf("%s %s: %s", f.Kind, f.Object, f.Detail))
	}
	return errors.Join(errs...)
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

// Mos runs `docker mos` on the host and fails the test when that fails; it
// returns trimmed output.
func (h *Host) Mos(args ...string) string {
	h.tb.Helper()
	out, err := h.TryMos(args...)
	if err != nil {
		h.tb.Fatalf("%s: docker mos %s: %v", h.Name, strings.Join(args, " "), err)
	}
	return strings.TrimSpace(out)
}

// TryMos is [Host.Mos] for what may fail.
func (h *Host) TryMos(args ...string) (string, error) {
	return h.Exec(context.WithoutCancel(h.tb.Context()), h.MosCommand(args...)...)
}

// MosCommand is the command line of docker mos.
func (h *Host) MosCommand(args ...string) []string {
	h.tb.Helper()
	return append([]string{Program(h.tb, "docker-mos"), "mos"}, args...)
}

// Set runs `docker set` on the host and fails the test when that fails; it returns
// trimmed output.
func (h *Host) Set(args ...string) string {
	h.tb.Helper()
	out, err := h.TrySet(args...)
	if err != nil {
		h.tb.Fatalf("%s: docker set %s: %v", h.Name, strings.Join(args, " "), err)
	}
	return strings.TrimSpace(out)
}

// TrySet is [Host.Set] for what may fail.
func (h *Host) TrySet(args ...string) (string, error) {
	h.tb.Helper()
	return h.Exec(context.WithoutCancel(h.tb.Context()), h.SetCommand(args...)...)
}

// SetCommand is the command line of docker set.
func (h *Host) SetCommand(args ...string) []string {
	h.tb.Helper()
	mos := Program(h.tb, "docker-mos")
	set := filepath.Join(filepath.Dir(mos), "docker-set")
	if err := os.Symlink(mos, set); err != nil && !errors.Is(err, os.ErrExist) {
		h.tb.Fatal(err)
	}
	return append([]string{set, "set"}, args...)
}

var build struct { // once a test binary
	sync.Mutex // guards all below
	dir        string
	errs       map[string]error // of what was built
}

// Program is a command of this tree, built; $MOS_BINARY names another mosbridge.
func Program(tb testing.TB, name string) string {
	tb.Helper()
	if b := os.Getenv("MOS_BINARY"); b != "" && name == Mosbridge {
		return b
	}
	build.Lock()
	defer build.Unlock()
	if build.errs == nil {
		build.errs = map[string]error{}
		dir, err := os.MkdirTemp("", "mosbin-")
		if err != nil {
			tb.Fatal(err)
		}
		build.dir = dir
	}
	err, built := build.errs[name]
	if !built {
		cmd := exec.Command("go", "build", "-o", build.dir, "github.com/mosdocker/mosdocker/cmd/"+name)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, berr := cmd.CombinedOutput(); berr != nil {
			err = fmt.Errorf("build %s: %w: %s", name, berr, out)
		}
		build.errs[name] = err
	}
	if err != nil {
		tb.Fatal(err)
	}
	return filepath.Join(build.dir, name)
}

// Remove deletes what Program built; a package's TestMain calls it at the end.
func Remove() {
	if build.dir != "" {
		_ = os.RemoveAll(build.dir)
	}
}
