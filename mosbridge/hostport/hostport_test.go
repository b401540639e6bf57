package hostport_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/mosdocker/mosdocker/mosbridge/hostport"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

var (
	v4, dual = hostport.Families{IPv4: true}, hostport.Families{IPv4: true, IPv6: true}
	loopback = netip.MustParseAddr("127.0.0.1")
	addrs    = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
)

func describe(owner string) string { return "endpoint " + owner + " of network prod" }

func newAllocator(t *testing.T) *hostport.Allocator {
	t.Helper()
	a := hostport.New(hostport.Config{Describe: describe})
	t.Cleanup(a.Close)
	return a
}

func port(proto spec.Proto, ip netip.Addr, first, last uint16) spec.Port {
	return spec.Port{Proto: proto, Container: 80, HostIP: ip, HostPort: first, HostPortEnd: last}
}

// claim is a claim that must succeed.
func claim(t *testing.T, a *hostport.Allocator, owner string, f hostport.Families, ports ...spec.Port) []hostport.Binding {
	t.Helper()
	b, err := a.Claim(t.Context(), owner, ports, f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// free is a port that was free a moment ago.
func free(t *testing.T) uint16 {
	t.Helper()
	a := newAllocator(t)
	defer a.Close()
	return claim(t, a, "probe", dual, port(spec.TCP, netip.Addr{}, 0, 0))[0].HostPort
}

// take binds as another program would: Go sets SO_REUSEADDR, as servers do.
func take(t *testing.T, proto spec.Proto, addr string) error {
	t.Helper()
	var lc net.ListenConfig
	family := "4"
	if strings.HasPrefix(addr, "[") {
		family = "6"
	}
	if proto == spec.UDP {
		c, err := lc.ListenPacket(t.Context(), "udp"+family, addr)
		if err == nil {
			t.Cleanup(func() { _ = c.Close() })
		}
		return err
	}
	l, err := lc.Listen(t.Context(), "tcp"+family, addr)
	if err == nil {
		t.Cleanup(func() { _ = l.Close() })
	}
	return err
}

func TestLifeOfAClaim(t *testing.T) {
	a := newAllocator(t)
	got := claim(t, a, "e1", dual, port(spec.TCP, netip.Addr{}, 0, 0), port(spec.UDP, loopback, 0, 0))
	if len(got) != 3 || got[0].HostPort != got[1].HostPort || got[0].HostIP.String() != "0.0.0.0" || got[1].HostIP.String() != "::" {
		t.Fatalf("got %v, want one number in both families and one on localhost", got)
	}
	again := claim(t, a, "e1", dual, port(spec.TCP, netip.Addr{}, 0, 0), port(spec.UDP, loopback, 0, 0))
	if diff := cmp.Diff(got, again, addrs); diff != "" {
		t.Errorf("a repeat differs:\n%s", diff)
	}
	if diff := cmp.Diff([]hostport.Claim{{Owner: "e1", Bindings: got}}, a.Claims(), addrs); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	if _, err := a.Claim(t.Context(), "e1", nil, dual); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("another claim of the same owner: got %v", err)
	}
	for _, b := range got {
		if err := take(t, b.Proto, netip.AddrPortFrom(b.HostIP, b.HostPort).String()); !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("another program takes %s: %v", b, err)
		}
	}
	a.Release("e1")
	a.Release("e1")
	for _, b := range got {
		if err := take(t, b.Proto, netip.AddrPortFrom(b.HostIP, b.HostPort).String()); err != nil {
			t.Errorf("after the release: %v", err)
		}
	}
}

