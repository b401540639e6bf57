package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mosdocker/mosdocker/internal/adminapi"
)

// callLimit is how long a command waits for a daemon, and completeLimit how
// long a user who pressed Tab waits.
const (
	callLimit     = 60 * time.Second
	completeLimit = 2 * time.Second
)

// admin is what the clients of all daemons can do.
type admin interface {
	Audit(ctx context.Context) (adminapi.Audit, error)
	Doctor(ctx context.Context) (adminapi.Doctor, error)
	GC(ctx context.Context, r adminapi.GCRequest) (adminapi.GC, error)
	SetLogLevel(ctx context.Context, l adminapi.LogLevel) error
}

// address is where a daemon is asked.
type address struct {
	name   string // of the daemon, also of its unit, its log and docker's socket
	env    string // variable that names the admin socket
	flag   string // that names it in commands that ask several daemons
	usual  string // where it is when nobody says
	socket string // the admin socket
}

// daemon is one of the daemons that commands ask, by its client C.
type daemon[C admin] struct {
	address
	dial func(socket string) C

	// What can be seen of it on the host while it does not answer.
	host  host
	looks []look
	tools func(context.Context, *checks)
	clean string // remark when no look found anything
	blind string // remark on what no look can see

	optional bool // a host without it is whole: nothing is said when it was never installed
}

// socketFlag adds a flag of the admin socket.
func (d *address) socketFlag(fs *pflag.FlagSet, name string) {
	def := os.Getenv(d.env)
	if def == "" {
		def = d.usual
	}
	fs.StringVar(&d.socket, name, def, "Admin socket of "+d.name+"; "+d.env+" names it, too")
	fs.Lookup(name).DefValue = d.usual // for help that is the same everywhere
}

func (d *daemon[C]) client() C { return d.dial(d.at()) }

// at is the admin socket; no name of one means the usual.
func (d *address) at() string { return cmp.Or(d.socket, d.usual) }

// within runs f against the daemon with a limit of time, and explains its error.
func (d *daemon[C]) within(cmd *cobra.Command, f func(context.Context, C) error) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), callLimit)
	defer cancel()
	return d.explain(cmd, f(ctx, d.client()))
}

// long runs f, which may move a lot of data, until it ends or the user
// interrupts it.
func (d *daemon[C]) long(cmd *cobra.Command, f func(context.Context, C) error) error {
	var s signals
	s.listen()
	ctx, stop := s.interruptible(cmd.Context())
	defer stop()
	err := d.explain(cmd, f(ctx, d.client()))
	if err != nil && ctx.Err() != nil {
		return failure(context.Cause(ctx), "%s was interrupted", cmd.CommandPath())
	}
	return err
}

// each runs f for one argument after the other and joins the errors. A daemon
// that does not answer is not asked again.
func each(args []string, f func(string) error) error {
	var errs []error
	for _, arg := range args {
		err := f(arg)
		errs = append(errs, err)
		if unreachable(err) {
			break
		}
	}
	return errors.Join(errs...)
}

// unreachable says that an error is not the daemon's answer but its silence.
func unreachable(err error) bool {
	if err == nil || !errdefs.IsUnavailable(err) && !errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	_, answered := errors.AsType[*adminapi.Error](err)
	return !answered
}

// howToStart is where a daemon that does not run is started from.
func (d *address) howToStart() string {
	return "start " + d.name + " with systemctl start " + d.name + ", or with make up in the source tree"
}

// explain gives an error of the daemon's client what to do about it.
func (d *address) explain(cmd *cobra.Command, err error) error {
	if !unreachable(err) {
		return err
	}
	other := "another socket of " + d.name + " is named by --" + d.flagOf(cmd) + " or " + d.env
	logs := "journalctl -u " + d.name + ", or /var/log/mos/" + d.name + ".log, says "
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return hinted(failure(errdefs.ErrUnavailable, "%s does not run: its socket %s is missing", d.name, d.at()), d.howToStart(), other)
	case errors.Is(err, fs.ErrPermission):
		return hinted(failure(errdefs.ErrUnavailable, "you may not open %s, the socket of %s", d.at(), d.name),
			"use sudo, or be in the socket's group")
	case errors.Is(err, syscall.ECONNREFUSED) && !isSocket(d.at()):
		return hinted(failure(errdefs.ErrUnavailable, "%s is no socket, so %s cannot be asked there", d.at(), d.name), other)
	case errors.Is(err, syscall.ECONNREFUSED):
		return hinted(failure(errdefs.ErrUnavailable, "%s does not run any more: nobody listens on its socket %s", d.name, d.at()),
			d.howToStart(), logs+"why it ended")
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		return hinted(failure(errdefs.ErrUnavailable, "%s does not answer in time on %s", d.name, d.at()),
			logs+"what it is doing")
	}
	return hinted(err, d.howToStart())
}

func isSocket(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().Type() == fs.ModeSocket
}

// flagOf is the name of the flag by which a command takes the admin socket: in
// the daemon's own group it is plain.
func (d *address) flagOf(cmd *cobra.Command) string {
	if cmd.Flags().Lookup(d.flag) != nil {
		return d.flag
	}
	return "socket"
}

// installed says whether the daemon was ever set up here, or is asked for by
// naming its socket.
func (d *daemon[C]) installed() bool {
	if d.at() != d.usual {
		return true
	}
	for _, path := range []string{d.usual, d.pluginSocket(), filepath.Join("/var/lib/mos", d.name)} {
		if _, err := os.Stat(filepath.Join(d.host.root, path)); !errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}

func (d *daemon[C]) pluginSocket() string { return "/run/docker/plugins/" + d.name + ".sock" }
