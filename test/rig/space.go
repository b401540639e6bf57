package rig

import (
	"bufio"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

//go:embed host.sh
var hostScript []byte

// netScript holds a namespace that is only a network.
const netScript = `set -eu
ip link set lo up
echo ready
read -r _ || :`

// errOff is why nothing runs in a space that is closed.
var errOff = errors.New("it has no power")

// space is a set of namespaces, held by a process that ends with this one.
type space struct {
	pid    int // of the holder, as seen from here
	holder *exec.Cmd
	stdin  io.Closer
	ended  chan struct{}

	mu    sync.RWMutex // guards all below
	files []*os.File   // the namespaces, in the order of entering; none once it is closed
}

// openNet makes a space with a network only.
func openNet(ctx context.Context) (*space, error) {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "bash", "-c", netScript)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Setpgid: true}
	return hold(cmd, "net")
}

// openHost makes a space with all that a host has. Its files live in dir.
func openHost(ctx context.Context, dir, name string, cg *cgroup) (*space, error) {
	script := filepath.Join(dir, "host.sh")
	if err := os.WriteFile(script, hostScript, 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "bash", script, dir, name)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWUTS,
		Setpgid:    true,
	}
	done, err := cg.born(cmd)
	if err != nil {
		return nil, err
	}
	defer done()
	cmd.Env = append(os.Environ(), "RIG_CGROUPS="+strings.Join(cg.v1, " "))
	return hold(cmd, "cgroup", "uts", "pid", "net", "mnt")
}

// hold starts the holder and opens its namespaces once it says that it is
// ready.
func hold(cmd *exec.Cmd, namespaces ...string) (*space, error) {
	var stderr strings.Builder
	cmd.Stderr = &stderr
	cmd.WaitDelay = time.Second
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &space{pid: cmd.Process.Pid, holder: cmd, stdin: stdin, ended: make(chan struct{})}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	go func() {
		defer close(s.ended)
		_ = cmd.Wait() // it is killed, mostly
	}()
	if line != "ready\n" {
		s.close()
		return nil, fmt.Errorf("make namespaces: holder says %q: %w: %s", line, errors.Join(err), stderr.String())
	}
	for _, name := range namespaces {
		f, err := os.Open(s.proc("ns", name))
		if err != nil {
			s.close()
			return nil, err
		}
		s.files = append(s.files, f)
	}
	return s, nil
}

// proc returns a path below the holder's folder of /proc.
func (s *space) proc(elem ...string) string {
	return filepath.Join(append([]string{"/proc", strconv.Itoa(s.pid)}, elem...)...)
}

// enter moves the calling thread into the space. It is for [xexec.Host.Enter].
// What is to run in a space that is no more must not run on this machine instead.
func (s *space) enter() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.files) == 0 {
		return errOff
	}
	// A thread that shares its root and working directory with others may
	// not change the mount namespace.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("leave the shared root: %w", err)
	}
	for _, f := range s.files {
		if err := unix.Setns(int(f.Fd()), 0); err != nil {
			return fmt.Errorf("enter %s: %w", f.Name(), err)
		}
	}
	return nil
}

// enterNet moves the calling thread into the space's network only.
func (s *space) enterNet() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, f := range s.files {
		if filepath.Base(f.Name()) == "net" {
			return unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
		}
	}
	return errors.New("the space has no network")
}

// close kills the holder, and with it all processes of its pid namespace, and
// waits until they are gone. It may be called again.
func (s *space) close() {
	_ = s.holder.Process.Kill()
	<-s.ended
	_ = s.stdin.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.files {
		_ = f.Close()
	}
	s.files = nil
}
