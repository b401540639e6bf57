package spec

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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
