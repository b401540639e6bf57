package scheduler

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/mosdocker/mosdocker/scheduler/api"
	"github.com/mosdocker/mosdocker/scheduler/place"
	"github.com/mosdocker/mosdocker/setmgr/render"
)

const web = `{
  "name": "web",
  "spec": {
    "replicas": 3,
    "set": {"CPU": 1.5, "MEM": "8g", "Network": {"Name": "prod"}, "Networks": [{"Name": "back"}],
      "Volume": {"Size": "20g", "Path": "/data"}, "Ports": ["10.0.0.1:8080:80", "127.0.0.1:8080:81", "9000-9001:90-91/udp", "70", "100-200:80"],
      "Containers": [{"Name": "app", "Image": "shop/app:41", "Options": {"CPU": 80, "MEM": 70}}]},
    "placement": {
      "strategy": "even",
      "constraints": [{"label": "disk", "op": "in", "values": ["ssd"]}, {"label": "gpu", "op": "absent"}],
      "tolerations": [{"key": "old", "value": "yes"}],
      "preferences": [{"label": "engine", "op": "above", "values": ["29.0"], "weight": 3}],
      "spread": [{"level": "room", "maxSkew": 1}, {"level": "rack", "weight": 5}],
      "affinities": [{"service": "web", "level": "host", "anti": true, "hard": true}, {"service": "db", "level": "rack", "weight": 2}],
      "priority": 10, "preemptible": true, "preempts": true
    }
  }
}`

func service(t *testing.T, text string) *api.Service {
	t.Helper()
	s := &api.Service{}
	if err := api.Decode([]byte(text), s); err != nil {
		t.Fatal(err)
	}
	return s
}

func ask(t *testing.T, text string) (*place.Ask, error) {
	t.Helper()
	s := service(t, text)
	return Ask(s, &s.Spec.Set.Set)
}

func TestAServiceIsAsked(t *testing.T) {
	got, err := ask(t, web)
	if err != nil {
		t.Fatal(err)
	}
	want := &place.Ask{
		Service:     "web",
		Amounts:     place.Amounts{1500, 8 << 30, 20 << 30},
		Networks:    []place.Need{{Network: "prod"}, {Network: "back"}},
		Ports:       []place.Port{{Protocol: "tcp", Number: 8080, At: netip.MustParseAddr("10.0.0.1")}, {Protocol: "tcp", Number: 8080, At: netip.MustParseAddr("127.0.0.1")}, {Protocol: "udp", Number: 9000}, {Protocol: "udp", Number: 9001}},
		Constraints: []place.Constraint{{Key: "disk", Op: place.In, Values: []string{"ssd"}}, {Key: "gpu", Op: place.Absent}},
		Tolerations: []place.Toleration{{Key: "old", Value: "yes"}},
		Strategy:    place.Even,
		Preferences: []place.Preference{{Constraint: place.Constraint{Key: "engine", Op: place.Above, Values: []string{"29.0"}}, Weight: 3}},
		Spread:      []place.Spread{{Level: place.LevelRoom, MaxSkew: 1}, {Level: place.LevelRack, Weight: 5}},
		Affinities: []place.Affinity{
			{Service: "web", Level: place.LevelHost, Anti: true, Hard: true},
			{Service: "db", Level: place.LevelRack, Weight: 2},
		},
		Priority: 10, Preemptible: true, Preempts: true,
	}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
		t.Errorf("asked (-want +got):\n%s", d)
	}
}

