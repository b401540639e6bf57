package session

import (
	"context"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/mosdocker/mosdocker/internal/fault"
)

// Protocol is the word of the upgrade.
const Protocol = "mos-session/1"

// Asks says whether a request wants to be upgraded to a session. The error is of class
// InvalidArgument.
func Asks(r *http.Request) error {
	if r.ProtoMajor != 1 || r.Header.Get("Upgrade") != Protocol || !strings.EqualFold(r.Header.Get("Connection"), "Upgrade") {
		return fault.Invalid("a session begins with HTTP/1.1, Connection: Upgrade and Upgrade: %s", Protocol)
	}
	return nil
}

// Accept upgrades a request, whose body was read, and takes its connection over.
func Accept(w http.ResponseWriter) (io.ReadWriteCloser, error) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	if err = conn.SetDeadline(time.Time{}); err == nil {
		_, err = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+Protocol+"\r\n\r\n")
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return struct {
		io.Reader
		io.Writer
		io.Closer
	}{buffered.Reader, conn, conn}, nil
}

// Dial makes a request that is upgraded, on a connection of its own as t makes them, but of
// HTTP/1.1. An answer that is not an upgrade is returned as it is. The connection ends with
// ctx, at the latest.
func Dial(ctx context.Context, t *http.Transport, req *http.Request) (io.ReadWriteCloser, *http.Response, error) {
	t = t.Clone()
	t.DisableKeepAlives = true
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	if t.TLSClientConfig != nil {
		t.TLSClientConfig.NextProtos = nil
	}
	req = req.WithContext(ctx)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", Protocol)
	resp, err := t.RoundTrip(req)
	if err != nil {
		return nil, nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, resp, nil
	}
	rw, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		_ = resp.Body.Close()
		return nil, nil, fault.Unavailable("%s did not upgrade the connection", req.URL.Host)
	}
	context.AfterFunc(ctx, func() { _ = rw.Close() })
	return rw, nil, nil
}

// Join copies both ways between two connections until one of them ends or ctx does, and
// then closes both. It returns how many bytes went from a to b and from b to a. An end that
// has said its last waits for the other to close: who closes with something unread makes the
// kernel throw away what it sent.
func Join(ctx context.Context, a, b io.ReadWriteCloser) (toB, toA int64) {
	end := func() { _, _ = a.Close(), b.Close() }
	defer context.AfterFunc(ctx, end)()
	defer end()
	done := make(chan int64, 1)
	go func() { // ends when either is closed
		n, _ := io.Copy(b, a) // who ended it is told by the frames, or nobody
		end()
		done <- n
	}()
	toA, _ = io.Copy(a, b)
	end()
	return <-done, toA
}
