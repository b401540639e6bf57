package docker

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// unprotected says that the Engine cannot shield processes when memory runs out: it
// runs without root, or, as can be seen of one on this host, without the right.
func (e *Engine) unprotected(ctx context.Context, security []string) bool {
	if slices.Contains(security, "name=rootless") {
		return true
	}
	path, unixSocket := strings.CutPrefix(e.c.DaemonHost(), "unix://")
	if !unixSocket {
		return false
	}
	caps, known := capsOf(servedBy(ctx, path))
	return known && caps&(1<<unix.CAP_SYS_RESOURCE) == 0
}

// SharesHost says whether this process and the Engine are on one host, and not in
// containers apart: then the process numbers that the Engine tells, and the cgroups
// that it makes, are the same here.
func (e *Engine) SharesHost(ctx context.Context) bool {
	path, unixSocket := strings.CutPrefix(e.c.DaemonHost(), "unix://")
	if !unixSocket {
		return false
	}
	pid := servedBy(ctx, path)
	if pid <= 0 {
		return false
	}
	theirs, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/pid")
	if err != nil {
		// Not for everybody to see; the number itself was of our namespace.
		return os.IsPermission(err)
	}
	ours, err := os.Readlink("/proc/self/ns/pid")
	return err == nil && ours == theirs
}

// servedBy is the process that listens on a socket, 0 when that is not known.
func servedBy(ctx context.Context, path string) int {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return 0
	}
	defer func() { _ = c.Close() }()
	u, ok := c.(*net.UnixConn)
	if !ok {
		return 0
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0
	}
	pid := 0
	_ = raw.Control(func(fd uintptr) { // an error leaves 0
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(cred.Pid)
		}
	})
	return pid
}

// capsOf are the capabilities that a process may use.
func capsOf(pid int) (caps uint64, known bool) {
	if pid <= 0 {
		return 0, false
	}
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, false
	}
	for sc := bufio.NewScanner(bytes.NewReader(status)); sc.Scan(); {
		if v, ok := strings.CutPrefix(sc.Text(), "CapEff:"); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(v), 16, 64)
			return n, err == nil
		}
	}
	return 0, false
}
