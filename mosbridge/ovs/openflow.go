package ovs

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// OpenFlow 1.4, as far as we speak it ourselves: what has no place in bundles
// (meters), what must be fast (counting) and what needs a standing connection
// (watching). Figures are of the specification, sections 7.1 to 7.5.
const (
	ofVersion      = 0x05
	ofHello        = 0
	ofError        = 1
	ofEchoRequest  = 2
	ofEchoReply    = 3
	ofMultipart    = 18
	ofMultipartRep = 19
	ofBarrier      = 20
	ofBarrierReply = 21
	ofMeterMod     = 29

	ofHeaderLen   = 8
	ofAggregate   = 2  // multipart type
	ofMeterConfig = 10 // multipart type
	ofReplyMore   = 1  // flag of a multipart reply
	ofAny         = 0xffffffff
)

// ofMessage is one message without its header.
type ofMessage struct {
	kind uint8
	xid  uint32
	body []byte
}

// refusalError is an error message of the switch.
type refusalError struct{ class, code uint16 }

func (e *refusalError) Error() string {
	return fmt.Sprintf("the switch refuses: openflow error type %d code %d", e.class, e.code)
}

// ofConn is one OpenFlow connection, one user at a time.
type ofConn struct {
	nc  net.Conn
	xid uint32
}

// dialBridge connects to the bridge and agrees on the version. The end of ctx
// breaks the connection; the caller calls done when it needs it no more.
func (c *Client) dialBridge(ctx context.Context, bridge string) (o *ofConn, done func(), err error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "unix", c.mgmtPath(bridge))
	if err != nil {
		return nil, nil, silent("bridge " + bridge)
	}
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	done = func() {
		stop()
		_ = nc.Close() // all that matters was answered
	}
	o = &ofConn{nc: nc}
	_ = nc.SetDeadline(time.Now().Add(c.cfg.Timeout)) // errs only on a closed connection
	m := ofMessage{kind: ofError}
	if err = o.write(ofHello, 0, nil); err == nil {
		m, err = o.read()
	}
	if err == nil && m.kind != ofHello {
		err = fmt.Errorf("greeted with message type %d", m.kind)
	}
	if err != nil {
		done()
		return nil, nil, fmt.Errorf("%w (%w)", silent("bridge "+bridge), err)
	}
	_ = nc.SetDeadline(time.Time{})
	return o, done, nil
}

// header adds the header of a message with a body of that size.
func header(b []byte, kind uint8, xid uint32, size int) []byte {
	b = append(b, ofVersion, kind)
	b = binary.BigEndian.AppendUint16(b, uint16(ofHeaderLen+size))
	return binary.BigEndian.AppendUint32(b, xid)
}

func (o *ofConn) write(kind uint8, xid uint32, body []byte) error {
	_, err := o.nc.Write(append(header(nil, kind, xid, len(body)), body...))
	return err
}

// append adds a message with the next number.
func (o *ofConn) append(b []byte, kind uint8, body []byte) []byte {
	o.xid++
	return append(header(b, kind, o.xid, len(body)), body...)
}

func (o *ofConn) read() (ofMessage, error) {
	var h [ofHeaderLen]byte
	if _, err := io.ReadFull(o.nc, h[:]); err != nil {
		return ofMessage{}, err
	}
	size := int(binary.BigEndian.Uint16(h[2:]))
	if size < ofHeaderLen {
		return ofMessage{}, fmt.Errorf("openflow message of %d bytes", size)
	}
	m := ofMessage{kind: h[1], xid: binary.BigEndian.Uint32(h[4:]), body: make([]byte, size-ofHeaderLen)}
	_, err := io.ReadFull(o.nc, m.body)
	return m, err
}

// next returns the next message that is not about keeping the connection.
func (o *ofConn) next() (ofMessage, error) {
	for {
		m, err := o.read()
		if err != nil || m.kind != ofEchoRequest {
			return m, err
		}
		if err := o.write(ofEchoReply, m.xid, m.body); err != nil {
			return m, err
		}
	}
}

// send queues a request and returns its number.
func (o *ofConn) send(kind uint8, body []byte) (uint32, error) {
	o.xid++
	return o.xid, o.write(kind, o.xid, body)
}

// barrier waits until the switch has done all before, and returns its refusals
// by the number of the request.
func (o *ofConn) barrier() (map[uint32]error, error) {
	end, err := o.send(ofBarrier, nil)
	refused := map[uint32]error{}
	for err == nil {
		var m ofMessage
		m, err = o.next()
		switch {
		case err != nil:
		case m.kind == ofError:
			refused[m.xid] = refusal(m)
		case m.kind == ofBarrierReply && m.xid == end:
			return refused, nil
		}
	}
	return nil, err
}

func refusal(m ofMessage) error {
	if len(m.body) < 4 {
		return &refusalError{}
	}
	return &refusalError{class: binary.BigEndian.Uint16(m.body), code: binary.BigEndian.Uint16(m.body[2:])}
}

// multipart asks and returns the bodies of all parts of the reply, joined.
func (o *ofConn) multipart(kind uint16, body []byte) ([]byte, error) {
	b := binary.BigEndian.AppendUint16(nil, kind)
	b = append(b, make([]byte, 6)...) // flags and padding
	xid, err := o.send(ofMultipart, append(b, body...))
	var all []byte
	for err == nil {
		var m ofMessage
		m, err = o.next()
		switch {
		case err != nil || m.xid != xid:
		case m.kind == ofError:
			return nil, refusal(m)
		case m.kind == ofMultipartRep && len(m.body) >= 8:
			all = append(all, m.body[8:]...)
			if binary.BigEndian.Uint16(m.body[2:])&ofReplyMore == 0 {
				return all, nil
			}
		}
	}
	return nil, err
}

// talk runs f on a connection to the bridge within the client's time limit.
func (c *Client) talk(ctx context.Context, bridge string, f func(o *ofConn) error) error {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	o, done, err := c.dialBridge(ctx, bridge)
	if err != nil {
		return err
	}
	defer done()
	err = f(o)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return fmt.Errorf("%w (%w)", silent("bridge "+bridge), cause)
	}
	return err
}
