package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mosdocker/mosdocker/internal/xexec"
	"github.com/mosdocker/mosdocker/mosbridge/api"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// toolLimit is how long a tool of the host may take.
const toolLimit = 5 * time.Second

// host is this machine as it can be seen without the daemon. Nothing here
// changes it.
type host struct {
	root string // "" but in tests: what /sys and /run are below
	run  xexec.Runner
}

func thisHost(r xexec.Runner) host { return host{run: r} }

// search lists what mosbridge may have left, and says where it could not look.
func (h host) search(ctx context.Context) (found []api.Finding, blind []error) {
	for _, look := range []func(context.Context) ([]api.Finding, error){h.links, h.ports, h.bridges, h.rules} {
		fs, err := look(ctx)
		found = append(found, fs...)
		if err != nil {
			blind = append(blind, err)
		}
	}
	return found, blind
}

// ours says what a link or port of that name would be, "" when it is not ours.
func ours(name string) string {
	rest := ""
	what := ""
	for prefix, w := range map[string]string{
		spec.PrefixPort: "host side of a container's interface", spec.PrefixPeer: "container side that no container took",
		spec.PrefixGateway: "gateway of a network", spec.PrefixRouter: "port behind a gateway",
	} {
		if r, ok := strings.CutPrefix(name, prefix); ok {
			rest, what = r, w
		}
	}
	if len(rest) != 11 || strings.Trim(rest, "0123456789abcdef") != "" {
		return ""
	}
	return what
}

func (h host) links(context.Context) ([]api.Finding, error) {
	entries, err := os.ReadDir(filepath.Join(h.root, "/sys/class/net"))
	var found []api.Finding
	for _, e := range entries {
		if what := ours(e.Name()); what != "" {
			found = append(found, api.Finding{Kind: "link", Object: e.Name(), Detail: what})
		}
	}
	return found, err
}

func (h host) ports(ctx context.Context) ([]api.Finding, error) {
	out, err := h.tool(ctx, "ovs-vsctl", "--timeout=3", "--bare", "--columns=name", "list", "Interface")
	var found []api.Finding
	if absent(err) {
		return nil, nil
	}
	for name := range strings.FieldsSeq(out) {
		if what := ours(name); what != "" {
			found = append(found, api.Finding{Kind: "port", Object: name, Detail: "in Open vSwitch: " + what})
		}
	}
	return found, err
}

func (h host) bridges(ctx context.Context) ([]api.Finding, error) {
	out, err := h.tool(ctx, "ovs-vsctl", "--timeout=3", "--bare", "--columns=name", "find", "Bridge", `external_ids:"mos:owner"=mosbridge`)
	if err != nil {
		return nil, nil //nolint:nilerr // ports said so already
	}
	var found []api.Finding
	for name := range strings.FieldsSeq(out) {
		found = append(found, api.Finding{Kind: "bridge", Object: name, Detail: "bridge of Open vSwitch made by mosbridge"})
	}
	return found, nil
}

func (h host) rules(ctx context.Context) ([]api.Finding, error) {
	out, err := h.tool(ctx, "nft", "list", "tables")
	if absent(err) {
		return nil, nil
	}
	if slices.Contains(strings.Split(out, "\n"), "table inet mosbridge") {
		return []api.Finding{{Kind: "rules", Object: "table inet mosbridge", Detail: "rules of nftables"}}, err
	}
	return nil, err
}

// tool runs a program of the host that only reads.
func (h host) tool(ctx context.Context, argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, toolLimit)
	defer cancel()
	out, err := h.run.Run(ctx, xexec.Cmd{Argv: argv})
	if errors.Is(err, exec.ErrNotFound) { // the PATH of a plain user lacks these folders
		argv[0] = "/usr/sbin/" + argv[0]
		out, err = h.run.Run(ctx, xexec.Cmd{Argv: argv})
	}
	if e, ok := errors.AsType[*xexec.Error](err); ok && e.Stderr != "" {
		err = fmt.Errorf("%s: %s", filepath.Base(argv[0]), e.Stderr)
	}
	return string(out), err
}

// absent says that a program is not installed: it left nothing behind.
func absent(err error) bool {
	return errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist)
}

// examine says what may be wrong when the daemon does not answer, for the
// reason given.
func (h host) examine(ctx context.Context, cause error) []api.Check {
	checks := []api.Check{{Name: "mosbridge answers", Detail: cause.Error()}}
	if e, ok := errors.AsType[*hintedError](cause); ok {
		checks[0].Hint = strings.Join(e.hints, "; ")
	}
	add := func(name, detail string, err error, hint string) {
		c := api.Check{Name: name, OK: err == nil, Detail: detail}
		if err != nil {
			c.Detail, c.Hint = strings.TrimSpace(err.Error()), hint
		}
		checks = append(checks, c)
	}
	if _, err := os.Stat(filepath.Join(h.root, "/run/systemd/system")); err == nil {
		out, err := h.tool(ctx, "systemctl", "is-active", "mosbridge.service")
		if err != nil {
			err = fmt.Errorf("it is %s", dash(strings.TrimSpace(out)))
		}
		add("unit mosbridge.service runs", "active", err, "journalctl -u mosbridge says why it ended; make install installs it")
	}
	for _, s := range []struct{ name, path, hint string }{
		{"docker's plugin socket is there", "/run/docker/plugins/mosbridge.sock", "docker cannot reach the driver: while the socket is missing each call of docker waits up to 15 s and fails"},
		{"docker's socket is there", "/run/docker.sock", "start docker"},
	} {
		_, err := os.Stat(filepath.Join(h.root, s.path))
		add(s.name, s.path, err, s.hint)
	}
	out, err := h.tool(ctx, "ovs-vsctl", "--timeout=3", "get", "Open_vSwitch", ".", "ovs_version")
	add("open vswitch answers", "version "+strings.Trim(strings.TrimSpace(out), `"`), err, "install openvswitch-switch and start it: systemctl start openvswitch-switch, or make up")
	return checks
}
