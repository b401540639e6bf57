package netapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/go-plugins-helpers/ipam"
	"github.com/docker/go-plugins-helpers/network"
	"github.com/docker/go-plugins-helpers/sdk"
	"github.com/google/go-cmp/cmp"

	"github.com/mosdocker/mosdocker/internal/pluginsrv"
	"github.com/mosdocker/mosdocker/internal/pluginsrv/netapi"
)

// wire is one call as an Engine made it; testdata holds those of two engines
// that made two networks and two containers.
type wire struct {
	engine, method string
	body           []byte
}

func recorded(tb testing.TB) []wire {
	tb.Helper()
	files, err := filepath.Glob("testdata/wire-*.txt")
	if err != nil || len(files) < 2 {
		tb.Fatalf("recordings: %v, %v", files, err)
	}
	var out []wire
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			tb.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			method, body, _ := strings.Cut(strings.TrimSpace(line), " ")
			out = append(out, wire{filepath.Base(name), method, []byte(body)})
		}
	}
	return out
}

// ours returns an empty request of a method; nil where there is none.
func ours(method string) any {
	switch method {
	case "/NetworkDriver.GwAllocCheck":
		return &netapi.GwAllocCheckRequest{}
	case "/NetworkDriver.CreateNetwork":
		return &netapi.CreateNetworkRequest{}
	case "/NetworkDriver.AllocateNetwork":
		return &netapi.AllocateNetworkRequest{}
	case "/NetworkDriver.FreeNetwork":
		return &netapi.FreeNetworkRequest{}
	case "/NetworkDriver.DeleteNetwork":
		return &netapi.DeleteNetworkRequest{}
	case "/NetworkDriver.CreateEndpoint":
		return &netapi.CreateEndpointRequest{}
	case "/NetworkDriver.DeleteEndpoint":
		return &netapi.DeleteEndpointRequest{}
	case "/NetworkDriver.EndpointOperInfo":
		return &netapi.EndpointInfoRequest{}
	case "/NetworkDriver.Join":
		return &netapi.JoinRequest{}
	case "/NetworkDriver.Leave":
		return &netapi.LeaveRequest{}
	case "/NetworkDriver.ProgramExternalConnectivity":
		return &netapi.ProgramExternalConnectivityRequest{}
	case "/NetworkDriver.RevokeExternalConnectivity":
		return &netapi.RevokeExternalConnectivityRequest{}
	case "/NetworkDriver.DiscoverNew", "/NetworkDriver.DiscoverDelete":
		return &netapi.DiscoveryNotification{}
	case "/IpamDriver.RequestPool":
		return &netapi.RequestPoolRequest{}
	case "/IpamDriver.ReleasePool":
		return &netapi.ReleasePoolRequest{}
	case "/IpamDriver.RequestAddress":
		return &netapi.RequestAddressRequest{}
	case "/IpamDriver.ReleaseAddress":
		return &netapi.ReleaseAddressRequest{}
	}
	return nil
}

func TestEveryRecordedCallIsUnderstoodInFull(t *testing.T) {
	for _, w := range recorded(t) {
		req := ours(w.method)
		if req == nil {
			if len(w.body) != 0 {
				t.Errorf("%s %s has a body and no type", w.engine, w.method)
			}
			continue
		}
		// Strict: nothing that these engines say is passed over.
		if err := pluginsrv.Decode(w.body, req, true); err != nil {
			t.Errorf("%s %s: %v", w.engine, w.method, err)
		}
		if v, ok := req.(pluginsrv.Validator); ok && v.Validate() != nil {
			t.Errorf("%s %s: %v", w.engine, w.method, v.Validate())
		}
		if d, ok := req.(pluginsrv.Described); ok && len(d.LogAttrs()) == 0 {
			t.Errorf("%s %s: nothing for the log", w.engine, w.method)
		}
	}
}

