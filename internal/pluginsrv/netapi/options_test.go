package netapi

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
)

// options decodes an options object.
func options(t *testing.T, text string) Options {
	t.Helper()
	var o Options
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestMACIsBase64OfItsBytes(t *testing.T) {
	for text, want := range map[string]string{
		`{"com.docker.network.endpoint.macaddress":"Aqq7zN0B"}`: "02:aa:bb:cc:dd:01",
		`{"com.docker.network.endpoint.macaddress":null}`:       "",
		`{}`:   "",
		`null`: "",
	} {
		mac, err := options(t, text).MAC()
		if err != nil || mac.String() != want {
			t.Errorf("%s: got %s, %v", text, mac, err)
		}
	}
	for _, bad := range []string{`"02:aa:bb:cc:dd:01"`, `"Aqq7"`, `5`, `[2]`} {
		if mac, err := options(t, `{"com.docker.network.endpoint.macaddress":`+bad+`}`).MAC(); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: got %s, %v", bad, mac, err)
		}
	}
}

func TestMissingOptionsAreWell(t *testing.T) {
	for _, text := range []string{`{}`, `null`, `{"com.docker.network.generic":null,"com.docker.network.portmap":null,"com.docker.network.endpoint.exposedports":null}`} {
		o := options(t, text)
		r := CreateNetworkRequest{Options: o}
		if u, err := r.UserOptions(); err != nil || len(u) != 0 || r.Internal() || r.EnableIPv6() {
			t.Errorf("%s: got %v, %v", text, u, err)
		}
		if p, err := ParsePortMap(o); err != nil || p != nil {
			t.Errorf("%s: got %v, %v", text, p, err)
		}
		if p, err := ParseExposedPorts(o); err != nil || p != nil {
			t.Errorf("%s: got %v, %v", text, p, err)
		}
	}
}

func TestOptionsOfAWrongType(t *testing.T) {
	for _, bad := range []string{`"x"`, `[]`, `{"mos.vlan":7}`, `{"mos.vlan":null}`, `{"a":{"b":"c"}}`, `true`} {
		if u, err := (CreateNetworkRequest{Options: options(t, `{"com.docker.network.generic":`+bad+`}`)}).UserOptions(); !errdefs.IsInvalidArgument(err) {
			t.Errorf("user options %s: got %v, %v", bad, u, err)
		}
	}
	for _, bad := range []string{`7`, `null`, `true`, `["x"]`, `{}`} {
		if u, err := (CreateEndpointRequest{Options: options(t, `{"mos.rate.in":`+bad+`}`)}).DriverOptions(); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), "mos.rate.in") {
			t.Errorf("driver option %s: got %v, %v", bad, u, err)
		}
	}
	for text, want := range map[string]bool{`true`: true, `"true"`: true, `false`: false, `"yes"`: false, `1`: false} {
		if got := (GwAllocCheckRequest{Options: options(t, `{"com.docker.network.internal":`+text+`}`)}).Internal(); got != want {
			t.Errorf("internal %s: got %v", text, got)
		}
	}
}

func TestPortMapIsStrict(t *testing.T) {
	for _, bad := range []string{
		`{}`, `"80"`, `[null]`, `[80]`, `[{}]`, `[{"Proto":6}]`, `[{"Port":80}]`,
		`[{"Proto":1,"Port":80}]`, `[{"Proto":"tcp","Port":80}]`, `[{"Proto":6,"Port":0}]`, `[{"Proto":6,"Port":65536}]`, `[{"Proto":6,"Port":-1}]`,
		`[{"Proto":6,"Port":80.5}]`, `[{"Proto":6,"Port":80,"HostPort":70000}]`, `[{"Proto":6,"Port":80,"HostPort":9,"HostPortEnd":8}]`,
		`[{"Proto":6,"Port":80,"HostIP":"localhost"}]`, `[{"Proto":6,"Port":80,"HostIP":"fe80::1%eth0"}]`, `[{"Proto":6,"Port":80,"IP":"1.2.3"}]`,
	} {
		if p, err := ParsePortMap(options(t, `{"com.docker.network.portmap":`+bad+`}`)); !errdefs.IsInvalidArgument(err) || p != nil {
			t.Errorf("%s: got %v, %v", bad, p, err)
		}
	}
	for _, bad := range []string{`{}`, `[null]`, `[{"Proto":6}]`, `[{"Proto":99,"Port":1}]`} {
		if p, err := ParseExposedPorts(options(t, `{"com.docker.network.endpoint.exposedports":`+bad+`}`)); !errdefs.IsInvalidArgument(err) || p != nil {
			t.Errorf("exposed %s: got %v, %v", bad, p, err)
		}
	}
	got, err := ParsePortMap(options(t, `{"com.docker.network.portmap":[{"Proto":6,"IP":"","Port":80,"HostIP":"::ffff:10.0.0.1","HostPort":0,"HostPortEnd":0,"New":1}]}`))
	want := []PortBinding{{Proto: TCP, Port: 80, HostIP: netip.MustParseAddr("10.0.0.1")}}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" || err != nil {
		t.Errorf("%v\n%s", err, d)
	}
}

