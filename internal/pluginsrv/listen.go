package pluginsrv

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// socketMode lets the owner and the group in.
const socketMode = 0o660

// longestPath is the room for a path in the kernel's struct sockaddr_un, less its end.
const longestPath = 107

// Socket is one place to serve. When systemd hands over a listener under Name,
// or one for Path, it is used and left to systemd; else Path is made, with mode
// 0660 and group Group where the host has that group, and removed on a clean
// stop. A socket that nobody serves any more is replaced; one that a process
// serves, and anything that is no socket, is refused.
type Socket struct {
	Name    string // FileDescriptorName of the socket unit
	Path    string
	Group   string // empty is docker
	Handler http.Handler
	// ConnContext, when set, gives each connection its context, as of [http.Server].
	ConnContext func(context.Context, net.Conn) context.Context
	// Wrap, when set, stands before the socket and chooses which connections are served.
	Wrap func(net.Listener) net.Listener
}

func listen(ctx context.Context, so Socket) (l net.Listener, err error) {
	if len(so.Path) > longestPath {
		return nil, fmt.Errorf("listen on %s: its path has %d characters, the kernel takes %d: %w", so.Path, len(so.Path), longestPath, errdefs.ErrInvalidArgument)
	}
	dir := filepath.Dir(so.Path)
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // others may look; the sockets have their own rights
		return nil, fmt.Errorf("listen on %s: %w", so.Path, err)
	}
	unlock, err := lock(dir)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", so.Path, err)
	}
	defer unlock()
	if err := clearStale(ctx, so.Path); err != nil {
		return nil, err
	}
	lc := net.ListenConfig{Control: narrow}
	if l, err = lc.Listen(ctx, "unix", so.Path); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", so.Path, err)
	}
	if err := hand(so); err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", so.Path, err), l.Close())
	}
	return l, nil
}

// narrow sets the rights that the file of a socket is born with. The umask
// takes some of them; hand gives them back once the group is right.
func narrow(_, _ string, c syscall.RawConn) error {
	var err error
	return errors.Join(c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }), err)
}

// lock keeps two daemons from both replacing the same stale socket. It is held
// for as long as it takes to look and bind.
func lock(dir string) (unlock func(), err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), d.Close())
	}
	return func() { _ = d.Close() }, nil // which unlocks
}

// clearStale removes a socket that nobody serves, and refuses what it must not
// remove. Only a refused connection proves that nobody serves: a busy server
// gives EAGAIN.
func clearStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("listen on %s: %w", path, err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("listen on %s: there is a file that is no socket: move it away: %w", path, errdefs.ErrAlreadyExists)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		defer func() { _ = c.Close() }() // it was only opened to see
		return fmt.Errorf("listen on %s: process %s serves it: stop that first: %w", path, peer(c), errdefs.ErrAlreadyExists)
	case errors.Is(err, syscall.ECONNREFUSED):
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("remove stale socket: %w", err)
		}
		return nil
	}
	return fmt.Errorf("listen on %s: a socket is there, and who serves it cannot be seen: %w (%w)", path, errdefs.ErrAlreadyExists, err)
}

// peer returns the process at the other end of a unix socket.
func peer(c net.Conn) string {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return "?"
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return "?"
	}
	pid := "?"
	err = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = strconv.Itoa(int(cred.Pid))
		}
	})
	if err != nil {
		return "?"
	}
	return pid
}

// hand gives a socket to its group, where the host has it, and opens it.
func hand(so Socket) error {
	name := so.Group
	if name == "" {
		name = "docker"
	}
	if g, err := user.LookupGroup(name); err == nil {
		gid, err := strconv.Atoi(g.Gid)
		if err != nil {
			return fmt.Errorf("group %s: %w", name, err)
		}
		if err := os.Chown(so.Path, -1, gid); err != nil && os.Geteuid() == 0 {
			return fmt.Errorf("give it to group %s: %w", name, err)
		}
	}
	return os.Chmod(so.Path, socketMode)
}
