package machine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// Link is a cable with any number of ends that joins cards of several machines:
// a hub that lives in this process. Each frame goes to every other end.
type Link struct {
	dir  string
	conn *net.UnixConn
	done chan struct{}

	mu   sync.Mutex // guards all below
	ends []*net.UnixAddr
	cut  bool
}

// NewLink makes a link without ends.
func NewLink(ctx context.Context) (*Link, error) {
	dir, err := os.MkdirTemp("", "moslink")
	if err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	conn, err := lc.ListenPacket(ctx, "unixgram", filepath.Join(dir, "hub"))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a link: %w", err), os.RemoveAll(dir))
	}
	unix, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("make a link: %T is no UNIX socket", conn), conn.Close(), os.RemoveAll(dir))
	}
	l := &Link{dir: dir, conn: unix, done: make(chan struct{})}
	go l.forward()
	return l, nil
}

// NIC returns a card at one more end of the link, for [Config.NICs].
func (l *Link) NIC() NIC {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.ends)
	path := filepath.Join(l.dir, strconv.Itoa(n))
	l.ends = append(l.ends, &net.UnixAddr{Name: path, Net: "unixgram"})
	return NIC{Local: path, Remote: filepath.Join(l.dir, "hub"), MAC: mac(l.dir, byte(n+1))}
}

// Cut loses all frames until [Link.Mend]. The machines see their carrier still.
func (l *Link) Cut() { l.set(true) }

// Mend ends what [Link.Cut] began.
func (l *Link) Mend() { l.set(false) }

func (l *Link) set(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
}

// Close ends the link. Machines at its ends go on, without it.
func (l *Link) Close() error {
	err := l.conn.Close()
	<-l.done
	return errors.Join(err, os.RemoveAll(l.dir))
}

func (l *Link) forward() {
	defer close(l.done)
	frame := make([]byte, 1<<17)
	for {
		n, from, err := l.conn.ReadFromUnix(frame)
		if err != nil {
			return
		}
		for _, end := range l.others(from) {
			// An end whose machine is off loses the frame.
			_, _ = l.conn.WriteToUnix(frame[:n], end)
		}
	}
}

// others returns the ends that a frame from one of them goes to.
func (l *Link) others(from *net.UnixAddr) []*net.UnixAddr {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut || from == nil {
		return nil
	}
	var others []*net.UnixAddr
	for _, end := range l.ends {
		if end.Name != from.Name {
			others = append(others, end)
		}
	}
	return others
}
