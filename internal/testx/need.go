package testx

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// MustEnv is the environment variable that lists, separated by commas, the
// needs whose absence fails a test.
const MustEnv = "MOS_TEST_MUST"

// RingEnv is the environment variable that is "unit" in the ring whose tests
// need nothing: there every need skips, also where it could be met, so that a
// test of the other rings runs once.
const RingEnv = "MOS_TEST_RING"

// Needs is one thing that a test needs of its machine. Its value is the word
// used in [MustEnv].
type Needs string

// What a test may need.
const (
	// Root is user 0 with the right to make namespaces.
	Root Needs = "root"
	// NetNS is the right to make network namespaces and links in them.
	NetNS Needs = "netns"
	// OVS is the programs of Open vSwitch; no daemon needs to run.
	OVS Needs = "ovs"
	// Docker is the programs of an Engine of the distribution and its
	// command; no daemon needs to run.
	Docker Needs = "docker"
	// Newest is the newest Engine, where test/setup/engine puts it: in
	// [EngineDir].
	Newest Needs = "newest"
	// VM is QEMU and the means to reach a guest; the image may still have
	// to be built.
	VM Needs = "vm"
	// NFT is the programs of nftables and a kernel that answers them.
	NFT Needs = "nft"
	// Prometheus is its server's program.
	Prometheus Needs = "prometheus"
	// Browser is Chromium.
	Browser Needs = "browser"
	// Registry is Debian's registry of images.
	Registry Needs = "registry"
	// Systemd is one that runs, with its programs.
	Systemd Needs = "systemd"
	// DM is the kernel's device mapper with LVM's programs.
	DM Needs = "dm"
	// Compose is docker compose, where test/setup/compose puts it: in
	// [ComposeDir].
	Compose Needs = "compose"
	// Meters are cAdvisor and telegraf, where test/setup/cadvisor and
	// test/setup/telegraf put them: in [CadvisorDir] and [TelegrafDir].
	Meters Needs = "meters"
	// Podman is podman with both runtimes, its network and its init.
	Podman Needs = "podman"
)

// Need skips the test, with the reason, when something of what is missing.
// It fails the test instead when [MustEnv] lists the missing thing, and when it
// is asked for a thing it does not know.
func Need(tb testing.TB, what ...Needs) {
	tb.Helper()
	must := strings.Split(os.Getenv(MustEnv), ",")
	for _, w := range what {
		if os.Getenv(RingEnv) == "unit" {
			tb.Skipf("needs %s: not in the unit ring", w)
		}
		err := check(w)
		switch {
		case err == nil:
		case errors.Is(err, errUnknown), slices.Contains(must, string(w)):
			tb.Fatalf("needs %s: %v", w, err)
		default:
			tb.Skipf("needs %s: %v", w, err)
		}
	}
}

var errUnknown = errors.New("no such need")

func check(w Needs) error {
	switch w {
	case Root:
		return root()
	case NetNS:
		return errors.Join(root(), inNetNS("ip", "link", "add", "mosprobe0", "type", "veth", "peer", "name", "mosprobe1"))
	case OVS:
		return programs("ovs-vswitchd", "ovsdb-server", "ovsdb-tool", "ovs-vsctl", "ovs-ofctl", "ovs-appctl")
	case Docker:
		return programs("dockerd", "docker", "containerd", "runc", "iptables")
	case Newest:
		return newest()
	case VM:
		return programs("qemu-system-x86_64", "ssh", "scp")
	case NFT:
		return errors.Join(programs("nft"), inNetNS("nft", "add", "table", "inet", "mosprobe"))
	case Compose:
		if _, err := os.Stat(filepath.Join(ComposeDir(), "docker-compose")); err != nil {
			return fmt.Errorf("run test/setup/compose: %w", err)
		}
		return nil
	case Meters:
		_, err := os.Stat(filepath.Join(CadvisorDir(), "cadvisor"))
		_, terr := os.Stat(filepath.Join(TelegrafDir(), "telegraf"))
		if err := errors.Join(err, terr); err != nil {
			return fmt.Errorf("run test/setup/cadvisor and test/setup/telegraf: %w", err)
		}
		return nil
	case Podman:
		return programs("podman", "crun", "runc", "catatonit", "/usr/lib/podman/netavark")
	case Prometheus:
		return further("prometheus")
	case Browser:
		return further("chromium")
	case Registry:
		return further("docker-registry")
	case Systemd:
		_, err := os.Stat("/run/systemd/system")
		return errors.Join(programs("systemd-run", "systemctl"), err)
	case DM:
		return errors.Join(root(), programs("lvm", "dmsetup"), deviceMapper())
	}
	return errUnknown
}

func root() error {
	if os.Geteuid() != 0 {
		return errors.New("not root")
	}
	return unshare("true")
}

func inNetNS(argv ...string) error { return unshare(argv...) }

// unshare runs a command in network and mount namespaces of its own, the way
// the rigs do.
func unshare(argv ...string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s in namespaces of its own: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

func programs(names ...string) error {
	var missing []string
	for _, name := range names {
		if !inPath(name) {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("%s not installed: run test/setup/packages", strings.Join(missing, ", "))
}

// further is a program of a package of its name that not every ring has.
func further(name string) error {
	if inPath(name) {
		return nil
	}
	return fmt.Errorf("%s not installed: run test/setup/packages %s", name, name)
}

// inPath also looks where Debian keeps programs for root, since the PATH of a
// plain user lacks these folders.
func inPath(name string) bool {
	for _, p := range []string{name, "/usr/sbin/" + name, "/sbin/" + name} {
		if _, err := exec.LookPath(p); err == nil {
			return true
		}
	}
	return false
}

func deviceMapper() error {
	// Opening tells: lvm makes the node also where no kernel is behind it.
	f, err := os.OpenFile("/dev/mapper/control", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("the kernel has no device mapper: %w", err)
	}
	return f.Close()
}

func newest() error {
	for _, name := range []string{"dockerd", "runc"} {
		if _, err := os.Stat(filepath.Join(EngineDir(), name)); err != nil {
			return fmt.Errorf("run test/setup/engine: %w", err)
		}
	}
	return nil
}
