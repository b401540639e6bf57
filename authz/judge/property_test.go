package judge

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"pgregory.net/rapid"

	"github.com/mosdocker/mosdocker/authz/policy"
	"github.com/mosdocker/mosdocker/authz/request"
)

// escaped writes a key with some letters as JSON escapes, in another case, or as
// the letters that fold to them.
func escaped(t *rapid.T, key string) string {
	var b strings.Builder
	for _, c := range key {
		switch rapid.IntRange(0, 9).Draw(t, "letter") {
		case 0:
			fmt.Fprintf(&b, `\u%04x`, c)
		case 1:
			b.WriteString(strings.ToUpper(string(c)))
		case 2:
			b.WriteString(strings.ToLower(string(c)))
		case 3:
			b.WriteString(strings.NewReplacer("s", "\u017f", "k", "\u212a").Replace(string(c)))
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

// object writes a JSON object of some keys, several of them more than once.
func object(t *rapid.T, deep int) string {
	var parts []string
	for range rapid.IntRange(0, 4).Draw(t, "keys") {
		var key, value string
		switch rapid.IntRange(0, 5).Draw(t, "key") {
		case 0:
			key, value = "HostConfig", "{}"
			if deep > 0 {
				value = object(t, deep-1)
			}
		case 1:
			key, value = "Privileged", rapid.SampledFrom([]string{"true", "false", "null", " true "}).Draw(t, "bool")
		case 2:
			key, value = "Binds", rapid.SampledFrom([]string{`["/:/h"]`, `[]`, `null`, `["/etc:/x","v:/y"]`}).Draw(t, "binds")
		case 3:
			key, value = "Mounts", rapid.SampledFrom([]string{`[{"Type":"bind","Source":"/"}]`, `[{"Target":"/h"}]`, `[{"type":"bind","Source":"/","Target":"/x"}]`}).Draw(t, "mounts")
		case 4:
			key, value = "CapAdd", rapid.SampledFrom([]string{`["ALL"]`, `["cap_sys_admin"]`, `[]`}).Draw(t, "caps")
		case 5:
			key, value = "Image", `"busybox"`
		}
		parts = append(parts, `"`+escaped(t, key)+`":`+value)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// dangerous says whether an Engine takes a body for a container with rights: the
// newest, or one that reads them at the top level.
func dangerous(body string) bool {
	var now container.CreateRequest
	if json.NewDecoder(strings.NewReader(body)).Decode(&now) != nil { // Engines before 27 read the first value only
		return false
	}
	h := now.HostConfig
	if h == nil {
		h = &container.HostConfig{}
		if json.NewDecoder(strings.NewReader(body)).Decode(h) != nil {
			return false
		}
	}
	for _, b := range h.Binds {
		if strings.HasPrefix(b, "/") {
			return true
		}
	}
	for _, m := range h.Mounts {
		if m.Type == "bind" {
			return true
		}
	}
	return h.Privileged || len(h.CapAdd) > 0
}

// TestNoSpellingOfRightsGoesThrough: whatever an Engine takes for a container with
// rights is refused to a tenant by both fronts, in whatever way it is written.
func TestNoSpellingOfRightsGoesThrough(t *testing.T) {
	p := load(t)
	seen := 0
	rapid.Check(t, func(t *rapid.T) {
		body := object(t, 2)
		if rapid.IntRange(0, 9).Draw(t, "more") == 0 {
			body += object(t, 1)
		}
		if !dangerous(body) {
			return
		}
		seen++
		uri := rapid.SampledFrom([]string{"/v1.41/containers/create", "/containers/create", "/v1.24/containers/create?name=x", "/v1.99/containers/create", "/v1.041/containers/create"}).Draw(t, "uri")
		for _, front := range []Front{Proxy, Plugin} {
			raw := request.Raw{Method: "POST", URI: uri, Body: []byte(body), Whole: front == Proxy, Header: Headers(body)}
			v := Judge(p, front, policy.Who{CN: "a"}, raw, Things{{Object: policy.Object{Kind: "image", Name: "busybox"}, Names: []string{"docker.io/library/busybox:latest"}}})
			if v.Allow {
				t.Fatalf("%s with %s goes through: %+v", uri, body, v)
			}
		}
	})
	if seen == 0 {
		t.Error("no dangerous body was made")
	}
}

func FuzzSuite(f *testing.F) {
	f.Add("object container web owner=b label=x=y\nwho uid=1 gid=2000\ncall POST /v1.45/containers/web/exec\nbody {\"Cmd\":[\"sh\"]}\nwant deny")
	f.Add("front plugin\nwho cn=a\ncall GET /v1.45/images/json?filters={}\nwant allow")
	p := load(f)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSuite("s", text)
		if err != nil {
			return
		}
		for _, r := range s.Run(p) {
			if r.Denied && (r.Rule == "" || r.Reason == "") {
				t.Fatalf("%q: denied without a rule or a reason: %+v", text, r.Verdict)
			}
			if s := p.Find(r.Who); s == nil && r.Allow {
				t.Fatalf("%q: nobody may %s", text, r.Action)
			}
		}
	})
}
