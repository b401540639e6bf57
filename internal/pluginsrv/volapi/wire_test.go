package volapi_test

import (
	"encoding/json"
	"testing"

	"github.com/docker/go-plugins-helpers/volume"
	"github.com/google/go-cmp/cmp"

	"github.com/mosdocker/mosdocker/internal/pluginsrv"
	"github.com/mosdocker/mosdocker/internal/pluginsrv/volapi"
)

// TestRequestsAsTheHelpersSendThem: what go-plugins-helpers says is understood in
// full, and without a name refused.
func TestRequestsAsTheHelpersSendThem(t *testing.T) {
	for _, tc := range []struct {
		theirs     any
		ours, want any
	}{
		{volume.CreateRequest{Name: "v", Options: map[string]string{"size": "1g"}}, &volapi.CreateRequest{}, &volapi.CreateRequest{Name: "v", Opts: map[string]string{"size": "1g"}}},
		{volume.RemoveRequest{Name: "v"}, &volapi.NameRequest{}, &volapi.NameRequest{Name: "v"}},
		{volume.GetRequest{Name: "v"}, &volapi.NameRequest{}, &volapi.NameRequest{Name: "v"}},
		{volume.PathRequest{Name: "v"}, &volapi.NameRequest{}, &volapi.NameRequest{Name: "v"}},
		{volume.MountRequest{Name: "v", ID: "1"}, &volapi.MountRequest{}, &volapi.MountRequest{Name: "v", ID: "1"}},
		{volume.UnmountRequest{Name: "v", ID: "1"}, &volapi.MountRequest{}, &volapi.MountRequest{Name: "v", ID: "1"}},
	} {
		b, err := json.Marshal(tc.theirs)
		if err != nil {
			t.Fatal(err)
		}
		if err := pluginsrv.Decode(b, tc.ours, true); err != nil {
			t.Errorf("%s: %v", b, err)
		}
		if diff := cmp.Diff(tc.want, tc.ours); diff != "" {
			t.Errorf("%s: %s", b, diff)
		}
		v, ok := tc.ours.(pluginsrv.Validator)
		if !ok || v.Validate() != nil {
			t.Errorf("%s is refused", b)
		}
		if d, ok := tc.ours.(pluginsrv.Described); !ok || len(d.LogAttrs()) == 0 {
			t.Errorf("%s: nothing for the log", b)
		}
	}
	for _, v := range []pluginsrv.Validator{volapi.NameRequest{}, volapi.CreateRequest{}, volapi.MountRequest{ID: "1"}} {
		if v.Validate() == nil {
			t.Errorf("%#v is taken", v)
		}
	}
}

// TestAnswersAsTheHelpersReadThem: our answers mean to go-plugins-helpers what we say.
func TestAnswersAsTheHelpersReadThem(t *testing.T) {
	status := map[string]any{"size": "1GiB"}
	for _, tc := range []struct{ ours, theirs, want any }{
		{volapi.MountResponse{Mountpoint: "/m"}, &volume.MountResponse{}, &volume.MountResponse{Mountpoint: "/m"}},
		{volapi.MountResponse{Mountpoint: "/m"}, &volume.PathResponse{}, &volume.PathResponse{Mountpoint: "/m"}},
		{
			volapi.GetResponse{Volume: &volapi.Volume{Name: "v", CreatedAt: "2026-01-02T03:04:05Z", Status: status}},
			&volume.GetResponse{},
			&volume.GetResponse{Volume: &volume.Volume{Name: "v", CreatedAt: "2026-01-02T03:04:05Z", Status: status}},
		},
		{volapi.ListResponse{Volumes: []volapi.Volume{{Name: "v"}}}, &volume.ListResponse{}, &volume.ListResponse{Volumes: []*volume.Volume{{Name: "v"}}}},
		{volapi.CapabilitiesResponse{Capabilities: volapi.Capability{Scope: "local"}}, &volume.CapabilitiesResponse{}, &volume.CapabilitiesResponse{Capabilities: volume.Capability{Scope: "local"}}},
	} {
		b, err := json.Marshal(tc.ours)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, tc.theirs); err != nil {
			t.Errorf("%s: %v", b, err)
		}
		if diff := cmp.Diff(tc.want, tc.theirs); diff != "" {
			t.Errorf("%s: %s", b, diff)
		}
	}
}

func FuzzRequests(f *testing.F) {
	f.Add([]byte(`{"Name":"v","Opts":{"size":"1g"}}`))
	f.Add([]byte(`{"Name":"v","ID":"1"}`))
	f.Add([]byte(`{"Name":"../x","Opts":null}`))
	f.Fuzz(func(_ *testing.T, body []byte) {
		for _, req := range []pluginsrv.Validator{&volapi.CreateRequest{}, &volapi.NameRequest{}, &volapi.MountRequest{}} {
			if pluginsrv.Decode(body, req, false) == nil {
				_ = req.Validate()
			}
		}
	})
}
