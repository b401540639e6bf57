package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// piece is the data of one datagram. It fits any MTU that IPv6 allows.
const piece = 1200

// send sends size random bytes to a server and compares the server's hash with
// its own.
func send(ctx context.Context, out io.Writer, network, addr string, size int) error {
	data := make([]byte, size)
	if _, err := rand.Read(data); err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	want := fmt.Sprintf("ok %d %s", size, hex.EncodeToString(sum[:]))
	c, err := dial(ctx, network, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	var got string
	if strings.HasPrefix(network, "udp") {
		got, err = sendUDP(ctx, c, data)
	} else {
		got, err = sendTCP(c, data)
	}
	if err != nil {
		return fmt.Errorf("send %d bytes to %s by %s: %w", size, addr, network, err)
	}
	if got != want {
		return fmt.Errorf("send %d bytes to %s by %s: got answer %q, want %q", size, addr, network, got, want)
	}
	_, err = fmt.Fprintln(out, want)
	return err
}

// dial connects, with the deadline of ctx on all that follows.
func dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		err = c.SetDeadline(deadline)
	}
	return c, err
}

func sendTCP(c net.Conn, data []byte) (string, error) {
	if _, err := c.Write(append(fmt.Appendf(nil, "send %d\n", len(data)), data...)); err != nil {
		return "", err
	}
	answer, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(answer), err
}

// sendUDP sends piece after piece, each again until it is acknowledged, and
// returns the last answer. Even no data is one piece.
func sendUDP(ctx context.Context, c net.Conn, data []byte) (string, error) {
	var id [8]byte
	if _, err := rand.Read(id[:]); err != nil {
		return "", err
	}
	id[0] |= 1 // 0 is "whoami"
	answer := ""
	for number := uint32(0); number == 0 || len(data) > 0; number++ {
		n := min(piece, len(data))
		head := binary.BigEndian.AppendUint32(id[:8:8], number)
		var err error
		if answer, err = exchange(ctx, c, append(head, data[:n]...), number+1); err != nil {
			return "", fmt.Errorf("piece %d: %w", number, err)
		}
		data = data[n:]
	}
	return answer, nil
}

// exchange sends one datagram until the answer asks for piece next.
func exchange(ctx context.Context, c net.Conn, datagram []byte, next uint32) (string, error) {
	buf := make([]byte, 2048)
	var last error
	for pause := 100 * time.Millisecond; ctx.Err() == nil; pause = min(2*pause, time.Second) {
		if _, err := c.Write(datagram); err != nil {
			last = err // a refused port may open later; the context ends it
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			continue
		}
		if err := c.SetReadDeadline(time.Now().Add(pause)); err != nil {
			return "", err
		}
		for {
			n, err := c.Read(buf)
			if err != nil {
				last = err
				break
			}
			if n >= headerSize && bytes.Equal(buf[:8], datagram[:8]) && binary.BigEndian.Uint32(buf[8:]) == next {
				return string(buf[headerSize:n]), nil
			}
		}
	}
	return "", errors.Join(context.Cause(ctx), last)
}

// whoami prints the address that the server sees.
func whoami(ctx context.Context, out io.Writer, network, addr string) error {
	c, err := dial(ctx, network, addr)
	if err != nil {
		return err
	}
	defer c.Close()
	var answer string
	if strings.HasPrefix(network, "udp") {
		answer, err = exchange(ctx, c, make([]byte, headerSize), 0)
	} else if _, err = c.Write([]byte("whoami\n")); err == nil {
		answer, err = bufio.NewReader(c).ReadString('\n')
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, strings.TrimSpace(answer))
	return err
}

// get prints the body of an HTTP answer.
func get(ctx context.Context, client *http.Client, out io.Writer, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("get %s: %s", url, resp.Status)
	}
	_, err = io.Copy(out, resp.Body)
	return err
}
