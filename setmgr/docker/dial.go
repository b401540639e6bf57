package docker

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Dial connects to a port of the loopback address in the network of a process. It
// needs the right to enter other network namespaces.
func Dial(ctx context.Context, pid, port int) (net.Conn, error) {
	ns, err := unix.Open(netns(pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("network of process %d: %w", pid, err)
	}
	defer func() { _ = unix.Close(ns) }()
	type result struct {
		c   net.Conn
		err error
	}
	done := make(chan result, 1)
	go func() {
		// The thread is thrown away with this goroutine: it stays locked.
		runtime.LockOSThread()
		if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
			done <- result{nil, fmt.Errorf("enter the network of process %d: %w", pid, err)}
			return
		}
		c, err := dialHere(ctx, port)
		done <- result{c, err}
	}()
	r := <-done
	return r.c, r.err
}

// dialHere connects from the network of this thread: a socket belongs to the
// namespace that it was made in, and no other goroutine may make it.
func dialHere(ctx context.Context, port int) (net.Conn, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	limit := unix.Timeval{Sec: 2}
	if end, ok := ctx.Deadline(); ok {
		limit = unix.NsecToTimeval(max(time.Until(end), time.Millisecond).Nanoseconds())
	}
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit) // else it takes what the kernel takes
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("connect to port %s: %w", strconv.Itoa(port), err)
	}
	f := os.NewFile(uintptr(fd), "probe")
	defer func() { _ = f.Close() }()
	return net.FileConn(f)
}