func TestConflictsSayWho(t *testing.T) {
	a := newAllocator(t)
	n := claim(t, a, "3f2a", v4, port(spec.TCP, netip.Addr{}, 0, 0))[0].HostPort
	_, err := a.Claim(t.Context(), "e2", []spec.Port{port(spec.TCP, loopback, n, 0)}, v4)
	want := fmt.Sprintf("host port 127.0.0.1:%d/tcp is published by endpoint 3f2a of network prod: stop it or choose another", n)
	if !errdefs.IsAlreadyExists(err) || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	claim(t, a, "e3", v4, port(spec.UDP, netip.Addr{}, n, 0)) // another protocol

	n = free(t)
	if err := take(t, spec.TCP, fmt.Sprintf("127.0.0.1:%d", n)); err != nil {
		t.Skipf("the free port was taken meanwhile: %v", err)
	}
	_, err = a.Claim(t.Context(), "e2", []spec.Port{port(spec.TCP, netip.Addr{}, n, 0)}, v4)
	want = fmt.Sprintf("host port 0.0.0.0:%d/tcp is in use by a program of this host (hostport.test, pid %d): stop it or choose another", n, os.Getpid())
	if !errdefs.IsAlreadyExists(err) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestAllOrNothing(t *testing.T) {
	a := newAllocator(t)
	n := claim(t, a, "e1", v4, port(spec.TCP, netip.Addr{}, 0, 0))[0].HostPort
	m := free(t)
	_, err := a.Claim(t.Context(), "e2", []spec.Port{port(spec.TCP, netip.Addr{}, m, 0), port(spec.UDP, loopback, m, 0), port(spec.TCP, netip.Addr{}, n, 0)}, dual)
	if !errdefs.IsAlreadyExists(err) {
		t.Fatalf("got %v", err)
	}
	if len(a.Claims()) != 1 {
		t.Errorf("a refused claim is kept: %v", a.Claims())
	}
	for _, proto := range []spec.Proto{spec.TCP, spec.UDP} {
		if err := take(t, proto, fmt.Sprintf(":%d", m)); err != nil {
			t.Errorf("a socket of a refused claim is kept: %v", err)
		}
	}
	_, err = a.Claim(t.Context(), "e3", []spec.Port{port(spec.TCP, loopback, m+1, 0), port(spec.TCP, netip.Addr{}, m+1, 0)}, v4)
	if !errdefs.IsAlreadyExists(err) || !strings.Contains(err.Error(), "asked for twice") {
		t.Errorf("got %v", err)
	}
}

func TestRangeGivesTheFirstFree(t *testing.T) {
	a := newAllocator(t)
	var n uint16
	for { // three in a row
		n = free(t)
		if _, err := a.Claim(t.Context(), "row", []spec.Port{port(spec.TCP, loopback, n, 0), port(spec.TCP, loopback, n+1, 0), port(spec.TCP, loopback, n+2, 0)}, v4); err == nil {
			break
		}
	}
	a.Release("row")
	if err := take(t, spec.TCP, fmt.Sprintf("127.0.0.1:%d", n)); err != nil {
		t.Fatal(err)
	}
	for i, owner := range []string{"e1", "e2"} {
		if got := claim(t, a, owner, v4, port(spec.TCP, loopback, n, n+2))[0].HostPort; got != n+1+uint16(i) {
			t.Errorf("%s: got port %d, want %d", owner, got, n+1+uint16(i))
		}
	}
	_, err := a.Claim(t.Context(), "e3", []spec.Port{port(spec.TCP, loopback, n, n+2)}, v4)
	if !errdefs.IsResourceExhausted(err) || errdefs.IsAlreadyExists(err) || !strings.Contains(err.Error(), fmt.Sprintf("no port of %d to %d is free", n, n+2)) {
		t.Errorf("got %v", err)
	}
}

func TestBadPortsAreRefused(t *testing.T) {
	a := newAllocator(t)
	for name, p := range map[string]spec.Port{
		"foreign_address": port(spec.TCP, netip.MustParseAddr("203.0.113.77"), 0, 0),
		"wrong_family":    port(spec.TCP, netip.IPv6Loopback(), 0, 0),
		"protocol":        port("sctp", netip.Addr{}, 0, 0),
		"backwards":       port(spec.TCP, netip.Addr{}, 90, 80),
		"no_container":    {Proto: spec.TCP},
	} {
		if _, err := a.Claim(t.Context(), name, []spec.Port{p}, v4); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := a.Claim(t.Context(), "none", []spec.Port{port(spec.TCP, netip.Addr{}, 0, 0)}, hostport.Families{}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("no family: got %v", err)
	}
	if got := a.Claims(); len(got) != 0 {
		t.Errorf("got claims %v", got)
	}
}

func TestRestoreKeepsWhatTheKernelRefuses(t *testing.T) {
	a := newAllocator(t)
	first := claim(t, a, "e1", dual, port(spec.TCP, netip.Addr{}, 0, 0), port(spec.UDP, netip.Addr{}, 0, 0))
	before := a.Claims()
	a.Close()
	if err := take(t, spec.UDP, fmt.Sprintf("127.0.0.1:%d", first[2].HostPort)); err != nil {
		t.Fatal(err)
	}
	b := newAllocator(t)
	if err := b.Restore(before); !errdefs.IsAlreadyExists(err) || !strings.Contains(err.Error(), "endpoint e1") {
		t.Errorf("got %v, want to hear of the port that is taken", err)
	}
	if err := b.Restore(before); err != nil {
		t.Errorf("a repeat: %v", err)
	}
	if diff := cmp.Diff(before, b.Claims(), addrs); diff != "" {
		t.Errorf("claims (-before +after):\n%s", diff)
	}
	if err := take(t, spec.TCP, fmt.Sprintf(":%d", first[0].HostPort)); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("a restored port is not reserved: %v", err)
	}
	if got := claim(t, b, "e1", dual, port(spec.TCP, netip.Addr{}, 0, 0)); len(got) != len(first) {
		t.Errorf("got %v, want what was restored", got)
	}
}

// TestLingeringConnectionsAreNoHolders: the port of a server that just ended
// with open connections is free, though the kernel still knows these.
func TestLingeringConnectionsAreNoHolders(t *testing.T) {
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var d net.Dialer
	client, err := d.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = server.Close() // the first to close waits
	_ = client.Close()
	_ = l.Close()
	n := netip.MustParseAddrPort(l.Addr().String()).Port()
	claim(t, newAllocator(t), "e1", v4, port(spec.TCP, netip.Addr{}, n, 0))
}

func TestNoPortIsGivenTwice(t *testing.T) {
	first := free(t)
	rapid.Check(t, func(t *rapid.T) {
		a := hostport.New(hostport.Config{})
		defer a.Close()
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			owner := strconv.Itoa(rapid.IntRange(0, 5).Draw(t, "owner"))
			if rapid.Bool().Draw(t, "release") {
				a.Release(owner)
				continue
			}
			from := first + uint16(rapid.IntRange(0, 4).Draw(t, "from"))
			p := port(rapid.SampledFrom([]spec.Proto{spec.TCP, spec.UDP}).Draw(t, "proto"),
				rapid.SampledFrom([]netip.Addr{{}, loopback}).Draw(t, "ip"), from, from+uint16(rapid.IntRange(0, 3).Draw(t, "length")))
			_, err := a.Claim(t.Context(), owner, []spec.Port{p}, rapid.SampledFrom([]hostport.Families{v4, dual}).Draw(t, "families"))
			if err != nil && !errdefs.IsAlreadyExists(err) && !errdefs.IsResourceExhausted(err) && !errdefs.IsFailedPrecondition(err) {
				t.Fatalf("got %v", err)
			}
			var all []hostport.Binding
			for _, c := range a.Claims() {
				all = append(all, c.Bindings...)
			}
			for i, b := range all {
				if slices.ContainsFunc(all[:i], func(o hostport.Binding) bool {
					return b.Proto == o.Proto && b.HostPort == o.HostPort && b.HostIP.Is4() == o.HostIP.Is4()
				}) && b.HostIP.IsUnspecified() {
					t.Fatalf("%s is given twice: %v", b, all)
				}
			}
		}
	})
}
