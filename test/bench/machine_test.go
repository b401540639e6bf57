package bench

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// machineEnv, when set, lets benchmarks use the Engine and the Open vSwitch of
// the machine they run on, for which they start a mosbridge: in a VM that has
// the kernel's datapath. It must not be set on a machine that is in use.
const machineEnv = "MOS_BENCH_MACHINE"

// machine is the machine itself, with an engine that runs already.
type machine struct{ b *testing.B }

func thisMachine(b *testing.B) *machine {
	b.Helper()
	if os.Getenv(machineEnv) == "" {
		b.Skipf("%s is not set", machineEnv)
	}
	testx.Need(b, testx.Root)
	m := &machine{b}
	dir := b.TempDir()
	const socket = "/run/docker/plugins/mosbridge.sock"
	log, err := os.Create(filepath.Join(testx.Artifacts(b), "mosbridge.log"))
	if err != nil {
		b.Fatal(err)
	}
	daemon := exec.CommandContext(b.Context(), lab.Program(b, lab.Mosbridge), "-state_dir="+dir, "-admin="+dir+"/admin.sock")
	daemon.Cancel = func() error { return daemon.Process.Signal(os.Interrupt) }
	daemon.Stdout, daemon.Stderr = log, log
	if err := daemon.Start(); err != nil {
		b.Fatal(err)
	}
	testx.Eventually(b, 30*time.Second, func() error {
		c, err := net.DialTimeout("unix", socket, time.Second)
		if err == nil {
			err = c.Close()
		}
		return err
	})
	if out, err := exec.Command("docker", "image", "inspect", rig.Image).CombinedOutput(); err != nil {
		b.Fatalf("the engine has no image %s: %s", rig.Image, out)
	}
	m.D("network", "create", "-d", "bridge", "--subnet", "10.91.0.0/16", network(bridge))
	m.D("network", "create", "-d", "mosbridge", "--ipam-driver", "mosbridge", "--subnet", "10.95.0.0/16", network(mos))
	b.Cleanup(func() {
		for _, p := range []string{mos, bridge} {
			m.D("rm", "-f", network(p)+"a", network(p)+"b")
			m.D("network", "rm", network(p))
		}
		_ = daemon.Process.Signal(os.Interrupt)
		_ = daemon.Wait()
		_ = log.Close()
	})
	return m
}

func (m *machine) MustExec(tb testing.TB, argv ...string) string {
	tb.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		tb.Fatalf("%v: %v: %s", argv, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (m *machine) D(args ...string) string {
	m.b.Helper()
	return m.MustExec(m.b, append([]string{"docker"}, args...)...)
}

func (m *machine) IP(container, network string) string {
	m.b.Helper()
	return m.D("inspect", "-f", `{{(index .NetworkSettings.Networks "`+network+`").IPAddress}}`, container)
}

func (m *machine) Path(path string) string { return path }
