package spec

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/mosdocker/mosdocker/lvmvolume/lvm"
)

// recorded is what of a volume its record holds: the rest LVM or the file
// system knows.
func recorded(v Volume) Volume {
	v.Type, v.Place, v.Size, v.Stripes = "", "", 0, 0
	v.Since, v.Created = v.Since.UTC().Truncate(time.Second), v.Created.UTC().Truncate(time.Second)
	return v
}

type failer interface {
	Helper()
	Errorf(format string, args ...any)
}

// roundTrip: a volume comes back from its tags and from its file as it was, and
// LVM takes the tags.
func roundTrip(t failer, v Volume) {
	t.Helper()
	if v.ID == "" {
		v.ID = "0123456789abcdef"
	}
	if v.State == "" {
		v = v.In(Creating, time.Unix(1764226800, 0))
		v.Created = v.Since
	}
	for _, tag := range v.Tags() {
		if err := lvm.ValidTag(tag); err != nil {
			t.Errorf("%v", err)
		}
	}
	// LVM gives them back in its own order, with tags of others.
	tags := append(v.Tags(), "foreign", "mos:owner=mos-lvm")
	slices.Sort(tags)
	got, err := FromTags(v.ID, tags)
	if d := cmp.Diff(recorded(v), got); err != nil || d != "" {
		t.Errorf("%v: %v\n%s", tags, err, d)
	}
	b, err := v.Marshal()
	if err != nil {
		t.Errorf("%v", err)
	}
	got, err = Unmarshal(v.ID, b)
	if d := cmp.Diff(recorded(v), got); err != nil || d != "" {
		t.Errorf("%s: %v\n%s", b, err, d)
	}
}

// drawName draws names with the longest and oddest among them.
func drawName(longest int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		first := rapid.StringMatching(`[a-zA-Z0-9]`).Draw(t, "first")
		n := rapid.OneOf(rapid.IntRange(0, 30), rapid.Just(longest-1)).Draw(t, "length")
		return first + rapid.StringOfN(rapid.RuneFrom([]rune(letters+"_.-")), n, n, -1).Draw(t, "rest")
	})
}

func drawVolume(t *rapid.T) Volume {
	v := Volume{
		ID:        ID(rapid.StringMatching(`[0-9a-f]{16}`).Draw(t, "id")),
		Name:      drawName(longestName).Draw(t, "name"),
		FS:        rapid.SampledFrom([]FS{Ext4, XFS}).Draw(t, "fs"),
		UID:       rapid.IntRange(0, 1<<32-2).Draw(t, "uid"),
		GID:       rapid.IntRange(0, 1<<32-2).Draw(t, "gid"),
		Mode:      rapid.Uint32Range(0, 0o7777).Draw(t, "mode"),
		Chown:     rapid.SampledFrom([]string{"", "u", "ugm"}).Draw(t, "chown"),
		IOPS:      rapid.Uint64Range(0, 1<<32-1).Draw(t, "iops"),
		BPS:       rapid.Uint64Range(0, maxSize).Draw(t, "bps"),
		MountOpts: rapid.OneOf(rapid.SampledFrom([]string{"", "noatime,nodev", strings.Repeat(",", longestOpts/3), "a&b=c#:%"}), rapid.StringN(0, 40, 60)).Draw(t, "opts"),
		State:     rapid.SampledFrom([]State{Creating, Filling, Ready, Trashed}).Draw(t, "state"),
		Since:     time.Unix(rapid.Int64Range(0, 1<<40).Draw(t, "since"), 0),
		Created:   time.Unix(rapid.Int64Range(0, 1<<40).Draw(t, "created"), 0),
	}
	if len(escape(v.MountOpts)) > longestOpts {
		v.MountOpts = ""
	}
	switch rapid.IntRange(0, 2).Draw(t, "kind") {
	case 1:
		v.From = drawName(longestName).Draw(t, "from")
	case 2:
		v.From = drawName(longestName).Draw(t, "from") + "@" + drawName(longestSnapshot).Draw(t, "of")
	}
	if rapid.Bool().Draw(t, "is snapshot") {
		v.From, v.Of, v.Snapshot = "", "fedcba9876543210", drawName(longestSnapshot).Draw(t, "snapshot")
	}
	return v
}

// TestRecordsComeBack is the round trip of 1,000 fuzzed volumes (ten runs of rapid).
func TestRecordsComeBack(t *testing.T) {
	for range 10 {
		rapid.Check(t, func(t *rapid.T) { roundTrip(t, drawVolume(t)) })
	}
}

func TestRetagIsTheDifference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := drawVolume(t)
		b := a.In(rapid.SampledFrom([]State{Ready, Trashed}).Draw(t, "to"), a.Since.Add(time.Hour))
		if rapid.Bool().Draw(t, "renamed") {
			b.Name = drawName(longestName).Draw(t, "new name")
		}
		add, del := Retag(a, b)
		tags := slices.DeleteFunc(append(a.Tags(), add...), func(s string) bool { return slices.Contains(del, s) })
		slices.Sort(tags)
		want := b.Tags()
		slices.Sort(want)
		if d := cmp.Diff(want, tags); d != "" {
			t.Error(d)
		}
		if again, gone := Retag(b, b); len(again)+len(gone) != 0 {
			t.Errorf("a volume differs from itself by %v and %v", again, gone)
		}
	})
}

