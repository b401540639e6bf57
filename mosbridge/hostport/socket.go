package hostport

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// socket is a bound socket that nobody reads. It is a bare descriptor: an
// os.File would only cost the runtime's poller.
type socket int

// reserve binds the port without listening.
//
// TCP binds with SO_REUSEADDR, since connections of an earlier holder may
// linger in TIME_WAIT, and takes the option back: with it, another program that
// sets it too, as most servers do, could bind the same port.
func reserve(b Binding) (socket, error) {
	family, kind := unix.AF_INET6, unix.SOCK_STREAM
	var to unix.Sockaddr = &unix.SockaddrInet6{Port: int(b.HostPort), Addr: b.HostIP.As16()}
	if b.HostIP.Is4() {
		family, to = unix.AF_INET, &unix.SockaddrInet4{Port: int(b.HostPort), Addr: b.HostIP.As4()}
	}
	if b.Proto == spec.UDP {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fault.Unavailable("reserve host port %s: %w", b, os.NewSyscallError("socket", err))
	}
	if err := bind(fd, family, kind, to); err != nil {
		_ = unix.Close(fd)
		return 0, refused(b, err)
	}
	return socket(fd), nil
}

func bind(fd, family, kind int, to unix.Sockaddr) error {
	if family == unix.AF_INET6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return err
		}
	}
	if kind == unix.SOCK_DGRAM {
		// Nobody reads: a datagram that comes by a way without translation is
		// not worth memory. The kernel raises this to its least.
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1); err != nil {
			return err
		}
		return unix.Bind(fd, to)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if err := unix.Bind(fd, to); err != nil {
		return err
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 0)
}

// refused is the kernel's no, for people.
func refused(b Binding, err error) error {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return &inUseError{b: b, who: "a program of this host"}
	case errors.Is(err, unix.EADDRNOTAVAIL), errors.Is(err, unix.EAFNOSUPPORT):
		return fault.Invalid("host port %s cannot be published: %s is no address of this host", b, b.HostIP)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fault.Of(errdefs.ErrPermissionDenied, "reserve host port %s: %w", b, err)
	}
	return fault.Unavailable("reserve host port %s: %w", b, os.NewSyscallError("bind", err))
}

// inUseError says that a program of the host has the port.
type inUseError struct {
	b   Binding
	who string
}

func (e *inUseError) Error() string {
	return fmt.Sprintf("host port %s is in use by %s: stop it or choose another", e.b, e.who)
}

func (e *inUseError) Unwrap() error { return errdefs.ErrAlreadyExists }

// withHolder finds out who has the port that err is about. It reads all of
// /proc, which is too much for every port of a range.
func withHolder(err error) error {
	if e := (*inUseError)(nil); errors.As(err, &e) {
		e.who = holder(e.b)
	}
	return err
}

func closeAll(sockets []socket) {
	for _, s := range sockets {
		_ = unix.Close(int(s))
	}
}

// hasIPv6 says that the host has IPv6 at all: with it switched off, a port is
// published in IPv4 alone.
func hasIPv6() bool {
	s, err := reserve(Binding{Proto: spec.UDP, HostIP: netip.IPv6Unspecified()})
	if err != nil {
		return false
	}
	closeAll([]socket{s})
	return true
}

// localRange is the range of ports that the kernel takes for itself, or that of
// the Docker Engine. Reserved ports of it are not taken by the kernel any more.
func localRange() (first, last uint16) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err == nil {
		_, err = fmt.Fscan(strings.NewReader(string(text)), &first, &last)
	}
	if err != nil || first == 0 || last < first {
		return 49153, 65535
	}
	return first, last
}