func TestRecordedOptions(t *testing.T) {
	got := map[string]any{}
	for _, w := range recorded(t) {
		req := ours(w.method)
		if req == nil || pluginsrv.Decode(w.body, req, true) != nil {
			continue
		}
		var v any
		var err error
		switch r := req.(type) {
		case *netapi.CreateNetworkRequest:
			var user map[string]string
			user, err = r.UserOptions()
			v = fmt.Sprint(user, " internal=", r.Internal(), " ipv6=", r.EnableIPv6(), " ", r.IPv4Data)
		case *netapi.CreateEndpointRequest:
			var opts map[string]string
			opts, err = r.DriverOptions()
			v = fmt.Sprint(opts, " ", r.IfName())
		case *netapi.JoinRequest:
			var ports []netapi.PortBinding
			ports, err = netapi.ParsePortMap(r.Options)
			if len(ports) > 1 {
				byPort := map[uint16]netapi.PortBinding{}
				for _, p := range ports {
					byPort[p.Port] = p
				}
				got[w.engine] = byPort
			}
		}
		if err != nil {
			t.Errorf("%s %s: %v", w.engine, w.method, err)
		}
		if v != nil {
			got[w.engine+w.method] = fmt.Sprint(got[w.engine+w.method], v)
		}
	}
	ports := map[uint16]netapi.PortBinding{
		80: {Proto: netapi.TCP, Port: 80, HostPort: 8080, HostPortEnd: 8080},
		90: {Proto: netapi.UDP, Port: 90, HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: 9000, HostPortEnd: 9002},
		53: {Proto: netapi.UDP, Port: 53, HostIP: netip.MustParseAddr("::1"), HostPort: 53, HostPortEnd: 53},
		91: {Proto: netapi.SCTP, Port: 91},
	}
	want := map[string]any{}
	for _, engine := range []string{"wire-20.10.24.txt", "wire-2.0.0-beta.24.txt"} {
		space := "LocalDefault"
		aux := "map[]"
		want[engine] = ports
		want[engine+"/NetworkDriver.CreateNetwork"] = "<nil>" +
			`map[mos.vlan:7 odd key:ü "x"] internal=true ipv6=true [{l 10.77.0.0/24 10.77.0.1/24 map[x:10.77.0.3/24]}]` +
			"map[] internal=false ipv6=false [{" + space + " 10.78.0.0/24 10.78.0.1/24 " + aux + "}]"
		want[engine+"/NetworkDriver.CreateEndpoint"] = "<nil>map[] map[mos.rate.in:5mbit] foo0"
	}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
		t.Error(d)
	}
}

// helper is go-plugins-helpers' driver that keeps the request it was given.
type helper struct{ got any }

func (h *helper) keep(r any) error { h.got = r; return nil }

func (h *helper) AllocateNetwork(r *network.AllocateNetworkRequest) (*network.AllocateNetworkResponse, error) {
	return &network.AllocateNetworkResponse{}, h.keep(r)
}

func (h *helper) CreateEndpoint(r *network.CreateEndpointRequest) (*network.CreateEndpointResponse, error) {
	return &network.CreateEndpointResponse{}, h.keep(r)
}

func (h *helper) EndpointInfo(r *network.InfoRequest) (*network.InfoResponse, error) {
	return &network.InfoResponse{}, h.keep(r)
}

func (h *helper) Join(r *network.JoinRequest) (*network.JoinResponse, error) {
	return &network.JoinResponse{}, h.keep(r)
}

func (h *helper) CreateNetwork(r *network.CreateNetworkRequest) error   { return h.keep(r) }
func (h *helper) DeleteNetwork(r *network.DeleteNetworkRequest) error   { return h.keep(r) }
func (h *helper) FreeNetwork(r *network.FreeNetworkRequest) error       { return h.keep(r) }
func (h *helper) DeleteEndpoint(r *network.DeleteEndpointRequest) error { return h.keep(r) }
func (h *helper) Leave(r *network.LeaveRequest) error                   { return h.keep(r) }
func (h *helper) DiscoverNew(r *network.DiscoveryNotification) error    { return h.keep(r) }
func (h *helper) DiscoverDelete(r *network.DiscoveryNotification) error { return h.keep(r) }

func (h *helper) ProgramExternalConnectivity(r *network.ProgramExternalConnectivityRequest) error {
	return h.keep(r)
}

func (h *helper) RevokeExternalConnectivity(r *network.RevokeExternalConnectivityRequest) error {
	return h.keep(r)
}

func (h *helper) GetCapabilities() (*network.CapabilitiesResponse, error) {
	return &network.CapabilitiesResponse{}, nil
}

