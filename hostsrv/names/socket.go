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

// netns is the network of a set while it is held open.
type netns struct {
	*os.File

	id netnsID
}

// netnsID tells networks apart while one of them is held open: a process of another may
// have the pid of one that ended.
type netnsID struct{ dev, ino uint64 }

// networkOf opens that of a process.
func networkOf(pid int) (netns, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return netns{}, fmt.Errorf("network of process %d: %w", pid, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return netns{}, errors.Join(fmt.Errorf("network of process %d: %w", pid, err), f.Close())
	}
	return netns{f, netnsID{st.Dev, st.Ino}}, nil
}

// listen makes the sockets of [Loopback] in a network. It needs the right to enter others.
func listen(ctx context.Context, in netns) (udp net.PacketConn, tcp net.Listener, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The thread is thrown away with this goroutine: it stays locked.
		runtime.LockOSThread()
		if err = unix.Setns(int(in.Fd()), unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("enter the network of %s: %w", in.Name(), err)
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