// TestKeptRecords: what an earlier release wrote stays readable, byte for byte.
func TestKeptRecords(t *testing.T) {
	day := time.Unix(1764226800, 0).UTC()
	for name, want := range map[string]Volume{
		"v1-plain.json": {Name: "data", FS: Ext4, Mode: 0o755, State: Ready, Since: day.Add(time.Minute), Created: day},
		"v1-full.json": {
			Name: "data.base-1", FS: XFS, UID: 999, GID: 998, Mode: 0o2750, MountOpts: "noatime,discard", IOPS: 500, BPS: 100 << 20,
			From: "old@monday", State: Trashed, Since: day.Add(time.Hour), Created: day,
		},
		"v1-snapshot.json": {Name: "data", Snapshot: "monday", Of: "fedcba9876543210", FS: Ext4, Mode: 0o755, State: Ready, Since: day, Created: day},
		// Written by hand: a later release of the same version may add fields.
		"v1-newer.json": {Name: "data", FS: Ext4, Mode: 0o755, State: Creating, Since: day, Created: day},
	} {
		want.ID = "0123456789abcdef"
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Error(err)
			continue
		}
		got, err := Unmarshal(want.ID, data)
		if d := cmp.Diff(want, got); err != nil || d != "" {
			t.Errorf("%s: %v\n%s", name, err, d)
		}
		if b, err := want.Marshal(); err != nil || !strings.Contains(name, "newer") && string(b) != string(data) {
			t.Errorf("%s is written as\n%s", name, b)
		}
	}
}

func TestUnreadableRecords(t *testing.T) {
	id := ID("0123456789abcdef")
	name, state, sp := "mos:name=v", "mos:state=ready:1", "mos:spec=v=1&fs=ext4&made=1&mode=755"
	for what, tags := range map[string][]string{
		"nothing":      nil,
		"no name":      {state, sp},
		"no state":     {name, sp},
		"no spec":      {name, state},
		"two names":    {name, "mos:name=w", state, sp},
		"empty name":   {"mos:name=", state, sp},
		"odd name":     {"mos:name=a#2Fb", state, sp},
		"bad escape":   {"mos:name=a#ZZ", state, sp},
		"raw bytes":    {"mos:name=a b", state, sp},
		"other state":  {name, "mos:state=lost:1", sp},
		"no time":      {name, "mos:state=ready", sp},
		"other form":   {name, state, "mos:spec=v=2&fs=ext4&made=1&mode=755"},
		"other fs":     {name, state, "mos:spec=v=1&fs=zfs&made=1&mode=755"},
		"owner":        {name, state, "mos:spec=v=1&fs=ext4&made=1&mode=755&uid=-1"},
		"mode":         {name, state, "mos:spec=v=1&fs=ext4&made=1&mode=77777"},
		"number":       {name, state, "mos:spec=v=1&fs=ext4&made=1&mode=755&iops=x"},
		"odd snapshot": {name, state, sp + "&snap=a#2Fb"},
	} {
		if v, err := FromTags(id, tags); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: got %+v, %v, want an error of class invalid argument", what, v, err)
		}
	}
	for _, data := range []string{"", "{", "[]", `{"version":2,"record":[]}`, `{"version":1,"records":[]}`, `{"version":1,"record":["mos:name=v"]}`, `{"version":1,"record":null}`} {
		if v, err := Unmarshal(id, []byte(data)); err == nil {
			t.Errorf("%s: got %+v, want an error", data, v)
		}
	}
}

func TestLabels(t *testing.T) {
	if id, ok := ParseLabel(ID("0123456789abcdef").Label()); !ok || id != "0123456789abcdef" {
		t.Error(id, ok)
	}
	for _, s := range []string{"", "mos-", "mos-0123456789ABCDEF", "mos-0123456789abcde", "mos-0123456789abcdef0", "x0123456789abcdef", "mos-pool"} {
		if _, ok := ParseLabel(s); ok {
			t.Errorf("%q is taken for ours", s)
		}
	}
	v := Volume{Name: "data"}
	if v.Title() != "data" {
		t.Error(v.Title())
	}
	if v.Snapshot = "s"; v.Title() != "data@s" {
		t.Error(v.Title())
	}
}

// FuzzFromTags: what can be read is written as it can be read again.
func FuzzFromTags(f *testing.F) {
	v := Volume{Name: "a.b", FS: XFS, Mode: 0o755, MountOpts: "a,b", From: "x@y", State: Ready, Since: time.Unix(5, 0), Created: time.Unix(4, 0)}
	tags := v.Tags()
	f.Add(tags[0], tags[1], tags[2])
	f.Add("mos:name=#41", "mos:state=trashed:-1", "mos:spec=v=1&v=1&&fs=ext4&x=y=z")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		v, err := FromTags("0123456789abcdef", []string{a, b, c})
		if err != nil {
			if !errdefs.IsInvalidArgument(err) {
				t.Errorf("%v is not of class invalid argument", err)
			}
			return
		}
		again, err := FromTags(v.ID, v.Tags())
		if d := cmp.Diff(v, again); err != nil || d != "" {
			t.Errorf("%v, then %v: %v\n%s", []string{a, b, c}, v.Tags(), err, d)
		}
	})
}

// FuzzUnmarshal: no bytes make it panic, and what it reads it can write.
func FuzzUnmarshal(f *testing.F) {
	files, err := filepath.Glob("testdata/v1-*.json")
	if err != nil || len(files) == 0 {
		f.Fatal("no fixtures", err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := Unmarshal("0123456789abcdef", data)
		if err != nil {
			return
		}
		b, err := v.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := Unmarshal(v.ID, b); err != nil || fmt.Sprint(again) != fmt.Sprint(v) {
			t.Errorf("%s, then %s: %v", data, b, err)
		}
	})
}
