package firewall

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// quiet is how long the ruleset must be left alone before a change is told,
// and patience how long somebody may keep changing it without our telling.
const (
	quiet    = 100 * time.Millisecond
	patience = 500 * time.Millisecond
)

// Watch calls changed within a second after somebody, we included, changed the
// nftables ruleset, until ctx ends. It returns nil then. Rules of
// iptables-legacy make no such event: call Check from time to time.
func (f *Firewall) Watch(ctx context.Context, changed func()) error {
	sock, err := openEvents()
	if err != nil {
		return fmt.Errorf("watch the nftables ruleset: %w", err)
	}
	events, ended := make(chan struct{}, 1), make(chan error, 1)
	var reader sync.WaitGroup
	reader.Go(func() { ended <- readEvents(sock, events) })
	defer func() {
		_ = sock.Close() // which ends the reader
		reader.Wait()
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-ended:
			return fmt.Errorf("watch the nftables ruleset: %w", err)
		case <-events:
			settle(ctx, events)
			if ctx.Err() == nil {
				changed()
			}
		}
	}
}

// settle waits for the end of a series of changes.
func settle(ctx context.Context, events <-chan struct{}) {
	limit := time.After(patience)
	for {
		select {
		case <-events:
		case <-time.After(quiet):
			return
		case <-limit:
			return
		case <-ctx.Done():
			return
		}
	}
}

// openEvents is a socket that the kernel writes each change of nftables to.
func openEvents() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	group := uint32(1) << (unix.NFNLGRP_NFTABLES - 1)
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: group}); err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("bind", err)
	}
	return os.NewFile(uintptr(fd), "nftables"), nil
}

// readEvents ends when the socket is closed. What the events say does not
// matter, and a lost one (ENOBUFS) is as good as any.
func readEvents(sock *os.File, events chan<- struct{}) error {
	buf := make([]byte, 64<<10)
	for {
		if _, err := sock.Read(buf); err != nil && !errors.Is(err, unix.ENOBUFS) {
			return err
		}
		select {
		case events <- struct{}{}:
		default:
		}
	}
}
