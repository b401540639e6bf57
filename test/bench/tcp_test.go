package bench

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netns"

	"github.com/mosdocker/mosdocker/internal/xexec"
	"github.com/mosdocker/mosdocker/test/rig"
)

const (
	streamTime = time.Second // of one transfer
	roundTrips = 500         // of one measurement of latency
)

// host is where containers are measured: one of a rig, or this machine.
type host interface {
	D(args ...string) string
	IP(container, network string) string
	Path(path string) string
	MustExec(tb testing.TB, argv ...string) string
}

// BenchmarkTCP compares throughput and latency between two containers of a
// host. Only the sockets are in the containers; the bytes are this process's.
func BenchmarkTCP(b *testing.B) {
	for _, tso := range []bool{true, false} {
		name := map[bool]string{true: "userspace with TSO", false: "userspace without TSO"}[tso]
		b.Run(name, func(b *testing.B) {
			h := newLab(b, rig.Config{TSO: tso, Outside: true})
			networks(b, h)
			compareTCP(b, h, name, mos, bridge, macvlan)
		})
	}
	b.Run("this machine", func(b *testing.B) {
		h := thisMachine(b)
		compareTCP(b, h, "userspace of this machine", mos, bridge)
	})
}

// compareTCP measures the first of the peers beside the others.
func compareTCP(b *testing.B, h host, name string, peers ...string) {
	b.Helper()
	for _, p := range peers {
		for _, side := range []string{"a", "b"} {
			h.D("run", "-d", "--network", network(p), "--name", network(p)+side, rig.Image, "sleep", "10000")
		}
	}
	places := map[string]ends{}
	for _, p := range peers {
		places[p] = between(b, h, p)
	}
	gbit, rtt := map[string][]float64{}, map[string][]float64{}
	round := 0
	for b.Loop() {
		for _, p := range turn(round, peers...) {
			c, s := places[p].connect(b)
			rtt[p] = append(rtt[p], latency(b, c, s))
			gbit[p] = append(gbit[p], throughput(b, c, s))
			_ = errors.Join(c.Close(), s.Close()) // all that matters has arrived
		}
		round++
	}
	what := datapath(b, h, name)
	for _, p := range peers[1:] {
		g := goal{}
		if p == bridge {
			g = goal{limit: atLeast(what), ofRatio: true, atLeast: true}
		}
		results.add(against("TCP throughput, "+what, "Gbit/s", gbit[mos], p, gbit[p], g))
		results.add(against("TCP round trip, "+what, "us", rtt[mos], p, rtt[p], goal{}))
	}
}

// datapath is name, unless the bridge is on the kernel's datapath.
func datapath(b *testing.B, h host, name string) string {
	b.Helper()
	if strings.Contains(h.MustExec(b, "ovs-vsctl", "get", "bridge", "mosbr0", "datapath_type"), "netdev") {
		return name
	}
	return "kernel"
}

// atLeast is the part of a Linux bridge's throughput that a datapath must reach.
func atLeast(datapath string) float64 {
	if datapath == "kernel" {
		return 0.95
	}
	return 0.5
}

// ends are two containers of a peer: their network namespaces, and where the
// server listens.
type ends struct{ client, server, addr string }

func between(b *testing.B, h host, peer string) ends {
	b.Helper()
	ns := func(container string) string {
		return h.Path("/proc/" + h.D("inspect", "-f", "{{.State.Pid}}", container) + "/ns/net")
	}
	name := network(peer)
	return ends{client: ns(name + "a"), server: ns(name + "b"), addr: net.JoinHostPort(h.IP(name+"b", name), "7000")}
}

// inside runs f on a thread in a network namespace; sockets that it makes stay there.
func inside(b *testing.B, path string, f func() error) {
	b.Helper()
	err := xexec.OnThread(func() error {
		ns, err := netns.GetFromPath(path)
		if err != nil {
			return err
		}
		defer ns.Close()
		if err := netns.Set(ns); err != nil {
			return err
		}
		return f()
	})
	if err != nil {
		b.Fatalf("in %s: %v", path, err)
	}
}

// connect makes a TCP connection between the two.
func (e ends) connect(b *testing.B) (client, server net.Conn) {
	b.Helper()
	var l net.Listener
	inside(b, e.server, func() (err error) {
		l, err = net.Listen("tcp", e.addr)
		return err
	})
	defer l.Close()
	inside(b, e.client, func() (err error) {
		client, err = net.DialTimeout("tcp", e.addr, 10*time.Second)
		return err
	})
	server, err := l.Accept()
	if err != nil {
		b.Fatal(err)
	}
	return client, server
}

// latency is the median time in microseconds for a byte to go there and back.
func latency(b *testing.B, client, server net.Conn) float64 {
	b.Helper()
	echoed := make(chan error, 1)
	go func() {
		_, err := io.CopyN(server, server, roundTrips)
		echoed <- err
	}()
	var took []float64
	one := make([]byte, 1)
	for range roundTrips {
		start := time.Now()
		_, err := client.Write(one)
		if err == nil {
			_, err = io.ReadFull(client, one)
		}
		if err != nil {
			b.Fatal(err)
		}
		took = append(took, float64(time.Since(start).Nanoseconds())/1000)
	}
	if err := <-echoed; err != nil {
		b.Fatal(err)
	}
	return median(took)
}

// throughput is what arrives in streamTime, in Gbit/s.
func throughput(b *testing.B, client, server net.Conn) float64 {
	b.Helper()
	end := time.Now().Add(streamTime)
	_ = errors.Join(client.SetDeadline(end), server.SetDeadline(end)) // err on closed connections, which the transfer tells
	go func() {
		buf := make([]byte, 128<<10)
		for {
			if _, err := client.Write(buf); err != nil {
				return
			}
		}
	}()
	start := time.Now()
	n, err := io.CopyBuffer(discard{}, struct{ io.Reader }{server}, make([]byte, 256<<10))
	var timeout net.Error
	if n == 0 || !errors.As(err, &timeout) || !timeout.Timeout() {
		b.Fatal(fmt.Errorf("%d bytes arrived: %w", n, err))
	}
	return float64(n) * 8 / 1e9 / time.Since(start).Seconds()
}

// discard is a writer without io.Discard's own way of reading, whose buffers
// are small.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
