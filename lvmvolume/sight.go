package lvmvolume

import (
	"context"
	"net"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/lvmvolume/mounts"
)

// blind says that somebody may have a volume mounted whom a snapshot does not
// show. In a PID namespace of our own that is so, unless the engine lives in it
// too, and with it all its containers.
func (d *Driver) blind(ctx context.Context, snap *mounts.Snapshot) bool {
	if !snap.Blind() || d.engineSeen.Load() {
		return false
	}
	if enginePID(ctx, d.cfg.DockerHost) <= 0 {
		return true
	}
	d.engineSeen.Store(true) // a later one is started by the same init
	return false
}

// enginePID is the process that serves the engine's socket, by our PID
// namespace: 0 when it is in none that we see, or does not serve.
func enginePID(ctx context.Context, host string) int {
	path, ok := strings.CutPrefix(host, "unix://")
	if !ok {
		return 0
	}
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
	err = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(cred.Pid)
		}
	})
	if err != nil {
		return 0
	}
	return pid
}
