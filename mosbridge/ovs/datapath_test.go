package ovs_test

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/mosbridge/ovs"
	"github.com/mosdocker/mosdocker/mosbridge/ovs/ovstest"
)

func output(argv ...string) (string, error) {
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	return string(out), err
}

// tcp moves bytes from one namespace to the other and says whether all came.
func tcp(tb testing.TB, from, to ns) bool {
	tb.Helper()
	const size = 1 << 20
	server := exec.Command("ip", "netns", "exec", to.name, "timeout", "8", "python3", "-c", `
import socket
s = socket.create_server(("", 5001)); print("ready", flush=True)
c, _ = s.accept(); n = 0
while b := c.recv(65536): n += len(b)
print(n)`)
	var out strings.Builder
	server.Stdout, server.Stderr = &out, &out
	if err := server.Start(); err != nil {
		tb.Fatal(err)
	}
	time.Sleep(time.Second)
	_, err := from.exec("timeout", "5", "python3", "-c",
		`import socket; s = socket.create_connection(("`+to.addr+`", 5001), 3); s.settimeout(3); s.sendall(b"x" * 1048576); s.close()`)
	if err != nil {
		_ = server.Process.Kill()
	}
	_ = server.Wait()
	return err == nil && strings.HasSuffix(out.String(), "\n1048576\n") && size == 1048576
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
	ok(c.EnsureBridge(t.Context(), ovs.Bridge{Name: br}))(t)
	if i := ok(c.Info(t.Context()))(t); !i.TSO {
		t.Errorf("got %+v, want TSO", i)
	}
}
