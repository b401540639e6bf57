package setting

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// The table in the docs is what the code prints; MOS_UPDATE=1 writes it.
func TestTableInDocs(t *testing.T) {
	const path = "../../docs/cgroup-settings.md"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- table -->\n", "<!-- end of table -->\n"
	before, rest, ok := strings.Cut(string(b), begin)
	_, after, also := strings.Cut(rest, end)
	if !ok || !also {
		t.Fatalf("%s has no place for the table", path)
	}
	want := before + begin + Doc() + end + after
	if os.Getenv("MOS_UPDATE") != "" {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(want, string(b)); d != "" {
		t.Errorf("run MOS_UPDATE=1 go test ./setmgr/setting: %s", d)
	}
}

func TestValuesAreKeptInOneForm(t *testing.T) {
	for _, tt := range []struct{ name, value, want string }{
		{"memory.high", "1g", "1073741824"},
		{"memory.high", "max", "max"},
		{"memory.min", "0", "0"},
		{"cpu.weight", " 0200 ", "200"},
		{"cpuset.cpus", "6,0-2,1,3", "0-3,6"},
		{"cpuset.cpus.partition", "isolated", "isolated"},
		{"hugetlb.2MB.max", "4m", "4194304"},
		{"hugetlb.1GB.rsvd.max", "max", "max"},
		{"io.max", "/dev/vda  wbps=1m riops=5,8:0 rbps=max", "/dev/vda wbps=1048576 riops=5, 8:0 rbps=max"},
		{"io.latency", "8:0 target=10000", "8:0 target=10000"},
		{"io.weight", "50", "default 50"},
		{"io.weight", "default 50, /dev/vda 20", "default 50, /dev/vda 20"},
		{"pids.max", "100", "100"},
	} {
		got, err := Parse(tt.name, tt.value)
		if err != nil || got != tt.want {
			t.Errorf("%s=%s: got %q, %v, want %q", tt.name, tt.value, got, err, tt.want)
			continue
		}
		if again, err := Parse(tt.name, got); err != nil || again != got {
			t.Errorf("%s: %q is read as %q, %v", tt.name, got, again, err)
		}
	}
}

func TestWhatCannotBeMeantIsRefused(t *testing.T) {
	for _, tt := range []struct{ name, value, want string }{
		{"cpu.brust", "1", "did you mean cpu.max.burst?"},
		{"memory-high", "1", "did you mean memory.high?"},
		{"cpu.max", "1", "docker update --cpus"},
		{"cpu.shares", "1", "write cpu.weight"},
		{"blkio.throttle.read_bps_device", "1", "write io.max"},
		{"hugetlb.2XB.max", "1", "such as hugetlb.2MB.max"},
		{"hugetlb.SIZE.max", "1", "such as hugetlb.2MB.max"},
		{"nonsense", "1", "there are cpu.idle, "},
		{"memory.high", "0", "would stop all"},
		{"memory.high", "-1", "no size"},
		{"memory.high", "", "no size"},
		{"memory.high", "1x", "no size"},
		{"cpu.weight", "0", "no number from 1 to 10000"},
		{"cpu.weight", "10001", "no number"},
		{"cpu.idle", "yes", "none of 0, 1"},
		{"cpuset.cpus", "3-1", "no list"},
		{"cpuset.cpus", "", "no list"},
		{"cpuset.cpus", "0-99999", "no list"},
		{"hugetlb.2MB.max", "3m", "no whole pages"},
		{"io.max", "/dev/vda", "not of the form DEVICE rbps=VALUE"},
		{"io.max", "vda wbps=1", "no device"},
		{"io.max", "/dev/../etc wbps=1", "no device"},
		{"io.max", "8:0 wbps=1 wbps=2", "stands here twice"},
		{"io.max", "8:0 wps=1", "none of rbps=VALUE"},
		{"io.max", "8:0 wiops=0", "no number"},
		{"io.max", "8:0 wbps=0", "would stop all"},
		{"io.weight", "50, default 60", "stands here twice"},
		{"io.weight", "8:0 5 6", "neither a weight"},
		{"pids.max", "0", "nor max"},
	} {
		got, err := Parse(tt.name, tt.value)
		if err == nil || !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s=%s: got %q, %v, want %q", tt.name, tt.value, got, err, tt.want)
		}
	}
	for _, m := range []map[string]string{
		{"cpu.weight": "5", "cpu.idle": "1"},
		{"memory.low": "10", "memory.high": "9"},
		{"memory.min": "max", "memory.high": "9"},
	} {
		if err := Clash(m); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%v: %v", m, err)
		}
	}
	for _, m := range []map[string]string{{"cpu.weight": "5", "cpu.idle": "0"}, {"memory.low": "9", "memory.high": "10"}, {"memory.min": "max", "memory.high": "max"}, {}} {
		if err := Clash(m); err != nil {
			t.Errorf("%v: %v", m, err)
		}
	}
}

func number(d string) (string, error) {
	if d == "/dev/gone" {
		return "", errors.New("it is gone")
	}
	return strings.Replace(d, "/dev/vda", "254:0", 1), nil
}

// lines are atoms as CONTROLLER/FILE: TEXT.
func lines(t *testing.T, version int, name, value string) string {
	t.Helper()
	v, err := Parse(name, value)
	if err != nil {
		t.Fatal(err)
	}
	atoms, err := Atoms(version, name, v, number)
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, a := range atoms {
		out = append(out, a.Controller+"/"+a.File+": "+a.Text(a.Value))
	}
	return strings.Join(out, "; ")
}

