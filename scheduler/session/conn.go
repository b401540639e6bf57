package session

import (
	"encoding/binary"
	"encoding/json"
	"io"
	"sync"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/scheduler/api"
)

// Kind is what is in a frame.
type Kind byte

// The kinds. Resize has rows and columns, two bytes each; [StdinEnd] has nothing.
const (
	Stdin Kind = iota + 1
	StdinEnd
	Resize
	Stdout
	Stderr
	End
)

const (
	head      = 5
	mostFrame = 64 << 10
)

// Result is how a session ended.
type Result struct {
	Code int          `json:"code"` // of the command
	Err  *api.Problem `json:"error,omitzero"`
}

// Conn is a session's connection at either end. Writes may be made at once.
type Conn struct {
	rw io.ReadWriteCloser
	in [mostFrame]byte

	mu sync.Mutex // one frame after the other
}

// NewConn makes one of a connection that was upgraded.
func NewConn(rw io.ReadWriteCloser) *Conn { return &Conn{rw: rw} }

// Close ends the session for both.
func (c *Conn) Close() error { return c.rw.Close() }

// Write sends frames of a kind, of one at least.
func (c *Conn) Write(k Kind, data []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		n := min(len(data), mostFrame)
		frame := binary.BigEndian.AppendUint32(append(make([]byte, 0, head+n), byte(k)), uint32(n))
		if _, err := c.rw.Write(append(frame, data[:n]...)); err != nil {
			return err
		}
		if data = data[n:]; len(data) == 0 {
			return nil
		}
	}
}

// To writes a stream of a kind.
func (c *Conn) To(k Kind) io.Writer { return writer{c, k} }

type writer struct {
	c *Conn
	k Kind
}

func (w writer) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := w.c.Write(w.k, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Read takes the next frame, which is the caller's until the next Read.
func (c *Conn) Read() (Kind, []byte, error) {
	if _, err := io.ReadFull(c.rw, c.in[:head]); err != nil {
		return 0, nil, err
	}
	k, n := Kind(c.in[0]), binary.BigEndian.Uint32(c.in[1:head])
	if n > mostFrame {
		return 0, nil, fault.Invalid("a frame of %d bytes is longer than any", n)
	}
	_, err := io.ReadFull(c.rw, c.in[:n])
	return k, c.in[:n], err
}

// Size sends that of a terminal.
func (c *Conn) Size(rows, columns uint16) error {
	return c.Write(Resize, binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, rows), columns))
}

// SizeOf reads the payload of a [Resize].
func SizeOf(data []byte) (rows, columns uint16, ok bool) {
	if len(data) != 4 {
		return 0, 0, false
	}
	return binary.BigEndian.Uint16(data), binary.BigEndian.Uint16(data[2:]), true
}

// End says how the session ended: with a command's code, or with err.
func (c *Conn) End(code int, err error) error {
	r := Result{Code: code}
	if err != nil {
		r.Err = api.NewProblem(err)
	}
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return c.Write(End, data)
}

// Copy writes what the host sends to two writers until the session ends, and returns the
// code of the command. An end that the host did not tell is of class Unavailable.
func (c *Conn) Copy(stdout, stderr io.Writer) (code int, err error) {
	for {
		k, data, err := c.Read()
		if err != nil {
			return 0, fault.Unavailable("the session broke off: %w", err)
		}
		switch k {
		case Stdout:
			_, err = stdout.Write(data)
		case Stderr:
			_, err = stderr.Write(data)
		case End:
			var r Result
			if err := json.Unmarshal(data, &r); err != nil {
				return 0, fault.Unavailable("read the end of the session: %w", err)
			}
			if r.Err != nil {
				return 0, r.Err
			}
			return r.Code, nil
		case Stdin, StdinEnd, Resize: // are not for this end
		}
		if err != nil {
			return 0, err
		}
	}
}
