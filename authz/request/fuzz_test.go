package request

import (
	"encoding/json"
	"net/http"
	"net/url"
	"path"
	"reflect"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
)

// FuzzCreate compares what is judged with what an Engine reads: the newest one's
// own types, and the wrapper of those up to 26, which take the rights from the top
// level when there is no HostConfig.
func FuzzCreate(f *testing.F) {
	for _, body := range []string{
		`{"Image":"a","HostConfig":{"Privileged":true,"Binds":["/:/h"]}}`,
		`{"Image":"a","hostConfig":{"Privileged":true}}`,
		`{"Image":"a","Privileged":true}`,
		`{"Image":"a","HostConfig":{"Mounts":[{"Type":"bind","Source":"/"}],"Mounts":[{"Target":"/h"}]}}`,
		`{"Image":"a","Ho\u017ftConfig":{"Privileged":true}}`,
		`{"Image":"a"}{"HostConfig":{"Privileged":true}}`,
		`{"Image":"a","HostConfig":null,"NetworkingConfig":{"EndpointsConfig":{"host":{}}}}`,
		`{"Image":"a","HostConfig":{"CapAdd":["ALL"],"NanoCpus":1e3,"PidsLimit":null}}`,
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		c, err := Parse(jsonCall(create, body))
		if err != nil {
			return
		}
		var today container.CreateRequest
		if err := json.Unmarshal([]byte(body), &today); err != nil {
			t.Fatalf("an Engine does not read %s: %v", body, err)
		}
		if today.HostConfig != nil && !reflect.DeepEqual(*today.HostConfig, c.Create.HostConfig.HostConfig) {
			t.Fatalf("%s: an Engine reads %+v, judged is %+v", body, today.HostConfig, c.Create.HostConfig)
		}
		if today.Config != nil && !reflect.DeepEqual(*today.Config, c.Create.Config.Config) {
			t.Fatalf("%s: an Engine reads %+v, judged is %+v", body, today.Config, c.Create.Config)
		}
		if today.NetworkingConfig != nil && !reflect.DeepEqual(today.NetworkingConfig.EndpointsConfig, c.Create.NetworkingConfig.EndpointsConfig) {
			t.Fatalf("%s: networks differ", body)
		}
		var top container.HostConfig
		if json.Unmarshal([]byte(body), &top) == nil && today.HostConfig == nil && !reflect.DeepEqual(top, container.HostConfig{}) {
			t.Fatalf("%s: an older Engine reads %+v", body, top)
		}
	})
}

// FuzzBodies: a body of another kind that is taken is read as encoding/json reads it,
// which is an Engine's reader.
func FuzzBodies(f *testing.F) {
	for _, body := range []string{
		`{"Cmd":["sh"],"Privileged":true,"ConsoleSize":[1,2]}`,
		`{"Memory":1e3,"NanoCpus":-0,"RestartPolicy":{"Name":"always"},"PidsLimit":null}`,
		`{"Name":"a","Driver":"bridge","IPAM":{"Config":[{"Subnet":"10.0.0.0/8","Gateway":""}]},"Options":{"a":"b"},"EnableIPv4":false}`,
		`{"Container":"a","EndpointConfig":{"IPAMConfig":{"IPv4Address":"10.0.0.1"},"MacAddress":"02:42:ac:11:00:02"}}`,
		`{"Name":"a","DriverOpts":{"o":"\ud800"},"ClusterVolumeSpec":{}}`,
		`{"Labels":null,"Env":null,"ExposedPorts":{"80/tcp":{}},"Healthcheck":{"Interval":1},"Volumes":{"/a":{}},"Entrypoint":"sh"}`,
		`{"Detach":true,"Tty":null}`,
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		for _, same := range []func(*testing.T, string){
			readAlike[ExecCreate], readAlike[ExecStart], readAlike[Update], readAlike[Config], readAlike[NetworkCreate], readAlike[Connect],
			readAlike[Disconnect], readAlike[VolumeCreate], readAlike[Create],
		} {
			same(t, body)
		}
	})
}

func readAlike[T any](t *testing.T, body string) {
	t.Helper()
	got, err := Decode[T]([]byte(body))
	if err != nil {
		return
	}
	var want T
	if err := json.Unmarshal([]byte(body), &want); err != nil {
		t.Fatalf("%T: an Engine does not read %s: %v", want, body, err)
	}
	if !reflect.DeepEqual(*got, want) {
		t.Fatalf("%T: an Engine reads %s as %+v, judged is %+v", want, body, want, *got)
	}
}

// FuzzURI: a path that is taken is the one that an Engine's mux matches, and the
// parameters are those that its ParseForm gives.
func FuzzURI(f *testing.F) {
	for _, u := range []string{"/v1.41/containers/x/rename?name=a", "/v1.041/%63ontainers/x/start", "/images/a/b:c@sha256:x/json", "/build?t=a&t=b", "http://x/info", "/networks/a?scope=%61", "/v1.41//info?;"} {
		f.Add("GET", u)
		f.Add("POST", u)
	}
	f.Fuzz(func(t *testing.T, method, uri string) {
		c, err := Parse(Raw{Method: method, URI: uri, Whole: true})
		if err != nil {
			return
		}
		u, err := url.ParseRequestURI(uri)
		if err != nil {
			t.Fatalf("an Engine does not read %q: %v", uri, err)
		}
		if u.Host != "" || path.Clean(u.Path) != u.Path || u.EscapedPath() != u.Path {
			t.Fatalf("%q has another spelling: %q", uri, path.Clean(u.Path))
		}
		if got := strings.TrimSuffix(c.URI(c.Ref, nil), "?"); !strings.Contains(c.Path, "{checkpoint}") && got != u.Path {
			t.Fatalf("%q is judged as %q", uri, got)
		}
		r := &http.Request{Method: method, URL: u, Body: http.NoBody}
		if err := r.ParseForm(); err != nil {
			t.Fatalf("an Engine does not read the query of %q: %v", uri, err)
		}
		for k, vs := range r.Form {
			if !reflect.DeepEqual(vs, c.Params[k]) {
				t.Fatalf("%q: an Engine reads %s=%q, judged is %q", uri, k, vs, c.Params[k])
			}
		}
	})
}
