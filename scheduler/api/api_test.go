package api

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

const web = `{
  "name": "web", "labels": {"team": "shop"},
  "spec": {
    "replicas": 3,
    "set": {"CPU": 4, "MEM": "8g", "Network": {"Name": "prod"}, "Volume": {"Size": "20g", "Path": "/data"},
      "Containers": [{"Index": 0, "Name": "app", "Image": "shop/app:41", "Options": {"CPU": 80, "MEM": 70}}]},
    "placement": {
      "constraints": [{"label": "disk", "op": "in", "values": ["ssd"]}],
      "preferences": [{"label": "engine", "op": "above", "values": ["29.0"], "weight": 3}],
      "spread": [{"level": "room", "maxSkew": 1}, {"level": "rack", "weight": 5}],
      "affinities": [{"service": "web", "level": "host", "anti": true, "hard": true}],
      "priority": 10
    },
    "update": {"partition": 1, "maxUnavailable": 1, "readyWithin": 60, "keepFailed": true}
  }
}`

func service(t *testing.T) *Service {
	t.Helper()
	s := &Service{}
	if err := Decode([]byte(web), s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestServiceIsReadAndNamed(t *testing.T) {
	s := service(t)
	set := s.Named(7)
	if set.Name != "web-7" || set.CPU != 4 || set.Volume.Size != 20<<30 || len(set.Containers) != 1 {
		t.Errorf("replica 7 is %+v", set)
	}
	if err := set.Check(); err != nil {
		t.Errorf("the replica is no set: %v", err)
	}
	if s.Spec.Set.Name != "" {
		t.Error("naming a replica named the template")
	}
}

// all has a resource of each kind, as full as its type is.
func all(t *testing.T) map[Kind]Resource {
	t.Helper()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := service(t)
	s.Status = ServiceStatus{2, 3, 3, 2, 1, "one is late", &Version{1, s.Spec.Set}, &Version{3, s.Spec.Set}, "00ff"}
	meta := func(name string) Meta {
		return Meta{Name: name, UID: "0199", Generation: 2, Created: at, Labels: map[string]string{"b": "2", "a": "1"}}
	}
	return map[Kind]Resource{
		Hosts: &Host{
			meta("h1.example"),
			HostSpec{"r1", "k2", Draining, []Taint{{"gpu", "yes", true}}, Amounts{150, 0, 120}, true},
			HostStatus{Suspect, at, Amounts{8000, 32 << 30, 1 << 40}, map[string]string{"prod": "p1"}, []string{"web-1-data"}, "29.7.2", "the Engine is absent", at, "m-1", map[string]string{"disk": "ssd"}, []HostBlock{{"prod", "10.9.0.16/28", true}}},
		},
		Services:     s,
		SetInstances: &SetInstance{meta("web-1"), SetSpec{"web", 1, 2, s.Spec.Set, "h1.example", true, []SetAddress{{"prod", "10.9.0.21"}}}, SetStatus{Ready, at, "all is well"}},
		Operations: &Operation{
			meta("op-1"),
			OperationSpec{Rebalance, Reference{Services, "web"}, "root", true, 10, 3, 1.5},
			OperationStatus{
				Succeeded, "moving", 1, 2, "enough", at,
				[]Move{{"web-1", "h1", "h2", 2.5, "constraint", Moved, at}},
				&Balance{1, 1.25, 3, 90, 10}, &Balance{0, 2.5, 2, 80, 20},
			},
		},
		Events: &Event{meta("ev-1"), EventSpec{Reference{SetInstances, "web-1"}, "placed", "scale", "on h1.example"}},
		Tokens: &Token{meta("ci"), TokenSpec{Tenant, "shop", at, strings.Repeat("0a", 32)}},
		Networks: &Network{meta("prod"), NetworkSpec{[]AddressPool{
			{"10.9.0.0/16", "10.9.4.0/22", "10.9.0.1", []string{"10.9.4.7", "10.9.5.0/24"}, 28}, {"fd00:9::/64", "", "fd00:9::1", nil, 0},
		}}},
		Revocations: &Revocation{Meta{Name: "host.h1.example"}, RevocationSpec{Role: OfHost, Owner: "h1.example", Until: at}},
		Quotas:      &Quota{Meta{Name: "shop"}, QuotaSpec{Usage{20, Amounts{16000, 64 << 30, 1 << 40}}, 3}, QuotaStatus{}},
		Leftovers:   &Leftover{meta("h1.example.web-1"), LeftoverSpec{"h1.example", "web-1", "0198", "web", []SetAddress{{"prod", "10.9.4.21"}}, at}},
	}
}

func kinds(t *testing.T) map[Kind]Resource {
	t.Helper()
	return map[Kind]Resource{Hosts: &Host{}, Services: &Service{}, SetInstances: &SetInstance{}, Operations: &Operation{}, Events: &Event{}, Tokens: &Token{}, Networks: &Network{}, Leftovers: &Leftover{}, Quotas: &Quota{}, Revocations: &Revocation{}}
}

// TestStoredFormIsKept compares with bytes that stores hold: they must be read for ever.
func TestStoredFormIsKept(t *testing.T) {
	blank := kinds(t)
	full := all(t)
	if len(full) != len(Kinds()) {
		t.Fatalf("%d kinds are tried, there are %d", len(full), len(Kinds()))
	}
	for _, kind := range Kinds() {
		r := full[kind]
		if err := r.Check(); err != nil || r.Kind() != kind {
			t.Errorf("%s of kind %s: %v", kind, r.Kind(), err)
		}
		data, err := Encode(r)
		if err != nil {
			t.Fatal(err)
		}
		testx.Golden(t, string(kind)+".json", string(data)+"\n")
		back := blank[kind]
		if err := Decode(data, back); err != nil {
			t.Errorf("%s is not read again: %v", kind, err)
		}
		if d := cmp.Diff(r, back); d != "" {
			t.Errorf("%s (-written +read):\n%s", kind, d)
		}
	}
}

func TestFlawsOfNetworks(t *testing.T) {
	pool := func(subnet, of, gateway string, exclude ...string) []AddressPool {
		return []AddressPool{{subnet, of, gateway, exclude, 0}}
	}
	block := func(pools []AddressPool, bits int) []AddressPool { pools[0].Block = bits; return pools }
	for _, c := range []struct {
		pools []AddressPool
		want  string
	}{
		{nil, "name its subnet"},
		{pool("10.9.0.0", "", ""), `spec.pools[0].subnet: "10.9.0.0" is no subnet`},
		{pool("10.9.0.1/24", "", ""), "write 10.9.0.0/24"},
		{pool("10.9.0.0/31", "", ""), "has no addresses"},
		{pool("127.0.0.0/8", "", ""), "has no addresses"},
		{pool("::ffff:10.9.0.0/120", "", ""), "is no subnet"},
		{pool("10.9.0.0/24", "10.9.1.0/25", ""), "spec.pools[0].range: 10.9.1.0/25 is not in 10.9.0.0/24"},
		{pool("10.9.0.0/24", "10.9.0.0/16", ""), "is not in 10.9.0.0/24"},
		{pool("10.9.0.0/24", "", "10.9.1.1"), `spec.pools[0].gateway: "10.9.1.1" is no address of`},
		{pool("10.9.0.0/24", "", "", "10.9.1.1"), "spec.pools[0].exclude[0]: 10.9.1.1 is not in"},
		{pool("10.9.0.0/24", "", "", "10.9.0.2-10.9.0.9"), "is no subnet"},
		{block(pool("10.9.0.0/24", "", ""), 24), "spec.pools[0].block: blocks of /24 cannot be cut out of 10.9.0.0/24: say one from 25 to 31"},
		{block(pool("10.9.0.0/24", "10.9.0.128/25", ""), 25), "say one from 26 to 31"},
		{block(pool("10.9.0.0/24", "", ""), 32), "say one from 25 to 31"},
		{block(pool("fd00:9::/64", "", ""), 100), "say one from 118 to 127"},
		{block(pool("10.9.0.0/24", "10.9.0.4/31", ""), 31), "spec.pools[0].block: no blocks can be cut out of 10.9.0.4/31: it is too small"},
		{block(pool("10.9.0.0/24", "", ""), -1), "say one from 25 to 31"},
		{append(pool("10.9.0.0/24", "", ""), pool("10.8.0.0/24", "", "")...), "spec.pools[1]: the network has another pool of that family"},
	} {
		n := &Network{Meta{Name: "prod"}, NetworkSpec{c.pools}}
		if err := n.Check(); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, wanted %q", c.pools, err, c.want)
		}
	}
}

func TestALaterVersionIsPassedOver(t *testing.T) {
	data := `{"name":"h","shiny":1,"spec":{"room":"r","hue":"red"}}`
	h := &Host{}
	if err := Stored([]byte(data), h); err != nil || h.Spec.Room != "r" {
		t.Errorf("stored by a later version: %+v, %v", h, err)
	}
	if err := Decode([]byte(data), &Host{}); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), "/shiny") {
		t.Errorf("sent by a user: %v", err)
	}
}

