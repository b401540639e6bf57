package robust

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// pinger sends ten pings a second from one container to the other.
type pinger struct {
	out  string
	kill func()
}

func (s *scene) ping(t *testing.T) *pinger {
	t.Helper()
	p := &pinger{out: filepath.Join(t.TempDir(), "ping")}
	f, err := os.Create(p.out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p.kill, err = s.host.Background(f, "docker", "exec", loose, "ping", "-i", "0.1", fixedIP)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	testx.Eventually(t, 10*time.Second, func() error {
		if len(p.seen()) < 10 {
			return errors.New("ten answers are still to come")
		}
		return nil
	})
	return p
}

// seen are the sequence numbers of all answers, in their order.
func (p *pinger) seen() []int {
	b, err := os.ReadFile(p.out)
	if err != nil {
		return nil
	}
	var out []int
	for _, m := range regexp.MustCompile(`(?m) seq=(\d+) .*\n`).FindAllStringSubmatch(string(b), -1) {
		n, _ := strconv.Atoi(m[1])
		out = append(out, n)
	}
	return out
}

// lost counts the pings without an answer up to the last answered one, all of
// them and the longest row of them. It first waits for ten more answers, so
// that a loss at the end is seen.
func (p *pinger) lost(t *testing.T) (total, row int) {
	t.Helper()
	before := len(p.seen())
	testx.Eventually(t, 20*time.Second, func() error {
		if n := len(p.seen()) - before; n < 10 {
			return fmt.Errorf("%d answers since", n)
		}
		return nil
	})
	next := 0
	for _, n := range p.seen() {
		total, row = total+max(0, n-next), max(row, n-next)
		next = max(next, n+1)
	}
	return total, row
}

// TestMosbridgeRestartLosesNoPacket stops, kills and starts the driver, on its
// own and with the engine, while containers talk.
func TestMosbridgeRestartLosesNoPacket(t *testing.T) {
	for _, engine := range rig.OneOrAll(rig.EngineNew) {
		t.Run(string(engine), func(t *testing.T) {
			s := newScene(t, engine, true)
			p := s.ping(t)
			for _, end := range []func(string) error{s.host.Stop, s.host.Kill9} {
				for range 2 {
					if err := end(lab.Mosbridge); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Second) // the containers go on without it
					if err := s.host.Start(lab.Mosbridge); err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Second) // its first repairs
				}
			}
			if total, _ := p.lost(t); total > 0 {
				t.Errorf("%d of %d pings were lost", total, len(p.seen()))
			}
			t.Logf("%d pings", len(p.seen()))
			if err := s.whole(t.Context(), ""); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSwitchRestartIsShort measures for how long nothing passes when
// ovs-vswitchd is killed and started. On the userspace datapath it is the data
// path itself; what is measured beside its start is the replay of the flows.
func TestSwitchRestartIsShort(t *testing.T) {
	s := newScene(t, rig.Engine20, false)
	flows := func() int {
		n, err := countFlows(t.Context(), s.host)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	want := flows()
	for _, end := range []struct {
		name string
		do   func(string) error
	}{{"kill", s.host.Kill9}, {"stop", s.host.Stop}} {
		t.Run(end.name, func(t *testing.T) {
			p := s.ping(t)
			defer p.kill()
			if err := end.do(rig.Vswitchd); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			if err := s.host.Start(rig.Vswitchd); err != nil {
				t.Fatal(err)
			}
			served := time.Since(start)
			testx.Eventually(t, 10*time.Second, func() error {
				if n, err := countFlows(t.Context(), s.host); err != nil || n != want {
					return fmt.Errorf("%d flows, want %d: %w", n, want, err)
				}
				return nil
			})
			replayed := time.Since(start)
			_, row := p.lost(t)
			t.Logf("ovs-vswitchd served after %v, %d flows were back after %v, %d pings in a row were lost: a gap of %.1f s", served, want, replayed, row, float64(row)/10)
			if row > 30 {
				t.Errorf("nothing passed for %.1f s, want 3 s at most", float64(row)/10)
			}
			if err := testx.Poll(20*time.Second, func() error { return s.whole(t.Context(), "") }); err != nil {
				t.Error(err)
			}
		})
	}
}

// countFlows is the number of OpenFlow rules on the bridge.
func countFlows(ctx context.Context, h *lab.Host) (int, error) {
	out, err := h.Exec(ctx, "ovs-ofctl", "-O", "OpenFlow14", "dump-flows", "mosbr0")
	return strings.Count(out, "cookie="), err
}

// TestRestartedContainerIsReachedAtOnce: a container that comes back with its
// address has another MAC, as its engine chooses; neighbors that remember the
// old one, and the host, must learn of it at once and not by a timeout.
func TestRestartedContainerIsReachedAtOnce(t *testing.T) {
	for _, engine := range rig.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			l := lab.New(t, rig.Config{Engine: engine, Outside: true})
			h := l.Hosts[0]
			h.Network("red", "--ipv6", "--subnet", "10.9.0.0/24", "--subnet", "fd00:9::/64")
			h.Serve(fixed, "red", "--ip", fixedIP, "--ip6", "fd00:9::21", "-p", port+":7000")
			h.Serve(loose, "red")
			for range 2 {
				for _, to := range []string{fixedIP + ":7000", "[fd00:9::21]:7000"} {
					h.D("exec", loose, "netcheck", "send", "-timeout", "3s", "tcp", to, "1000")
				}
				l.Outside().MustExec(t, "netcheck", "send", "-timeout", "3s", "tcp", h.IPv4()+":"+port, "1000")
				l.Outside().MustExec(t, "netcheck", "send", "-timeout", "3s", "tcp", "["+h.IPv6()+"]:"+port, "1000")
				h.D("restart", "-t", "1", fixed)
			}
			// On the userspace datapath the kernel hears ARP on the ports too; it
			// must leave the answer to the gateway.
			h.D("exec", loose, "ping", "-c1", "-W3", "10.9.0.1")
			arp, mac := h.D("exec", loose, "cat", "/proc/net/arp"), gatewayMAC(t, h)
			if !strings.Contains(arp, mac) {
				t.Errorf("the gateway has MAC %s, the container heard of\n%s", mac, arp)
			}
		})
	}
}

// gatewayMAC is that of the only network's gateway link.
func gatewayMAC(t *testing.T, h *lab.Host) string {
	t.Helper()
	return h.MustExec(t, "sh", "-c", "cat /sys/class/net/mosg*/address")
}
