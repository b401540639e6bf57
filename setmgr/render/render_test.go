package render_test

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/setmgr/label"
	"github.com/mosdocker/mosdocker/setmgr/render"
	"github.com/mosdocker/mosdocker/setmgr/spec"
)

var (
	old    = render.Facts{API: "1.41", CgroupDriver: "cgroupfs", CgroupVersion: 1}
	newest = render.Facts{API: "1.50", CgroupDriver: "systemd", CgroupVersion: 2}
)

func duration(s string) spec.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		panic(err)
	}
	return spec.Duration(d)
}

// web is a set with a bit of everything that engines from 20.10 on can do, on the
// networks of the real tests.
func web() spec.Set {
	grace := duration("1500ms")
	return spec.Set{
		Name: "web", CPU: 4, MEM: 8 << 30,
		Network:  spec.Network{Name: "prod", IP: "10.99.0.21", IP6: "fd00:99::21", Aliases: []string{"www", "shop"}},
		Volume:   &spec.Volume{Driver: "local", Path: "/data"},
		DNS:      spec.DNS{Servers: []string{"10.99.0.3", "fd00:99::3"}, Search: []string{"example.org"}, Options: []string{"ndots:2"}},
		Hosts:    map[string]string{"db": "10.99.0.9", "six": "fd00:99::9"},
		Ports:    []string{"80", "8080:81", "127.0.0.1:8443:443", "[::1]:8053:53/udp", "9000-9002:9000-9002", "7000-7010:70", "127.0.0.1::90"},
		SHM:      256 << 20,
		Sysctls:  map[string]string{"net.core.somaxconn": "4096", "kernel.msgmax": "65536", "net.ipv4.tcp_rmem": "4096 87380 8388608"},
		Labels:   map[string]string{"team": "shop", "mos.role": "liar"},
		Hostname: "web-1",
		Containers: []spec.Container{
			{Name: "plain", Image: "mos-test:1"},
			{Index: 1, Name: "app", Image: "mos-test:1", Options: spec.Options{
				CPU: 80, MEM: 70, Command: []string{"--serve", "a b", "", "it's"}, Entrypoint: []string{"/bin/sh", "-c"},
				Env:  map[string]string{"A": "1", "EMPTY": "", "LINES": "one\ntwo", "QUOTE": `"$x" 'y' \`},
				User: "1000:1000", Groups: []string{"42", "audio"}, WorkDir: "/srv/a b", TTY: true,
				Mounts: []spec.Mount{
					{Path: "/var/data", ReadOnly: true},
					{Type: spec.MountBind, Source: "/etc", Path: `/mnt/a,b"c`, ReadOnly: true},
					{Type: spec.MountVolume, Source: "other", Path: "/other"},
					{Type: spec.MountTmpfs, Path: "/tmp", Size: 64 << 20},
					{Type: spec.MountTmpfs, Path: "/run"},
				},
				Ulimits: map[string]string{"nofile": "1024:2048", "nproc": "512", "core": "-1"},
				CapAdd:  []string{"net_admin", "CAP_SYS_PTRACE"}, CapDrop: []string{"ALL"},
				Devices:     []string{"/dev/null", "/dev/zero:/dev/nil", "/dev/full:/dev/voll:r", "/dev/random:rw"},
				SecurityOpt: []string{"no-new-privileges", "systempaths=unconfined", "seccomp=unconfined"},
				ReadOnly:    true, Init: true, PIDs: 100, OOMScoreAdj: 300,
				Health:  &spec.Health{Cmd: []string{"CMD-SHELL", "test -e /tmp/ok || exit 1"}, Interval: duration("1m30s"), Timeout: duration("2s"), StartPeriod: duration("5s"), Retries: 4},
				Restart: "on-failure:3", Stop: spec.Stop{Signal: "SIGINT", Grace: &grace},
				Log:    spec.Log{Driver: "json-file", Options: map[string]string{"max-size": "10m", "max-file": "3"}},
				Labels: map[string]string{"tier": "front", "mos.set": "liar", "text": `{"a": 'b'}`},
			}},
			{Index: 2, Name: "job", Image: "mos-test:1", Options: spec.Options{
				Once: true, Cores: 0.001, Memory: 64 << 20, Command: []string{"true"}, Entrypoint: []string{""},
				Health: &spec.Health{Cmd: []string{"NONE"}}, Log: spec.Log{Driver: "none"},
			}},
			{Index: 2, Name: "strong", Image: "mos-test:1", Options: spec.Options{
				CPU: 20, Privileged: true, Restart: "unless-stopped", CapAdd: []string{"ALL"}, Health: &spec.Health{Interval: duration("10s")},
			}},
		},
	}
}

