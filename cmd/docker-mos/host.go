package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/mosdocker/mosdocker/internal/adminapi"
	"github.com/mosdocker/mosdocker/internal/xexec"
)

// toolLimit is how long a tool of the host may take.
const toolLimit = 5 * time.Second

// host is this machine as it can be seen without the daemons. Nothing here
// changes it.
type host struct {
	root string // "" but in tests: what /proc, /run, /sys and so on are below
	run  xexec.Runner
}

func thisHost() host { return host{run: xexec.Host{}} }

// look lists what a daemon may have left in one place, or says why it cannot be
// seen.
type look func(context.Context) ([]adminapi.Finding, error)

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
		name := filepath.Base(argv[0]) + ": "
		err = errors.New(name + strings.TrimPrefix(e.Stderr, name))
	}
	return string(out), err
}

// has is nil when a path is there.
func (h host) has(path string) error {
	_, err := os.Stat(filepath.Join(h.root, path))
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New(path + " is missing")
	}
	return err
}

// absent says that a program is not installed: it left nothing behind.
func absent(err error) bool {
	return errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist)
}
