package lvmtest

import (
	"slices"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/mosdocker/mosdocker/lvmvolume/lvm"
)

// Machine is what the tests of [Suite] work on.
type Machine struct {
	Client  *lvm.Client
	Devices []string // two empty ones, of 256 MiB or more each
	Kernel  bool     // device mapper is there
	// Hold opens the device of an active volume until release is called.
	Hold func(tb testing.TB, vg, lv string) (release func())
}

// VG is the name of the group that the tests make.
const VG = "mos-suite.vg"

const mib = 1 << 20

// Suite runs the tests that the fake and the real LVM both pass. open gives
// each test a machine of its own.
func Suite(t *testing.T, open func(t *testing.T) Machine) {
	t.Helper()
	for _, tt := range []struct {
		name   string
		kernel bool
		run    func(t *testing.T, m Machine)
	}{
		{"Group", false, testGroup},
		{"Devices", false, testDevices},
		{"Linear", false, testLinear},
		{"Extend", false, testExtend},
		{"Retag", false, testRetag},
		{"Rename", false, testRename},
		{"Remove", false, testRemove},
		{"MetadataFull", false, testMetadataFull},
		{"Activate", true, testActivate},
		{"InUse", true, testInUse},
		{"Pool", true, testPool},
		{"Thin", true, testThin},
		{"Snapshot", true, testSnapshot},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := open(t)
			if tt.kernel && !m.Kernel {
				t.Skip("needs device mapper")
			}
			tt.run(t, m)
		})
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, is func(error) bool, class string, err error) {
	t.Helper()
	if !is(err) {
		t.Errorf("got %v, want %s", err, class)
	}
}

func (m Machine) report(t *testing.T) lvm.Report {
	t.Helper()
	r, err := m.Client.Report(t.Context())
	ok(t, err)
	return r
}

func (m Machine) lv(t *testing.T, name string) lvm.LV {
	t.Helper()
	v, there := m.report(t).LV(VG, name)
	if !there {
		t.Fatalf("no volume %s in the report", name)
	}
	return v
}

func (m Machine) names(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, v := range m.report(t).LVs {
		names = append(names, v.Name)
	}
	slices.Sort(names)
	return names
}

// group makes the group, with a small metadata area, on the first device.
func (m Machine) group(t *testing.T) {
	t.Helper()
	ok(t, m.Client.CreateVG(t.Context(), lvm.Group{Name: VG, Devices: m.Devices[:1], MetadataSize: 4 * mib, Tags: []string{"mos.owner=mos-lvm"}}))
}

func (m Machine) linear(t *testing.T, names ...string) {
	t.Helper()
	for _, n := range names {
		ok(t, m.Client.CreateLinear(t.Context(), lvm.Linear{VG: VG, Name: n, Size: 4 * mib, Tags: []string{"mos.state=creating"}}))
	}
}

func testGroup(t *testing.T, m Machine) {
	m.group(t)
	r := m.report(t)
	g, there := r.VG(VG)
	if !there || len(r.VGs) != 1 || g.ExtentSize != 4*mib || g.Free != g.Size || g.UUID == "" || g.MDAFree == 0 || g.MDAFree > g.MDASize {
		t.Errorf("got groups %+v", r.VGs)
	}
	if diff := cmp.Diff([]string{"mos.owner=mos-lvm"}, g.Tags); diff != "" {
		t.Error(diff)
	}
	if len(r.PVs) != 1 || r.PVs[0].VG != VG || r.PVs[0].Device != m.Devices[0] || r.PVs[0].Missing {
		t.Errorf("got devices %+v", r.PVs)
	}
	want(t, errdefs.IsAlreadyExists, "AlreadyExists", m.Client.CreateVG(t.Context(), lvm.Group{Name: VG, Devices: m.Devices[1:2], MetadataSize: mib}))
	want(t, errdefs.IsFailedPrecondition, "FailedPrecondition", m.Client.CreateVG(t.Context(), lvm.Group{Name: "other", Devices: m.Devices[:1], MetadataSize: mib}))
	ok(t, m.Client.ExtendVG(t.Context(), VG, m.Devices[1]))
	if after, _ := m.report(t).VG(VG); after.Size <= g.Size {
		t.Errorf("got size %d after the second device, %d before", after.Size, g.Size)
	}
	m.linear(t, "a")
	want(t, errdefs.IsFailedPrecondition, "FailedPrecondition", m.Client.RemoveVG(t.Context(), VG))
	ok(t, m.Client.Remove(t.Context(), VG, "a"))
	ok(t, m.Client.RemoveVG(t.Context(), VG))
	ok(t, m.Client.RemoveVG(t.Context(), VG))
	if r := m.report(t); len(r.VGs)+len(r.PVs) > 0 {
		t.Errorf("got %+v after the removal", r)
	}
}

