package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/mosdocker/mosdocker/test/lab"
	"github.com/mosdocker/mosdocker/test/rig"
)

// TestPublishedPorts covers -p in all forms, from every side: the world, the
// host, localhost, another network, the same network and the container itself.
func TestPublishedPorts(t *testing.T) {
	for _, engine := range rig.Engines() {
		t.Run(string(engine), func(t *testing.T) {
			l := lab.New(t, rig.Config{Engine: engine, Outside: true})
			h := l.Hosts[0]
			h.Network("red", "--ipv6", "--subnet", "10.9.0.0/24", "--subnet", "fd00:9::/64")
			h.Network("blue", "--subnet", "10.8.0.0/24")
			h.Serve("web", "red", "-p", "8000:7000", "-p", "8000:7000/udp", "-p", "8100-8110:7000")
			h.Serve("local", "red", "-p", "127.0.0.1:8200:7000")
			h.Serve("any", "red", "-P", "--expose", "7000")
			h.Serve("other", "blue")
			check := func(where string, run func(...string) error, host string) {
				t.Helper()
				for _, proto := range []string{"tcp", "udp"} {
					if err := run("netcheck", "send", proto, host+":8000", "1048576"); err != nil {
						t.Errorf("%s by %s: %v", where, proto, err)
					}
				}
			}
			outside := func(argv ...string) error { _, err := l.Outside().Exec(t.Context(), argv...); return err }
			host := func(argv ...string) error { _, err := h.Exec(t.Context(), argv...); return err }
			in := func(c string) func(...string) error {
				return func(argv ...string) error {
					_, err := h.Docker(append([]string{"exec", c}, argv...)...)
					return err
				}
			}
			check("from outside", outside, h.IPv4())
			check("from outside over IPv6", outside, "["+h.IPv6()+"]")
			check("from the host", host, h.IPv4())
			check("from localhost", host, "127.0.0.1")
			check("from the container itself", in("web"), h.IPv4())
			check("from the same network", in("any"), h.IPv4())
			check("from another network", in("other"), h.IPv4())

			if err := outside("netcheck", "send", "tcp", h.IPv4()+":8100", "10"); err != nil {
				t.Errorf("the first port of a range: %v", err)
			}
			if err := host("netcheck", "send", "tcp", "127.0.0.1:8200", "10"); err != nil {
				t.Errorf("a port bound to localhost, from there: %v", err)
			}
			if err := outside("netcheck", "send", "-timeout", "1s", "tcp", h.IPv4()+":8200", "10"); err == nil {
				t.Error("a port bound to localhost was reached from outside")
			}
			free := ""
			ports, err := h.API.Ports(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range ports {
				if strings.HasPrefix(p.Endpoint, endpoint(h, "any", "red")) && p.HostIP.Is4() {
					free = strconv.Itoa(int(p.HostPort))
				}
			}
			if err := outside("netcheck", "send", "tcp", h.IPv4()+":"+free, "10"); err != nil {
				t.Errorf("port %q that -P chose: %v", free, err)
			}
			h.Refused("8000", "run", "--rm", "--network", "blue", "-p", "8000:7000", rig.Image, "true")
			h.D("rm", "-f", "web")
			if err := outside("netcheck", "send", "-timeout", "1s", "tcp", h.IPv4()+":8000", "10"); err == nil {
				t.Error("the port of a removed container still answers")
			}
			h.Serve("web2", "blue", "-p", "8000:7000", "-p", "8000:7000/udp")
			eventually(t, func() error { return outside("netcheck", "send", "tcp", h.IPv4()+":8000", "10") }) // it has just begun
			check("after the port moved", outside, h.IPv4())

			saw, err := h.Docker("exec", "other", "ping", "-c1", "-W2", rig.OutsideIPv4)
			if err != nil {
				t.Errorf("NAT to the outside: %v %s", err, saw)
			}
			if _, err := h.Docker("exec", "any", "ping", "-c1", "-W2", rig.OutsideIPv6); err != nil {
				t.Errorf("NAT to the outside over IPv6: %v", err)
			}
			h.Network("walled", "--internal", "--subnet", "10.7.0.0/24")
			h.Serve("in1", "walled")
			h.Serve("in2", "walled")
			h.Talks("in1", h.IP("in2", "walled"))
			h.Silent("in1", rig.OutsideIPv4)
			h.Silent("in1", h.IPv4())

			if _, err := h.Exec(t.Context(), "nft", "flush", "ruleset"); err != nil {
				t.Fatal(err)
			}
			eventually(t, func() error { return outside("netcheck", "send", "tcp", h.IPv4()+":8000", "10") })
		})
	}
}

// endpoint is the id of a container's endpoint as Docker tells it.
func endpoint(h *lab.Host, container, network string) string {
	return h.D("inspect", "-f", fmt.Sprintf("{{(index .NetworkSettings.Networks %q).EndpointID}}", network), container)
}
