package spec

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func sub(prefix, gw string) Subnet {
	s := Subnet{Prefix: netip.MustParsePrefix(prefix)}
	if gw != "" {
		s.Gateway = netip.MustParseAddr(gw)
	}
	return s
}

var v4 = []Subnet{sub("10.9.0.0/24", "10.9.0.1")}

func TestNetworkDefaults(t *testing.T) {
	for _, c := range []struct {
		name     string
		opts     map[string]string
		internal bool
		want     Network
	}{
		{"plain", nil, false, Network{Gateway: GatewayHost, NAT: true}},
		{"uplink", map[string]string{"mos.uplink": "eth1", "mos.vlan": "100"}, false, Network{Gateway: GatewayExternal, Uplink: "eth1", VLAN: 100}},
		{"uplink-host", map[string]string{"mos.uplink": "eth1", "mos.gateway": "host"}, false, Network{Gateway: GatewayHost, NAT: true, Uplink: "eth1"}},
		{"no-nat", map[string]string{"mos.nat": "false"}, false, Network{Gateway: GatewayHost}},
		{"internal", nil, true, Network{Gateway: GatewayNone, Internal: true}},
		{"rates", map[string]string{"mos.rate.in": "1gbit", "mos.rate.out": "2.5mbit"}, false, Network{Gateway: GatewayHost, NAT: true, Rates: Rates{1e9, 25e5}}},
		{"dockers-own-key", map[string]string{"com.docker.network.x": "y", "mos.mtu": "9000"}, false, Network{Gateway: GatewayHost, NAT: true, MTU: 9000}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseNetwork(NetworkRequest{ID: id, Options: c.opts, Internal: c.internal, Subnets: v4})
			if err != nil {
				t.Fatal(err)
			}
			c.want.ID, c.want.Bridge, c.want.Subnets = id, DefaultBridge, v4
			if d := cmp.Diff(c.want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestBadNetworkIsRefusedWithWhatToDo(t *testing.T) {
	for _, c := range []struct {
		name     string
		opts     map[string]string
		internal bool
		subnets  []Subnet
		class    error
		want     string
	}{
		{"unknown", map[string]string{"mos.vlna": "1"}, false, v4, errdefs.ErrInvalidArgument, "mosbridge takes mos.bridge"},
		{"vlan", map[string]string{"mos.vlan": "4095"}, false, v4, errdefs.ErrInvalidArgument, "0 to 4094"},
		{"vlan-sign", map[string]string{"mos.vlan": "-1"}, false, v4, errdefs.ErrInvalidArgument, "0 to 4094"},
		{"mtu", map[string]string{"mos.mtu": "100"}, false, v4, errdefs.ErrInvalidArgument, "576"},
		{"bridge-injection", map[string]string{"mos.bridge": "a;rm -rf"}, false, v4, errdefs.ErrInvalidArgument, "letters"},
		{"bridge-flag", map[string]string{"mos.bridge": "-x"}, false, v4, errdefs.ErrInvalidArgument, "letters"},
		{"long-bridge", map[string]string{"mos.bridge": "abcdefghijklmnop"}, false, v4, errdefs.ErrInvalidArgument, "1 to 15"},
		{"vpc", map[string]string{"mos.mode": "vpc"}, false, v4, errdefs.ErrNotImplemented, "not available yet"},
		{"secgroups", map[string]string{"mos.secgroups": "web"}, false, v4, errdefs.ErrNotImplemented, "not available yet"},
		{"trunk", map[string]string{"mos.trunk": "1"}, false, v4, errdefs.ErrNotImplemented, "not available yet"},
		{"own-name", map[string]string{"mos.bridge": "mosr12345678901"}, false, v4, errdefs.ErrInvalidArgument, "its own links"},
		{"no-subnet", nil, false, nil, errdefs.ErrInvalidArgument, "--subnet"},
		{"small", nil, false, []Subnet{sub("10.9.0.0/31", "10.9.0.1")}, errdefs.ErrInvalidArgument, "too small"},
		{"gateway-outside", nil, false, []Subnet{sub("10.9.0.0/24", "10.8.0.1")}, errdefs.ErrInvalidArgument, "outside subnet"},
		{"gateway-broadcast", nil, false, []Subnet{sub("10.9.0.0/24", "10.9.0.255")}, errdefs.ErrInvalidArgument, "broadcast"},
		{"unmasked", nil, false, []Subnet{sub("10.9.0.5/24", "10.9.0.1")}, errdefs.ErrInvalidArgument, "write 10.9.0.0/24"},
		{"two-of-a-family", nil, false, []Subnet{v4[0], sub("10.8.0.0/24", "10.8.0.1")}, errdefs.ErrInvalidArgument, "second of its family"},
		{"multicast", nil, false, []Subnet{sub("224.0.0.0/24", "224.0.0.1")}, errdefs.ErrInvalidArgument, "host addresses"},
		{"external-alone", map[string]string{"mos.gateway": "external"}, false, v4, errdefs.ErrInvalidArgument, "mos.uplink"},
		{"external-nat", map[string]string{"mos.uplink": "eth1", "mos.nat": "true"}, false, v4, errdefs.ErrInvalidArgument, "mos.gateway=host"},
		{"internal-nat", map[string]string{"mos.nat": "true"}, true, v4, errdefs.ErrInvalidArgument, "drop"},
		{"mtu-v6", map[string]string{"mos.mtu": "1000"}, false, []Subnet{sub("fd00:9::/64", "fd00:9::1")}, errdefs.ErrInvalidArgument, "1280"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseNetwork(NetworkRequest{ID: id, Options: c.opts, Internal: c.internal, Subnets: c.subnets})
			if !errors.Is(err, c.class) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %v with %q", err, c.class, c.want)
			}
		})
	}
	if _, err := ParseNetwork(NetworkRequest{ID: "../../etc", Subnets: v4}); err == nil {
		t.Error("an id that is a path was taken")
	}
}

func TestEndpointIsCheckedAgainstItsNetwork(t *testing.T) {
	n, err := ParseNetwork(NetworkRequest{ID: id, Subnets: v4, Options: map[string]string{"mos.rate.in": "10mbit", "mos.rate.out": "20mbit"}})
	if err != nil {
		t.Fatal(err)
	}
	e, err := ParseEndpoint(n, EndpointRequest{ID: id, IPv4: "10.9.0.21/24", Options: map[string]string{"mos.rate.out": "none"}})
	if err != nil || *e.Rates != (Rates{In: 1e7}) {
		t.Errorf("got %+v, %v: the direction not set is the network's", e.Rates, err)
	}
	for _, r := range []EndpointRequest{
		{IPv4: "10.8.0.21/24"},
		{IPv4: "10.9.0.1/24"},
		{IPv4: "fd00::1/64"},
		{IPv6: "fd00::1/64"},
		{},
		{IPv4: "10.9.0.21/24", MAC: "01:00:5e:00:00:01"},
		{IPv4: "10.9.0.21/24", MAC: n.ID.GatewayMAC().String()},
		{IPv4: "10.9.0.21/24", IfName: "a/b"},
		{IPv4: "10.9.0.21/24", Options: map[string]string{"mos.vlan": "1"}},
		{IPv4: "10.9.0.21/24", Options: map[string]string{"mos.trunk": "1"}},
	} {
		r.ID = id
		if _, err := ParseEndpoint(n, r); err == nil {
			t.Errorf("%+v was taken", r)
		}
	}
}

func TestRateIsReadBackAsPrinted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Rate(rapid.Uint64Range(minRate, maxRate/1000).Draw(t, "rate"))
		got, err := ParseRate(r.String())
		if err != nil || got != r {
			t.Fatalf("%d prints as %s, read as %d, %v", r, r, got, err)
		}
	})
	for _, s := range []string{"", "5", "1e400mbit", "-1mbit", "nanmbit", "1kbit", "9999999999999gbit", "mbit"} {
		if r, err := ParseRate(s); err == nil {
			t.Errorf("%q was read as %d", s, r)
		}
	}
}

