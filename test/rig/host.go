package rig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/xexec"
)

// Host is one machine of a rig: an Engine, an Open vSwitch, and what they need.
type Host struct {
	Node

	rig   *Rig
	index int // counted from 1
	dir   string
	cg    *cgroup
	base  state

	mu      sync.Mutex // guards all below
	daemons []*daemon  // in the order of their start at boot
}

// boot makes the host's namespaces and starts what it runs at boot.
func (h *Host) boot(ctx context.Context) error {
	run := filepath.Join(h.dir, "run")
	if err := errors.Join(os.RemoveAll(run), os.MkdirAll(run, 0o755)); err != nil {
		return err
	}
	var err error
	if h.space, err = openHost(ctx, h.dir, h.Name, h.cg); err != nil {
		return fmt.Errorf("boot %s: %w", h.Name, err)
	}
	if err := h.rig.plug(ctx, h); err != nil {
		return fmt.Errorf("boot %s: %w", h.Name, err)
	}
	if h.rig.cfg.Nftables {
		if _, err := h.Exec(ctx, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"); err != nil {
			return fmt.Errorf("boot %s: %w", h.Name, err)
		}
	}
	for _, d := range h.daemons {
		if err := h.start(d); err != nil {
			return fmt.Errorf("boot %s: %w", h.Name, err)
		}
	}
	return nil
}

// Restart takes the host's power away and boots it again: all processes, its
// network and /run are gone, its disks stay. The daemons that ran, or were
// stopped, start again, those of [Host.StartDaemon] right before dockerd, which
// is where their units stand on a real host.
func (h *Host) Restart(ctx context.Context) error {
	h.Off()
	return h.Boot(ctx)
}

// Off takes the host's power away, as the first half of [Host.Restart].
func (h *Host) Off() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.off()
}

// Boot is the other half.
func (h *Host) Boot(ctx context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.boot(ctx)
}

// off kills everything in the host.
func (h *Host) off() {
	for _, d := range h.daemons {
		d.expectEnd()
	}
	if h.space != nil {
		h.space.close()
	}
	for _, d := range h.daemons {
		d.wait()
	}
}

// Docker runs the docker command inside the host and returns its standard
// output, without the white space around it. It has two minutes.
func (h *Host) Docker(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(h.rig.ctx, 2*time.Minute)
	defer cancel()
	return h.Exec(ctx, append([]string{"docker"}, args...)...)
}

// MustDocker is [Host.Docker]; an error fails the test.
func (h *Host) MustDocker(tb testing.TB, args ...string) string {
	tb.Helper()
	out, err := h.Docker(args...)
	if err != nil {
		tb.Fatalf("%s: %v", h.Name, err)
	}
	return out
}

// Socket returns the path of the Engine's socket as seen from here:
// "docker -H unix://PATH" reaches it, and so does a client in the test.
func (h *Host) Socket() string { return filepath.Join(h.dir, "run", "docker.sock") }

// PluginDir returns the folder of plugin sockets as seen from here. In the host
// it is /run/docker/plugins.
func (h *Host) PluginDir() string { return filepath.Join(h.dir, "run", "docker", "plugins") }

// Outside addresses of the host on out0, meaningful with [Config.Outside].
func (h *Host) outside() (v4, v6 string) {
	return fmt.Sprintf("198.51.100.%d", 10+h.index), fmt.Sprintf("2001:db8:100::%d", 10+h.index)
}

// IPv4 returns the host's address towards the outside, on out0.
func (h *Host) IPv4() string { v4, _ := h.outside(); return v4 }

// IPv6 returns the host's address towards the outside, on out0.
func (h *Host) IPv6() string { _, v6 := h.outside(); return v6 }

// loadImage puts the test image into the Engine.
func (h *Host) loadImage(ctx context.Context, tar string) error {
	_, err := h.Run(ctx, xexec.Cmd{Argv: []string{"docker", "load", "-q", "-i", tar}})
	if err != nil {
		return fmt.Errorf("load %s into %s: %w", Image, h.Name, err)
	}
	return nil
}

// tail returns the end of a log, for errors.
func tail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}
