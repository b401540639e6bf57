package ovs

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"time"
)

// message is any of the three kinds of RFC 7047: request, answer, notification.
type message struct {
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	ID     json.RawMessage `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
}

type request struct {
	Method string  `json:"method"`
	Params any     `json:"params"`
	ID     *uint64 `json:"id"`
}

type answer struct {
	ID     json.RawMessage `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *string         `json:"error"`
}

// conn is one connection to the database, many calls at a time.
type conn struct {
	nc   net.Conn
	gone chan struct{} // closed when the connection broke

	write sync.Mutex // guards writing to nc

	mu      sync.Mutex // guards all below
	next    uint64
	waiting map[uint64]chan message
}

func dialDB(ctx context.Context, path string) (*conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	c := &conn{nc: nc, gone: make(chan struct{}), waiting: map[uint64]chan message{}}
	go c.read()
	return c, nil
}

// close breaks the connection and waits for its reader.
func (c *conn) close() {
	_ = c.nc.Close() // what it had to say no longer matters
	<-c.gone
}

func (c *conn) broken() bool {
	select {
	case <-c.gone:
		return true
	default:
		return false
	}
}

func (c *conn) read() {
	defer close(c.gone)
	defer func() { _ = c.nc.Close() }() // nothing is left to say
	dec := json.NewDecoder(c.nc)
	for {
		var m message
		if dec.Decode(&m) != nil {
			return // whatever was the reason, the stream is of no more use
		}
		switch m.Method {
		case "":
			c.deliver(m)
		case "echo":
			if c.send(time.Now().Add(time.Second), answer{ID: m.ID, Result: m.Params}) != nil {
				return
			}
		}
	}
}

func (c *conn) deliver(m message) {
	var id uint64
	if json.Unmarshal(m.ID, &id) != nil {
		return // no call of ours
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch, ok := c.waiting[id]; ok {
		ch <- m // has room for one
		delete(c.waiting, id)
	}
}

// send writes one message; a half-written one breaks the connection.
func (c *conn) send(deadline time.Time, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	c.write.Lock()
	defer c.write.Unlock()
	_ = c.nc.SetWriteDeadline(deadline) // errs only on a closed connection, as the write does
	if _, err := c.nc.Write(b); err != nil {
		_ = c.nc.Close()
		return fmt.Errorf("%w: %w", errLost, err)
	}
	return nil
}

// call asks and waits for the answer. The end of ctx cancels a transaction
// that still waits at the server.
func (c *conn) call(ctx context.Context, method string, params any) (json.RawMessage, error) {
	ch := make(chan message, 1)
	c.mu.Lock()
	c.next++
	id := c.next
	c.waiting[id] = ch
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.waiting, id)
	}()
	deadline, _ := ctx.Deadline()
	if err := c.send(deadline, request{Method: method, Params: params, ID: &id}); err != nil {
		return nil, err
	}
	select {
	case m := <-ch:
		return result(m)
	case <-c.gone:
		select { // the answer may have come just before the end
		case m := <-ch:
			return result(m)
		default:
			return nil, errLost
		}
	case <-ctx.Done():
		if method == "transact" {
			_ = c.send(time.Now().Add(time.Second), request{Method: "cancel", Params: []uint64{id}})
		}
		return nil, context.Cause(ctx)
	}
}

func result(m message) (json.RawMessage, error) {
	if len(m.Error) > 0 && string(m.Error) != "null" {
		return nil, fmt.Errorf("the database refuses the call: %s", m.Error)
	}
	return m.Result, nil
}