func TestMAC(t *testing.T) {
	m, err := ParseMAC("02:42:0a:09:00:15")
	if err != nil || m.LinkLocal() != netip.MustParseAddr("fe80::42:aff:fe09:15") {
		t.Errorf("link-local of %s is %s, %v", m, m.LinkLocal(), err)
	}
	if d := DeriveMAC("a", v4[0].Gateway); d[0]&3 != 2 || d != DeriveMAC("a", v4[0].Gateway) || d == DeriveMAC("b", v4[0].Gateway) {
		t.Errorf("derived %s is not a stable, local unicast address of its own", d)
	}
}

func TestNamesFitTheKernel(t *testing.T) {
	for _, n := range []string{EndpointID(id).PortName(), EndpointID(id).PeerName(), NetworkID(id).GatewayName(), NetworkID(id).RouterName()} {
		if len(n) > 15 {
			t.Errorf("%s has %d bytes, the kernel takes 15", n, len(n))
		}
	}
}

// TestOptionsDocIsInStep compares docs/options.md with the table; -update is
// spelled MOS_UPDATE=1 here, since the file is not in testdata.
func TestOptionsDocIsInStep(t *testing.T) {
	const path = "../../docs/options.md"
	want := OptionsDoc()
	if os.Getenv("MOS_UPDATE") != "" {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("docs/options.md is out of step, %v: run MOS_UPDATE=1 go test ./mosbridge/spec\n%s", err, cmp.Diff(string(got), want))
	}
}

func FuzzParseNetwork(f *testing.F) {
	f.Add("mos.vlan", "100", "mos.rate.in", "1gbit")
	f.Add("mos.bridge", "br;0", "mos.uplink", "eth1")
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2 string) {
		n, err := ParseNetwork(NetworkRequest{ID: id, Options: map[string]string{k1: v1, k2: v2}, Subnets: v4})
		if err != nil {
			return
		}
		for _, name := range []string{n.Bridge, n.Uplink} {
			if strings.ContainsAny(name, " ;,\"'/\n\t") || len(name) > 15 {
				t.Errorf("name %q was let through", name)
			}
		}
		if n.VLAN > 4094 {
			t.Errorf("VLAN %d was let through", n.VLAN)
		}
	})
}

func FuzzParseEndpoint(f *testing.F) {
	n, err := ParseNetwork(NetworkRequest{ID: id, Subnets: v4})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("02:42:0a:09:00:15", "10.9.0.21/24", "eth7", "mos.rate.in", "1gbit")
	f.Fuzz(func(t *testing.T, mac, ip, name, k, v string) {
		e, err := ParseEndpoint(n, EndpointRequest{ID: id, MAC: mac, IPv4: ip, IfName: name, Options: map[string]string{k: v}})
		if err == nil && !v4[0].Prefix.Contains(e.IPv4.Addr()) {
			t.Errorf("%s was let through", e.IPv4)
		}
	})
}
