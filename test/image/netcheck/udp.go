package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// headerSize is the length of a datagram's id and number.
const headerSize = 12

// transfer is one client's data so far.
type transfer struct {
	next uint32
	hash hash.Hash
	size int
}

// listenUDP opens a socket that tells the address each datagram was sent to.
func listenUDP(ctx context.Context, lc net.ListenConfig, addr string) (*net.UDPConn, error) {
	pc, err := lc.ListenPacket(ctx, "udp", addr)
	if err != nil {
		return nil, err
	}
	c, ok := pc.(*net.UDPConn)
	if !ok {
		return nil, fmt.Errorf("listen on %s: got a %T", addr, pc)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var err4, err6 error
	err = raw.Control(func(fd uintptr) {
		err6 = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		err4 = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
	})
	if err == nil && err4 != nil && err6 != nil {
		err = errors.Join(err4, err6)
	}
	return c, err
}

// serveUDP answers datagrams until the socket is closed. A datagram is an id, a
// number and data; the answer is the id, the number of the piece that is wanted
// next, and the hash of all before it. An id of 0 asks "whoami".
func serveUDP(c *net.UDPConn) {
	buf, oob := make([]byte, 65536), make([]byte, 256)
	transfers := map[uint64]*transfer{}
	for {
		n, oobn, _, from, err := c.ReadMsgUDPAddrPort(buf, oob)
		if err != nil {
			return
		}
		if n < headerSize {
			continue
		}
		answer := answerUDP(transfers, buf[:n], from)
		// The answer leaves with the address that was asked: a host with
		// several would else choose, and the client drops a stranger's.
		_, _, _ = c.WriteMsgUDPAddrPort(answer, source(oob[:oobn]), from)
	}
}

func answerUDP(transfers map[uint64]*transfer, datagram []byte, from netip.AddrPort) []byte {
	id, number := binary.BigEndian.Uint64(datagram), binary.BigEndian.Uint32(datagram[8:])
	if id == 0 {
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		return append(make([]byte, headerSize), from.String()...)
	}
	t := transfers[id]
	if t == nil {
		t = &transfer{hash: sha256.New()}
		transfers[id] = t
	}
	if number == t.next {
		t.hash.Write(datagram[headerSize:])
		t.size += len(datagram) - headerSize
		t.next++
	}
	answer := binary.BigEndian.AppendUint64(nil, id)
	answer = binary.BigEndian.AppendUint32(answer, t.next)
	return fmt.Appendf(answer, "ok %d %s", t.size, hex.EncodeToString(t.hash.Sum(nil)))
}

// source turns what the kernel said about a datagram's destination into what it
// wants to hear about the answer's source.
func source(oob []byte) []byte {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo:
			info := *(*unix.Inet6Pktinfo)(unsafe.Pointer(&m.Data[0]))
			if a := netip.AddrFrom16(info.Addr); !a.IsLinkLocalUnicast() {
				info.Ifindex = 0 // the route decides
			}
			return unix.PktInfo6(&info)
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= unix.SizeofInet4Pktinfo:
			info := *(*unix.Inet4Pktinfo)(unsafe.Pointer(&m.Data[0]))
			return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: info.Addr})
		}
	}
	return nil
}
