package request

import (
	"strconv"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

// jsonCall is a request with a JSON body as a proxy sees it.
func jsonCall(uri, body string) Raw {
	return Raw{Method: "POST", URI: uri, Whole: true, Body: []byte(body), Header: map[string][]string{"Content-Type": {"application/json"}}}
}

func TestEveryRouteIsFoundAsItself(t *testing.T) {
	for _, r := range Routes() {
		path := strings.NewReplacer("{name}", "x1", "{ref}", "reg.example/a/b", "{checkpoint}", "c").Replace(r.Path)
		got, ref := find(r.Method, path)
		want := ""
		switch {
		case strings.Contains(r.Path, "{name}"):
			want = "x1"
		case strings.Contains(r.Path, "{ref}"):
			want = "reg.example/a/b"
		}
		if got != r || ref != want {
			t.Errorf("%s %s: got %+v with %q", r.Method, path, got, ref)
		}
	}
	if n := len(Routes()); n < 110 {
		t.Errorf("%d routes", n)
	}
}

func TestUnknownEndpointsAreRefused(t *testing.T) {
	for _, c := range [][2]string{
		{"GET", "/containers"},
		{"OPTIONS", "/containers/json"},
		{"POST", "/containers/a/b/start"},
		{"GET", "/extensions"},
		{"PATCH", "/containers/x"},
		{"POST", "/containers/x/copy"},
		{"GET", "/"},
		{"DELETE", "/images"},

		{"get", "/info"},
		{"CONNECT", "/info"},
	} {
		if _, err := Parse(Raw{Method: c[0], URI: c[1], Whole: true}); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%v: got %v", c, err)
		}
	}
}

func TestOneSpellingOfAPath(t *testing.T) {
	for _, uri := range []string{
		"http://x/v1.41/info", "*", "", "info", "//info", "/v1.41//info", "/v1.41/./info", "/v1.41/x/../info", "/info/", "/v1.41/", "/v1.41",
		"/%69nfo", "/v1.41/containers%2Fjson", "/info;x", "/info\\", "/info x", "/info\x00", "/info\u017f", "/info#x",
		"/v1.41.0/info", "/v01.41/info", "/v1.041/info", "/v1/info", "/v1./info", "/v1.23/info", "/v1.9/info", "/v2.41/info", "/v1.1000/info", "/v./info", "/v1.41.1/info", "/V1.41/info",
	} {
		if c, err := Parse(Raw{Method: "GET", URI: uri, Whole: true}); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q: got %+v, %v", uri, c, err)
		}
	}
	for uri, version := range map[string]string{"/info": "", "/v1.24/info": "1.24", "/v1.41/info": "1.41", "/v1.100/info": "1.100"} {
		if c, err := Parse(Raw{Method: "GET", URI: uri, Whole: true}); err != nil || c.Version != version || c.Action != "system.info" {
			t.Errorf("%q: got %+v, %v", uri, c, err)
		}
	}
}

