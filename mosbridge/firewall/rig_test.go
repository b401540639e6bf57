package firewall_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/internal/xexec"
	"github.com/mosdocker/mosdocker/mosbridge/firewall"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// netns is a network namespace of a test.
type netns struct {
	tb testing.TB
	f  *os.File
}

func newNetNS(tb testing.TB) netns {
	tb.Helper()
	ns := netns{tb: tb}
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		f, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
		ns.f = f
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = ns.f.Close() })
	// Addresses are good at once.
	ns.sysctl("net/ipv6/conf/all/accept_dad", "0")
	ns.sysctl("net/ipv6/conf/default/accept_dad", "0")
	ns.ip("link set lo up")
	return ns
}

// onThread runs f on a thread that dies with it.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}

func (ns netns) enter() error { return unix.Setns(int(ns.f.Fd()), unix.CLONE_NEWNET) }

// do runs f inside.
func (ns netns) do(f func() error) error {
	return onThread(func() error { return errors.Join(ns.enter(), f()) })
}

func (ns netns) host() xexec.Host { return xexec.Host{Enter: ns.enter} }

func (ns netns) run(stdin string, argv ...string) string {
	ns.tb.Helper()
	out, err := ns.host().Run(ns.tb.Context(), xexec.Cmd{Argv: argv, Stdin: []byte(stdin)})
	if err != nil {
		ns.tb.Fatal(err)
	}
	return string(out)
}

func (ns netns) ip(line string) {
	ns.tb.Helper()
	ns.run("", append([]string{"ip"}, strings.Fields(line)...)...)
}

func (ns netns) sysctl(key, value string) {
	ns.tb.Helper()
	// A file of /proc/sys/net shows the namespace of who opens it.
	if err := ns.do(func() error { return os.WriteFile("/proc/sys/"+key, []byte(value), 0o644) }); err != nil {
		ns.tb.Fatal(err)
	}
}

// echo answers each request on the address with its own name and the address
// that it sees the client have. It returns the address.
func (ns netns) echo(proto, name, addr string) netip.AddrPort {
	ns.tb.Helper()
	var at netip.AddrPort
	err := ns.do(func() error {
		var lc net.ListenConfig
		if proto == "udp" {
			c, err := lc.ListenPacket(ns.tb.Context(), proto, addr)
			if err != nil {
				return err
			}
			ns.tb.Cleanup(func() { _ = c.Close() })
			at = netip.MustParseAddrPort(c.LocalAddr().String())
			go serveUDP(c, name)
			return nil
		}
		l, err := lc.Listen(ns.tb.Context(), proto, addr)
		if err != nil {
			return err
		}
		ns.tb.Cleanup(func() { _ = l.Close() })
		at = netip.MustParseAddrPort(l.Addr().String())
		go serveTCP(l, name)
		return nil
	})
	if err != nil {
		ns.tb.Fatal(err)
	}
	return at
}

func serveUDP(c net.PacketConn, name string) {
	buf := make([]byte, 2048)
	for {
		_, from, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		_, _ = c.WriteTo([]byte(name+" "+peer(from)), from)
	}
}

func serveTCP(l net.Listener, name string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(5 * time.Second))
			body, _ := io.ReadAll(c)
			fmt.Fprintf(c, "%s %s %d", name, peer(c.RemoteAddr()), len(body))
		}()
	}
}

func peer(a net.Addr) string { return netip.MustParseAddrPort(a.String()).Addr().String() }

// payload is sent over TCP, to pass more than one segment.
var payload = bytes.Repeat([]byte("mosbridge"), 1<<17)

