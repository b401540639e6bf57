package machine

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

// end binds a card's socket the way QEMU does.
func end(t *testing.T, nic NIC) *net.UnixConn {
	t.Helper()
	c, err := net.DialUnix("unixgram", &net.UnixAddr{Name: nic.Local, Net: "unixgram"}, &net.UnixAddr{Name: nic.Remote, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func receive(t *testing.T, c *net.UnixConn, wait time.Duration) string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	n, err := c.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return "nothing"
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func TestLinkForwardsToAllOthers(t *testing.T) {
	link, err := NewLink(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	nics := []NIC{link.NIC(), link.NIC(), link.NIC(), link.NIC()}
	a, b, c := end(t, nics[0]), end(t, nics[1]), end(t, nics[2]) // the fourth machine is off
	send := func(s string) {
		t.Helper()
		if _, err := a.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	send("one")
	for _, other := range []*net.UnixConn{b, c} {
		if got := receive(t, other, 5*time.Second); got != "one" {
			t.Errorf("got %q, want one", got)
		}
	}
	// QEMU's multicast would give a card its own frames back, which breaks
	// duplicate address detection and the learning of bridges.
	if got := receive(t, a, 50*time.Millisecond); got != "nothing" {
		t.Errorf("the sender got %q", got)
	}
	link.Cut()
	send("two")
	if got := receive(t, b, 50*time.Millisecond); got != "nothing" {
		t.Errorf("over a cut link came %q", got)
	}
	link.Mend()
	send("three")
	if got := receive(t, b, 5*time.Second); got != "three" {
		t.Errorf("got %q, want three", got)
	}
	if err := link.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(link.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %s, %v", link.dir, err)
	}
}
