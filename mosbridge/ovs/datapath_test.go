package ovs_test

import (
	"io"
	"net"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"github.com/mosdocker/mosdocker/mosbridge/ovs"
	"github.com/mosdocker/mosdocker/mosbridge/ovs/ovstest"
)

func output(argv ...string) (string, error) {
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	return string(out), err
}

// inside runs f on a thread in the namespace: sockets that f makes stay there.
func (n ns) inside(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		h, err := netns.GetFromName(n.name)
		if err == nil {
			defer h.Close()
			err = netns.Set(h)
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// tcp moves bytes from one namespace to the other and says whether all came.
func tcp(tb testing.TB, from, to ns) bool {
	tb.Helper()
	const size, limit = 1 << 20, 4 * time.Second
	var l net.Listener
	if err := to.inside(func() (err error) {
		l, err = net.Listen("tcp4", ":0")
		return err
	}); err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	got := make(chan int64, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(limit))
		n, _ := io.Copy(io.Discard, c)
		got <- n
	}()
	var c net.Conn
	if err := from.inside(func() (err error) {
		_, port, _ := net.SplitHostPort(l.Addr().String())
		c, err = net.DialTimeout("tcp4", net.JoinHostPort(to.addr, port), limit)
		return err
	}); err != nil {
		tb.Log(err)
		return false
	}
	_ = c.SetDeadline(time.Now().Add(limit))
	_, err := c.Write(make([]byte, size))
	_ = c.Close()
	n := <-got
	tb.Logf("%d of %d bytes came (%v)", n, size, err)
	return n == size
}

func TestTCPPassesTheUserspaceDatapathOnlyWithTxOff(t *testing.T) {
	for _, off := range []bool{true, false} {
		name := map[bool]string{true: "tx_off", false: "tx_on"}[off]
		t.Run(name, func(t *testing.T) {
			_, c := open(t)
			bundle(t, c, "table=0 actions=NORMAL")
			a, b := namespace(t, c, 1, off), namespace(t, c, 2, off)
			if !a.ping(b) {
				t.Error("ping does not pass")
			}
			if got := tcp(t, a, b); got != off {
				t.Errorf("got TCP %v, want %v", got, off)
			}
			if i := ok(c.Info(t.Context()))(t); i.TSO || i.TSOSet {
				t.Errorf("got %+v, want no TSO", i)
			}
		})
	}
}

func TestInfoProvesTSO(t *testing.T) {
	s, c := open(t)
	i := ok(c.Info(t.Context()))(t)
	if !strings.HasPrefix(i.Version, "3.") || i.DBVersion == "" || i.TSO || i.TSOSet || len(i.Datapaths.Types) != 2 {
		t.Errorf("got %+v", i)
	}
	if err := c.EnableTSO(t.Context()); err != nil {
		t.Fatal(err)
	}
	if i := ok(c.Info(t.Context()))(t); i.TSO || !i.TSOSet {
		t.Errorf("before the restart: got %+v", i)
	}
	s.KillSwitch()
	s.StartSwitch()
	if i := ok(c.Info(t.Context()))(t); !i.TSO || !i.TSOSet {
		t.Errorf("after the restart: got %+v", i)
	}
	bundle(t, c, "table=0 actions=NORMAL")
	a, b := namespace(t, c, 1, false), namespace(t, c, 2, false)
	if !tcp(t, a, b) {
		t.Error("TCP does not pass with TSO")
	}
	off := namespace(t, c, 3, true)
	if !tcp(t, off, b) || !tcp(t, b, off) {
		t.Error("TCP does not pass between a link with TX offload and one without")
	}
}

func TestInfoOfASwitchStartedWithTSO(t *testing.T) {
	s := ovstest.Start(t, ovstest.Options{TSO: true})
	c := client(t, s.RunDir)
	if i := ok(c.Info(t.Context()))(t); i.TSO || !i.TSOSet {
		t.Errorf("without a bridge there is no proof: got %+v", i)
	}
	ok(c.EnsureBridge(t.Context(), ovs.Bridge{Name: br, Datapath: ovs.Userspace}))(t)
	if i := ok(c.Info(t.Context()))(t); !i.TSO {
		t.Errorf("got %+v, want TSO", i)
	}
}

func TestTCPPassesTheKernelDatapath(t *testing.T) {
	s := ovstest.Start(t, ovstest.Options{})
	c := client(t, s.RunDir)
	if !ok(c.Datapaths(t.Context()))(t).Kernel {
		t.Skip("the kernel has no Open vSwitch")
	}
	if b := ok(c.EnsureBridge(t.Context(), ovs.Bridge{Name: br}))(t); b.Datapath != ovs.Kernel {
		t.Errorf("got datapath %s, want the kernel's", b.Datapath)
	}
	bundle(t, c, "table=0 actions=NORMAL")
	a, b := namespace(t, c, 1, false), namespace(t, c, 2, false)
	if !a.ping(b) || !tcp(t, a, b) {
		t.Error("traffic does not pass")
	}
}