func TestParametersAreKnownAndThereOnce(t *testing.T) {
	for uri, want := range map[string]string{
		"/containers/x/rename?name=a&name=b":                        "twice",
		"/containers/x/rename?nAme=b":                               "not known",
		"/containers/x/rename?%6eame=b&name=a":                      "twice",
		"/containers/x/rename?name=a;b":                             "semicolon",
		"/containers/x/rename?name=%zz":                             "escape",
		"/containers/x/rename?x":                                    "not known",
		"/images/create?fromImage=a&fromSrc=-":                      "one of the parameters",
		"/images/create":                                            "one of the parameters",
		"/build?version=3":                                          "builder version",
		"/containers/prune?filters={":                               "filters",
		`/containers/prune?filters={"a":{"x":true},"a":{"y":true}}`: "filters",
	} {
		if _, err := Parse(Raw{Method: "POST", URI: uri, Whole: true}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", uri, err)
		}
	}
	c, err := Parse(Raw{Method: "POST", URI: "/build?t=a&t=b&version=1", Whole: true})
	if err != nil || len(c.Params["t"]) != 2 || c.Action != "image.build" {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestActionsOfEndpointsWithSeveral(t *testing.T) {
	for uri, want := range map[string]string{
		"/images/create?fromImage=a": "image.pull", "/images/create?fromSrc=-": "image.import",
		"/build": "image.build", "/build?version=2": "image.buildkit", "/build?version=1&session=s": "image.buildkit",
	} {
		if c, err := Parse(Raw{Method: "POST", URI: uri, Whole: true}); err != nil || c.Action != want {
			t.Errorf("%s: got %+v, %v", uri, c, err)
		}
	}
}

const create = "/v1.41/containers/create"

func TestBodiesHaveOneReading(t *testing.T) {
	for body, want := range map[string]string{
		``:                           "no JSON object",
		`null`:                       "no JSON object",
		`[]`:                         "no JSON object",
		`{"Image":"a"}{"Image":"b"}`: "not one JSON value",
		`{"Image":"a"}x`:             "not one JSON value",
		`{"Image":"a"`:               "not one JSON value",
		`{"Image":"a","Image":"b"}`:  "/Image of the body is there twice",
		`{"Image":"a","image":"b"}`:  "/image of the body is not known",
		`{"Image":"a","hostconfig":{"Privileged":true}}`:                                      "/hostconfig of the body is not known",
		"{\"Image\":\"a\",\"Ho\u017ftConfig\":{}}":                                            "is not known",
		`{"Image":"a","HostConfig":{"Privileged":false,"privileged":true}}`:                   "/HostConfig/privileged",
		`{"HostConfig":{"Binds":[]},"HostConfig":{"Privileged":true}}`:                        "/HostConfig of the body is there twice",
		`{"HostConfig":{"Mounts":[{"Type":"bind","Source":"/"}],"Mounts":[{"Target":"/h"}]}}`: "/HostConfig/Mounts of the body is there twice",
		`{"HostConfig":{"Mounts":[{"Type":"bind","type":"volume"}]}}`:                         "/HostConfig/Mounts/0/type",
		`{"Image":"a","Privileged":true}`:                                                     "/Privileged of the body is not known",
		`{"Image":"a","Binds":["/:/h"]}`:                                                      "/Binds of the body is not known",
		`{"Image":"a","HostConfig":{"Future":1}}`:                                             "/HostConfig/Future",
		`{"Image":5}`:                    "/Image of the body has a wrong type",
		"{\"Image\":\"a\xff\"}":          "not one JSON value",
		`{"Labels":{"a":"1","a":"2"}}`:   "/Labels/a of the body is there twice",
		`{"\u0049mage":"a","Image":"b"}`: "there twice",
		strings.Repeat(`{"HostConfig":`, 70) + "1" + strings.Repeat("}", 70): "nested deeper",
	} {
		if _, err := Parse(jsonCall(create, body)); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", body, err, want)
		}
	}
	c, err := Parse(jsonCall(create, `{"Image":"a","MacAddress":"","Labels":{"A":"1","a":"2"},"HostConfig":{"KernelMemory":0,"NanoCpus":5,"CpuShares":2,"Privileged":true,"Dns":[],"PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"80"}]}}}`))
	if err != nil || c.Create.Image != "a" || !c.Create.HostConfig.Privileged || c.Create.HostConfig.NanoCPUs != 5 || c.Create.Labels["A"] != "1" {
		t.Errorf("got %+v, %v", c, err)
	}
	if c, err = Parse(jsonCall(create, `{"Image":"a"}`)); err != nil || c.Create.HostConfig == nil {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestBodiesThatAPluginDoesNotSee(t *testing.T) {
	body := `{"Image":"a"}`
	length := strconv.Itoa(len(body))
	for name, c := range map[string]struct {
		header map[string][]string
		uri    string
		body   string
		want   string
	}{
		"hidden for its size":  {map[string][]string{"Content-Type": {"application/json"}, "Content-Length": {"1100104"}}, create, "", "shows 0"},
		"hidden for its type":  {map[string][]string{"Content-Type": {"text/plain"}, "Content-Length": {length}}, create, "", "shows 0"},
		"chunked":              {map[string][]string{"Content-Type": {"application/json"}}, create, body, "no Content-Length"},
		"form on a rename":     {map[string][]string{"Content-Type": {"application/x-www-form-urlencoded"}, "Content-Length": {"9"}}, "/containers/x/rename?name=a", "", "put parameters into the URI"},
		"multipart":            {map[string][]string{"Content-Type": {"multipart/form-data; boundary=x"}}, "/containers/x/rename?name=a", "", "put parameters into the URI"},
		"form behind a type":   {map[string][]string{"Content-Type": {"text/plain"}, "Content-Length": {"9"}}, "/containers/x/rename?name=a", "", "shows 0"},
		"form, chunked":        {map[string][]string{"Content-Type": {"text/plain"}}, "/containers/x/rename?name=a", "", "no Content-Length"},
		"form on a pull":       {map[string][]string{"Content-Type": {"text/plain"}, "Content-Length": {"9"}}, "/images/create?fromImage=a", "", "shows 0"},
		"two types":            {map[string][]string{"Content-Type": {"application/json", "text/plain"}, "Content-Length": {length}}, create, body, "2 Content-Type"},
		"a body on a start":    {map[string][]string{"Content-Type": {"application/json"}, "Content-Length": {length}}, "/containers/x/start", body, "takes no body"},
		"unreadable type":      {map[string][]string{"Content-Type": {"application/json;;"}, "Content-Length": {length}}, create, body, "cannot be read"},
		"length that is none":  {map[string][]string{"Content-Type": {"application/json"}, "Content-Length": {"x"}}, create, body, "is no number"},
		"no type":              {map[string][]string{"Content-Length": {length}}, create, body, "want a body of Content-Type"},
		"upgrade to h2c":       {map[string][]string{"Upgrade": {"h2c"}}, "/containers/x/start", "", "cannot be turned"},
		"upgrade of an attach": {map[string][]string{"Upgrade": {"h2c"}}, "/containers/x/attach", "", "cannot be turned"},
	} {
		if got, err := Parse(Raw{Method: "POST", URI: c.uri, Header: c.header, Body: []byte(c.body)}); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %+v, %v, want %q", name, got, err, c.want)
		}
	}
	for name, c := range map[string]Raw{
		"start of the docker CLI": {Method: "POST", URI: "/v1.41/containers/x/start", Header: map[string][]string{"Content-Type": {"text/plain"}, "Content-Length": {"0"}}},
		"start of curl":           {Method: "POST", URI: "/containers/x/start"},
		"create":                  {Method: "POST", URI: create, Body: []byte(body), Header: map[string][]string{"Content-Type": {"application/json; charset=utf-8"}, "Content-Length": {length}}},
		"login":                   {Method: "POST", URI: "/auth", Header: map[string][]string{"Content-Type": {"application/json"}, "Content-Length": {"80"}}},
		"attach":                  {Method: "POST", URI: "/containers/x/attach?stream=1", Header: map[string][]string{"Content-Type": {"text/plain"}, "Content-Length": {"0"}, "Upgrade": {"tcp"}}},
	} {
		if got, err := Parse(c); err != nil || got.Blind {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
	got, err := Parse(Raw{Method: "POST", URI: "/build", Header: map[string][]string{"Content-Type": {"application/x-tar"}}})
	if err != nil || !got.Blind {
		t.Errorf("a build is seen: %+v, %v", got, err)
	}
}

func TestURIOfAnotherObject(t *testing.T) {
	for uri, want := range map[string]string{
		"/v1.41/containers/web/stop?t=5": "/v1.41/containers/ID/stop?t=5",
		"/containers/web/stop":           "/containers/ID/stop",
		"/v1.41/images/a/b:c/push?tag=x": "/v1.41/images/ID/push?tag=x",
	} {
		c, err := Parse(Raw{Method: "POST", URI: uri, Whole: true})
		if err != nil || c.URI("ID", c.Params) != want {
			t.Errorf("%s: got %s, %v", uri, c.URI("ID", c.Params), err)
		}
	}
}
