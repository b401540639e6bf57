package mosbridge

import (
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/mosdocker/mosdocker/internal/engine/enginetest"
	"github.com/mosdocker/mosdocker/internal/logx"
	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/mosbridge/link"
	"github.com/mosdocker/mosdocker/mosbridge/ovs/ovstest"
	"github.com/mosdocker/mosdocker/mosbridge/spec"
)

// inNamespaces runs the tests where they may make bridges and rules.
type inNamespaces struct{ m *testing.M }

func (i inNamespaces) Run() int { return ovstest.Main(i.m) }

func TestMain(m *testing.M) { goleak.VerifyTestMain(inNamespaces{m}) }

// host is a driver with an Open vSwitch, the kernel's rules and a fake Docker
// of the test's own.
type host struct {
	*Driver
	tb     testing.TB
	ovs    *ovstest.OVS
	docker *enginetest.Fake
}

// newHost starts Open vSwitch and opens the driver; the test runs the driver's
// repairs itself.
func newHost(tb testing.TB) *host {
	tb.Helper()
	testx.Need(tb, testx.Root, testx.OVS, testx.NFT)
	h := &host{tb: tb, ovs: ovstest.Start(tb, ovstest.Options{}), docker: enginetest.Start(tb)}
	h.Driver = h.open(tb.TempDir())
	tb.Cleanup(func() {
		if err := h.fab.fw.Remove(context.WithoutCancel(tb.Context())); err != nil {
			tb.Error(err)
		}
	})
	return h
}

// open is the driver of this host with the record in dir.
func (h *host) open(dir string) *Driver {
	h.tb.Helper()
	cfg := Defaults()
	cfg.StateDir, cfg.OVSRunDir, cfg.DockerHost = dir, h.ovs.RunDir, h.docker.Host
	return opened(h.tb, cfg)
}

// opened is a driver that the test's end closes.
func opened(tb testing.TB, cfg Config) *Driver {
	tb.Helper()
	log, err := logx.New(io.Discard, logx.Config{Level: "debug", Format: "text"})
	if err != nil {
		tb.Fatal(err)
	}
	log.Logger = testx.Logger(tb)
	d, err := Open(cfg, log)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := d.Close(); err != nil {
			tb.Error(err)
		}
	})
	return d
}

// network makes a network that Docker knows, too.
func (h *host) network(id, subnet, gw string, opts map[string]string) networkRecord {
	h.tb.Helper()
	r := request(id, subnet, gw, opts)
	if err := h.createNetwork(h.tb.Context(), r); err != nil {
		h.tb.Fatal(err)
	}
	h.docker.PutNetwork(enginetest.Network{ID: r.ID, Name: "net-" + id, Driver: Name, IPAMDriver: Name, Subnet: subnet})
	n, ok := h.rec.network(spec.NetworkID(r.ID))
	if !ok {
		h.tb.Fatal("a network that was made is not in the record")
	}
	return n
}

// container is a network namespace that has joined a network.
type container struct {
	tb   testing.TB
	name string
	id   spec.EndpointID
	addr string // without the prefix length
}

// run starts a container that Docker knows, too.
func (h *host) run(n networkRecord, id, addr string, ports ...spec.Port) container {
	h.tb.Helper()
	bits := n.Network.Subnets[0].Prefix.String()
	bits = bits[strings.IndexByte(bits, '/'):]
	e, err := h.createEndpoint(h.tb.Context(), spec.EndpointRequest{ID: hexID(id), Network: string(n.Network.ID), IPv4: addr + bits})
	if err != nil {
		h.tb.Fatal(err)
	}
	if _, _, err := h.join(h.tb.Context(), string(n.Network.ID), hexID(id), "sandbox-"+id, ports); err != nil {
		h.tb.Fatal(err)
	}
	c := container{tb: h.tb, name: "moscont" + id, id: e.ID, addr: addr}
	sh(h.tb, "ip netns add "+c.name+" && ip link set "+e.ID.PeerName()+" netns "+c.name+" name eth0 && ip -n "+c.name+" addr add "+addr+bits+
		" dev eth0 && ip -n "+c.name+" link set eth0 up && ip -n "+c.name+" link set lo up")
	h.tb.Cleanup(func() {
		_ = exec.Command("ip", "netns", "del", c.name).Run() // the test may have done so
		_ = link.Delete(context.WithoutCancel(h.tb.Context()), e.ID.PortName())
	})
	h.docker.PutContainer(enginetest.Container{ID: hexID(id), Name: "container-" + id, State: "running", Ports: []enginetest.Port{
		{Network: string(n.Network.ID), Endpoint: hexID(id), IPv4: addr + bits, MAC: e.MAC.String()},
	}})
	return c
}

// reaches says whether an address answers the container.
func (c container) reaches(addr string) bool {
	return exec.CommandContext(c.tb.Context(), "ip", "netns", "exec", c.name, "busybox", "ping", "-A", "-c", "3", "-w", "3", addr).Run() == nil
}

// sh runs a line of shell and returns its output; a failure ends the test.
func sh(tb testing.TB, line string) string {
	tb.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(tb.Context()), "sh", "-c", line) // clean-ups call it too
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		tb.Fatalf("%s: %v: %s", line, err, out)
	}
	return string(out)
}