func testDevices(t *testing.T, m Machine) {
	list := func() (paths []string) {
		ds, err := m.Client.ListDevices(t.Context())
		ok(t, err)
		for _, d := range ds {
			if d.IDType == "" || d.IDName == "" {
				t.Errorf("no identity in %+v", d)
			}
			paths = append(paths, d.Path)
		}
		return paths
	}
	if got := list(); len(got) != 0 {
		t.Errorf("got %q at the start", got)
	}
	for range 2 {
		ok(t, m.Client.AddDevices(t.Context(), m.Devices[0]))
	}
	if diff := cmp.Diff(m.Devices[:1], list()); diff != "" {
		t.Error(diff)
	}
	for range 2 {
		ok(t, m.Client.RemoveDevices(t.Context(), m.Devices[0]))
	}
	if got := list(); len(got) != 0 {
		t.Errorf("got %q at the end", got)
	}
	want(t, errdefs.IsNotFound, "NotFound", m.Client.AddDevices(t.Context(), "/dev/mos-no-such-device"))
	// What is not in the file is not seen.
	m.group(t)
	ok(t, m.Client.RemoveDevices(t.Context(), m.Devices[0]))
	if r := m.report(t); len(r.VGs) != 0 {
		t.Errorf("got %+v without a device in the file", r.VGs)
	}
	err := m.Client.CreateLinear(t.Context(), lvm.Linear{VG: VG, Name: "a", Size: mib})
	want(t, errdefs.IsNotFound, "NotFound", err)
	ok(t, m.Client.AddDevices(t.Context(), m.Devices[0]))
	m.linear(t, "a")
}

func testLinear(t *testing.T, m Machine) {
	m.group(t)
	tags := []string{"mos.name=a/b", "mos.size=5m", "mos.state=creating"}
	ok(t, m.Client.CreateLinear(t.Context(), lvm.Linear{VG: VG, Name: "v-1", Size: 5*mib + 1, Tags: tags}))
	v := m.lv(t, "v-1")
	if v.Size != 8*mib || v.Type != lvm.LinearVolume || v.State.Active != m.Kernel || v.State.Open || v.State.Suspended || v.State.Health != lvm.Healthy {
		t.Errorf("got %+v", v)
	}
	if m.Kernel != (v.Major > 0) {
		t.Errorf("got device %d:%d", v.Major, v.Minor)
	}
	if diff := cmp.Diff(tags, v.Tags); diff != "" {
		t.Error(diff)
	}
	create := func(vg, name string, size int64, stripes int) error {
		return m.Client.CreateLinear(t.Context(), lvm.Linear{VG: vg, Name: name, Size: size, Stripes: stripes})
	}
	want(t, errdefs.IsAlreadyExists, "AlreadyExists", create(VG, "v-1", mib, 0))
	want(t, errdefs.IsResourceExhausted, "ResourceExhausted", create(VG, "big", 1<<40, 0))
	want(t, errdefs.IsNotFound, "NotFound", create("nogroup", "a", mib, 0))
	want(t, errdefs.IsInvalidArgument, "InvalidArgument", create(VG, "striped", 8*mib, 2))
	ok(t, m.Client.ExtendVG(t.Context(), VG, m.Devices[1]))
	ok(t, create(VG, "striped", 8*mib, 2))
	if v := m.lv(t, "striped"); v.Type != lvm.StripedVolume || v.Size != 8*mib {
		t.Errorf("got %+v", v)
	}
}

