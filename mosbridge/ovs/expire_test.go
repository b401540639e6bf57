package ovs_test

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/mosbridge/ovs"
	"github.com/mosdocker/mosdocker/mosbridge/ovs/ovstest"
)

// TestExpiryOnTheKernelDatapathNeedsTheSwitch is why mos-scheduler takes no flows that expire
// for proof that a lost host is silent: those of a switch that runs end in time without
// anybody's help, but what the kernel has of them goes on while ovs-vswitchd hangs or is dead.
func TestExpiryOnTheKernelDatapathNeedsTheSwitch(t *testing.T) {
	const lease = 3 * time.Second
	for _, c := range []struct {
		name   string
		during func(*testing.T, *ovstest.OVS)
		passes bool
	}{
		{"runs", func(*testing.T, *ovstest.OVS) {}, false},
		{"hangs", func(t *testing.T, s *ovstest.OVS) {
			t.Helper()
			signal := func(n syscall.Signal) error { return syscall.Kill(s.SwitchPID(), n) }
			if err := signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = signal(syscall.SIGCONT) })
		}, true},
		{"is-dead", func(_ *testing.T, s *ovstest.OVS) { s.KillSwitch() }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := ovstest.Start(t, ovstest.Options{})
			o := client(t, s.RunDir)
			if !ok(o.Datapaths(t.Context()))(t).Kernel {
				t.Skip("the kernel has no Open vSwitch")
			}
			ok(o.EnsureBridge(t.Context(), ovs.Bridge{Name: br}))(t)
			a, b := namespace(t, o, 1, false), namespace(t, o, 2, false)
			s.Ofctl("add-flow", br, fmt.Sprintf("hard_timeout=%.0f,actions=NORMAL", lease.Seconds()))
			granted := time.Now()
			testx.Eventually(t, lease, func() error {
				if !a.ping(b) {
					return errors.New("traffic does not pass while the flow lasts")
				}
				return nil
			})
			c.during(t, s)
			for time.Since(granted) < 2*lease {
				a.ping(b) // as a container would, so that what is not used is not why it ends
			}
			if got := a.ping(b); got != c.passes {
				t.Errorf("passes after the flow's end: %v, want %v", got, c.passes)
			}
		})
	}
}
