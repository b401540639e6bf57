package spec

import (
	"maps"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/mosdocker/mosdocker/internal/near"
)

const origin = `{ "Name": "web", "CPU": 4, "MEM": "8g",
  "Network": {"Name": "prod", "IP": "10.9.0.21"},
  "Volume":  {"Size": "20g", "Path": "/data"},
  "Sysctls": {"net.core.somaxconn": "4096"},
  "Containers": [
    {"Index": 0, "Name": "app",  "Image": "shop/app:41",  "Options": {"CPU": 80, "MEM": 70, "Health": {"Cmd": ["CMD", "/ok"], "Interval": "1m30s"}}},
    {"Index": 1, "Name": "log",  "Image": "shop/log:7",   "Options": {"CPU": 20, "MEM": 10}} ] }`

const originYAML = `
Name: web
CPU: "4000m"
MEM: 8G
Network: {Name: prod, IP: 10.9.0.21}
Volume:
  Size: 20g
  Path: /data
Sysctls:
  net.core.somaxconn: "4096"
Containers:
- Name: app
  Image: shop/app:41
  Options:
    CPU: 80
    MEM: 70
    Health:
      Cmd: [CMD, /ok]
      Interval: 90s
- Index: 1
  Name: log
  Image: shop/log:7
  Options: {CPU: 20, MEM: 10}
`

// TestBothNotationsSayTheSame reads the set of the design in JSON and in YAML.
func TestBothNotationsSayTheSame(t *testing.T) {
	want := &Set{
		Name: "web", CPU: 4, MEM: 8 << 30,
		Network: Network{Name: "prod", IP: "10.9.0.21"},
		Volume:  &Volume{Size: 20 << 30, Path: "/data"},
		Sysctls: map[string]string{"net.core.somaxconn": "4096"},
		Containers: []Container{
			{Name: "app", Image: "shop/app:41", Options: Options{
				CPU: 80, MEM: 70, Health: &Health{Cmd: []string{"CMD", "/ok"}, Interval: Duration(90 * time.Second)},
			}},
			{Index: 1, Name: "log", Image: "shop/log:7", Options: Options{CPU: 20, MEM: 10}},
		},
	}
	for file, data := range map[string]string{"web.json": origin, "web.yaml": originYAML} {
		got, err := Decode(file, []byte(data))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", file, d)
		}
		compact, err := Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Decode(file, compact)
		if d := cmp.Diff(want, again); err != nil || d != "" {
			t.Errorf("%s: %v %s", compact, err, d)
		}
	}
}

// TestAdviceIsReachable: advice is for keys that are unknown, in the folded form.
func TestAdviceIsReachable(t *testing.T) {
	types := map[reflect.Type][]advice{
		reflect.TypeFor[Set]():       ofSet(),
		reflect.TypeFor[Options]():   append(shared(), renamed()...),
		reflect.TypeFor[Container](): append(shared(), renamed()...),
	}
	maps.Copy(types, ofParts())
	for of, list := range types {
		seen := map[string]bool{}
		for _, k := range keysOf(of) {
			seen[near.Fold(k)] = true
		}
		for _, a := range list {
			for _, key := range a.keys {
				if seen[key] || near.Fold(key) != key {
					t.Errorf("%s: advice for %s is never given", of, key)
				}
				seen[key] = true
				if got := unknown(of, key); !strings.HasSuffix(got, a.say) {
					t.Errorf("%s: %s: got %s", of, key, got)
				}
			}
		}
	}
}

// TestSharedKeysAreSentToTheTop: in the spelling of Go, of the Engine's API and of
// the flags of docker run, with the place where they belong.
func TestSharedKeysAreSentToTheTop(t *testing.T) {
	for keys, want := range map[string]string{
		"Ports ports publish --publish -p expose": "write Ports at the top of the set",
		"Hostname hostname -h":                    "write Hostname at the top of the set",
		"domainname DomainName":                   "write Hostname, with its domain, at the top of the set",
		"DNS dns --dns":                           "write DNS with its Servers at the top of the set",
		"dns-search DNSSearch":                    "write DNS with its Search at the top of the set",
		"dns-option dns_opt":                      "write DNS with its Options at the top of the set",
		"add-host extra_hosts ExtraHosts Hosts":   "write Hosts at the top of the set",
		"ip IP6 mac-address MacAddress":           "write it in Network at the top of the set",
		"NetworkMode network --net network-alias": "write Network at the top of the set",
		"Sysctls sysctl":                          "write Sysctls at the top of the set",
		"ShmSize shm-size SHM":                    "write SHM at the top of the set",
		"pid PidMode":                             "write PID at the top of the set",
	} {
		for key := range strings.FieldsSeq(keys) {
			for _, at := range []string{`"Image": "x", "` + key + `": 1`, `"Image": "x", "Options": {"` + key + `": 1}`} {
				_, err := Decode("web.json", []byte(`{"Name": "web", "Containers": [{"Name": "app", `+at+`}]}`))
				if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("%s: got %v, want only %q", key, err, want)
				}
			}
		}
	}
}

// TestLabelsAreReadByTheirForm: a set that an older release let pass is still managed.
func TestLabelsAreReadByTheirForm(t *testing.T) {
	s, err := DecodePart(`{"Name":"w","Network":{"Name":"none","IP":"x"}}`)
	if err != nil || s.Network.IP != "x" {
		t.Errorf("got %+v, %v", s, err)
	}
	c, err := DecodeContainer(`{"Name":"infra","Options":{"Restart":"sometimes","Stop":{"Grace":"0s"}}}`)
	if err != nil || c.Options.Restart != "sometimes" || *c.Options.Stop.Grace != 0 {
		t.Errorf("got %+v, %v", c, err)
	}
	for _, bad := range []string{"", "{", `{"Nam":"w"}`, `{"Name":7}`} {
		if _, err := DecodePart(bad); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q: got %v", bad, err)
		}
		if _, err := DecodeContainer(bad); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}

// TestWhatCannotBeWritten: numbers that are none do not get onto a label.
func TestWhatCannotBeWritten(t *testing.T) {
	for name, c := range map[string]Container{
		"number": {Options: Options{CPU: math.NaN()}},
		"text":   {Name: "\xff"},
		"key":    {Options: Options{Env: map[string]string{"\xff": ""}}},
		"value":  {Options: Options{Env: map[string]string{"a": "\xff"}}},
		"word":   {Options: Options{Command: []string{"\xff"}}},
	} {
		if data, err := MarshalContainer(&c); err == nil {
			t.Errorf("%s: got %s", name, data)
		}
	}
	if _, err := encode(nil, reflect.ValueOf(map[string]int{}), false); err == nil {
		t.Error("a map of numbers is written")
	}
}