// ipamHelper is the same for IPAM, whose GetCapabilities has another type.
type ipamHelper struct{ *helper }

func (h ipamHelper) GetCapabilities() (*ipam.CapabilitiesResponse, error) {
	return &ipam.CapabilitiesResponse{}, nil
}

func (h ipamHelper) GetDefaultAddressSpaces() (*ipam.AddressSpacesResponse, error) {
	return &ipam.AddressSpacesResponse{}, nil
}

func (h ipamHelper) RequestPool(r *ipam.RequestPoolRequest) (*ipam.RequestPoolResponse, error) {
	return &ipam.RequestPoolResponse{}, h.keep(r)
}

func (h ipamHelper) RequestAddress(r *ipam.RequestAddressRequest) (*ipam.RequestAddressResponse, error) {
	return &ipam.RequestAddressResponse{}, h.keep(r)
}

func (h ipamHelper) ReleasePool(r *ipam.ReleasePoolRequest) error       { return h.keep(r) }
func (h ipamHelper) ReleaseAddress(r *ipam.ReleaseAddressRequest) error { return h.keep(r) }

// plain turns a request into what JSON says of it, without what is empty.
func plain(t *testing.T, v any) any {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return strip(out)
}

func strip(v any) any {
	m, ok := v.(map[string]any)
	if list, isList := v.([]any); isList {
		for i := range list {
			list[i] = strip(list[i])
		}
		return list
	}
	if !ok {
		return v
	}
	for k, inner := range m {
		if inner == nil || inner == "" {
			delete(m, k)
			continue
		}
		m[k] = strip(inner)
	}
	return m
}

func TestRequestsMeanWhatGoPluginsHelpersTakesThemFor(t *testing.T) {
	calls := recorded(t)
	for method, body := range map[string]string{
		"/NetworkDriver.AllocateNetwork": `{"NetworkID":"n","Options":{"a":"b"},"IPv4Data":[{"AddressSpace":"x","Pool":"10.0.0.0/8","Gateway":"10.0.0.1/8","AuxAddresses":{"a":"10.0.0.2/8"}}],"IPv6Data":null}`,
		"/NetworkDriver.FreeNetwork":     `{"NetworkID":"n"}`,
		"/NetworkDriver.DiscoverNew":     `{"DiscoveryType":1,"DiscoveryData":{"Address":"10.0.0.1","Self":true}}`,
		"/NetworkDriver.DiscoverDelete":  `{"DiscoveryType":1,"DiscoveryData":null}`,
		"/NetworkDriver.CreateEndpoint":  `{"NetworkID":"n","EndpointID":"e","Interface":null,"Options":{"com.docker.network.endpoint.macaddress":"Aqq7zN0B"}}`,
		"/IpamDriver.RequestAddress":     `{"PoolID":"p","Address":"","Options":null}`,
	} {
		calls = append(calls, wire{"made", method, []byte(body)})
	}
	h := &helper{}
	handlers := map[string]sdk.Handler{"Net": network.NewHandler(h).Handler, "Ipa": ipam.NewHandler(ipamHelper{h}).Handler}
	compared := map[string]bool{}
	for _, w := range calls {
		// go-plugins-helpers does not know GwAllocCheck.
		req := ours(w.method)
		if req == nil || strings.HasSuffix(w.method, "GwAllocCheck") {
			continue
		}
		h.got = nil
		serve(t, handlers[w.method[1:4]], w)
		if err := pluginsrv.Decode(w.body, req, true); err != nil {
			t.Fatalf("%s %s: %v", w.engine, w.method, err)
		}
		if d := cmp.Diff(plain(t, h.got), plain(t, req)); d != "" || h.got == nil {
			t.Errorf("%s %s %s: %s", w.engine, w.method, w.body, d)
		}
		compared[w.method] = true
	}
	if len(compared) != 17 {
		t.Errorf("compared %d methods, want all 17: %v", len(compared), compared)
	}
}

// serve gives a call to one of the library's handlers, which only take a
// listener, and end when that is closed.
func serve(t *testing.T, h sdk.Handler, w wire) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = h.Serve(l) }()
	defer func() { l.Close(); <-done }()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+l.Addr().String()+w.method, bytes.NewReader(w.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("go-plugins-helpers answers %s to %s %s", resp.Status, w.method, w.body)
	}
}