func TestSettingsOnBothVersions(t *testing.T) {
	const no1 = "the host's cgroups are of version 1"
	for _, tt := range []struct{ name, value, v2, v1 string }{
		{"cpu.idle", "1", "cpu/cpu.idle: 1", "cpu/cpu.idle: 1"},
		{"cpu.max.burst", "500", "cpu/cpu.max.burst: 500", "cpu/cpu.cfs_burst_us: 500"},
		{"cpu.weight", "100", "cpu/cpu.weight: 100", "cpu/cpu.shares: 1024"},
		{"cpu.weight", "1", "cpu/cpu.weight: 1", "cpu/cpu.shares: 10"},
		{"cpuset.cpus", "0,1", "cpuset/cpuset.cpus: 0-1", "cpuset/cpuset.cpus: 0-1"},
		{"cpuset.cpus.partition", "root", "cpuset/cpuset.cpus.partition: root", no1},
		{"hugetlb.2MB.max", "4m", "hugetlb/hugetlb.2MB.max: 4194304", "hugetlb/hugetlb.2MB.limit_in_bytes: 4194304"},
		{"hugetlb.2MB.rsvd.max", "max", "hugetlb/hugetlb.2MB.rsvd.max: max", "hugetlb/hugetlb.2MB.rsvd.limit_in_bytes: -1"},
		{"io.latency", "8:0 target=5", "io/io.latency: 8:0 target=5", no1},
		{"io.max", "/dev/vda wbps=1k riops=max", "io/io.max: 254:0 wbps=1024; io/io.max: 254:0 riops=max", "blkio/blkio.throttle.write_bps_device: 254:0 1024; blkio/blkio.throttle.read_iops_device: 254:0 0"},
		{"io.max", "/dev/gone wbps=1", "io.max: it is gone", "io.max: it is gone"},
		{"io.prio.class", "idle", "io/io.prio.class: idle", "blkio/blkio.prio.class: idle"},
		{"io.weight", "500, /dev/vda 20", "io/io.weight: default 500; io/io.weight: 254:0 20", "blkio/blkio.bfq.weight: 500; blkio/blkio.bfq.weight_device: 254:0 20"},
		{"io.weight", "1001", "io/io.weight: default 1001", "BFQ takes 1 to 1000"},
		{"memory.high", "1k", "memory/memory.high: 1024", no1},
		{"memory.low", "1k", "memory/memory.low: 1024", "memory/memory.soft_limit_in_bytes: 1024"},
		{"memory.low", "0", "memory/memory.low: 0", "memory/memory.soft_limit_in_bytes: -1"},
		{"memory.min", "1k", "memory/memory.min: 1024", no1},
		{"memory.oom.group", "1", "memory/memory.oom.group: 1", no1},
		{"pids.max", "max", "pids/pids.max: max", "pids/pids.max: max"},
	} {
		for version, want := range map[int]string{2: tt.v2, 1: tt.v1} {
			got := lines(t, version, tt.name, tt.value)
			if got != want && (!strings.Contains(got, want) || strings.Contains(want, "/")) {
				t.Errorf("%s=%s on version %d: got %q, want %q", tt.name, tt.value, version, got, want)
			}
		}
	}
}

func TestValuesAreFoundInFiles(t *testing.T) {
	for _, tt := range []struct {
		a             Atom
		content, want string
	}{
		{Atom{}, "100\n", "100"},
		{Atom{}, "root invalid (no cpus)\n", "root invalid (no cpus)"},
		{Atom{Line: "8:0", Field: "wbps", None: "max"}, "8:16 rbps=1 wbps=2\n8:0 rbps=max wbps=7 riops=max wiops=max\n", "7"},
		{Atom{Line: "8:0", Field: "wbps", None: "max"}, "8:16 rbps=1 wbps=2\n", "max"},
		{Atom{Line: "8:0", None: "0"}, "8:0 1024\n", "1024"},
		{Atom{Line: "default"}, "default 100\n8:0 20\n", "100"},
		{Atom{Line: "8:0", None: "default"}, "default 100\n", "default"},
	} {
		if got := tt.a.In(tt.content); got != tt.want {
			t.Errorf("%+v in %q: got %q, want %q", tt.a, tt.content, got, tt.want)
		}
	}
}

// Each row has a setting on version 2, and on version 1 either one or the reason why
// not; no two write the same.
func TestTheTableIsWhole(t *testing.T) {
	seen := map[string]string{}
	for _, s := range Table() {
		if s.Help == "" || s.Value == "" || s.parse == nil || s.V1 == "" && s.Note == "" {
			t.Errorf("%s is not said whole", s.Name)
		}
		if other := seen[s.V1]; other != "" && s.V1 != "" {
			t.Errorf("%s and %s are one file on version 1", s.Name, other)
		}
		seen[s.V1] = s.Name
	}
}

// Whatever is given is taken in a form that stays as it is, or refused.
func TestParseIsStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom(append(Names(), "hugetlb.2MB.max")).Draw(t, "name")
		value := rapid.StringMatching(`[0-9a-z:/=, .-]{0,20}`).Draw(t, "value")
		once, err := Parse(name, value)
		if err != nil {
			if !errdefs.IsInvalidArgument(err) {
				t.Fatalf("of another class: %v", err)
			}
			return
		}
		if twice, err := Parse(name, once); err != nil || twice != once {
			t.Fatalf("%q is read as %q, %v", once, twice, err)
		}
		for version := range 3 {
			if version > 0 {
				if _, err := Atoms(version, name, once, number); err != nil && !errdefs.IsNotImplemented(err) && !errdefs.IsInvalidArgument(err) {
					t.Fatalf("version %d: %v", version, err)
				}
			}
		}
	})
}
