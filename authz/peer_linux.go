package authz

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/authz/policy"
)

type peerKey struct{}

// withPeer notes in the context of a connection who opened it.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	if known, ok := c.(*client); ok {
		return context.WithValue(ctx, peerKey{}, &known.caller)
	}
	who, err := peer(c)
	if err != nil {
		return ctx // and is refused
	}
	return context.WithValue(ctx, peerKey{}, &caller{who: who})
}

// callerOf is who sends a request, nil when the kernel does not tell.
func callerOf(r *http.Request) *caller {
	c, _ := r.Context().Value(peerKey{}).(*caller)
	return c
}

// peer is the process that opened a unix connection, as the kernel noted it then.
func peer(c net.Conn) (policy.Who, error) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return policy.Who{}, fmt.Errorf("connection of type %T has no peer", c)
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return policy.Who{}, err
	}
	var who policy.Who
	var inner error
	err = raw.Control(func(fd uintptr) {
		var cred *unix.Ucred
		if cred, inner = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); inner != nil {
			return
		}
		who = policy.Who{Unix: true, UID: cred.Uid, Groups: []uint32{cred.Gid}}
		var more []uint32
		more, inner = peerGroups(fd)
		who.Groups = append(who.Groups, more...)
	})
	return who, errors.Join(err, inner)
}

// peerGroups are the supplementary groups, which x/sys has no call for.
func peerGroups(fd uintptr) ([]uint32, error) {
	buf := make([]byte, 64*4)
	for {
		size := uint32(len(buf))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&size)), 0) //nolint:gosec // the kernel's interface
		switch {
		case errno == unix.ERANGE && size > uint32(len(buf)):
			buf = make([]byte, size)
			continue
		case errno != 0:
			return nil, fmt.Errorf("groups of the peer: %w", errno)
		}
		var out []uint32
		for i := 0; i+4 <= int(size); i += 4 {
			out = append(out, binary.NativeEndian.Uint32(buf[i:]))
		}
		return out, nil
	}
}
