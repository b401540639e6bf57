package names

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Loopback is where containers of a set ask.
const Loopback = "127.0.0.12"

const port = ":53"

// listen makes the sockets of [Loopback] in the network of a process. It needs the right to
// enter other network namespaces.
func listen(ctx context.Context, pid int) (udp net.PacketConn, tcp net.Listener, err error) {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return nil, nil, fmt.Errorf("network of process %d: %w", pid, err)
	}
	defer func() { _ = ns.Close() }()
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The thread is thrown away with this goroutine: it stays locked.
		runtime.LockOSThread()
		if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("enter the network of process %d: %w", pid, err)
			return
		}
		udp, tcp, err = listenHere(ctx, Loopback+port)
	}()
	<-done
	return udp, tcp, err
}

func listenHere(ctx context.Context, at string) (net.PacketConn, net.Listener, error) {
	var c net.ListenConfig
	udp, err := c.ListenPacket(ctx, "udp4", at)
	if err != nil {
		return nil, nil, err
	}
	tcp, err := c.Listen(ctx, "tcp4", at)
	if err != nil {
		return nil, nil, errors.Join(err, udp.Close())
	}
	return udp, tcp, nil
}
