package rig

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/internal/xexec"
)

// The daemons that a host runs by itself.
const (
	Dockerd  = "dockerd"
	Ovsdb    = "ovsdb-server"
	Vswitchd = "ovs-vswitchd"
)

const (
	readyLimit = 90 * time.Second
	stopLimit  = 30 * time.Second
)

// Daemon is a program that lives in a host.
type Daemon struct {
	// Name names the daemon in the other calls, and its log.
	Name string
	// Argv is the program, looked up as by [Node.Run], and its arguments. It
	// must stay in the foreground.
	Argv []string
	// Env holds further "KEY=value" entries of its environment.
	Env []string
	// Ready returns nil when the daemon serves; nil means at once.
	Ready func() error
}

// daemon is a [Daemon] over several lives.
type daemon struct {
	Daemon
	log string

	mu       sync.Mutex // guards all below
	cmd      *exec.Cmd  // nil before the first start
	ended    chan struct{}
	err      error // how it ended
	expected bool  // somebody stops it
	fault    func(error)
}

// StartDaemon starts a further daemon in the host and waits until it is ready.
// A daemon of the same name that runs already is an error; one that has ended
// is replaced. All it writes goes to its log.
func (h *Host) StartDaemon(d Daemon) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(d.Argv) == 0 || d.Name == "" || filepath.Base(d.Name) != d.Name {
		return fmt.Errorf("start daemon %q of %s: want a plain name and arguments", d.Name, h.Name)
	}
	if old := h.find(d.Name); old != nil {
		if old.running() {
			return fmt.Errorf("start daemon %s of %s: it runs already", d.Name, h.Name)
		}
		old.Daemon = d
		return h.start(old)
	}
	added := h.newDaemon(d)
	at := slices.IndexFunc(h.daemons, func(d *daemon) bool { return d.Name == Dockerd })
	if at < 0 {
		at = len(h.daemons)
	}
	h.daemons = slices.Insert(h.daemons, at, added)
	return h.start(added)
}

func (h *Host) newDaemon(d Daemon) *daemon {
	return &daemon{Daemon: d, log: filepath.Join(h.rig.logs, h.Name, d.Name+".log"), fault: func(err error) {
		h.rig.fault(fmt.Errorf("%s of %s ended by itself: %w", d.Name, h.Name, err))
	}}
}

// Start starts a daemon that was stopped or killed, and waits until it is ready.
func (h *Host) Start(name string) error {
	return h.with(name, func(d *daemon) error {
		if d.running() {
			return errors.New("it runs already")
		}
		return h.start(d)
	})
}

// Stop ends a daemon with SIGTERM and waits for its end. One that has not ended
// after 30 s is killed, and that is an error. Stopping a stopped one is not.
func (h *Host) Stop(name string) error {
	return h.with(name, func(d *daemon) error { return d.end(syscall.SIGTERM) })
}

// Kill9 ends a daemon with SIGKILL and waits for its end. Its children live on:
// dockerd leaves containerd and the containers behind.
func (h *Host) Kill9(name string) error {
	return h.with(name, func(d *daemon) error { return d.end(syscall.SIGKILL) })
}

// Signal sends a signal to a running daemon, for example SIGSTOP or SIGHUP.
func (h *Host) Signal(name string, sig syscall.Signal) error {
	return h.with(name, func(d *daemon) error { return syscall.Kill(d.cmd.Process.Pid, sig) })
}

// Running reports whether a daemon of that name runs.
func (h *Host) Running(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := h.find(name)
	return d != nil && d.running()
}

// Pid returns the process id of a running daemon as seen from here, or 0.
func (h *Host) Pid(name string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d := h.find(name); d != nil && d.running() {
		return d.cmd.Process.Pid
	}
	return 0
}

// Log returns the path of a daemon's log: all of its lives, in one file.
func (h *Host) Log(name string) string { return filepath.Join(h.rig.logs, h.Name, name+".log") }

func (h *Host) with(name string, f func(*daemon) error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := h.find(name)
	if d == nil {
		return fmt.Errorf("%s has no daemon %q", h.Name, name)
	}
	if err := f(d); err != nil {
		return fmt.Errorf("%s of %s: %w", name, h.Name, err)
	}
	return nil
}

func (h *Host) find(name string) *daemon {
	for _, d := range h.daemons {
		if d.Name == name {
			return d
		}
	}
	return nil
}

// start starts one life of d and waits until it is ready.
func (h *Host) start(d *daemon) error {
	program, err := lookPath(d.Argv[0], h.path)
	if err != nil {
		return err
	}
	cmd, err := h.command(h.cg.join(append([]string{program}, d.Argv[1:]...)))
	if err != nil {
		return err
	}
	log, err := os.OpenFile(d.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	fmt.Fprintf(log, "--- %s starts\n", time.Now().Format(time.RFC3339Nano))
	cmd.Env = append(cmd.Env, d.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	born, err := h.cg.born(cmd)
	if err != nil {
		return err
	}
	defer born()
	if err := (xexec.Host{Enter: h.space.enter}).Start(cmd); err != nil {
		return err
	}
	d.watch(cmd)
	return d.awaitReady()
}

func (d *daemon) watch(cmd *exec.Cmd) {
	ended := make(chan struct{})
	d.mu.Lock()
	d.cmd, d.ended, d.expected, d.err = cmd, ended, false, nil
	d.mu.Unlock()
	go func() {
		err := cmd.Wait()
		if err == nil {
			err = errors.New("exit code 0")
		}
		d.mu.Lock()
		d.err = err
		expected := d.expected
		d.mu.Unlock()
		if !expected {
			d.fault(err)
		}
		close(ended)
	}()
}

func (d *daemon) awaitReady() error {
	if d.Ready == nil {
		return nil
	}
	var dead error
	err := testx.Poll(readyLimit, func() error {
		select {
		case <-d.ended:
			dead = fmt.Errorf("%s ended before it was ready: %w:\n%s", d.Name, d.err, tail(d.log))
			return nil
		default:
			return d.Ready()
		}
	})
	if err != nil {
		return fmt.Errorf("%s is not ready after %s: %w:\n%s", d.Name, readyLimit, err, tail(d.log))
	}
	return dead
}

// end sends sig and waits. Only the process itself gets it.
func (d *daemon) end(sig syscall.Signal) error {
	if !d.running() {
		return nil
	}
	d.expectEnd()
	_ = d.cmd.Process.Signal(syscall.SIGCONT) // a stopped process takes no SIGTERM
	if err := d.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-d.ended:
		return nil
	case <-time.After(stopLimit):
		_ = d.cmd.Process.Kill()
		<-d.ended
		return fmt.Errorf("had to be killed %s after %s", stopLimit, sig)
	}
}

func (d *daemon) expectEnd() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.expected = true
}

func (d *daemon) running() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended == nil {
		return false
	}
	select {
	case <-d.ended:
		return false
	default:
		return true
	}
}

// wait waits for the end of a daemon that is being killed.
func (d *daemon) wait() {
	if d.ended != nil {
		<-d.ended
	}
}
