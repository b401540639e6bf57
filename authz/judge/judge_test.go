package judge

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/mosdocker/mosdocker/authz/policy"
)

func load(tb testing.TB) *policy.Policy {
	tb.Helper()
	text, err := os.ReadFile("testdata/policy.toml")
	if err != nil {
		tb.Fatal(err)
	}
	p, err := policy.Parse("policy.toml", text)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func TestSuite(t *testing.T) {
	text, err := os.ReadFile("testdata/tenant.authz")
	if err != nil {
		t.Fatal(err)
	}
	s, err := ParseSuite("tenant.authz", string(text))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range s.Run(load(t)) {
		if !r.OK {
			t.Errorf("line %d: %s %s: denied %v by %q: %s", r.Line, r.Raw.Method, r.Raw.URI, r.Denied, r.Rule, r.Reason)
		}
		if r.Denied && (r.Rule == "" || r.Reason == "") {
			t.Errorf("line %d: denied without a rule or a reason", r.Line)
		}
	}
	if n := len(s.Cases); n < 100 {
		t.Errorf("%d cases were read", n)
	}
}

func TestSuiteFaults(t *testing.T) {
	for text, want := range map[string]string{
		"call GET":                     "s:1: want call METHOD URI",
		"\nobject thing x":             `s:2: kind "thing"`,
		"object container x color=red": "color=red",
		"who uid=x":                    `uid "x" is no number`,
		"who name=x":                   "none of uid=",
		"body {}":                      "a body without a call",
		"want allow":                   "a want without a call",
		"call GET /":                   "s:1: the call has no want",
		"call GET /\ncall GET /":       "s:2: the call of line 1 has no want",
		"call GET /\nwant maybe":       "it is allow or deny",
		"front door":                   "neither proxy nor plugin",
		"sing":                         `"sing" is none of`,
		"object container":             "want object KIND NAME",
	} {
		if _, err := ParseSuite("s", text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func one(t *testing.T, text string) Result {
	t.Helper()
	s, err := ParseSuite("one", "object container mine id=aaaa1 owner=a\nobject network net id=nnnn1 owner=a\nobject image busybox\nwho gid=2000\n"+text+"\nwant allow")
	if err != nil {
		t.Fatal(err)
	}
	r := s.Run(load(t))[0]
	if !r.OK {
		t.Fatalf("%s: %s", text, r.Reason)
	}
	return r
}

func TestWhatAProxyMustChange(t *testing.T) {
	if e := one(t, "call POST /v1.45/containers/mine/stop").Edit; e.Ref != "aaaa1" {
		t.Errorf("got %+v", e)
	}
	e := one(t, `call GET /v1.45/containers/json?all=1&filters={"label":["x"],"status":["running"]}`).Edit
	if got := e.Params["filters"]; len(got) != 1 || got[0] != `{"label":{"mos.owner=a":true,"x":true},"status":{"running":true}}` || e.Params["all"][0] != "1" {
		t.Errorf("got %+v", e)
	}
	e = one(t, "call POST /v1.45/containers/create\nbody {\"Image\":\"busybox\",\"HostConfig\":{\"NetworkMode\":\"container:mine\",\"IpcMode\":\"container:mine\",\"Binds\":[\"new:/x\"]}}").Edit
	if e.Label != "a" || e.Peers["NetworkMode"] != "aaaa1" || e.Peers["IpcMode"] != "aaaa1" || len(e.Volumes) != 1 || e.Volumes[0].Name != "new" || e.Volumes[0].Labels[OwnerLabel] != "a" {
		t.Errorf("got %+v", e)
	}
	e = one(t, "object image db path=/db path=/taken path=/tmp\ncall POST /v1.45/containers/create\nbody {\"Image\":\"db\",\"Volumes\":{\"/data/\":{},\"/named\":{}},\"HostConfig\":{\"Binds\":[\"new:/taken:ro\"],\"Tmpfs\":{\"/tmp\":\"\"},\"Mounts\":[{\"Type\":\"volume\",\"Target\":\"/m\",\"VolumeOptions\":{\"NoCopy\":true,\"Labels\":{\"x\":\"y\"}}},{\"Type\":\"volume\",\"Source\":\"made\",\"Target\":\"/named\"}]}}").Edit
	if text, err := json.Marshal(e.Mounts); err != nil || string(text) != `[{"Type":"volume","Target":"/m","VolumeOptions":{"NoCopy":true,"Labels":{"mos.owner":"a","x":"y"}}},{"Type":"volume","Source":"made","Target":"/named"},`+
		`{"Type":"volume","Target":"/data","VolumeOptions":{"Labels":{"mos.owner":"a"}}},{"Type":"volume","Target":"/db","VolumeOptions":{"Labels":{"mos.owner":"a"}}}]` {
		t.Errorf("mounts become %s, %v", text, err)
	}
	if e := one(t, "call POST /v1.45/containers/create\nbody {\"Image\":\"busybox\",\"HostConfig\":{\"Binds\":[\"new:/x\"]}}").Edit; e.Mounts != nil {
		t.Errorf("mounts become %+v", e.Mounts)
	}
	if e := one(t, "call POST /v1.45/build?t=a/x").Edit; e.Params["labels"][0] != `{"mos.builder":"a","mos.owner":""}` {
		t.Errorf("got %+v", e)
	}
	for text, want := range map[string]string{"": "200000", "&cpuperiod=10000": "20000", "&cpuquota=7000": "7000"} {
		if e := one(t, "who uid=1 gid=3000\ncall POST /v1.45/build?t=registry.example/b/x&memory=1000000"+text).Edit; !slices.Equal(e.Params["cpuquota"], []string{want}) {
			t.Errorf("%q: got %v", text, e.Params)
		}
	}
	if e := one(t, "call POST /v1.45/commit?container=mine&changes=CMD+x").Edit; e.Params["container"][0] != "aaaa1" || len(e.Params["changes"]) != 2 || e.Params["changes"][1] != `LABEL mos.owner="" mos.builder="a"` {
		t.Errorf("got %+v", e)
	}
	if e := one(t, "call POST /v1.45/images/prune").Edit; e.Params["filters"][0] != `{"label":{"mos.builder=a":true}}` {
		t.Errorf("got %+v", e)
	}
	if e := one(t, "call GET /v1.45/images/json").Edit; e.Shown != "a" || e.Params != nil {
		t.Errorf("got %+v", e)
	}
	// Who may see all images sees all.
	if e := one(t, "who uid=7\ncall GET /v1.45/images/json").Edit; e.Shown != "" || e.Params != nil {
		t.Errorf("got %+v", e)
	}
	if e := one(t, "call POST /v1.45/networks/net/connect\nbody {\"Container\":\"mine\"}").Edit; e.Ref != "nnnn1" || e.Peers["Container"] != "aaaa1" {
		t.Errorf("got %+v", e)
	}
}

func TestModesLetThrough(t *testing.T) {
	s, err := ParseSuite("s", "object container c owner=b\nwho uid=9\ncall POST /v1.45/containers/c/stop\nwant deny")
	if err != nil {
		t.Fatal(err)
	}
	if r := s.Run(load(t))[0]; !r.OK || !r.Allow || r.Mode != policy.Warn {
		t.Errorf("got %+v", r.Verdict)
	}
}

func BenchmarkCreate(b *testing.B) {
	s, err := ParseSuite("s", "object image busybox\nobject network net owner=a\nwho gid=2000\ncall POST /v1.45/containers/create?name=web\nbody {\"Image\":\"busybox\",\"Cmd\":[\"ls\"],\"HostConfig\":{\"NetworkMode\":\"net\"}}\nwant allow")
	if err != nil {
		b.Fatal(err)
	}
	p := load(b)
	c := s.Cases[0]
	b.ReportAllocs()
	for b.Loop() {
		if v := Judge(p, c.Front, c.Who, c.Raw, c.things); v.Denied {
			b.Fatal(v.Reason)
		}
	}
}

func BenchmarkPing(b *testing.B) {
	s, err := ParseSuite("s", "who gid=2000\ncall GET /_ping\nwant allow")
	if err != nil {
		b.Fatal(err)
	}
	p := load(b)
	c := s.Cases[0]
	b.ReportAllocs()
	for b.Loop() {
		if v := Judge(p, c.Front, c.Who, c.Raw, c.things); v.Denied {
			b.Fatal(v.Reason)
		}
	}
}

// TestAPullWithoutATagIsOfAllTags, which must then be all allowed.
func TestAPullWithoutATagIsOfAllTags(t *testing.T) {
	for image, want := range map[string]string{"docker.io/library/busybox:latest": "deny", "docker.io/library/busybox:*": "allow", "docker.io/*": "allow"} {
		p, err := policy.Parse("p", []byte("version = 1\n[[who]]\nname = 'a'\nlocal = true\nprofile = 'p'\n[profile.p]\nbased = 'tenant'\n[profile.p.limits]\nimages = ['"+image+"']\n"))
		if err != nil {
			t.Fatal(err)
		}
		s, err := ParseSuite("s", "who local\ncall POST /v1.45/images/create?fromImage=busybox\nwant "+want+"\ncall POST /v1.45/images/create?fromImage=busybox&tag=latest\nwant allow\ncall POST /v1.45/images/create?fromImage=busybox:latest\nwant allow")
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range s.Run(p) {
			if !r.OK {
				t.Errorf("images %s: %s: %s", image, r.Raw.URI, r.Reason)
			}
		}
	}
}

// TestABuildJoinsANetworkByItsID: its steps take what they are told one after the other, and a
// name may be another's by then.
func TestABuildJoinsANetworkByItsID(t *testing.T) {
	if e := one(t, "call POST /v1.45/build?t=a/x&networkmode=net").Edit; len(e.Params["networkmode"]) != 1 || e.Params["networkmode"][0] != "nnnn1" {
		t.Errorf("got %+v", e.Params)
	}
	if e := one(t, "call POST /v1.45/build?t=a/x&networkmode=none").Edit; len(e.Params["networkmode"]) != 1 || e.Params["networkmode"][0] != "none" {
		t.Errorf("got %+v", e.Params)
	}
}