// modern is a set with what needs newer engines.
func modern() spec.Set {
	return spec.Set{
		Name: "Modern-1.x", Infra: spec.Infra{Image: "mos-test:1", Privileged: true}, PID: true,
		Network:     spec.Network{Name: "prod", MAC: "02:42:0a:63:00:30", Options: map[string]string{"mos.a": "b,c", "mos.b": "d"}},
		Volume:      &spec.Volume{Name: "shared", Driver: "local"},
		Annotations: map[string]string{"io.containerd.runc.v2.group": "modern"},
		Containers: []spec.Container{{Name: "app", Image: "mos-test:1", Options: spec.Options{
			Mounts:      []spec.Mount{{Type: spec.MountSet, Path: "/logs", Subpath: "logs/app"}},
			Annotations: map[string]string{"org.systemd.property.MemoryHigh": "1"},
			SecurityOpt: []string{"seccomp=builtin"},
			Devices:     []string{"vendor.com/class=name"},
		}}},
	}
}

// all renders a set whole; infra is what its members are beside.
func all(tb testing.TB, s spec.Set, f render.Facts, infra string) []render.Create {
	tb.Helper()
	c, err := render.Infra(s, f)
	if err != nil {
		tb.Fatal(err)
	}
	if c.Config.Image == "" {
		c.Config.Image = "mos-infra:1"
	}
	out := []render.Create{c}
	for i, m := range s.Containers {
		c, err := render.Member(s, m, f, infra, m.Image, i+1)
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

func TestLinesOfDocker(t *testing.T) {
	host := spec.Set{Name: "h", Network: spec.Network{Name: "host"}}
	for _, tc := range []struct {
		name  string
		set   spec.Set
		facts render.Facts
	}{{"web", web(), old}, {"modern", modern(), newest}, {"host", host, old}} {
		var b strings.Builder
		for _, c := range all(t, tc.set, tc.facts, "3f2a") {
			// What stands in these is package spec's business.
			c.Config.Labels[label.Hash], c.Config.Labels[label.Spec] = "HASH", "SPEC"
			for _, lost := range c.Lost() {
				b.WriteString("# " + lost + "\n")
			}
			argv := c.Args()
			flags := slices.IndexFunc(argv[1:], func(a string) bool { return !strings.HasPrefix(a, "--") }) + 1
			b.WriteString("docker create")
			for _, a := range argv[1:flags] {
				b.WriteString(" \\\n  " + render.Line([]string{a}))
			}
			b.WriteString(" \\\n  " + render.Line(argv[flags:]) + "\n\n")
		}
		testx.Golden(t, tc.name+".sh", b.String())
	}
}

func TestLabelsOfOursWinAndTellTheSpec(t *testing.T) {
	s := web()
	cs := all(t, s, old, "3f2a")
	l := cs[0].Config.Labels
	if l[label.Role] != label.RoleInfra || l["team"] != "shop" || l[label.Hash] != spec.HashSet(s) || strings.Contains(l[label.Spec], "app") {
		t.Errorf("got %v", l)
	}
	l = cs[2].Config.Labels
	if l[label.Set] != "web" || l[label.Member] != "app" || l[label.Index] != "1" || l[label.Rev] != "2" || l[label.Hash] != spec.HashContainer(s.Containers[1]) {
		t.Errorf("got %v", l)
	}
	if s.Labels["mos.role"] != "liar" || s.Containers[1].Options.Labels["mos.set"] != "liar" {
		t.Error("the spec was changed")
	}
}

func TestLimitsAreOfTheSet(t *testing.T) {
	cs := all(t, web(), old, "3f2a")
	var got [][4]int64
	for _, c := range cs {
		if c.Host.NanoCPUs != 0 || c.Host.Memory != c.Host.MemorySwap || c.Host.CgroupParent != "/mosset.slice/mosset-web.slice" {
			t.Errorf("%s: got %+v", c.Name, c.Host.Resources)
		}
		got = append(got, [4]int64{c.Host.CPUPeriod, c.Host.CPUQuota, c.Host.CPUShares, c.Host.Memory})
	}
	want := [][4]int64{
		{100000, 400000, 0, 8 << 30}, // the total, which is recorded here
		{},
		{100000, 320000, 819, 8 << 30 * 70 / 100},
		{100000, 1000, 3, 64 << 20}, // a hundredth is the least that engines take
		{100000, 80000, 205, 0},
	}
	for i := range want {
		// A percent of memory is rounded in package spec.
		if d := got[i][3] - want[i][3]; d < -1<<20 || d > 1<<20 {
			t.Errorf("%s: got %d bytes, want %d", cs[i].Name, got[i][3], want[i][3])
		}
		got[i][3] = want[i][3]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSetsVolumeIsMountedOnce(t *testing.T) {
	for _, tc := range []struct {
		mounts []spec.Mount
		want   []string // target of mounts of the set's volume
	}{
		{nil, []string{"/data"}},
		{[]spec.Mount{{Type: spec.MountTmpfs, Path: "/tmp"}}, []string{"/data"}},
		{[]spec.Mount{{Path: "/a"}, {Type: spec.MountSet, Path: "/b"}}, []string{"/a", "/b"}},
	} {
		s := web()
		c, err := render.Member(s, spec.Container{Name: "c", Options: spec.Options{Mounts: tc.mounts}}, old, "3f2a", "i", 1)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range c.Host.Mounts {
			if m.Source == "web-data" {
				got = append(got, m.Target)
			}
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%v: got %v, want %v", tc.mounts, got, tc.want)
		}
	}
}

func TestOldEnginesGetNoAnnotations(t *testing.T) {
	s := spec.Set{Name: "s", Annotations: map[string]string{"a": "b"}}
	for api, want := range map[string]bool{"1.41": false, "1.9": false, "1.43": true, "1.100": true, "2.0": true, "": false} {
		c, err := render.Infra(s, render.Facts{API: api})
		if err != nil {
			t.Fatal(err)
		}
		if got := len(c.Host.Annotations) > 0; got != want {
			t.Errorf("API %q: got annotations: %t", api, got)
		}
	}
}

func TestWhatCannotBeIsRefusedByName(t *testing.T) {
	infra := func(change func(*spec.Set)) error {
		s := web()
		change(&s)
		_, err := render.Infra(s, old)
		return err
	}
	member := func(o spec.Options) error {
		_, err := render.Member(web(), spec.Container{Name: "app", Options: o}, old, "3f2a", "i", 1)
		return err
	}
	_, noVolume := render.Member(spec.Set{Name: "bare"}, spec.Container{Name: "app", Options: spec.Options{Mounts: []spec.Mount{{Path: "/x"}}}}, old, "3f2a", "i", 1)
	for _, tc := range []struct {
		err  error
		want string
	}{
		{infra(func(s *spec.Set) { s.Network.MAC = "02:42:0a:63:00:30" }), "Engine 25"},
		{infra(func(s *spec.Set) { s.Network.MAC = "x" }), "set web: MAC address .x. is not"},
		{infra(func(s *spec.Set) { s.Network.IP = "10.9" }), "set web: address in network prod: .10.9. is not"},
		{infra(func(s *spec.Set) { s.DNS.Servers = []string{"ns"} }), "DNS server of set web"},
		{infra(func(s *spec.Set) { s.Ports = []string{"80:x"} }), "port .80:x. of set web"},
		{member(spec.Options{Mounts: []spec.Mount{{Path: "/x", Subpath: "y"}}}), "Engine 26"},
		{member(spec.Options{Mounts: []spec.Mount{{Path: "/x", Type: "nfs"}}}), "nfs"},
		{noVolume, "set bare has no volume"},
		{member(spec.Options{Ulimits: map[string]string{"files": "1"}}), "limit of container app"},
		{member(spec.Options{Devices: []string{"/dev/a:/dev/b:rr"}}), "device of container app"},
		{member(spec.Options{Devices: []string{"null"}}), "device of container app"},
		{member(spec.Options{SecurityOpt: []string{"seccomp=p.json"}}), "seccomp"},
		{member(spec.Options{Restart: "sometimes"}), "restart policy of container app"},
		{member(spec.Options{Restart: "on-failure:x"}), "restart policy of container app"},
	} {
		if tc.err == nil || !regexp.MustCompile(tc.want).MatchString(tc.err.Error()) {
			t.Errorf("got %v, want %s", tc.err, tc.want)
		}
	}
}

func TestLostTellsWhatTheLineCannot(t *testing.T) {
	s := spec.Set{Name: "s", Network: spec.Network{Name: "Prod", Options: map[string]string{"a": "b"}}}
	c, err := render.Infra(s, old)
	if err != nil {
		t.Fatal(err)
	}
	m, err := render.Member(s, spec.Container{Name: "c", Options: spec.Options{Health: &spec.Health{Cmd: []string{"CMD", "/ok", "a b"}}}}, old, "3f2a", "i", 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Lost()) != 1 || len(m.Lost()) != 1 || !slices.Contains(m.Args(), "--health-cmd=/ok 'a b'") {
		t.Errorf("got %q, %q, %q", c.Lost(), m.Lost(), m.Args())
	}
}

func TestParentsAreSlicesOfTheirOwn(t *testing.T) {
	for _, tc := range []struct{ name, systemd string }{
		{"web", "mosset-web.slice"},
		{"web_1", "mosset-web_1.slice"},
		{"web-1", "mosset-web_1_c4719afa.slice"},
		{"web.1", "mosset-web_1_f2059589.slice"},
		{"Web", "mosset-web_29751047.slice"},
	} {
		if got := render.Parent(newest, tc.name); got != tc.systemd {
			t.Errorf("%s: got %s, want %s", tc.name, got, tc.systemd)
		}
		if got := render.Parent(old, tc.name); got != "/mosset.slice/"+tc.systemd {
			t.Errorf("%s: got %s", tc.name, got)
		}
	}
	form := regexp.MustCompile(`^mosset-[a-z0-9_]{1,120}\.slice$`)
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(rapid.StringMatching(`[a-zA-Z0-9][a-zA-Z0-9_.-]{0,6}`), rapid.StringMatching(`[ab]{60,130}`)).Draw(t, "name")
		p := render.Parent(newest, name)
		if !form.MatchString(p) {
			t.Fatalf("got %s", p)
		}
		// No other name has it: not one written like it either.
		other := strings.TrimSuffix(strings.TrimPrefix(p, "mosset-"), ".slice")
		if other != name && render.Parent(newest, other) == p {
			t.Fatalf("%s and %s are both in %s", name, other, p)
		}
	})
}

func TestShReadsLinesAsTheyWere(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.OneOf(rapid.StringMatching(`--[a-z-]+=[ -~\n]*`), rapid.StringMatching(`[ -~\n]*`))
		argv := rapid.SliceOfN(word, 1, 4).Draw(t, "argv")
		out, err := exec.CommandContext(t.Context(), sh, "-c", "printf '%s\\0' "+render.Line(argv)).Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"); !slices.Equal(got, argv) {
			t.Fatalf("got %q, want %q", got, argv)
		}
	})
}
