package lvm

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/xexec"
)

// DevicesFile is the name of the service's devices file below the folder
// devices of LVM's system folder.
const DevicesFile = "mos-lvm.devices"

const (
	systemDir    = "/etc/lvm"
	defaultLimit = 10 * time.Minute
)

// Config says how a [Client] runs its commands.
type Config struct {
	// Runner runs lvm and dmsetup. It is required.
	Runner xexec.Runner
	// DevicesFile is a file's name, without a folder, below SystemDir/devices.
	// It is required; the service uses [DevicesFile].
	DevicesFile string
	// SystemDir is LVM's system folder; empty is /etc/lvm. Tests give their own
	// and so have their own devices file and no lvm.conf.
	SystemDir string
	// NoKernel keeps lvm from the kernel's device mapper: all works on metadata
	// alone, nothing can be active, and thin pools cannot be made.
	NoKernel bool
	// NoUdev makes lvm handle device nodes itself and wait for no udev. It is
	// for containers: udev of the host cannot answer there.
	NoUdev bool
	// Limit bounds a change, whose context does not; 0 is ten minutes.
	Limit time.Duration
}

// Client runs LVM's commands. It may be used by several goroutines.
type Client struct{ cfg Config }

// New returns a client. It runs nothing yet.
func New(cfg Config) (*Client, error) {
	switch {
	case cfg.Runner == nil:
		return nil, fault.Invalid("lvm: Config.Runner is not set")
	case cfg.DevicesFile == "" || cfg.DevicesFile != filepath.Base(cfg.DevicesFile) || validChars("devices file", cfg.DevicesFile) != nil:
		return nil, fault.Invalid("lvm: Config.DevicesFile %q: must be a file name such as %s", cfg.DevicesFile, DevicesFile)
	}
	if cfg.SystemDir == "" {
		cfg.SystemDir = systemDir
	}
	if cfg.Limit == 0 {
		cfg.Limit = defaultLimit
	}
	return &Client{cfg: cfg}, nil
}

// read runs a command that changes nothing; ctx may cut it.
func (c *Client) read(ctx context.Context, doing string, argv []string) ([]byte, error) {
	if err := c.guard(); err != nil {
		return nil, err
	}
	out, err := c.cfg.Runner.Run(ctx, xexec.Cmd{Argv: argv, Env: c.env()})
	return out, mapError(doing, err)
}

// change runs a command that changes something. Once begun it is not cut by
// the end of ctx, see the package comment.
func (c *Client) change(ctx context.Context, doing string, argv []string) ([]byte, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, mapError(doing, &xexec.Error{Argv: argv, Code: -1, Err: err})
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.cfg.Limit)
	defer cancel()
	out, err := c.read(ctx, doing, argv)
	for range healTries {
		if err == nil || !c.heal(ctx, err) {
			break
		}
		out, err = c.read(ctx, doing, argv)
	}
	return out, err
}

func (c *Client) env() []string {
	// lvm complains about each descriptor that its parent left open.
	env := []string{"LVM_SUPPRESS_FD_WARNINGS=1"}
	if c.cfg.SystemDir != systemDir {
		env = append(env, "LVM_SYSTEM_DIR="+c.cfg.SystemDir)
	}
	return env
}

func (c *Client) devicesPath() string {
	return filepath.Join(c.cfg.SystemDir, "devices", c.cfg.DevicesFile)
}

// guard makes an empty devices file when there is none. Without the file lvm
// 2.03.16 sees all devices of the machine, and 2.03.31 refuses to run.
func (c *Client) guard() error {
	path := c.devicesPath()
	_, err := os.Stat(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return fileError(path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return fileError(path, err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil // another call was faster
	}
	if err != nil {
		return fileError(path, err)
	}
	_, err = f.WriteString("VERSION=1.1.1\n")
	return fileError(path, errors.Join(err, f.Close()))
}

func fileError(path string, err error) error {
	if err == nil {
		return nil
	}
	return fault.Unavailable("devices file %s, without which lvm would see all devices of the host: %w", path, err)
}
