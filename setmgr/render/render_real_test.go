package render_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/moby/client"
	"pgregory.net/rapid"

	"github.com/mosdocker/mosdocker/setmgr/render"
	"github.com/mosdocker/mosdocker/setmgr/spec"
	"github.com/mosdocker/mosdocker/test/rig"
)

// engine is a real one, with what it is asked by its API.
type engine struct {
	*rig.Host
	api   *client.Client
	facts render.Facts
}

func open(t *testing.T, e rig.Engine) *engine {
	t.Helper()
	h := &engine{Host: rig.New(t, rig.Config{Engine: e}).Host(1)}
	h.MustDocker(t, "network", "create", "--subnet=10.99.0.0/24", "--ipv6", "--subnet=fd00:99::/64", "prod")
	var err error
	if h.api, err = client.New(client.WithHost("unix://" + h.Socket())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.api.Close() })
	ping, err := h.api.Ping(t.Context(), client.PingOptions{NegotiateAPIVersion: true})
	if err != nil {
		t.Fatal(err)
	}
	info, err := h.api.Info(t.Context(), client.InfoOptions{})
	if err != nil {
		t.Fatal(err)
	}
	h.facts = render.Facts{API: ping.APIVersion, CgroupDriver: info.Info.CgroupDriver}
	t.Logf("%+v", h.facts)
	return h
}

func (h *engine) create(ctx context.Context, c render.Create) (string, error) {
	r, err := h.api.ContainerCreate(ctx, client.ContainerCreateOptions{Name: c.Name, Config: c.Config, HostConfig: c.Host, NetworkingConfig: c.Net})
	return r.ID, err
}

// inspect is what docker inspect tells of a container, without what is another for
// each, and without what is empty: engines keep nothing, no elements and null apart
// as they came, and treat them the same.
func (h *engine) inspect(t *testing.T, name string) any {
	t.Helper()
	var list []map[string]any
	if err := json.Unmarshal([]byte(h.MustDocker(t, "inspect", name)), &list); err != nil {
		t.Fatal(err)
	}
	c := list[0]
	id, _ := c["Id"].(string)
	for _, k := range []string{"Id", "Created", "GraphDriver", "Storage", "State", "ResolvConfPath", "HostnamePath", "HostsPath", "LogPath"} {
		delete(c, k)
	}
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	text := strings.ReplaceAll(strings.ReplaceAll(string(data), id, "ID"), id[:12], "ID")
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	pruned := prune(out)
	sorted(pruned, "Mounts")
	sorted(pruned, "Config", "Env")
	return pruned
}

// sorted sorts a list that engines give in the order of a map.
func sorted(v any, path ...string) {
	m, _ := v.(map[string]any)
	for _, k := range path[:len(path)-1] {
		m, _ = m[k].(map[string]any)
	}
	list, _ := m[path[len(path)-1]].([]any)
	slices.SortFunc(list, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
}

func prune(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			if e = prune(e); e != nil {
				out[k] = e
			}
		}
		if len(out) > 0 {
			return out
		}
		return nil
	case []any:
		if len(v) > 0 {
			return v
		}
		return nil
	case string:
		if v == "" {
			return nil
		}
	}
	return v
}

// same makes a container by the API, and by docker, and compares them.
func (h *engine) same(t *testing.T, c render.Create) {
	t.Helper()
	_, err := h.create(t.Context(), c)
	if err != nil {
		t.Fatalf("%s by the API: %v", c.Name, err)
	}
	byAPI := h.inspect(t, c.Name)
	h.MustDocker(t, "rm", c.Name)
	if _, err := h.Docker(c.Args()...); err != nil {
		t.Fatalf("%s: %v\n%s", c.Name, err, render.Line(c.Args()))
	}
	byLine := h.inspect(t, c.Name)
	h.MustDocker(t, "rm", c.Name)
	if diff := cmp.Diff(byAPI, byLine); diff != "" {
		t.Errorf("%s differs (-by the API +by docker):\n%s\n%s", c.Name, diff, render.Line(c.Args()))
	}
}

func TestLineMakesTheSameContainerAsTheAPI(t *testing.T) {
	seeds := 6
	if os.Getenv("MOS_FULL") != "" {
		seeds = 24
	}
	for _, e := range rig.Engines() {
		t.Run(string(e), func(t *testing.T) {
			h := open(t, e)
			infra := h.MustDocker(t, "create", rig.Image)
			sets := []spec.Set{
				web(),
				{Name: "host", Network: spec.Network{Name: "host"}},
				{Name: "none", Network: spec.Network{Name: "none"}, Infra: spec.Infra{Image: rig.Image}, PID: true, Containers: []spec.Container{{Name: "c", Image: rig.Image}}},
				{Name: "default", Network: spec.Network{Options: map[string]string{"a.b": "c"}}},
				{Name: "opts", Network: spec.Network{Name: "prod", IP: "10.99.0.40", Options: map[string]string{"a.b": "c,d", "e": "f=g"}}},
			}
			if h.facts.AtLeast("1.45") {
				s := modern()
				s.Infra.Privileged = false
				sets = append(sets, modern(), s)
			}
			for _, s := range sets {
				for _, c := range all(t, s, h.facts, infra) {
					t.Run(c.Name, func(t *testing.T) {
						if c.Config.Image == "mos-infra:1" {
							c.Config.Image = rig.Image
						}
						h.same(t, c)
					})
				}
			}
			for seed := range seeds {
				s := anySet().Example(seed)
				for _, c := range all(t, s, h.facts, infra) {
					t.Run(fmt.Sprint("seed", seed), func(t *testing.T) {
						if c.Config.Image == "mos-infra:1" {
							c.Config.Image = rig.Image
						}
						h.same(t, c)
					})
				}
			}
		})
	}
}

