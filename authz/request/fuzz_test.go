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
