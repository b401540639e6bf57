package read

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/agent/cgroup"
	"github.com/mosdocker/mosdocker/agent/metric"
	"github.com/mosdocker/mosdocker/internal/testx"
)

// namespaced is a process in a network namespace of its own, whose link eth0 has its
// other end here.
type namespaced struct {
	t   *testing.T
	pid int
	end string
}

func newNamespaced(t *testing.T) *namespaced {
	t.Helper()
	testx.Need(t, testx.Root)
	cmd := exec.Command("unshare", "-n", "sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	n := &namespaced{t: t, pid: cmd.Process.Pid, end: fmt.Sprintf("veth%x", cmd.Process.Pid)}
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	testx.Eventually(t, 10*time.Second, func() error {
		if other, err := os.Readlink(n.path("ns/net")); err != nil || other == own {
			return fmt.Errorf("namespace %s: %w", other, err)
		}
		return nil
	})
	n.link("eth0", n.end)
	return n
}

func (n *namespaced) path(name string) string { return fmt.Sprintf("/proc/%d/%s", n.pid, name) }

func (n *namespaced) run(argv ...string) {
	n.t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		n.t.Fatalf("%q: %v, %s", argv, err, out)
	}
}

// link gives it a link that is up and of no protocol that would speak by itself.
func (n *namespaced) link(inside, end string) {
	n.t.Helper()
	pid := strconv.Itoa(n.pid)
	n.run("ip", "link", "add", end, "type", "veth", "peer", "name", inside, "netns", pid)
	n.t.Cleanup(func() { _ = exec.Command("ip", "link", "del", end).Run() }) // gone with its namespace mostly
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/"+end+"/disable_ipv6", []byte("1"), 0)
	n.run("nsenter", "-t", pid, "-n", "sh", "-c", "echo 1 >/proc/sys/net/ipv6/conf/"+inside+"/disable_ipv6; ip link set "+inside+" up")
	n.run("ip", "link", "set", end, "up")
}

// send puts a packet on the host's end.
func (n *namespaced) send() {
	n.t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		n.t.Fatal(err)
	}
	defer unix.Close(fd)
	index, err := os.ReadFile("/sys/class/net/" + n.end + "/ifindex")
	if err != nil {
		n.t.Fatal(err)
	}
	to := unix.SockaddrLinklayer{Protocol: 0x0888}
	if _, err := fmt.Sscan(string(index), &to.Ifindex); err != nil {
		n.t.Fatal(err)
	}
	if err := unix.Sendto(fd, make([]byte, 100), 0, &to); err != nil {
		n.t.Fatal(err)
	}
}

// watched are the sources of a host and of a container in a namespace, whose
// interfaces are read from a copy, so that it is seen whether they are.
type watched struct {
	*namespaced

	ends       *Ends
	host, c    *Source
	copy       string
	buf        Buffer
	clock      time.Time
	saidNumber int
}

func newWatched(n *namespaced) *watched {
	t := n.t
	t.Helper()
	w := &watched{namespaced: n, clock: time.Unix(100, 0), copy: filepath.Join(t.TempDir(), "dev")}
	var err error
	if w.ends, err = NewEnds(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.ends.Close)
	if w.host, err = NewHost(cgroup.Tree{}, &metric.Object{Scope: metric.Host}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.host.Close)
	w.ends.Follow(w.host)
	w.c, _ = fixture(t, "v1")
	if err := w.c.AddNet(n.pid, w.ends); err != nil {
		t.Fatal(err)
	}
	w.say()
	for i := range w.c.kept {
		if k := &w.c.kept[i]; k.when == linked {
			_ = unix.Close(k.fd)
			if k.fd, err = open(w.copy); err != nil {
				t.Fatal(err)
			}
		}
	}
	return w
}

// say writes the copy anew, with another number of bytes received.
func (w *watched) say() string {
	w.t.Helper()
	text, err := os.ReadFile(w.path("net/dev"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.saidNumber++
	lines := strings.Split(string(text), "\n")
	for i, l := range lines {
		if name, _, ok := strings.Cut(l, ":"); ok {
			lines[i] = fmt.Sprintf("%s: %d 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16", name, w.saidNumber)
		}
	}
	write(w.t, w.copy, strings.Join(lines, "\n"))
	return fmt.Sprintf("net.rx{interface=%q} %d By", "eth0", w.saidNumber)
}

// sample takes one of both, as the agent does.
func (w *watched) sample() string {
	w.clock = w.clock.Add(time.Second)
	w.host.Sample(&w.buf, w.clock, false)
	if names, known := w.ends.Names(); !known {
		list, err := ListEnds()
		if err != nil {
			w.t.Fatal(err)
		}
		defer w.ends.Know(names, list) // for the next one
	}
	w.c.Sample(&w.buf, w.clock, false)
	return w.c.Point.String()
}

// settle samples until links that others make and take away meanwhile are known.
func (w *watched) settle() {
	w.t.Helper()
	testx.Eventually(w.t, time.Minute, func() error {
		now := w.say()
		if text := w.sample(); strings.Contains(text, now) {
			return fmt.Errorf("it is read without need")
		}
		return nil
	})
}

// The interfaces of an idle container are not read, and those of one that is not are.
func TestInterfacesAreReadWhenTheirOtherEndsMoved(t *testing.T) {
	w := newWatched(newNamespaced(t))
	first := w.say()
	if text := w.sample(); !strings.Contains(text, first) {
		t.Fatalf("no %s in the first sample:\n%s", first, text)
	}
	w.settle()
	if text := w.sample(); !strings.Contains(text, `net.rx{interface="eth0"}`) || !strings.Contains(text, `net.tx.dropped{interface="eth0"} 12 `) {
		t.Errorf("what is not read is not kept:\n%s", text)
	}
	n := testing.AllocsPerRun(20, func() {
		w.clock = w.clock.Add(time.Second)
		w.host.Sample(&w.buf, w.clock, false)
		w.c.Sample(&w.buf, w.clock, false)
	})
	if n > 0 && !raceEnabled {
		t.Errorf("%v allocations in a quiet sample, want 0", n)
	}
	for range 3 {
		w.send()
		now := w.say()
		if text := w.sample(); !strings.Contains(text, now) {
			t.Errorf("no %s after a packet:\n%s", now, text)
		}
		w.settle()
	}
	// A further link is seen at once, and does not keep both from being quiet for ever.
	w.link("eth1", w.end+"b")
	now := strings.Replace(w.say(), "eth0", "eth1", 1)
	if text := w.sample(); !strings.Contains(text, now) {
		t.Errorf("no %s of a further link:\n%s", now, text)
	}
	w.settle()
	// One that goes has no values any more.
	w.run("ip", "link", "del", w.end+"b")
	w.say()
	if text := w.sample(); strings.Contains(text, "eth1") {
		t.Errorf("a link that is gone has values:\n%s", text)
	}
	w.settle()
}

// A link whose other end is not the host's is always read.
func TestInterfacesWithoutAnEndHereAreRead(t *testing.T) {
	n := newNamespaced(t)
	n.run("nsenter", "-t", strconv.Itoa(n.pid), "-n", "ip", "link", "add", "in0", "type", "veth", "peer", "name", "in1")
	w := newWatched(n)
	for range 4 {
		now := w.say()
		if text := w.sample(); !strings.Contains(text, now) {
			t.Errorf("no %s:\n%s", now, text)
		}
	}
}