// unknown are members that there are not.
func unknown(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"u%d": [], `, i)
	}
	return b.String()
}

func TestWhatCannotBeMeantNamesTheField(t *testing.T) {
	cases := []struct {
		name     string
		old, new string // in the service
		want     string
	}{
		{"name", `"name": "web"`, `"name": "Web"`, `name: "Web" is no name of a service`},
		{"unknown", `"replicas": 3`, `"replicas": 3, "replica": 1`, `/spec/replica: unknown`},
		{
			"unknown-more", `"replicas": 3,
    "set": {"CPU": 4`, `"replica": {"a": [1, {"b": {}}]}, "replicas": 3, "~/\"": "x", "set": {
  "CPUs": 4`,
			"/spec/replica: unknown object member name\n/spec/~0~1\": unknown object member name\n/spec/set: set:2:3: /CPUs: ",
		},
		{"unknown-then-twice", `"replicas": 3`, `"replicas": 3, "replica": 3, "replicas": 4`, "/spec/replica: unknown object member name\njsontext: duplicate object member name \"replicas\""},
		{"unknown-many", `"replicas": 3`, unknown(100) + `"replicas": 3`, "\n/spec/u19: unknown object member name"},
		{"twice", `"replicas": 3`, `"replicas": 3, "replicas": 4`, `duplicate`},
		{"kind", `"replicas": 3`, `"replicas": "three"`, `/spec/replicas: `},
		{"negative", `"replicas": 3`, `"replicas": -1`, `spec.replicas: -1 cannot be`},
		{"set-unknown", `"CPU": 4`, `"CPUs": 4`, `/CPUs`},
		{"set-flaw", `"Image": "shop/app:41"`, `"Image": "shop/APP:41"`, `spec.set/Containers/0/Image: `},
		{"source", `"Options": {`, `"Options": {"Files": [{"Path": "/k", "Source": "app.key"}], `, `spec.set/Containers/0/Options/Files/0: /k has a Source`},
		{"env-file", `"Options": {`, `"Options": {"EnvFiles": ["app.env"], `, `spec.set/Containers/0/Options/EnvFiles: files of this machine`},
		{"set-named", `"CPU": 4`, `"Name": "x", "CPU": 4`, `spec.set/Name: each replica is named web-SLOT`},
		{"address", `"Name": "prod"`, `"Name": "prod", "IP": "10.9.0.21"`, `spec.set/Network/IP: 10.9.0.21 cannot be that of 3 replicas`},
		{"volume", `"Size": "20g"`, `"Name": "v", "Size": "20g"`, `spec.set/Volume/Name: v cannot be that of 3 replicas`},
		{"op", `"op": "in"`, `"op": "like"`, `spec.placement.constraints[0].op: "like" is not known: take one of in, not in`},
		{"values", `"values": ["ssd"]`, `"values": []`, `spec.placement.constraints[0].values: "in" needs one value`},
		{"level", `"level": "room"`, `"level": "floor"`, `spec.placement.spread[0].level: "floor"`},
		{"idle-spread", `"maxSkew": 1`, `"maxSkew": 0`, `spec.placement.spread[0]: it has neither`},
		{"idle-affinity", `"hard": true`, `"hard": false`, `spec.placement.affinities[0]: it is neither`},
		{"weight", `"weight": 3`, `"weight": 300`, `spec.placement.preferences[0].weight: 300 cannot be`},
		{"loss", `"replicas": 3`, `"replicas": 3, "onHostLost": "panic"`, `spec.onHostLost: "panic"`},
		{"label", `"team"`, `"te am"`, `labels: `},
		{"trailing", "}\n}", "}\n} x", "invalid"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			data := strings.Replace(web, c.old, c.new, 1)
			if strings.HasPrefix(c.old, "}") {
				data = strings.TrimSuffix(web, c.old) + c.new
			}
			if data == web {
				t.Fatal("nothing was changed")
			}
			err := Decode([]byte(data), &Service{})
			if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want invalid with %q", err, c.want)
			}
		})
	}
}

func TestAFixedAddressIsNotReplacedUnfenced(t *testing.T) {
	for _, of := range []spec.Network{{IP: "10.9.0.21"}, {IP6: "fd00::21"}, {MAC: "02:42:0a:09:00:15"}} {
		for _, further := range []bool{false, true} {
			s := service(t)
			s.Spec.Replicas = 1
			if of.Name = "prod"; further {
				s.Spec.Set.Network, of.Name = spec.Network{Name: "prod"}, "other"
				s.Spec.Set.Networks = []spec.Network{of}
			} else {
				s.Spec.Set.Network = of
			}
			s.Spec.OnHostLost = Replace
			if err := s.Check(); err == nil || !strings.HasPrefix(err.Error(), "spec.onHostLost: ") {
				t.Errorf("%+v: got %v", of, err)
			}
			for _, well := range []LossPolicy{"", Keep, ReplaceFenced} {
				if s.Spec.OnHostLost = well; s.Check() != nil {
					t.Errorf("%+v, %q: %v", of, well, s.Check())
				}
			}
		}
	}
}

func TestOtherKindsAreChecked(t *testing.T) {
	cases := []struct {
		of   Resource
		want string
	}{
		{&Host{Meta: Meta{Name: "a..b"}}, "name: "},
		{&Host{Meta: Meta{Name: "h"}, Spec: HostSpec{Availability: "off"}}, "spec.availability: "},
		{&Host{Meta: Meta{Name: "h"}, Spec: HostSpec{Overcommit: Amounts{CPU: -1}}}, "spec.overcommit.cpu: "},
		{&Host{Meta: Meta{Name: "h"}, Spec: HostSpec{Taints: []Taint{{}}}}, "spec.taints[0].key: "},
		{&Host{Meta: Meta{Name: "h"}, Status: HostStatus{Capacity: Amounts{Memory: 1 << 60}}}, "status.capacity.memory: "},
		{&SetInstance{Meta: Meta{Name: "web-2"}, Spec: SetSpec{Service: "web", Slot: 1}}, "name: "},
		{&Operation{Meta: Meta{Name: "o"}, Spec: OperationSpec{Verb: "drain", On: Reference{"boats", "x"}}}, "spec.on.kind: "},
		{&Operation{Meta: Meta{Name: "o"}, Spec: OperationSpec{On: Reference{Hosts, "x"}}}, "spec.verb: "},
		{&Event{Meta: Meta{Name: "e"}, Spec: EventSpec{What: "placed"}}, "spec.on.name: "},
	}
	for _, c := range cases {
		if err := c.of.Check(); !errdefs.IsInvalidArgument(err) || !strings.Contains("\n"+err.Error(), "\n"+c.want) {
			t.Errorf("%+v: got %v, want a line with %q", c.of, err, c.want)
		}
	}
}

// TestLongestNamesAreSets shows that the last replica of the longest name is a set.
func TestLongestNamesAreSets(t *testing.T) {
	s := service(t)
	s.Name = strings.Repeat("x", longestService)
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	set := s.Named(mostReplicas)
	if err := set.Check(); err != nil {
		t.Error(err)
	}
}

// TestCodecDoesAsTheFunctions shows that what a codec knows of templates before changes nothing.
func TestCodecDoesAsTheFunctions(t *testing.T) {
	t.Parallel()
	c := NewCodec()
	web := service(t)
	instance := func(change func(*Template)) *SetInstance {
		i := &SetInstance{Meta: Meta{Name: "web-1"}, Spec: SetSpec{Service: "web", Slot: 1, Set: web.Spec.Set}}
		change(&i.Spec.Set)
		return i
	}
	inPlace := instance(func(*Template) {})
	for n, r := range []Resource{
		instance(func(*Template) {}),
		instance(func(*Template) {}),
		instance(func(t *Template) { t.CPU++ }), // shares its containers with the one before
		inPlace,
		web,
		inPlace,
	} {
		if n == 5 {
			inPlace.Spec.Set.Containers[0].Image = "other:1"
			c.Forget()
		}
		want, err := Encode(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Encode(r)
		if diff := cmp.Diff(string(want), string(got)); diff != "" || err != nil {
			t.Errorf("%d: it writes, beside the function (%v):\n%s", n, err, diff)
		}
		var read, plain SetInstance
		if err := errors.Join(c.Stored(got, &read), Stored(want, &plain)); r.Kind() == SetInstances && (err != nil || !cmp.Equal(plain, read)) {
			t.Errorf("%d: it reads, beside the function (%v):\n%s", n, err, cmp.Diff(plain, read))
		}
	}
	if err := c.Stored([]byte(`{"spec": {"set": {"CPU": "x"}}}`), &SetInstance{}); err == nil {
		t.Error("a template that is none is read")
	}
}
