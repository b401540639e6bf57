package rig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/internal/xexec"
)

// Node is a place in a rig where commands can run: a host, the outside, or the
// fabric between the hosts.
type Node struct {
	// Name is h1, h2 … for hosts, outside, fabric. It is the host name too.
	Name string

	space *space
	path  string // PATH of all commands
	env   []string
}

// Run runs a command inside the node and so implements [xexec.Runner]: code
// that takes one can be tested against the node. A program without a slash is
// looked up in the node's PATH, which holds the folder of netcheck and of the
// Engine in use.
func (n *Node) Run(ctx context.Context, c xexec.Cmd) ([]byte, error) {
	if len(c.Argv) == 0 {
		return nil, &xexec.Error{Code: -1, Err: errors.New("empty argument vector")}
	}
	program, err := lookPath(c.Argv[0], n.path)
	if err != nil {
		return nil, &xexec.Error{Argv: c.Argv, Code: -1, Err: err}
	}
	c.Argv = append([]string{program}, c.Argv[1:]...)
	c.Env = append(n.environ(), c.Env...)
	return xexec.Host{Enter: n.space.enter}.Run(ctx, c)
}

func (n *Node) environ() []string {
	env := append([]string{"PATH=" + n.path}, n.env...)
	// These would send the docker command to another Engine.
	for _, v := range []string{"DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_API_VERSION"} {
		if os.Getenv(v) != "" {
			env = append(env, v+"=")
		}
	}
	return env
}

// command returns a command with the node's environment, to be started inside.
func (n *Node) command(argv []string) (*exec.Cmd, error) {
	if len(argv) == 0 {
		return nil, errors.New("empty argument vector")
	}
	program, err := lookPath(argv[0], n.path)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, argv[1:]...)
	cmd.Env = append(append(os.Environ(), "LC_ALL=C"), n.environ()...)
	return cmd, nil
}

// Attach runs a command inside the node with this process's terminal, for
// example a shell.
func (n *Node) Attach(argv ...string) error {
	cmd, err := n.command(argv)
	if err != nil {
		return err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := (xexec.Host{Enter: n.space.enter}).Start(cmd); err != nil {
		return err
	}
	return cmd.Wait()
}

// Exec runs a command inside the node and returns its standard output, without
// the white space around it.
func (n *Node) Exec(ctx context.Context, argv ...string) (string, error) {
	out, err := n.Run(ctx, xexec.Cmd{Argv: argv})
	return strings.TrimSpace(string(out)), err
}

// MustExec is [Node.Exec] with a limit of a minute; an error fails the test.
func (n *Node) MustExec(tb testing.TB, argv ...string) string {
	tb.Helper()
	// Not the test's own context: clean-ups run when that has ended.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), time.Minute)
	defer cancel()
	out, err := n.Exec(ctx, argv...)
	if err != nil {
		tb.Fatalf("%s: %v", n.Name, err)
	}
	return out
}

// Background starts a command inside the node and returns at once; all it
// writes goes to w, nil drops it. The returned function kills it with its
// process group and waits for its end; it must be called, and may be called
// again.
func (n *Node) Background(w *os.File, argv ...string) (kill func(), err error) {
	cmd, err := n.command(argv)
	if err != nil {
		return nil, err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if w != nil {
		cmd.Stdout, cmd.Stderr = w, w
	}
	if err := (xexec.Host{Enter: n.space.enter}).Start(cmd); err != nil {
		return nil, fmt.Errorf("start %s on %s: %w", argv[0], n.Name, err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	return func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
	}, nil
}

// Serve runs "netcheck serve" inside the node, on a port of all its addresses,
// until the test ends. It serves when this returns.
func (n *Node) Serve(tb testing.TB, port int) {
	tb.Helper()
	ready := filepath.Join(tb.TempDir(), "ready")
	kill, err := n.Background(nil, "netcheck", "serve", "-ready", ready, fmt.Sprintf(":%d", port))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(kill)
	testx.Eventually(tb, 10*time.Second, func() error {
		_, err := os.Stat(ready)
		return err
	})
}

// Do calls f on a thread that is inside the node's network, with everything
// else as it is here: for sockets and netlink. The thread is thrown away; f must
// not start goroutines that count on being there.
func (n *Node) Do(f func() error) error {
	return xexec.OnThread(func() error {
		if err := n.space.enterNet(); err != nil {
			return err
		}
		return f()
	})
}

// NetNS returns a path that names the node's network namespace, good for as
// long as the node lives.
func (n *Node) NetNS() string { return n.space.proc("ns", "net") }

// Path returns where a path of the node is seen from here, for example the
// socket /run/docker.sock or a log below /var.
func (n *Node) Path(path string) string {
	return filepath.Join(n.space.proc("root"), path)
}

// Holder returns the process id, as seen from here, of the process that holds
// the node's namespaces: for nsenter and "ip link set netns".
func (n *Node) Holder() int { return n.space.pid }
