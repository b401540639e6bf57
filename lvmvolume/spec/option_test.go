package spec

import (
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
)

func request(name string, kv ...string) Request {
	r := Request{Name: name, Options: map[string]string{}}
	for i := 0; i+1 < len(kv); i += 2 {
		r.Options[kv[i]] = kv[i+1]
	}
	return r
}

func TestEveryOptionIsTaken(t *testing.T) {
	all := request(
		"data", "size", "20g", "type", "striped", "stripes", "3", "vg", "data+1", "fs", "xfs", "uid", "999", "gid", "998",
		"mode", "2750", "mountopts", "noatime,discard", "iops", "500", "bps", "100m", "from", "other@snap",
	)
	for _, o := range Options() {
		if _, ok := all.Options[o.Key]; !ok {
			t.Errorf("option %s is not in this test", o.Key)
		}
	}
	want := Volume{
		Name: "data", Size: 20 << 30, Type: Striped, Stripes: 3, Place: "data+1", FS: XFS, UID: 999, GID: 998,
		Mode: 0o2750, MountOpts: "noatime,discard", IOPS: 500, BPS: 100 << 20, From: "other@snap",
	}
	got, err := Parse(all)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestDefaults(t *testing.T) {
	got, err := Parse(request("data", "size", "16m"))
	want := Volume{Name: "data", Size: 16 << 20, FS: Ext4, Mode: 0o755}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Error(err, d)
	}
	if !slices.IsSortedFunc(Options(), func(a, b Option) int { return strings.Compare(a.Key, b.Key) }) {
		t.Error("the table is not sorted")
	}
}

// TestRefusals: each input that cannot be meant gets a sentence with the word
// that the user needs, of class InvalidArgument.
func TestRefusals(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, tt := range []struct {
		name string
		r    Request
		say  string
	}{
		{"no name", request(""), "no name"},
		{"long name", request(long, "size", "1g"), "at most 255"},
		{"path", request("../x", "size", "1g"), "no volume name"},
		{"hyphen", request("-x", "size", "1g"), "no volume name"},
		{"dot", request(".x", "size", "1g"), "no volume name"},
		{"space", request("a b", "size", "1g"), "no volume name"},
		{"newline", request("a\n", "size", "1g"), "no volume name"},
		{"letter", request("bäh", "size", "1g"), "no volume name"},
		{"no size", request("v"), "-o size=20g"},
		{"unknown", request("v", "size", "1g", "sise", "1g"), "mos-lvm takes bps, from"},
		{"empty key", request("v", "size", "1g", "", ""), "is not known"},
		{"size word", request("v", "size", "big"), "no size such as 20g"},
		{"size zero", request("v", "size", "0"), "not above zero"},
		{"size below", request("v", "size", "-1g"), "size"},
		{"size blank", request("v", "size", " 1g"), "no size such as"},
		{"size empty", request("v", "size", ""), "no size such as"},
		{"size absurd", request("v", "size", "99999999999999999t"), "more than any device"},
		{"size wrapped", request("v", "size", "2000000000p"), "more than any device"},
		{"size inf", request("v", "size", "1e999"), "size"},
		{"size nan", request("v", "size", "nan"), "no size such as"},
		{"small ext4", request("v", "size", "15m"), "give 16MiB at least"},
		{"small xfs", request("v", "size", "299m", "fs", "xfs"), "give 300MiB at least"},
		{"fs", request("v", "size", "1g", "fs", "btrfs"), "want ext4 or xfs"},
		{"type", request("v", "size", "1g", "type", "raid"), "want thin, linear"},
		{"uid word", request("v", "size", "1g", "uid", "root"), "want a number such as 1000"},
		{"uid minus", request("v", "size", "1g", "uid", "-1"), "want a number such as 1000"},
		{"uid nobody", request("v", "size", "1g", "uid", "4294967295"), "want a number such as 1000"},
		{"gid", request("v", "size", "1g", "gid", "99999999999"), "want a number such as 1000"},
		{"mode digit", request("v", "size", "1g", "mode", "0799"), "octal"},
		{"mode bits", request("v", "size", "1g", "mode", "17777"), "octal"},
		{"iops zero", request("v", "size", "1g", "iops", "0"), "above 0"},
		{"iops word", request("v", "size", "1g", "iops", "1k"), "above 0"},
		{"bps", request("v", "size", "1g", "bps", "fast"), "no size such as"},
		{"stripes one", request("v", "size", "1g", "type", "striped", "stripes", "1"), "2 to 128"},
		{"stripes many", request("v", "size", "1g", "type", "striped", "stripes", "129"), "2 to 128"},
		{"stripes alone", request("v", "size", "1g", "stripes", "2"), "needs type=striped"},
		{"stripes thin", request("v", "size", "1g", "stripes", "2", "type", "thin"), "needs type=striped"},
		{"loop vg", request("v", "size", "1g", "type", "loop", "vg", "x"), "exclude each other"},
		{"vg empty", request("v", "size", "1g", "vg", ""), "no name of a volume group"},
		{"vg hyphen", request("v", "size", "1g", "vg", "-x"), "no name of a volume group"},
		{"vg dots", request("v", "size", "1g", "vg", ".."), "no name of a volume group"},
		{"vg path", request("v", "size", "1g", "vg", "a/b"), "no name of a volume group"},
		{"vg long", request("v", "size", "1g", "vg", long), "no name of a volume group"},
		{"from empty", request("v", "from", ""), "no name"},
		{"from path", request("v", "from", "../x"), "no volume name"},
		{"from snapshot", request("v", "from", "x@"), "snapshot has no name"},
		{"from twice", request("v", "from", "x@a@b"), "no snapshot name"},
		{"opts", request("v", "size", "1g", "mountopts", strings.Repeat("a,", 150)), "too long"},
	} {
		_, err := Parse(tt.r)
		if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), tt.say) {
			t.Errorf("%s: got %v, want an error of class invalid argument with %q", tt.name, err, tt.say)
		}
		if err != nil && len(err.Error()) > 300 {
			t.Errorf("%s: the sentence has %d bytes: %v", tt.name, len(err.Error()), err)
		}
	}
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "A.b-c_d": true, "0": true, strings.Repeat("x", 255): true, strings.Repeat("x", 256): false,
		"_a": false, "a/b": false, "a@b": false, "a\x00": false, "": false, "ä": false,
	} {
		if got := CheckName(name) == nil; got != ok {
			t.Errorf("%q: got %v, want %v", name, got, ok)
		}
	}
	if CheckSnapshotName(strings.Repeat("x", 101)) == nil || CheckSnapshotName(strings.Repeat("x", 100)) != nil {
		t.Error("names of snapshots have up to 100 characters")
	}
	v, s, err := SplitRef("data@monday")
	if v != "data" || s != "monday" || err != nil {
		t.Error(v, s, err)
	}
}