// ask sends a request and returns the answer, "" for none. From is a local
// address or "".
func (ns netns) ask(proto, to, from string) string {
	ns.tb.Helper()
	var answer string
	wait := 400 * time.Millisecond
	err := ns.do(func() error {
		d := net.Dialer{Timeout: wait}
		if from != "" {
			a := netip.MustParseAddrPort(from)
			d.LocalAddr = net.Addr(net.TCPAddrFromAddrPort(a))
			if proto == "udp" {
				d.LocalAddr = net.UDPAddrFromAddrPort(a)
			}
			d.Control = reuse
		}
		ctx, cancel := context.WithTimeout(ns.tb.Context(), 10*time.Second)
		defer cancel()
		c, err := d.DialContext(ctx, proto, to)
		if err != nil {
			return nil
		}
		defer c.Close()
		if proto == "tcp" {
			wait = 5 * time.Second
		}
		_ = c.SetDeadline(time.Now().Add(wait))
		answer = exchange(c)
		return nil
	})
	if err != nil {
		ns.tb.Fatal(err)
	}
	return answer
}

func exchange(c net.Conn) string {
	t, ok := c.(*net.TCPConn)
	if !ok {
		_, _ = c.Write([]byte("?"))
		buf := make([]byte, 2048)
		n, _ := c.Read(buf)
		return string(buf[:n])
	}
	_, _ = t.Write(payload)
	_ = t.CloseWrite()
	body, _ := io.ReadAll(t)
	answer, whole := strings.CutSuffix(string(body), fmt.Sprintf(" %d", len(payload)))
	if !whole {
		return "broken: " + string(body)
	}
	return answer
}

func reuse(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	})
}

const (
	gwA = "mosgaaaaaaaaaaa"
	gwB = "mosgbbbbbbbbbbb"
)

// rig is a host with two networks, A with containers a1 and a2 and B with b1,
// a neighbor outside, and a network of Docker's behind the bridge docker0. The
// gateway links are Linux bridges here: to the firewall they are all the same.
type rig struct {
	host, out, a1, a2, b1, dock netns
	fw                          *firewall.Firewall
}

func newRig(tb testing.TB, config ...func(*firewall.Config)) *rig {
	tb.Helper()
	testx.Need(tb, testx.Root, testx.NFT)
	r := &rig{newNetNS(tb), newNetNS(tb), newNetNS(tb), newNetNS(tb), newNetNS(tb), newNetNS(tb), nil}
	c := firewall.Config{Runner: r.host.host(), Log: testx.Logger(tb), IPTables: "no-iptables", IP6Tables: "no-ip6tables"}
	for _, f := range config {
		f(&c)
	}
	r.fw = firewall.New(c)
	r.host.sysctl("net/ipv4/ip_forward", "1")
	r.host.sysctl("net/ipv6/conf/all/forwarding", "1")
	// Open vSwitch never does this: translate while a frame is bridged.
	for _, x := range []string{"iptables", "ip6tables"} {
		if _, err := os.Stat("/proc/sys/net/bridge"); err == nil {
			r.host.sysctl("net/bridge/bridge-nf-call-"+x, "0")
		}
	}
	r.wire(r.out, "eth0", "192.0.2.1/24", "2001:db8::1/64")
	r.out.ip("addr add 192.0.2.9/24 dev eth0")
	r.out.ip("addr add 2001:db8::9/64 dev eth0 nodad")
	r.bridge(gwA, "10.1.0.1/24", "fd00:1::1/64")
	r.bridge(gwB, "10.2.0.1/24", "fd00:2::1/64")
	r.bridge("docker0", "172.17.0.1/16", "fd00:17::1/64")
	r.plug(r.a1, gwA, "a1", "10.1.0.11/24", "fd00:1::11/64", "10.1.0.1", "fd00:1::1")
	r.plug(r.a2, gwA, "a2", "10.1.0.12/24", "fd00:1::12/64", "10.1.0.1", "fd00:1::1")
	r.plug(r.b1, gwB, "b1", "10.2.0.11/24", "fd00:2::11/64", "10.2.0.1", "fd00:2::1")
	r.plug(r.dock, "docker0", "dock", "172.17.0.2/16", "fd00:17::2/64", "172.17.0.1", "fd00:17::1")
	return r
}