func TestRenderedSetRuns(t *testing.T) {
	for _, e := range rig.Engines() {
		t.Run(string(e), func(t *testing.T) {
			h := open(t, e)
			h.facts.Unprotected = !protects(t, h.Pid(rig.Dockerd))
			s := web()
			s.CPU, s.MEM = 1, 512<<20
			s.Infra.Image = rig.Image // its shell waits at a terminal
			app := s.Containers[1]
			app.Options = spec.Options{
				CPU: 50, MEM: 25, Entrypoint: []string{"sh", "-c"}, Command: []string{"exec sleep 1000"}, User: "1:1", TTY: true,
				Mounts: []spec.Mount{{Path: "/var/data", ReadOnly: true}, {Type: spec.MountTmpfs, Path: `/a,b"c`, Size: 1 << 20}},
			}
			s.Containers = []spec.Container{s.Containers[0], app}
			infra := ""
			for _, c := range all(t, s, h.facts, render.InfraName(s.Name)) {
				id, err := h.create(t.Context(), c)
				if err != nil {
					t.Fatal(err)
				}
				h.MustDocker(t, "start", id)
				if infra == "" {
					infra = id
				}
			}
			for _, q := range []struct{ who, ask, want string }{
				{"web.app", "id -u; hostname; cat /proc/sys/net/core/somaxconn /proc/sys/kernel/msgmax", "1\nweb-1\n4096\n65536"},
				{"web.app", "cat /etc/hosts | grep 10.99.0.9; df -P /dev/shm | grep -c 262144", "10.99.0.9\tdb\n1"},
				{"web.app", "touch /var/data/x 2>/dev/null || echo read-only; df -P | grep -c 'a,b'", "read-only\n1"},
				{"web.plain", "echo hi >/data/x", ""},
				{"web.app", "cat /var/data/x", "hi"},
				{"web.infra", "cat /mnt/set/x", "hi"},
				{"web.app", "grep -o '/mosset.slice/mosset-web.slice/.*' /proc/1/cgroup | sort -u | wc -l", "1"},
			} {
				if got := h.MustDocker(t, "exec", q.who, "sh", "-c", q.ask); got != q.want {
					t.Errorf("%s: %s: got %q, want %q", q.who, q.ask, got, q.want)
				}
			}
			if got := h.MustDocker(t, "inspect", "-f", "{{.State.Status}} {{.RestartCount}}", "web.infra", "web.plain", "web.app"); got != "running 0\nrunning 0\nrunning 0" {
				t.Errorf("got %q", got)
			}
			// The id that the name stood for when it was made.
			if got := h.MustDocker(t, "inspect", "-f", "{{.HostConfig.NetworkMode}}", "web.app"); got != "container:"+infra {
				t.Errorf("got %s", got)
			}
			// What was made so can be resized, which NanoCPUs would make impossible.
			h.MustDocker(t, "update", "--cpu-period=100000", "--cpu-quota=70000", "--memory=256m", "--memory-swap=256m", "web.app")
		})
	}
}