func TestMissingIDsAreSaid(t *testing.T) {
	for _, r := range []interface{ Validate() error }{
		CreateNetworkRequest{},
		DeleteNetworkRequest{},
		AllocateNetworkRequest{},
		FreeNetworkRequest{},
		CreateEndpointRequest{NetworkID: "n"},
		DeleteEndpointRequest{EndpointID: "e"},
		EndpointInfoRequest{},
		JoinRequest{NetworkID: "n"},
		LeaveRequest{NetworkID: "n"},
		ProgramExternalConnectivityRequest{},
		RevokeExternalConnectivityRequest{},
		ReleasePoolRequest{},
		RequestAddressRequest{},
		ReleaseAddressRequest{PoolID: "p"},
	} {
		if err := r.Validate(); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), "is missing") {
			t.Errorf("%T: got %v", r, err)
		}
	}
}

func TestAnswersHaveTheWireForm(t *testing.T) {
	join := JoinResponse{
		InterfaceName: &InterfaceName{"mosp1", "eth", "web0"}, Gateway: "10.0.0.1",
		StaticRoutes: []StaticRoute{{Destination: "10.1.0.0/16", RouteType: Connected}},
	}
	joined := `{"InterfaceName":{"SrcName":"mosp1","DstPrefix":"eth","DstName":"web0"},"Gateway":"10.0.0.1",` +
		`"StaticRoutes":[{"Destination":"10.1.0.0/16","RouteType":1}]}`
	for want, v := range map[string]any{
		`{"Scope":"local","ConnectivityScope":"local","GwAllocChecker":true}`: Capabilities{"local", "local", true},
		`{"SkipIPv4":true,"SkipIPv6":false}`:                                  GwAllocCheckResponse{SkipIPv4: true},
		`{"Interface":{"MacAddress":"02:00:00:00:00:01"}}`:                    CreateEndpointResponse{&EndpointInterface{MacAddress: "02:00:00:00:00:01"}},
		`{"InterfaceName":null,"DisableGatewayService":true}`:                 JoinResponse{DisableGatewayService: true},
		`{"RequiresMACAddress":true,"RequiresRequestReplay":false}`:           IPAMCapabilities{RequiresMACAddress: true},
		`{"PoolID":"p","Pool":"10.0.0.0/8","Data":null}`:                      RequestPoolResponse{PoolID: "p", Pool: "10.0.0.0/8"},
		`{"Address":"10.0.0.1/8","Data":null}`:                                RequestAddressResponse{Address: "10.0.0.1/8"},
		`{"Value":{"a":1}}`:                                                   EndpointInfoResponse{map[string]any{"a": 1}},
		`{"LocalDefaultAddressSpace":"a","GlobalDefaultAddressSpace":"b"}`:    AddressSpaces{"a", "b"},
		`{"Interface":null}`:                                                  CreateEndpointResponse{},
		joined:                                                                join,
	} {
		if got, err := json.Marshal(v); err != nil || string(got) != want {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
}

func TestRequestAddressHelpers(t *testing.T) {
	r := RequestAddressRequest{Options: map[string]string{AddressTypeKey: GatewayType, MACKey: "02:aa:bb:cc:dd:01", NameKey: "web"}}
	if !r.IsGateway() || r.MAC().String() != "02:aa:bb:cc:dd:01" || r.EndpointName() != "web" {
		t.Errorf("got %v %s %s", r.IsGateway(), r.MAC(), r.EndpointName())
	}
	if r = (RequestAddressRequest{}); r.IsGateway() || r.MAC() != nil || r.EndpointName() != "" {
		t.Errorf("replay: got %v %s %s", r.IsGateway(), r.MAC(), r.EndpointName())
	}
}
