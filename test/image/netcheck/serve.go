package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a server that ends serves the connections that it has.
const patience = 5 * time.Second

// serve answers TCP (our protocol and HTTP, told apart by the first bytes) and
// UDP on one port, on all addresses of both families, until ctx ends. With share
// others may have the port, too, and connections are served to their end.
func serve(ctx context.Context, addr, ready string, share bool) error {
	var lc net.ListenConfig
	if share {
		lc.Control = reusePort
	}
	tcp, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	udp, err := listenUDP(ctx, lc, tcp.Addr().String())
	if err != nil {
		return err
	}
	if ready != "" {
		if err := os.WriteFile(ready, []byte(tcp.Addr().String()+"\n"), 0o600); err != nil {
			return err
		}
	}
	web := newQueue(tcp.Addr())
	srv := &http.Server{Handler: http.HandlerFunc(answerHTTP)}
	var servers, conns sync.WaitGroup
	servers.Go(func() { _ = srv.Serve(web) })
	servers.Go(func() { serveUDP(udp) })
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		for {
			c, err := tcp.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { serveConn(c, web) })
		}
	}()
	<-ctx.Done()
	err = errors.Join(tcp.Close(), udp.Close())
	<-accepting
	if share {
		// Shutdown of the web server would drop whom it has not heard out yet.
		srv.SetKeepAlivesEnabled(false)
		served := make(chan struct{})
		go func() { conns.Wait(); close(served) }()
		select {
		case <-served:
		case <-time.After(patience):
			err = errors.Join(err, errors.New("connections were cut off"))
		}
	}
	err = errors.Join(err, srv.Close())
	_ = web.Close()
	servers.Wait()
	return err
}

func reusePort(_, _ string, c syscall.RawConn) error {
	var err error
	cerr := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
	return errors.Join(cerr, err)
}

func answerHTTP(w http.ResponseWriter, r *http.Request) {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	name, _ := os.Hostname()
	fmt.Fprintf(w, "ok %s from %s path %s\n", name, host, r.URL.Path)
}

// serveConn answers one connection to its end. HTTP is handed to the web server with
// what was read of it already.
func serveConn(c net.Conn, web *queue) {
	r := bufio.NewReader(c)
	head, err := r.Peek(5)
	if err != nil {
		_ = c.Close()
		return
	}
	if !bytes.Equal(head, []byte("send ")) && !bytes.Equal(head, []byte("whoam")) {
		p := &peeked{Conn: c, r: r, closed: make(chan struct{})}
		web.put(p)
		<-p.closed
		return
	}
	defer c.Close()
	line, err := r.ReadString('\n')
	if err != nil {
		return
	}
	if strings.HasPrefix(line, "whoam") {
		fmt.Fprintf(c, "%s\n", c.RemoteAddr())
		return
	}
	var size int64
	if _, err := fmt.Sscanf(line, "send %d\n", &size); err != nil {
		return
	}
	h := sha256.New()
	n, err := io.CopyN(h, r, size)
	if err != nil {
		return
	}
	fmt.Fprintf(c, "ok %d %s\n", n, hex.EncodeToString(h.Sum(nil)))
}

// peeked is a connection of which a part was read already.
type peeked struct {
	net.Conn
	r      *bufio.Reader
	once   sync.Once
	closed chan struct{}
}

func (p *peeked) Read(b []byte) (int, error) { return p.r.Read(b) }

func (p *peeked) Close() error {
	defer p.once.Do(func() { close(p.closed) })
	return p.Conn.Close()
}

// queue is a listener that is fed by hand.
type queue struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
	addr  net.Addr
}

func newQueue(addr net.Addr) *queue {
	return &queue{conns: make(chan net.Conn), done: make(chan struct{}), addr: addr}
}

func (q *queue) put(c net.Conn) {
	select {
	case q.conns <- c:
	case <-q.done:
		_ = c.Close()
	}
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, net.ErrClosed
	}
}

func (q *queue) Close() error {
	q.once.Do(func() { close(q.done) })
	return nil
}

func (q *queue) Addr() net.Addr { return q.addr }