func testExtend(t *testing.T, m Machine) {
	m.group(t)
	m.linear(t, "a")
	for range 2 {
		ok(t, m.Client.Extend(t.Context(), VG, "a", 15*mib))
		if got := m.lv(t, "a").Size; got != 16*mib {
			t.Errorf("got size %d", got)
		}
	}
	want(t, errdefs.IsInvalidArgument, "InvalidArgument", m.Client.Extend(t.Context(), VG, "a", 4*mib))
	want(t, errdefs.IsResourceExhausted, "ResourceExhausted", m.Client.Extend(t.Context(), VG, "a", 1<<40))
	want(t, errdefs.IsNotFound, "NotFound", m.Client.Extend(t.Context(), VG, "nothing", mib))
	if got := m.lv(t, "a").Size; got != 16*mib {
		t.Errorf("got size %d after refusals", got)
	}
}

func testRetag(t *testing.T, m Machine) {
	m.group(t)
	m.linear(t, "a", "b")
	tags := func() []string { return append(m.lv(t, "a").Tags, m.lv(t, "b").Tags...) }
	for range 2 {
		ok(t, m.Client.Retag(t.Context(), VG, []string{"a", "b"}, []string{"mos.state=ready", "mos.t=1"}, []string{"mos.state=creating"}))
		if diff := cmp.Diff([]string{"mos.state=ready", "mos.t=1", "mos.state=ready", "mos.t=1"}, tags()); diff != "" {
			t.Error(diff)
		}
	}
	err := m.Client.Retag(t.Context(), VG, []string{"nothing", "b"}, nil, []string{"mos.t=1"})
	want(t, errdefs.IsNotFound, "NotFound", err)
	if diff := cmp.Diff([]string{"mos.state=ready", "mos.t=1", "mos.state=ready"}, tags()); diff != "" {
		t.Error(diff)
	}
}

func testRename(t *testing.T, m Machine) {
	m.group(t)
	m.linear(t, "a", "b")
	for range 2 {
		ok(t, m.Client.Rename(t.Context(), VG, "a", "c"))
		if diff := cmp.Diff([]string{"b", "c"}, m.names(t)); diff != "" {
			t.Error(diff)
		}
	}
	want(t, errdefs.IsAlreadyExists, "AlreadyExists", m.Client.Rename(t.Context(), VG, "b", "c"))
	want(t, errdefs.IsNotFound, "NotFound", m.Client.Rename(t.Context(), VG, "nothing", "d"))
}

func testRemove(t *testing.T, m Machine) {
	m.group(t)
	m.linear(t, "a", "b", "c")
	ok(t, m.Client.Remove(t.Context(), VG, "a", "nothing", "b"))
	if diff := cmp.Diff([]string{"c"}, m.names(t)); diff != "" {
		t.Error(diff)
	}
	ok(t, m.Client.Remove(t.Context(), VG, "a", "b"))
	ok(t, m.Client.Remove(t.Context(), "nogroup", "a"))
}

func testMetadataFull(t *testing.T, m Machine) {
	ok(t, m.Client.CreateVG(t.Context(), lvm.Group{Name: VG, Devices: m.Devices[:1], MetadataSize: 64 << 10}))
	var tags []string
	for i := range 20 {
		tags = append(tags, "mos.filler"+string(rune('a'+i))+"="+string(slices.Repeat([]byte{'x'}, 1000)))
	}
	for i := range 40 { // 20 kB each
		err := m.Client.CreateLinear(t.Context(), lvm.Linear{VG: VG, Name: "v" + string(rune('A'+i)), Size: 4 * mib, Tags: tags})
		if err != nil {
			want(t, errdefs.IsResourceExhausted, "ResourceExhausted", err)
			if got := len(m.names(t)); got != i || i == 0 {
				t.Errorf("got %d volumes after %d that were made", got, i)
			}
			return
		}
	}
	t.Error("the metadata area takes 40 volumes of 20 kB")
}
