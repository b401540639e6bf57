package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/internal/testx"
)

// server starts a server and returns its port with the colon.
func server(t *testing.T) string {
	t.Helper()
	port, end := begin(t, ":0")
	t.Cleanup(func() {
		if err := end(); err != nil {
			t.Error(err)
		}
	})
	return port
}

// begin starts a server; end ends it and waits for that.
func begin(t *testing.T, at string, flags ...string) (port string, end func() error) {
	t.Helper()
	ready := filepath.Join(t.TempDir(), "ready")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx, slices.Concat([]string{"serve", "-ready", ready}, flags, []string{at}), nil) }()
	end = func() error { cancel(); return <-done }
	var addr string
	testx.Eventually(t, 5*time.Second, func() error {
		b, err := os.ReadFile(ready)
		addr = strings.TrimSpace(string(b))
		return err
	})
	_, number, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return ":" + number, end
}

func TestOnePortAnswersAllProtocols(t *testing.T) {
	port := server(t)
	for _, tt := range []struct{ args, want string }{
		{"send tcp 127.0.0.1PORT 1048576", "ok 1048576 "},
		{"send tcp [::1]PORT 0", "ok 0 "},
		{"send udp 127.0.0.1PORT 1048576", "ok 1048576 "},
		{"send udp 127.1.2.3PORT 1", "ok 1 "}, // another address than a socket would choose
		{"send udp [::1]PORT 3000", "ok 3000 "},
		{"send udp [::1]PORT 0", "ok 0 "},
		{"whoami tcp 127.0.0.1PORT", "127.0.0.1:"},
		{"whoami udp [::1]PORT", "[::1]:"},
		{"whoami udp 127.0.0.1PORT", "127.0.0.1:"},
		{"get http://127.0.0.1PORT/x", "ok "},
	} {
		t.Run(strings.ReplaceAll(tt.args, " ", "_"), func(t *testing.T) {
			var out bytes.Buffer
			err := run(t.Context(), strings.Fields(strings.ReplaceAll(tt.args, "PORT", port)), &out)
			if err != nil || !strings.HasPrefix(out.String(), tt.want) {
				t.Errorf("got %q, %v, want %q", out.String(), err, tt.want)
			}
		})
	}
}

// TestPortIsShared by servers, and the one that ends serves who is connected first.
func TestPortIsShared(t *testing.T) {
	port, endOld := begin(t, ":0", "-share")
	c, err := net.Dial("tcp", "127.0.0.1"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("GET / HT")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond) // it is accepted
	_, endNew := begin(t, port, "-share")
	old := make(chan error, 1)
	go func() { old <- endOld() }()
	// Only when the old one takes no more is each request the new one's.
	var out bytes.Buffer
	if err := run(t.Context(), []string{"load", "-timeout", "300ms", "http://127.0.0.1" + port}, &out); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), []string{"get", "http://127.0.0.1" + port}, &out); err != nil {
		t.Errorf("the new one: %v", err)
	}
	select {
	case err := <-old:
		t.Errorf("the old one ended with somebody connected: %v", err)
	default:
	}
	if _, err := c.Write([]byte("TP/1.0\r\n\r\n")); err != nil {
		t.Error(err)
	}
	if answer, err := io.ReadAll(c); !bytes.HasPrefix(answer, []byte("HTTP/1.0 200 ")) {
		t.Errorf("whom the old one had gets %q, %v", answer, err)
	}
	if err := <-old; err != nil {
		t.Errorf("the old one: %v", err)
	}
	if err := endNew(); err != nil {
		t.Errorf("the new one: %v", err)
	}
	if err := run(t.Context(), []string{"load", "-timeout", "300ms", "http://127.0.0.1" + port}, &out); err != nil {
		t.Fatal(err)
	}
	var sent, failed int
	var outage string
	last := out.String()[strings.LastIndex(out.String(), "sent "):]
	if _, err := fmt.Sscanf(last, "sent %d failed %d outage %s\n", &sent, &failed, &outage); err != nil || sent < 2 || failed != sent || !strings.Contains(last, "refused") {
		t.Errorf("load on nobody says %q, %v", last, err)
	}
}

func TestSendFailsWhereNobodyAnswersOrDataChanges(t *testing.T) {
	for _, network := range []string{"tcp", "udp"} {
		if err := run(t.Context(), []string{"send", "-timeout", "300ms", network, "127.0.0.1:9", "10"}, nil); err == nil {
			t.Errorf("%s to nobody passes", network)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = c.Write([]byte("ok 10 0000\n"))
			_ = c.Close()
		}
	}()
	if err := run(t.Context(), []string{"send", "tcp", l.Addr().String(), "10"}, nil); err == nil {
		t.Error("a wrong hash passes")
	}
}

func TestForgedFramesAreWellFormed(t *testing.T) {
	link := &net.Interface{HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}}
	for _, tt := range []struct{ kind, args, want string }{
		{"arp", "ip=10.0.0.9", "ffffffffffff 020000000001 0806 0001080006040002 020000000001 0a000009 ffffffffffff 0a000009"},
		{"arp", "ip=10.0.0.9 mac=02:00:00:00:00:02 dst=10.0.0.1", "ffffffffffff 020000000002 0806 0001080006040002 020000000002 0a000009 ffffffffffff 0a000001"},
		{"echo", "src=10.0.0.1 dst=10.0.0.2", "ffffffffffff 020000000001 0800 4500002100000000400166da0a0000010a000002 0800a98e05900001 73706f6f66"},
	} {
		f, err := parse(link, strings.Fields(tt.args))
		if err != nil {
			t.Fatal(err)
		}
		frame, err := f.frame(tt.kind)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.ReplaceAll(tt.want, " ", ""), hex.EncodeToString(frame)); diff != "" {
			t.Errorf("%s %s: %s", tt.kind, tt.args, diff)
		}
	}
	f, err := parse(link, []string{"src=fe80::1", "ip=fe80::9"})
	if err != nil {
		t.Fatal(err)
	}
	frame, err := f.frame("na")
	if err != nil {
		t.Fatal(err)
	}
	// Summed with its checksum and pseudo header, a sound message gives 0.
	ip := frame[14:]
	sum := append(append([]byte{}, ip[8:40]...), 0, 0, 0, byte(len(ip)-40), 0, 0, 0, unix.IPPROTO_ICMPV6)
	if got := checksum(append(sum, ip[40:]...)); got != 0 {
		t.Errorf("checksum of the advertisement is off by %#x", got)
	}
}
