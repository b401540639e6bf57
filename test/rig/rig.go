package rig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/image"
)

// Image is the image that all engines of a rig hold: see package image.
const Image = image.Ref

// Rig is some hosts and what lies between them.
type Rig struct {
	cfg     Config
	ctx     context.Context //nolint:containedctx // ends with the rig
	cancel  context.CancelFunc
	dir     string
	logs    string
	lock    *os.File
	hosts   []*Host
	fabric  *Node
	outside *Node

	mu     sync.Mutex // guards all below
	faults []error    // daemons that ended by themselves
}

// New makes a rig for a test and takes it away at the test's end. The test is
// skipped where the machine lacks what the rig needs (see [testx.Need]); it
// fails when the rig cannot be made, when a daemon ends by itself, and when
// something of the rig is left over. The daemons' logs stay in the test's
// artifacts when it fails.
func New(tb testing.TB, cfg Config) *Rig {
	tb.Helper()
	cfg, err := cfg.check()
	if err != nil {
		tb.Fatal(err)
	}
	testx.Need(tb, cfg.needs()...)
	cfg.Logs = testx.Artifacts(tb)
	r, err := Open(tb.Context(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := r.Close(); err != nil {
			tb.Error(err)
		}
	})
	return r
}

// Open makes a rig that lives until [Rig.Close], or until this process ends.
// The end of ctx stops only the making.
func Open(ctx context.Context, cfg Config) (*Rig, error) {
	cfg, err := cfg.check()
	if err != nil {
		return nil, err
	}
	base := cfg.Dir
	if base == "" {
		base = os.TempDir()
	}
	sweep(base)
	r := &Rig{cfg: cfg, logs: cfg.Logs}
	r.ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := r.makeDir(base); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if err := r.boot(ctx); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// Host returns host i, counted from 1.
func (r *Rig) Host(i int) *Host { return r.hosts[i-1] }

// Hosts returns all hosts.
func (r *Rig) Hosts() []*Host { return r.hosts }

// Outside returns the world beyond the hosts, with [OutsideIPv4] and
// [OutsideIPv6], or nil when the rig has none. It knows no way to networks that
// live inside a host.
func (r *Rig) Outside() *Node { return r.outside }

// Fabric returns what joins the hosts: a network with the bridge fab0, whose
// ports are named after the hosts.
func (r *Rig) Fabric() *Node { return r.fabric }

// Dir returns the folder of the rig's files.
func (r *Rig) Dir() string { return r.dir }

// Close takes the rig away: kills all that lives in it, waits for its end, and
// removes its files and cgroups. It returns what was left over and which
// daemons had ended by themselves. It may be called again.
func (r *Rig) Close() error {
	r.cancel()
	var errs []error
	for _, h := range r.hosts {
		h.mu.Lock()
		h.off()
		h.mu.Unlock()
		errs = append(errs, h.keepLogs())
	}
	for _, n := range []*Node{r.fabric, r.outside} {
		if n != nil && n.space != nil {
			n.space.close()
		}
	}
	errs = append(errs, r.left())
	for _, h := range r.hosts {
		if h.cg != nil {
			errs = append(errs, h.cg.remove())
		}
	}
	r.hosts, r.fabric, r.outside = nil, nil, nil
	if r.dir != "" {
		errs = append(errs, os.RemoveAll(r.dir))
	}
	if r.lock != nil {
		_ = r.lock.Close()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	errs = append(errs, r.faults...)
	r.faults = nil
	return errors.Join(errs...)
}

// makeDir makes the rig's folder. Its lock says, even after a kill, whether the
// rig lives.
func (r *Rig) makeDir(base string) error {
	dir, err := os.MkdirTemp(base, "mosrig-")
	if err != nil {
		return err
	}
	r.dir = dir
	if r.logs == "" {
		r.logs = filepath.Join(dir, "log")
	}
	if r.lock, err = os.Create(filepath.Join(dir, "lock.new")); err != nil {
		return err
	}
	// It gets its name only when it is held, or another rig's sweep could
	// take this one for dead.
	return errors.Join(
		syscall.Flock(int(r.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB),
		os.Rename(r.lock.Name(), filepath.Join(dir, "lock")),
		os.Mkdir(filepath.Join(dir, "bin"), 0o755))
}

// boot brings up everything: the networks first, then all hosts at a time.
func (r *Rig) boot(ctx context.Context) error {
	if err := r.addPrograms(ctx); err != nil {
		return err
	}
	if err := r.openNets(ctx); err != nil {
		return err
	}
	tar := ""
	if r.cfg.Engine != EngineNone && !r.cfg.NoImage {
		var err error
		if tar, err = made.imageTar(ctx); err != nil {
			return err
		}
	}
	for i := range r.cfg.Hosts {
		h, err := r.newHost(i + 1)
		if err != nil {
			return err
		}
		r.hosts = append(r.hosts, h)
	}
	var g errgroup.Group
	for _, h := range r.hosts {
		g.Go(func() error {
			if err := h.boot(ctx); err != nil {
				return err
			}
			if tar != "" {
				if err := h.loadImage(ctx, tar); err != nil {
					return err
				}
			}
			return h.Baseline()
		})
	}
	return g.Wait()
}

// addPrograms puts netcheck, and small tools that a bare Debian lacks, where all
// nodes find them.
func (r *Rig) addPrograms(ctx context.Context) error {
	bin := filepath.Join(r.dir, "bin")
	netcheck := filepath.Join(bin, "netcheck")
	program, err := made.program(ctx, netcheck)
	if err != nil {
		return err
	}
	if err := os.WriteFile(netcheck, program, 0o755); err != nil {
		return err
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return fmt.Errorf("%w: run test/setup/packages", err)
	}
	for _, applet := range []string{"ping", "ping6", "arping", "nc", "wget", "traceroute"} {
		if err := os.Symlink(busybox, filepath.Join(bin, applet)); err != nil {
			return err
		}
	}
	return nil
}

// made is what rigs are filled with. Even with Go's cache each build takes a second.
var made builds

// builds are done once a process.
type builds struct {
	mu       sync.Mutex // guards all below
	netcheck []byte
	tar      string
}

// program is netcheck; a build goes to a file that will be its own.
func (b *builds) program(ctx context.Context, file string) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.netcheck != nil {
		return b.netcheck, nil
	}
	if err := image.Netcheck(ctx, file); err != nil {
		return nil, err
	}
	var err error
	b.netcheck, err = os.ReadFile(file)
	return b.netcheck, err
}

// imageTar is the path of the image.
func (b *builds) imageTar(ctx context.Context) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := os.Stat(b.tar); err == nil {
		return b.tar, nil
	}
	var err error
	b.tar, err = image.Tar(ctx)
	return b.tar, err
}

func (r *Rig) newHost(i int) (*Host, error) {
	name := fmt.Sprintf("h%d", i)
	h := &Host{Node: r.node(name, r.cfg.engine(i)), rig: r, index: i, dir: filepath.Join(r.dir, name)}
	h.daemons = h.parts()
	err := errors.Join(os.MkdirAll(h.dir, 0o755), os.MkdirAll(filepath.Join(r.logs, name), 0o755))
	if err != nil {
		return nil, err
	}
	if h.cg, err = newCgroup(filepath.Base(r.dir) + "-" + name); err != nil {
		return nil, err
	}
	// For whoever sweeps up after a killed test.
	return h, os.WriteFile(filepath.Join(h.dir, cgroupList), []byte(strings.Join(h.cg.tops, "\n")), 0o600)
}

// node returns a node without a space. The docker command gets a configuration
// of its own, where plug-ins of the command can be put.
func (r *Rig) node(name string, e Engine) Node {
	return Node{
		Name: name,
		path: path(e, filepath.Join(r.dir, "bin"), os.Getenv("PATH")),
		env:  []string{"DOCKER_CONFIG=" + filepath.Join(r.dir, "docker")},
	}
}

func (r *Rig) fault(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, err)
}
