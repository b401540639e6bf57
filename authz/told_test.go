package authz

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/docker/go-plugins-helpers/authorization"

	"github.com/mosdocker/mosdocker/internal/pluginsrv"
)

// FuzzToldPlainly: what is read the quick way is read as the same the other way, by which
// Engines write and which refuses what is there twice.
func FuzzToldPlainly(f *testing.F) {
	for _, r := range []authorization.Request{
		{RequestMethod: "GET", RequestURI: "/_ping?a=1&b=<2>", RequestHeaders: map[string]string{"Accept": "*/*", "X": "a\"\\\n\u00e9"}},
		{User: "a", UserAuthNMethod: "TLS", RequestMethod: "POST", RequestURI: "/x", RequestBody: []byte("{}")},
		{RequestMethod: "GET", ResponseStatusCode: 200, ResponseBody: []byte("x")},
	} {
		text, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text) + "\n")
	}
	for _, s := range []string{
		`{"User":"a","User":"b"}`, `{"User":"a","user":"b"}`, `{"RequestHeaders":{"a":"1","a":"2"}}`, `{"RequestHeaders":{"a":"1","\u0061":"2"}}`, `{"RequestHeaders":{}}`,
		`{"RequestBody":"e3\n0="}`, `{"RequestBody":"e30"}`, `{"RequestBody":""}`, `{"User":"\ud800"}`, `{"User":null}`, `{"User":"a",}`, `{"User":"a"}}`, `{`, `{}`, ``, `{"User":"\`,
		`{"User":"\"`, `{"RequestUri":"/plugins","RequestURI":"/info"}`, `{"U\u0073er":"a","User":"b"}`, `{"User":"a"}` + "\n\n ", `{"User":"\x"}`, "{\"User\":\"a\x00\"}",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		var quick, slow told
		if !quick.ReadPlain([]byte(body)) {
			return
		}
		if err := pluginsrv.Decode([]byte(body), &slow, false); err != nil || !reflect.DeepEqual(quick, slow) {
			t.Errorf("%s: got %+v, the other way %+v, %v", body, quick, slow, err)
		}
	})
}

// TestWhatEnginesWriteIsPlain: else the quick way is there in vain.
func TestWhatEnginesWriteIsPlain(t *testing.T) {
	want := told{RequestMethod: "POST", RequestURI: "/v1.45/x?a=1&b=2", RequestBody: []byte("{}"), RequestHeaders: map[string]string{"User-Agent": "Docker-Client/29 (linux)", "Content-Length": "2"}}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got told
	if !got.ReadPlain(append(text, '\n')) || !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %+v", text, got)
	}
}