// wire joins ns to the host by a link; the host has the given addresses.
func (r *rig) wire(ns netns, link, v4, v6 string) {
	ns.tb.Helper()
	r.host.ip("link add " + link + " type veth peer name tmp0")
	r.move(ns, "tmp0", "eth0")
	r.host.ip("addr add " + v4 + " dev " + link)
	r.host.ip("addr add " + v6 + " dev " + link + " nodad")
	r.host.ip("link set " + link + " up")
}

func (r *rig) move(ns netns, link, name string) {
	ns.tb.Helper()
	r.host.ip(fmt.Sprintf("link set %s netns /proc/%d/fd/%d", link, os.Getpid(), ns.f.Fd()))
	ns.ip("link set " + link + " name " + name)
	ns.ip("link set " + name + " up")
}

func (r *rig) bridge(name, v4, v6 string) {
	r.host.tb.Helper()
	r.host.ip("link add " + name + " type bridge")
	r.host.ip("addr add " + v4 + " dev " + name)
	r.host.ip("addr add " + v6 + " dev " + name + " nodad")
	r.host.ip("link set " + name + " up")
	r.host.sysctl("net/ipv4/conf/"+name+"/route_localnet", "1")
}

func (r *rig) plug(ns netns, bridge, name, v4, v6, gw4, gw6 string) {
	ns.tb.Helper()
	r.host.ip("link add v" + name + " type veth peer name tmp0")
	r.host.ip("link set v" + name + " master " + bridge + " up")
	r.move(ns, "tmp0", "eth0")
	ns.ip("addr add " + v4 + " dev eth0")
	ns.ip("addr add " + v6 + " dev eth0 nodad")
	ns.ip("route add default via " + gw4)
	ns.ip("-6 route add default via " + gw6)
}

// apply runs Apply in the host: also what it does without a command.
func (r *rig) apply(tb testing.TB, s firewall.State) {
	tb.Helper()
	if err := r.host.do(func() error { return r.fw.Apply(tb.Context(), s) }); err != nil {
		tb.Fatal(err)
	}
	if missing := r.check(tb, s); len(missing) > 0 {
		tb.Fatalf("missing right after it was applied: %q", missing)
	}
}

func (r *rig) check(tb testing.TB, s firewall.State) []string {
	tb.Helper()
	var rep firewall.Report
	if err := r.host.do(func() (err error) { rep, err = r.fw.Check(tb.Context(), s); return err }); err != nil {
		tb.Fatal(err)
	}
	return rep.Missing
}

func state() firewall.State {
	return firewall.State{Networks: []firewall.Network{
		{Object: 1, Gateway: gwA, NAT: true, Subnets: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24"), netip.MustParsePrefix("fd00:1::/64")}},
		{Object: 2, Gateway: gwB, NAT: true, Subnets: []netip.Prefix{netip.MustParsePrefix("10.2.0.0/24"), netip.MustParsePrefix("fd00:2::/64")}},
	}}
}

// published is a port of the host that leads to port 80 of a container.
func published(proto spec.Proto, hostIP string, port uint16, container, gateway string) firewall.Published {
	p := firewall.Published{Proto: proto, HostPort: port, Container: netip.AddrPortFrom(netip.MustParseAddr(container), 80), Gateway: gateway}
	if hostIP != "" {
		p.HostIP = netip.MustParseAddr(hostIP)
	}
	return p
}

// both publishes for both protocols.
func both(hostIP string, port uint16, container, gateway string) []firewall.Published {
	return []firewall.Published{published(spec.TCP, hostIP, port, container, gateway), published(spec.UDP, hostIP, port, container, gateway)}
}

func needProgram(tb testing.TB, name string) {
	tb.Helper()
	if _, err := exec.LookPath(name); err != nil {
		testx.Need(tb, testx.Docker) // brings iptables
		tb.Fatal(err)
	}
}

func xcmd(argv ...string) xexec.Cmd { return xexec.Cmd{Argv: argv} }
