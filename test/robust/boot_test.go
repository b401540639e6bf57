package robust

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// bootSlack is how much longer dockerd may take to start when only the driver's
// socket is there.
const bootSlack = 2 * time.Second

// TestDockerdBootsWithSocketOnly: dockerd starts in normal time when the driver
// is down but its socket unit is up, and finds its networks served. What it
// takes when even the socket is missing is measured in the long form.
func TestDockerdBootsWithSocketOnly(t *testing.T) {
	for _, engine := range rig.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			l := lab.New(t, rig.Config{Engine: engine, LiveRestore: true})
			b := booter{t, l.Hosts[0]}
			for i, n := range []string{"red", "blue", "green"} {
				b.Network(n, "--subnet", "10."+string(rune('1'+i))+".0.0/24")
			}
			b.Serve(loose, "red")
			normal := b.boot()

			b.end(lab.Mosbridge)
			b.end(rig.Dockerd)
			b.activated(lab.Program(t, lab.Mosbridge))
			took := b.boot()
			t.Logf("3 networks, 1 live-restored container: dockerd starts in %v, with the driver's socket only in %v", normal, took)
			if took > normal+bootSlack {
				t.Errorf("dockerd took %v with the driver's socket only, %v with the driver", took, normal)
			}
			if !awake(b.Host) {
				t.Error("the driver was not started by dockerd's first call")
			}
			b.Serve(fixed, "red")
			b.Talks(fixed, b.IP(loose, "red"))

			if full() {
				b.end(lab.Mosbridge)
				_ = os.Remove(filepath.Join(b.PluginDir(), "mosbridge.sock"))
				t.Logf("3 networks, 2 live-restored containers: without the socket dockerd starts in %v", b.boot())
				if err := b.Start(lab.Mosbridge); err != nil {
					t.Fatal(err)
				}
				b.Talks(fixed, b.IP(loose, "red"))
			}
		})
	}
}

// booter measures starts.
type booter struct {
	t *testing.T
	*lab.Host
}

func (b booter) end(daemon string) {
	b.t.Helper()
	if err := b.Stop(daemon); err != nil {
		b.t.Fatal(err)
	}
}

// boot starts dockerd, stopping it first, and returns the time until it answers.
func (b booter) boot() time.Duration {
	b.t.Helper()
	b.end(rig.Dockerd)
	start := time.Now()
	// The rig gives up waiting after half a minute, but lets it run.
	if err := b.Start(rig.Dockerd); err != nil && !b.Running(rig.Dockerd) {
		b.t.Fatal(err)
	}
	testx.Eventually(b.t, 3*time.Minute, func() error {
		_, err := b.Docker("version")
		return err
	})
	return time.Since(start).Round(10 * time.Millisecond)
}

// activated puts the driver behind a socket unit: it starts when it is called.
func (b booter) activated(program string) {
	b.t.Helper()
	self, err := os.Executable()
	if err != nil {
		b.t.Fatal(err)
	}
	socket := filepath.Join(b.PluginDir(), "mosbridge.sock")
	err = b.StartDaemon(rig.Daemon{
		Name:  lab.Mosbridge,
		Argv:  []string{self, activator, "/run/docker/plugins/mosbridge.sock", program, "-log.level=debug", "-grace=2s", "-interval=2s"},
		Ready: func() error { _, err := os.Stat(socket); return err },
	})
	if err != nil {
		b.t.Fatal(err)
	}
	if awake(b.Host) {
		b.t.Fatal("the driver runs before anybody called it")
	}
}

// awake says whether the driver itself runs: its admin socket answers.
func awake(h *lab.Host) bool {
	c, err := net.Dial("unix", filepath.Join(filepath.Dir(h.Socket()), "mos", "mosbridge.sock"))
	if err != nil {
		return false
	}
	return c.Close() == nil
}
