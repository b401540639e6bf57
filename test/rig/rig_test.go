package rig_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/internal/xexec"
	"github.com/mosdocker/mosdocker/test/rig"
)

// each runs a test on all engines.
func each(t *testing.T, f func(t *testing.T, e rig.Engine)) {
	t.Helper()
	for _, e := range rig.Engines() {
		t.Run(string(e), func(t *testing.T) { f(t, e) })
	}
}

func TestEngineRunsContainers(t *testing.T) {
	each(t, func(t *testing.T, e rig.Engine) {
		start := time.Now()
		r := rig.New(t, rig.Config{Engine: e, OVS: true, Outside: true})
		t.Logf("up after %s", time.Since(start))
		h := r.Host(1)
		version := h.MustDocker(t, "version", "-f", "{{.Server.Version}}")
		if old := strings.HasPrefix(version, "20.10."); old != (e == rig.Engine20) {
			t.Errorf("got engine version %s, want %s", version, e)
		}
		start = time.Now()
		if out := h.MustDocker(t, "run", "--rm", rig.Image, "echo", "hi"); out != "hi" {
			t.Errorf("got %q", out)
		}
		t.Logf("docker run took %s", time.Since(start))
		// From here, through the socket's path on this side.
		out, err := exec.Command("docker", "-H", "unix://"+h.Socket(), "images", "-q", rig.Image).Output()
		if e == rig.Engine20 && (err != nil || len(out) == 0) {
			t.Errorf("got %q, %v", out, err)
		}
		if err := h.LeakCheck(); err != nil {
			t.Error(err)
		}
	})
}

func TestDocker0ReachesTheOutsideAndPublishes(t *testing.T) {
	each(t, func(t *testing.T, e rig.Engine) {
		r := rig.New(t, rig.Config{Engine: e, Outside: true})
		h := r.Host(1)
		r.Outside().Serve(t, 8000)
		for _, proto := range []string{"tcp", "udp"} {
			out := h.MustDocker(t, "run", "--rm", rig.Image, "netcheck", "send", proto, rig.OutsideIPv4+":8000", "1048576")
			if !strings.HasPrefix(out, "ok 1048576 ") {
				t.Errorf("%s: got %q", proto, out)
			}
		}
		saw := h.MustDocker(t, "run", "--rm", rig.Image, "netcheck", "whoami", "tcp", rig.OutsideIPv4+":8000")
		if !strings.HasPrefix(saw, h.IPv4()+":") {
			t.Errorf("the outside saw %s, want %s by NAT", saw, h.IPv4())
		}
		h.MustDocker(t, "run", "-d", "--name", "web", "-p", "80:8000", rig.Image, "netcheck", "serve", ":8000")
		// The container runs some time before its server does.
		testx.Eventually(t, 10*time.Second, func() error {
			out, err := r.Outside().Exec(t.Context(), "netcheck", "get", "http://"+h.IPv4()+"/")
			if err == nil && !strings.Contains(out, "from 198.51.100.1") {
				err = fmt.Errorf("got %q", out)
			}
			return err
		})
		if out := h.MustExec(t, "netcheck", "whoami", "udp", "["+rig.OutsideIPv6+"]:8000"); !strings.HasPrefix(out, "["+h.IPv6()+"]:") {
			t.Errorf("got %q", out)
		}
	})
}

func TestNewestEngineWritesNftables(t *testing.T) {
	testx.Need(t, testx.NFT)
	r := rig.New(t, rig.Config{Engine: rig.EngineNew, Nftables: true, Outside: true})
	r.Outside().Serve(t, 8000)
	h := r.Host(1)
	h.MustDocker(t, "run", "--rm", rig.Image, "netcheck", "send", "tcp", rig.OutsideIPv4+":8000", "1048576")
	if out := h.MustExec(t, "nft", "list", "tables"); !strings.Contains(out, "docker-bridges") {
		t.Errorf("got tables %q", out)
	}
}