func TestSizes(t *testing.T) {
	for in, want := range map[string]uint64{
		"1": 1, "1k": 1024, "1.5g": 3 << 29, "20G": 20 << 30, "20gb": 20 << 30, "512MiB": 512 << 20, "1t": 1 << 40, "1048576": 1 << 20,
	} {
		if got, err := ParseSize(in); err != nil || got != want {
			t.Errorf("%s: got %d, %v, want %d", in, got, err, want)
		}
	}
	for in, want := range map[string]uint64{"+1g": 3 << 30, "1g": 1 << 30} {
		if got, err := ParseGrowth(in, 2<<30); err != nil || got != want {
			t.Errorf("%s: got %d, %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"+", "++1g", "+-1g", "-1g", "+0", "+5", "+1000k", ""} {
		if got, err := ParseGrowth(in, 2<<30); err == nil {
			t.Errorf("%q: got %d, want a refusal", in, got)
		}
	}
	if got := Bytes(20 << 30).String(); got != "20GiB" {
		t.Error(got)
	}
}

func TestRepeatedRequestIsTheSameVolume(t *testing.T) {
	have := Volume{
		Name: "v", Size: 1 << 30, Type: Thin, Place: "vg", FS: Ext4, UID: 5, Mode: 0o755, MountOpts: "noatime", IOPS: 9, BPS: 1 << 20, From: "x",
		State: Ready, Since: time.Unix(1, 0),
	}
	for _, tt := range []struct {
		key, value string
		same       bool
	}{
		{"size", "1g", true},
		{"size", "512m", true},
		{"size", "2g", false}, // it may have been grown, and is rounded up
		{"type", "thin", true},
		{"type", "linear", false},
		{"vg", "vg", true},
		{"vg", "other", false},
		{"fs", "ext4", true},
		{"fs", "xfs", false},
		{"uid", "5", true},
		{"uid", "0", false},
		{"gid", "0", true},
		{"gid", "1", false},
		{"mode", "755", true},
		{"mode", "700", false},
		{"mountopts", "noatime", true},
		{"mountopts", "", false},
		{"iops", "9", true},
		{"iops", "8", false},
		{"bps", "1m", true},
		{"bps", "2m", false},
		{"from", "x", true},
		{"from", "y", false},
	} {
		r := request("v", tt.key, tt.value)
		if tt.key != "size" && tt.key != "from" {
			r.Options["size"] = "1g"
		}
		want, err := Parse(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := Same(r, want, have); (err == nil) != tt.same {
			t.Errorf("%s=%s: got %v, want same %v", tt.key, tt.value, err, tt.same)
		}
	}
}

func TestCopyTakesWhatItsSourceHas(t *testing.T) {
	src := Volume{
		Name: "src", Size: 1 << 30, Type: Thin, Place: "vg", FS: XFS, UID: 5, GID: 6, Mode: 0o700, MountOpts: "noatime", IOPS: 9, BPS: 7,
		State: Ready, ID: "0123456789abcdef",
	}
	r := request("v", "from", "src", "gid", "0", "size", "2g")
	v, err := Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Inherit(r, v, src)
	want := Volume{
		Name: "v", Size: 2 << 30, Type: Thin, Place: "vg", FS: XFS, UID: 5, Mode: 0o700, MountOpts: "noatime", IOPS: 9, BPS: 7, From: "src", Chown: "g",
	}
	if d := cmp.Diff(want, got); err != nil || d != "" {
		t.Error(err, d)
	}
	src.Chown = "um" // it was never mounted itself
	if got, err = Inherit(r, v, src); err != nil || got.Chown != "gum" {
		t.Errorf("its directory is to get %q, %v", got.Chown, err)
	}
	for key, value := range map[string]string{"fs": "ext4", "type": "linear", "vg": "other", "size": "512m"} {
		r := request("v", "from", "src", key, value)
		v, err := Parse(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Inherit(r, v, src); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s=%s: got %v, want a refusal", key, value, err)
		}
	}
	// What is given and the same is well.
	r = request("v", "from", "src", "fs", "xfs", "type", "thin", "vg", "vg", "size", "1g")
	if v, err = Parse(r); err != nil {
		t.Fatal(err)
	}
	if _, err := Inherit(r, v, src); err != nil {
		t.Error(err)
	}
}

// TestCopiedOptionsAreCopied compares the table's word with what Inherit does.
func TestCopiedOptionsAreCopied(t *testing.T) {
	values := map[string]string{
		"bps": "7", "fs": "xfs", "gid": "6", "iops": "9", "mode": "700", "mountopts": "noatime", "type": "linear", "uid": "5", "vg": "vg",
	}
	for _, o := range Options() {
		if !o.Copied {
			continue
		}
		src := Volume{Name: "src", FS: Ext4, Mode: 0o755}
		if err := o.set(&src, values[o.Key]); err != nil {
			t.Fatalf("%s: %v", o.Key, err)
		}
		r := request("v", "from", "src")
		v, err := Parse(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Inherit(r, v, src)
		got.Name, got.From = "src", ""
		if d := cmp.Diff(src, got); err != nil || d != "" {
			t.Errorf("%s: %v %s", o.Key, err, d)
		}
	}
}

// TestOptionsDocIsInStep compares docs/volume-options.md with the table; -update
// is spelled MOS_UPDATE=1 here, since the file is not in testdata.
func TestOptionsDocIsInStep(t *testing.T) {
	const path = "../../docs/volume-options.md"
	want := OptionsDoc()
	if os.Getenv("MOS_UPDATE") != "" {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("docs/volume-options.md is out of step, %v: run MOS_UPDATE=1 go test ./lvmvolume/spec\n%s", err, cmp.Diff(string(got), want))
	}
}

// FuzzParse: whatever comes is refused with the right class, or is a volume whose
// record can be read back.
func FuzzParse(f *testing.F) {
	for i, o := range Options() {
		f.Add("v"+strconv.Itoa(i), o.Key, "1g", "size", "20g")
	}
	f.Add("v", "mountopts", strings.Repeat("=", 200), "from", "a@b")
	f.Add("v", "size", "+1e30", "vg", "--x")
	f.Fuzz(func(t *testing.T, name, k1, v1, k2, v2 string) {
		v, err := Parse(Request{Name: name, Options: maps.Collect(func(yield func(string, string) bool) { _ = yield(k1, v1) && yield(k2, v2) })})
		if err != nil {
			if !errdefs.IsInvalidArgument(err) {
				t.Errorf("%v is not of class invalid argument", err)
			}
			return
		}
		if v.Size > maxSize || v.Size == 0 && v.From == "" {
			t.Errorf("size %d is let through", v.Size)
		}
		roundTrip(t, v)
	})
}

func TestDriveIsOneLetter(t *testing.T) {
	for name, want := range map[string]bool{"v": true, "Z": true, "1": false, "ab": false, "": false, "_": false} {
		if got := Drive(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}
