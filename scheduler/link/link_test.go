package link

import (
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/mosdocker/mosdocker/internal/config"
	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

// TestWireFormIsKept compares with bytes that mosd of another version sends, or has on disk.
func TestWireFormIsKept(t *testing.T) {
	set, err := spec.DecodePart(`{"CPU": 1, "MEM": "64m", "Containers": [{"Name": "app", "Image": "i:1", "Options": {"CPU": 80, "MEM": 70}}]}`)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	form(t, "assignment", Assignment{"c1", "h1", 7, 9, []Assigned{
		{Name: "web-0", UID: "u0", Service: "web", Generation: 2, Set: api.Template{Set: set}},
		{Name: "web-1", UID: "u1", Service: "web", Generation: 1, Set: api.Template{Set: set}, Stop: true},
		{Name: "old-1", UID: "u2", Service: "old", Stop: true}, // what is left of a lost host
	}, []Given{{
		"prod",
		[]api.AddressPool{{Subnet: "10.9.0.0/24", Gateway: "10.9.0.1", Block: 28}},
		[]api.HostBlock{{Network: "prod", Prefix: "10.9.0.16/28"}, {Network: "prod", Prefix: "10.9.0.32/28", Leaving: true}},
		map[string]string{"10.9.0.21": "web-0"},
	}}, &Names{9, map[string][]Name{"prod": {{"web-0", "web", []string{"10.9.0.21"}, true, []string{"tcp/80"}}}}, []string{"dev"}}})
	form(t, "report", Report{
		Host: "h1", Boot: "b1", Seq: 3, Sent: at, Epoch: 7, Revision: 9,
		Guarded: true, Returned: []api.HostBlock{{Network: "prod", Prefix: "10.9.0.32/28", Leaving: true}},
		Status: api.HostStatus{Capacity: api.Amounts{CPU: 4000}, Engine: "29.7.2", Machine: "m1"},
		Sets:   []SetReport{{"web-0", "u0", 2, api.Ready, at, "all is well", false}, {Name: "web-1", UID: "u1", Gone: true}},
	})
	form(t, "usage", Report{
		Host: "h1", Boot: "b1", Seq: 4, Sent: at, Epoch: 7, Revision: 9, Status: api.HostStatus{Machine: "m1"},
		Usage: &Usage{at, api.Use{CPU: 1500, Memory: 3 << 30, Received: 1000, Sent: 2000, Read: 0, Written: 4096}, []SetUsage{
			{"web-0", api.Use{CPU: 250, Memory: 64 << 20, Received: -1, Sent: -1, Read: -1, Written: -1}},
		}},
	})
	form(t, "holding", Report{
		Host: "h1", Boot: "b1", Seq: 5, Sent: at, Epoch: 7, Revision: 9, Status: api.HostStatus{Machine: "m1"},
		Holding: &Holding{[]Image{{[]string{"shop/app:1"}, []Layer{{"sha256:1f", 1 << 20}}}}, true, []string{"tcp/8080"}},
	})
	form(t, "lease", Lease{7, config.Duration{Duration: 8 * time.Second}, config.Duration{Duration: 2 * time.Second}, []string{"https://c1:7443"}})
}

func form[T any](t *testing.T, name string, v T) {
	t.Helper()
	data, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	testx.Golden(t, name+".json", string(data)+"\n")
	var back T
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(v, back); d != "" {
		t.Errorf("%s (-written +read):\n%s", name, d)
	}
}