func TestHostsExchangeTaggedFrames(t *testing.T) {
	r := rig.New(t, rig.Config{Engine: rig.EngineNone, Hosts: 3, OVS: true})
	for i, vlan := range []string{"7", "7", "8"} {
		h := r.Host(i + 1)
		h.MustExec(t, "ovs-vsctl", "add-br", "br9", "--", "set", "bridge", "br9", "datapath_type=netdev", "--", "add-port", "br9", "up0",
			"--", "add-port", "br9", "v0", "tag="+vlan, "--", "set", "interface", "v0", "type=internal")
		h.MustExec(t, "ip", "addr", "add", fmt.Sprintf("10.7.0.%d/24", i+1), "dev", "v0")
		h.MustExec(t, "ip", "link", "set", "v0", "up")
	}
	tags, err := os.Create(filepath.Join(t.TempDir(), "tags"))
	if err != nil {
		t.Fatal(err)
	}
	defer tags.Close()
	stop, err := r.Fabric().Background(tags, "tcpdump", "-nel", "-i", "h2", "vlan", "7", "and", "icmp")
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	// Full frames: the tag's four bytes come on top of the MTU.
	testx.Eventually(t, 10*time.Second, func() error {
		if _, err := r.Host(1).Exec(t.Context(), "ping", "-c1", "-W1", "-s1472", "10.7.0.2"); err != nil {
			return err
		}
		if seen, err := os.ReadFile(tags.Name()); err != nil || !strings.Contains(string(seen), "vlan 7") {
			return fmt.Errorf("got %q, %w: want tagged frames on the fabric", seen, err)
		}
		return nil
	})
	if _, err := r.Host(1).Exec(t.Context(), "ping", "-c1", "-W1", "10.7.0.3"); err == nil {
		t.Error("a frame crosses from one VLAN to another")
	}
}

func TestOVSForwardsBetweenHosts(t *testing.T) {
	for _, tso := range []bool{false, true} {
		t.Run(fmt.Sprintf("tso_%v", tso), func(t *testing.T) {
			r := rig.New(t, rig.Config{Engine: rig.EngineNone, Hosts: 2, OVS: true, TSO: tso})
			for i, h := range r.Hosts() {
				h.MustExec(t, "ovs-vsctl", "add-br", "br9", "--", "set", "bridge", "br9", "datapath_type=netdev", "--", "add-port", "br9", "up0")
				h.MustExec(t, "ip", "addr", "add", fmt.Sprintf("10.9.0.%d/24", i+1), "dev", "br9")
				h.MustExec(t, "ip", "link", "set", "br9", "up")
			}
			r.Host(2).Serve(t, 80)
			h := r.Host(1)
			testx.Eventually(t, 5*time.Second, func() error {
				_, err := h.Exec(t.Context(), "netcheck", "send", "-timeout", "2s", "tcp", "10.9.0.2:80", "1048576")
				return err
			})
			got, err := h.Exec(t.Context(), "ovs-vsctl", "--if-exists", "get", "Open_vSwitch", ".", "other_config:userspace-tso-enable")
			if err != nil || (got == `"true"`) != tso {
				t.Errorf("got TSO %q, %v", got, err)
			}
		})
	}
}

