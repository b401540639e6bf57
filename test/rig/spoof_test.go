package rig_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/rig"
)

// TestForgedFramesLeaveAnUnguardedContainer shows that netcheck's forged frames
// are really sent: a test that finds none behind a guarded port means something.
func TestForgedFramesLeaveAnUnguardedContainer(t *testing.T) {
	r := rig.New(t, rig.Config{})
	h := r.Host(1)
	seen, err := os.Create(filepath.Join(t.TempDir(), "seen"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = seen.Close() })
	stop, err := h.Background(seen, "tcpdump", "-nel", "-i", "docker0", "arp or icmp or icmp6")
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	h.MustDocker(t, "run", "-d", "--name", "forger", rig.Image)
	for _, tt := range []struct{ args, want string }{
		{"echo eth0 dst=172.17.0.1 mac=02:00:00:00:00:66", "02:00:00:00:00:66 > ff:ff:ff:ff:ff:ff, ethertype IPv4 (0x0800), length 47: 172.17.0.2 > 172.17.0.1: ICMP echo request"},
		{"echo eth0 dst=172.17.0.1 src=172.17.0.99", "172.17.0.99 > 172.17.0.1: ICMP echo request"},
		{"echo eth0 dst=fd00::1 src=fd00::66", "fd00::66 > fd00::1: ICMP6, echo request"},
		{"arp eth0 ip=172.17.0.1", "ethertype ARP (0x0806), length 42: Reply 172.17.0.1 is-at"},
		{"na eth0 ip=fd00::1 src=fd00::66", "fd00::66 > ff02::1: ICMP6, neighbor advertisement, tgt is fd00::1"},
	} {
		testx.Eventually(t, 10*time.Second, func() error { // tcpdump may not listen yet
			if _, err := h.Docker(append([]string{"exec", "forger", "netcheck", "spoof"}, strings.Fields(tt.args)...)...); err != nil {
				return err
			}
			b, err := os.ReadFile(seen.Name())
			if err == nil && !strings.Contains(string(b), tt.want) {
				err = fmt.Errorf("spoof %s: got %s, want %s", tt.args, b, tt.want)
			}
			return err
		})
	}
	if b, _ := os.ReadFile(seen.Name()); strings.Contains(string(b), "wrong icmp") || strings.Contains(string(b), "bad icmp") {
		t.Errorf("a checksum is wrong: %s", b)
	}
}
