package read

import (
	"encoding/binary"
	"errors"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/agent/metric"
)

// tcpStates are the words for the states of TCP by the kernel's numbers
// (include/net/tcp_states.h), those of cAdvisor's metric.
func tcpStates() [13]string {
	return [13]string{"", "established", "synsent", "synrecv", "finwait1", "finwait2", "timewait", "close", "closewait", "lastack", "listen", "closing", "newsynrecv"}
}

// states counts the TCP sockets of a network namespace by asking the kernel for
// them through a socket that stays open: /proc/PID/net/tcp takes ten times as
// long, for it walks a hash table of all namespaces.
type states struct {
	fd     int // 0 is none
	base   int // of 12 series, from state 1 on; 0 before the first
	seq    uint32
	broken bool
}

// The request of old, which lists both families at once: for each the kernel walks
// a table of all namespaces (include/uapi/linux/inet_diag.h, inet_diag_rcv_msg_compat).
const (
	getTCPSockets = 18 // TCPDIAG_GETSOCK
	diagRequest   = 60 // size of struct inet_diag_req
	diagStates    = 52 // offset of idiag_states in it
	allStates     = 1<<13 - 1
)

// open makes the socket in a namespace, on a thread that is then thrown away unless
// the namespace is this process's own.
func (t *states) open(namespace string) (err error) {
	var own, other unix.Stat_t
	if err := errors.Join(unix.Stat("/proc/self/ns/net", &own), unix.Stat(namespace, &other)); err != nil {
		return err
	}
	if own.Ino == other.Ino {
		t.fd, err = diagSocket()
		return err
	}
	ns, err := unix.Open(namespace, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	err = onThrownThread(func() error {
		err := unix.Setns(ns, unix.CLONE_NEWNET)
		if err == nil {
			t.fd, err = diagSocket()
		}
		return err
	})
	return errors.Join(err, unix.Close(ns))
}

// onThrownThread runs f on a thread that ends with it. The first thread of the
// process does not end but is parked, and is what /proc/self shows, so it is never
// taken.
func onThrownThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			done <- f() // never unlocked
			return
		}
		defer runtime.UnlockOSThread()
		done <- onThrownThread(f) // while this goroutine holds the first thread
	}()
	return <-done
}

func diagSocket() (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return 0, err
	}
	// The kernel answers while it is asked; a limit all the same.
	return fd, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 200_000})
}

func (t *states) close() {
	if t.fd > 0 {
		_ = unix.Close(t.fd) // nothing is written to it
	}
	t.fd = 0
}

func (t *states) sample(s *Source, b *Buffer) {
	if t.fd <= 0 || t.broken {
		return
	}
	var n [13]uint64
	if !s.noTCP() {
		if err := t.dump(b.room(), &n); err != nil {
			s.Errors++
			// A kernel without the module, or answers that come late: what was not
			// read would be taken for the next answer.
			t.broken = true
			return
		}
	}
	if t.base == 0 {
		names := tcpStates()
		t.base = s.Point.Add(metric.TCPStates, names[1])
		for _, name := range names[2:] {
			s.Point.Add(metric.TCPStates, name)
		}
	}
	for i := 1; i < len(n); i++ {
		s.Point.SetAt(t.base+i-1, float64(n[i]))
	}
}

var errDiag = errors.New("the kernel refuses to list sockets")

// noTCP says that the namespace has no TCP sockets by what was read before, so that
// idle containers cost no walk.
func (s *Source) noTCP() bool {
	used, ok := s.Point.Get(metric.TCPInUse)
	waiting, ok2 := s.Point.Get(metric.TCPTimeWait)
	return ok && ok2 && used == 0 && waiting == 0
}

// dump adds the sockets to n. buf is what every source has in common: each read of it takes
// one of the kernel's messages, which are of 16 KiB at most to who has no more room.
func (t *states) dump(buf []byte, n *[13]uint64) error {
	t.seq++
	var req [unix.SizeofNlMsghdr + diagRequest]byte
	h := req[:unix.SizeofNlMsghdr]
	binary.NativeEndian.PutUint32(h[0:], uint32(len(req)))
	binary.NativeEndian.PutUint16(h[4:], getTCPSockets)
	binary.NativeEndian.PutUint16(h[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	binary.NativeEndian.PutUint32(h[8:], t.seq)
	binary.NativeEndian.PutUint32(req[unix.SizeofNlMsghdr+diagStates:], allStates)
	if _, err := unix.Write(t.fd, req[:]); err != nil {
		return err
	}
	for {
		got, err := unix.Read(t.fd, buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		done, err := t.messages(buf[:got], n)
		if done || err != nil {
			return err
		}
	}
}

func (t *states) messages(m []byte, n *[13]uint64) (done bool, err error) {
	for len(m) >= unix.SizeofNlMsghdr {
		size := int(binary.NativeEndian.Uint32(m))
		kind := binary.NativeEndian.Uint16(m[4:])
		switch {
		case size < unix.SizeofNlMsghdr || size > len(m):
			return true, errDiag
		case kind == unix.NLMSG_DONE:
			return true, nil
		case kind == unix.NLMSG_ERROR:
			return true, errDiag
		case kind == getTCPSockets && size > unix.SizeofNlMsghdr+1:
			// struct inet_diag_msg: family, state, …
			if state := m[unix.SizeofNlMsghdr+1]; int(state) < len(n) {
				n[state]++
			}
		}
		m = m[min((size+3)&^3, len(m)):]
	}
	return false, nil
}