// protects says whether an Engine may lower the oom-score-adj of a process.
func protects(t *testing.T, pid int) bool {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, caps, _ := strings.Cut(string(status), "CapEff:")
	mask, err := strconv.ParseUint(strings.Fields(caps)[0], 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	const sysResource = 24
	return mask>>sysResource&1 == 1
}

// anySet is sets of one member that all engines take.
func anySet() *rapid.Generator[spec.Set] {
	text := rapid.StringMatching(`[ -~]{0,8}`)
	word := rapid.StringMatching(`[a-z][a-z0-9]{0,5}`)
	pick := func(from ...string) *rapid.Generator[string] { return rapid.SampledFrom(from) }
	few := func(g *rapid.Generator[string]) *rapid.Generator[[]string] {
		return rapid.SliceOfNDistinct(g, 0, 3, rapid.ID)
	}
	pairs := func(k, v *rapid.Generator[string]) *rapid.Generator[map[string]string] {
		return rapid.MapOfN(k, v, 0, 3)
	}
	return rapid.Custom(func(t *rapid.T) spec.Set {
		grace := spec.Duration(rapid.IntRange(0, 1e10).Draw(t, "grace"))
		o := spec.Options{
			CPU: rapid.Float64Range(0, 100).Draw(t, "cpu"), MEM: rapid.Float64Range(1, 100).Draw(t, "mem"),
			Command: rapid.SliceOfN(text, 0, 3).Draw(t, "cmd"),
			Env:     pairs(word, text).Draw(t, "env"), User: pick("", "0", "1:2", "nobody").Draw(t, "user"),
			Groups: few(word).Draw(t, "groups"), WorkDir: pick("", "/", "/a b", "/x,y").Draw(t, "dir"), TTY: rapid.Bool().Draw(t, "tty"),
			Ulimits: pairs(pick("nofile", "nproc", "core", "memlock"), pick("1", "5:7", "-1")).Draw(t, "ulimits"),
			CapAdd:  few(pick("net_raw", "CAP_CHOWN", "all", "Kill")).Draw(t, "add"), CapDrop: few(pick("mknod", "SETUID")).Draw(t, "drop"),
			SecurityOpt: few(pick("no-new-privileges", "no-new-privileges:true", "apparmor=unconfined", "seccomp=unconfined", "systempaths=unconfined", "label=disable")).Draw(t, "security"),
			ReadOnly:    rapid.Bool().Draw(t, "ro"), Privileged: rapid.Bool().Draw(t, "privileged"), Init: rapid.Bool().Draw(t, "init"),
			PIDs: rapid.IntRange(0, 3).Draw(t, "pids"), OOMScoreAdj: rapid.IntRange(-1000, 1000).Draw(t, "oom"),
			Once: rapid.Bool().Draw(t, "once"), Restart: pick("", "no", "always", "unless-stopped", "on-failure", "on-failure:7").Draw(t, "restart"),
			Stop:   spec.Stop{Signal: pick("", "SIGUSR1", "9").Draw(t, "signal"), Grace: rapid.SampledFrom([]*spec.Duration{nil, &grace}).Draw(t, "grace?")},
			Labels: pairs(word, text).Draw(t, "labels"),
		}
		if rapid.Bool().Draw(t, "entry") {
			o.Entrypoint, o.Command = []string{"sh"}, append([]string{"-c"}, o.Command...)
		}
		for _, p := range few(pick("/a", "/b c", `/d"e`, "/f,g")).Draw(t, "mounts") {
			m := spec.Mount{Path: p, ReadOnly: rapid.Bool().Draw(t, "ro")}
			m.Type = rapid.SampledFrom([]spec.MountType{"", spec.MountSet, spec.MountBind, spec.MountVolume, spec.MountTmpfs}).Draw(t, "type")
			switch m.Type {
			case spec.MountBind:
				m.Source = pick("/", "/etc", "/proc").Draw(t, "source")
			case spec.MountVolume:
				m.Source = pick("v1", "v-2").Draw(t, "source")
			case spec.MountTmpfs:
				m.Size = spec.Bytes(rapid.IntRange(0, 1<<30).Draw(t, "size"))
			case spec.MountSet:
			}
			o.Mounts = append(o.Mounts, m)
		}
		if rapid.Bool().Draw(t, "health?") {
			o.Health = &spec.Health{
				Cmd:      rapid.SampledFrom([][]string{nil, {"NONE"}, {"CMD-SHELL", `a "b" 'c'`}}).Draw(t, "health"),
				Interval: spec.Duration(rapid.IntRange(1e6, 1e11).Draw(t, "interval")), Retries: rapid.IntRange(0, 5).Draw(t, "retries"),
			}
			if len(o.Health.Cmd) == 1 {
				*o.Health = spec.Health{Cmd: o.Health.Cmd}
			}
		}
		return spec.Set{
			Name: pick("s1", "S-2", "s_3.x").Draw(t, "name"), CPU: spec.Cores(rapid.IntRange(1, 900).Draw(t, "cores")) / 100, MEM: spec.Bytes(rapid.IntRange(1<<30, 1<<34).Draw(t, "memory")),
			Volume: &spec.Volume{Driver: "local", Path: pick("", "/data").Draw(t, "path")},
			Ports:  few(pick("80", "81:82/tcp", "[::]:83:84/udp", "85-86:87-88", "90-99:89")).Draw(t, "ports"), SHM: spec.Bytes(rapid.IntRange(0, 1<<28).Draw(t, "shm")),
			DNS: spec.DNS{Servers: few(pick("8.8.8.8", "::1")).Draw(t, "dns"), Options: few(word).Draw(t, "dnsopt")}, Hosts: pairs(word, pick("1.2.3.4", "fd00::1")).Draw(t, "hosts"),
			Labels: pairs(word, text).Draw(t, "setlabels"), PID: rapid.Bool().Draw(t, "pid"),
			Containers: []spec.Container{{Index: rapid.IntRange(0, 9).Draw(t, "index"), Name: pick("c", "D-1").Draw(t, "member"), Image: rig.Image, Options: o}},
		}
	})
}