func TestDaemonsDieAndComeBack(t *testing.T) {
	each(t, func(t *testing.T, e rig.Engine) {
		r := rig.New(t, rig.Config{Engine: e, OVS: true, LiveRestore: true})
		h := r.Host(1)
		id := h.MustDocker(t, "run", "-d", rig.Image)
		h.MustExec(t, "ovs-vsctl", "add-br", "br9", "--", "set", "bridge", "br9", "datapath_type=netdev")
		for _, name := range []string{rig.Dockerd, rig.Vswitchd, rig.Ovsdb} {
			for end, f := range map[string]func(string) error{"kill": h.Kill9, "stop": h.Stop} {
				pid, start := h.Pid(name), time.Now()
				if err := f(name); err != nil {
					t.Fatal(err)
				}
				if h.Running(name) || syscall.Kill(pid, 0) == nil {
					t.Errorf("%s: %s runs after its end", end, name)
				}
				if err := f(name); err != nil {
					t.Errorf("%s of a stopped daemon: %v", end, err)
				}
				ended := time.Since(start)
				if err := h.Start(name); err != nil {
					t.Fatal(err)
				}
				t.Logf("%s %s took %s, the start %s", end, name, ended, time.Since(start)-ended)
				if h.Pid(name) == pid || h.Pid(name) == 0 {
					t.Errorf("%s has pid %d, had %d", name, h.Pid(name), pid)
				}
			}
		}
		if out := h.MustDocker(t, "ps", "-q", "--no-trunc"); out != id {
			t.Errorf("got containers %q, want %s to live on", out, id)
		}
		if out := h.MustExec(t, "ovs-vsctl", "--timeout=5", "list-br"); out != "br9" {
			t.Errorf("got bridges %q", out)
		}
		if err := h.Leaks(); err == nil {
			t.Error("a running container is no leak")
		}
		h.MustDocker(t, "rm", "-f", id)
		h.MustExec(t, "ovs-vsctl", "del-br", "br9")
		if err := h.LeakCheck(); err != nil {
			t.Error(err)
		}
	})
}

func TestRestartKeepsDisksOnly(t *testing.T) {
	r := rig.New(t, rig.Config{OVS: true, Hosts: 2, Outside: true})
	h := r.Host(1)
	listen := rig.Daemon{Name: "listener", Argv: []string{"netcheck", "serve", ":80"}, Ready: func() error {
		_, err := h.Exec(t.Context(), "netcheck", "get", "http://127.0.0.1/")
		return err
	}}
	if err := h.StartDaemon(listen); err != nil {
		t.Fatal(err)
	}
	h.MustDocker(t, "run", "-d", "--name", "kept", "--restart=always", rig.Image)
	h.MustExec(t, "sh", "-c", "echo kept >/var/lib/mos/f; echo lost >/run/f; ip link add lost0 type bridge")
	if err := h.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if out := h.MustExec(t, "sh", "-c", "cat /var/lib/mos/f; ls /run/f /sys/class/net/lost0 || :"); out != "kept" {
		t.Errorf("got %q", out)
	}
	if !h.Running("listener") {
		t.Error("the further daemon is not back")
	}
	testx.Eventually(t, 10*time.Second, func() error {
		out, err := h.Docker("ps", "-q")
		if err == nil && out == "" {
			err = errors.New("the container is not back")
		}
		return err
	})
	r.Outside().MustExec(t, "netcheck", "get", "http://["+h.IPv6()+"]/")
}

