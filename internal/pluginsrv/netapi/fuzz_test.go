package netapi_test

import (
	"testing"

	"github.com/mosdocker/mosdocker/internal/pluginsrv"
	"github.com/mosdocker/mosdocker/internal/pluginsrv/netapi"
)

// FuzzDecodeRequest decodes any bytes as each request, and reads the options of
// what is taken.
func FuzzDecodeRequest(f *testing.F) {
	methods := map[string]bool{}
	for _, w := range recorded(f) {
		f.Add(w.method, w.body)
		methods[w.method] = true
	}
	for _, o := range []string{`null`, `{"com.docker.network.portmap":[{"Proto":6,"Port":80,"HostIP":"::1"}]}`, `{"com.docker.network.endpoint.macaddress":"Aqq7zN0B"}`} {
		f.Add("/NetworkDriver.Join", []byte(`{"NetworkID":"n","EndpointID":"e","Options":`+o+`}`))
	}
	f.Fuzz(func(t *testing.T, method string, body []byte) {
		req := ours(method)
		if req == nil || pluginsrv.Decode(body, req, false) != nil {
			return
		}
		if v, ok := req.(pluginsrv.Validator); ok && v.Validate() != nil {
			return
		}
		if d, ok := req.(pluginsrv.Described); ok {
			d.LogAttrs()
		}
		switch r := req.(type) {
		case *netapi.CreateNetworkRequest:
			r.Internal()
			if _, err := r.UserOptions(); err == nil && r.NetworkID == "" {
				t.Error("a network without id")
			}
		case *netapi.CreateEndpointRequest:
			r.IfName()
			if mac, err := r.Options.MAC(); err == nil && len(mac) != 0 && len(mac) != 6 {
				t.Errorf("MAC %v", mac)
			}
			opts, _ := r.DriverOptions()
			for k := range opts {
				if _, ok := r.Options[k]; !ok {
					t.Errorf("option %q was not sent", k)
				}
			}
		case *netapi.JoinRequest:
			checkPorts(t, r.Options)
		case *netapi.RequestAddressRequest:
			r.IsGateway()
			r.MAC()
		}
	})
}

// FuzzParsePortMap reads any bytes as a list of ports.
func FuzzParsePortMap(f *testing.F) {
	for _, s := range []string{`[{"Proto":6,"IP":"","Port":80,"HostIP":"","HostPort":8080,"HostPortEnd":8080}]`, `[{"Proto":132,"Port":1,"HostIP":"fe80::1%x"}]`, `[null]`, `null`, `{}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		checkPorts(t, netapi.Options{netapi.PortMapKey: raw, netapi.ExposedPortsKey: raw})
	})
}

func checkPorts(t *testing.T, o netapi.Options) {
	t.Helper()
	known := map[netapi.Proto]bool{netapi.TCP: true, netapi.UDP: true, netapi.SCTP: true}
	ports, err := netapi.ParsePortMap(o)
	if err != nil && ports != nil {
		t.Error("ports and an error")
	}
	for _, p := range ports {
		if !known[p.Proto] || p.Port == 0 || p.HostIP.Zone() != "" || (p.HostPortEnd != 0 && p.HostPortEnd < p.HostPort) {
			t.Errorf("port %+v", p)
		}
	}
	exposed, _ := netapi.ParseExposedPorts(o)
	for _, p := range exposed {
		if !known[p.Proto] || p.Port == 0 {
			t.Errorf("exposed port %+v", p)
		}
	}
}