func TestWhatASetNeeds(t *testing.T) {
	for name, c := range map[string]struct {
		set  string
		want place.Amounts
	}{
		"nothing":    {`{"Containers": [{"Name": "a", "Image": "x"}]}`, place.Amounts{}},
		"whole":      {`{"CPU": 0.0011, "MEM": "1g", "Containers": [{"Name": "a", "Image": "x", "Options": {"Cores": 0.001}}]}`, place.Amounts{2, 1 << 30, 0}},
		"containers": {`{"Containers": [{"Name": "a", "Image": "x", "Options": {"Cores": 1.1, "Memory": "1g"}}, {"Name": "b", "Image": "x", "Options": {"Cores": 2.2, "Memory": "2g"}}]}`, place.Amounts{3300, 3 << 30, 0}},
	} {
		s := &api.Service{Meta: api.Meta{Name: "web"}}
		if err := s.Spec.Set.UnmarshalJSON([]byte(c.set)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if a, err := Ask(s, &s.Spec.Set.Set); err != nil || a.Amounts != c.want {
			t.Errorf("%s: %v, %v, want %v", name, a, err, c.want)
		}
	}
}

func TestNetworksOfHostsThemselvesAreNoNeed(t *testing.T) {
	for _, name := range []string{"", "default", "bridge", "host", "none"} {
		s := &api.Service{}
		s.Spec.Set.Network.Name = name
		if a, err := Ask(s, &s.Spec.Set.Set); err != nil || len(a.Networks) > 0 {
			t.Errorf("%q: %v, %v", name, a, err)
		}
	}
	s := &api.Service{}
	s.Spec.Set.Network.Name, s.Spec.Set.Network.IP = "prod", "10.9.0.21"
	a, err := Ask(s, &s.Spec.Set.Set)
	if err != nil || a.Networks[0].Address != netip.MustParseAddr("10.9.0.21") {
		t.Errorf("a fixed address: %v, %v", a, err)
	}
}

func TestWhatCannotBePlacedNamesTheField(t *testing.T) {
	for name, c := range map[string]struct{ old, new, want string }{
		"contradiction": {`{"label": "gpu", "op": "absent"}`, `{"label": "disk", "op": "in", "values": ["hdd"]}`, "Constraints: "},
		"sctp":          {`"10.0.0.1:8080:80"`, `"10.0.0.1:8080:80/sctp"`, "Ports[0]: "},
		"huge":          {`"MEM": "8g"`, `"MEM": "9000000g"`, "Amounts: "},
		"network-twice": {`"Networks": [{"Name": "back"}]`, `"Networks": [{"Name": "prod"}]`, "Networks"},
	} {
		text := strings.Replace(web, c.old, c.new, 1)
		if text == web {
			t.Fatalf("%s: nothing was changed", name)
		}
		s := &api.Service{}
		err := api.Decode([]byte(text), s)
		if err == nil {
			_, err = Ask(s, &s.Spec.Set.Set)
		}
		if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAHostIsTold(t *testing.T) {
	h := &api.Host{
		Meta:   api.Meta{Name: "h1.example", Labels: map[string]string{"disk": "ssd"}},
		Spec:   api.HostSpec{Room: "r1", Rack: "k2", Taints: []api.Taint{{Key: "old", Value: "yes", Soft: true}}, Overcommit: api.Amounts{CPU: 150}},
		Status: api.HostStatus{Health: api.Healthy, Capacity: api.Amounts{CPU: 8000, Memory: 32 << 30, Disk: 1 << 40}, Networks: map[string]string{"prod": "p1"}, Volumes: []string{"web-1-data"}, Engine: "29.7.2", Labels: map[string]string{"disk": "hdd", "room": "r0", "row": "4"}},
	}
	want := place.Host{
		ID: "h1.example", Room: "r1", Rack: "k2", Labels: map[string]string{"disk": "ssd", "room": "r0", "row": "4", "engine": "29.7.2"},
		Taints: []place.Taint{{Key: "old", Value: "yes", Soft: true}}, Capacity: place.Amounts{8000, 32 << 30, 1 << 40},
		Overcommit: place.Amounts{150, 0, 0}, Networks: map[string]string{"prod": "p1"}, Volumes: []string{"web-1-data"},
	}
	if d := cmp.Diff(want, Host(h)); d != "" {
		t.Errorf("told (-want +got):\n%s", d)
	}
	h.Spec.Room = ""
	if got := Host(h).Room; got != "r0" {
		t.Errorf("a host whose operator names no room is in %q", got)
	}
	h.Labels["engine"] = "own"
	if got := Host(h).Labels["engine"]; got != "own" {
		t.Errorf("an operator's label became %q", got)
	}
	if len(h.Labels) != 2 {
		t.Errorf("labels of the resource were changed: %v", h.Labels)
	}
}

func TestStatesOfHosts(t *testing.T) {
	for _, c := range []struct {
		health api.Health
		wish   api.Availability
		gone   bool
		want   place.State
	}{
		{"", "", false, place.Suspect}, // never spoke
		{api.Healthy, "", false, place.Ready},
		{api.Healthy, api.Active, false, place.Ready},
		{api.Healthy, api.Cordoned, false, place.Cordoned},
		{api.Healthy, api.Draining, false, place.Draining},
		{api.Healthy, api.Cordoned, true, place.Draining},
		{api.Suspect, api.Cordoned, false, place.Suspect},
		{api.Lost, api.Draining, false, place.Lost},
	} {
		h := &api.Host{Spec: api.HostSpec{Availability: c.wish}, Status: api.HostStatus{Health: c.health}}
		if c.gone {
			h.Deleted = time.Unix(1, 0)
		}
		if got := Host(h).State; got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

// TestReplicasGoToTheirVolumes follows a service from its file to hosts.
func TestReplicasGoToTheirVolumes(t *testing.T) {
	s := service(t, web)
	c := place.New(1)
	c.SetPool(place.Pool{ID: "p1", Size: 10})
	c.SetPool(place.Pool{ID: "p2", Size: 10})
	for _, name := range []string{"h1", "h2", "h3", "h4"} {
		h := &api.Host{
			Meta: api.Meta{Name: name, Labels: map[string]string{"disk": "ssd"}},
			Status: api.HostStatus{
				Health: api.Healthy, Capacity: api.Amounts{CPU: 8000, Memory: 32 << 30, Disk: 1 << 40},
				Networks: map[string]string{"prod": "p1", "back": "p2"},
			},
		}
		if name == "h3" {
			h.Status.Volumes = []string{"web-1-data"}
		}
		if name == "h4" {
			h.Labels["disk"] = "hdd"
		}
		c.SetHost(Host(h))
	}
	set := s.Named(1)
	a, err := Ask(s, &set)
	if err != nil {
		t.Fatal(err)
	}
	stuck := *a
	stuck.Volumes = []string{render.Volume(set)}
	first, err := c.Place(&stuck, "web-1")
	if err != nil || first[0].Host != "h3" {
		t.Fatalf("the replica with a volume is at %+v: %v", first, err)
	}
	others, err := c.Place(a, "web-0", "web-2", "web-3")
	if refused, ok := errors.AsType[*place.RefusedError](err); !ok || refused.Set != "web-3" {
		t.Errorf("the fourth replica for three hosts: %v", err)
	}
	where := map[place.HostID]int{}
	for _, p := range others {
		where[p.Host]++
	}
	if d := cmp.Diff(map[place.HostID]int{"h1": 1, "h2": 1}, where); d != "" {
		t.Errorf("the others, one a host and on ssd (-want +got):\n%s", d)
	}
}