func TestHostsTouchNothingOfTheMachine(t *testing.T) {
	links, err := os.ReadDir("/sys/class/net")
	if err != nil {
		t.Fatal(err)
	}
	r := rig.New(t, rig.Config{OVS: true, Outside: true})
	h := r.Host(1)
	h.MustExec(t, "sh", "-c", "for d in /etc /var/lib /var/log /opt /run; do echo x >$d/mos-rig-probe; done")
	for _, dir := range []string{"/etc", "/var/lib", "/var/log", "/opt", "/run"} {
		if _, err := os.Stat(filepath.Join(dir, "mos-rig-probe")); err == nil {
			t.Errorf("%s is shared with the machine", dir)
		}
	}
	if _, err := os.Stat(h.Path("/etc/mos-rig-probe")); err != nil {
		t.Errorf("the host's file cannot be seen from here: %v", err)
	}
	after, err := os.ReadDir("/sys/class/net")
	if err != nil || len(after) != len(links) {
		t.Errorf("got %d links, had %d (%v)", len(after), len(links), err)
	}
	if out := h.MustExec(t, "ls", "/sys/class/net"); !strings.Contains(out, "docker0") {
		t.Errorf("got links %q: /sys is another network's", out)
	}
	err = h.Do(func() error {
		if _, err := net.InterfaceByName("docker0"); err != nil {
			return err
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if d, err := net.InterfaceByName("docker0"); err == nil && !slices.ContainsFunc(links, func(l os.DirEntry) bool { return l.Name() == d.Name }) {
		t.Error("the test's own network has docker0")
	}
}

func TestEndedDaemonFailsTheRig(t *testing.T) {
	testx.Need(t, testx.Root, testx.NetNS)
	r, err := rig.Open(t.Context(), rig.Config{Engine: rig.EngineNone})
	if err != nil {
		t.Fatal(err)
	}
	h := r.Host(1)
	early := rig.Daemon{Name: "early", Argv: []string{"sh", "-c", "echo no luck; exit 3"}, Ready: func() error { return errors.New("not yet") }}
	if err := h.StartDaemon(early); err == nil || !strings.Contains(err.Error(), "no luck") {
		t.Errorf("got %v, want the daemon's last words", err)
	}
	if err := r.Close(); err == nil || !strings.Contains(err.Error(), "early of h1 ended by itself") {
		t.Errorf("got %v, want the fault", err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
}

// TestNothingOutlivesAKilledTest starts a rig in a process of its own, kills
// that, and looks for what is left.
func TestNothingOutlivesAKilledTest(t *testing.T) {
	testx.Need(t, testx.Root, testx.NetNS, testx.OVS, testx.Docker)
	dir := t.TempDir()
	if os.Getenv("RIG_VICTIM") != "" {
		r, err := rig.Open(t.Context(), rig.Config{OVS: true, Outside: true, Dir: os.Getenv("RIG_VICTIM")})
		if err != nil {
			t.Fatal(err)
		}
		r.Host(1).MustDocker(t, "run", "-d", rig.Image)
		fmt.Println("victim is up")
		select {} // until it is killed
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestNothingOutlivesAKilledTest$", "-test.v")
	cmd.Env = append(os.Environ(), "RIG_VICTIM="+dir)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 0, 1024)
	for buf := make([]byte, 1024); !strings.Contains(string(said), "victim is up"); {
		n, err := stdout.Read(buf)
		said = append(said, buf[:n]...)
		if err != nil {
			t.Fatalf("%v: %s", err, said)
		}
	}
	rigs, err := filepath.Glob(filepath.Join(dir, "mosrig-*"))
	if err != nil || len(rigs) != 1 {
		t.Fatalf("got %v, %v", rigs, err)
	}
	name := filepath.Base(rigs[0])
	if len(processes(t, name)) < 5 {
		t.Errorf("got processes %q, want an engine, a container and more", processes(t, name))
	}
	if err := errors.Join(cmd.Process.Kill()); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	testx.Eventually(t, 10*time.Second, func() error {
		if left := processes(t, name); len(left) > 0 {
			return fmt.Errorf("left over: %q", left)
		}
		return nil
	})
	// Files and cgroups go with the next rig.
	r, err := rig.Open(t.Context(), rig.Config{Engine: rig.EngineNone, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
	if out, err := (xexec.Host{}).Run(context.Background(), xexec.Cmd{Argv: []string{"find", "/sys/fs/cgroup", "-name", name + "*"}}); err != nil || len(out) > 0 {
		t.Errorf("left over: %s (%v)", out, err)
	}
}

// processes returns the command lines of all processes in a rig's cgroups.
func processes(t *testing.T, name string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(b), "/"+name+"-") {
			cmdline, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
			found = append(found, strings.ReplaceAll(string(cmdline), "\x00", " "))
		}
	}
	return found
}

// TestNothingRunsWithoutPower: what is sent to a host that is off fails, and does
// not run on this machine.
func TestNothingRunsWithoutPower(t *testing.T) {
	h := rig.New(t, rig.Config{Engine: rig.EngineNone}).Host(1)
	h.Off()
	if out, err := h.Exec(t.Context(), "hostname"); err == nil {
		t.Errorf("without power it answers %q", out)
	}
	if err := h.Boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if out := h.MustExec(t, "hostname"); out != h.Name {
		t.Errorf("got %q, want %q", out, h.Name)
	}
}
