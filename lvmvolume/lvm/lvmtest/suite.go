package lvmtest

import (
	"fmt"
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
	// Lose takes a device away.
	Lose func(tb testing.TB, device string)
}

// VG is the name of the group that the tests make.
const VG = "mos-suite.vg"

const mib = 1 << 20

// test is one test of the suite on its machine.
type test struct {
	*testing.T
	Machine
}

// Suite runs the tests that the fake and the real LVM both pass. open gives
// each test a machine of its own.
func Suite(t *testing.T, open func(t *testing.T) Machine) {
	t.Helper()
	for _, tt := range []struct {
		name   string
		kernel bool
		run    func(test)
	}{
		{"Group", false, test.group},
		{"Devices", false, test.devices},
		{"Linear", false, test.linear},
		{"Extend", false, test.extend},
		{"Retag", false, test.retag},
		{"Rename", false, test.rename},
		{"Remove", false, test.remove},
		{"MetadataFull", false, test.metadataFull},
		{"MissingDevice", false, test.missingDevice},
		{"Activate", true, test.activate},
		{"InUse", true, test.inUse},
		{"Pool", true, test.pool},
		{"Thin", true, test.thin},
		{"Snapshot", true, test.snapshot},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := open(t)
			if tt.kernel && !m.Kernel {
				t.Skip("needs device mapper")
			}
			tt.run(test{t, m})
		})
	}
}

func (t test) ok(err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (t test) want(is func(error) bool, class string, err error) {
	t.Helper()
	if !is(err) {
		t.Errorf("got %v, want %s", err, class)
	}
}

func (t test) report() lvm.Report {
	t.Helper()
	r, err := t.Client.Report(t.Context())
	t.ok(err)
	return r
}

func (t test) lv(name string) lvm.LV {
	t.Helper()
	v, there := t.report().LV(VG, name)
	if !there {
		t.Fatalf("no volume %s in the report", name)
	}
	return v
}

func (t test) names() []string {
	t.Helper()
	var names []string
	for _, v := range t.report().LVs {
		names = append(names, v.Name)
	}
	slices.Sort(names)
	return names
}

// makeGroup makes the group, with a small metadata area, on the first device.
func (t test) makeGroup() {
	t.Helper()
	t.ok(t.Client.CreateVG(t.Context(), lvm.Group{Name: VG, Devices: t.Devices[:1], MetadataSize: 4 * mib, Tags: []string{"mos.owner=mos-lvm"}}))
}

func (t test) makeLinear(names ...string) {
	t.Helper()
	for _, n := range names {
		t.ok(t.Client.CreateLinear(t.Context(), lvm.Linear{VG: VG, Name: n, Size: 4 * mib, Tags: []string{"mos.state=creating"}}))
	}
}

func (t test) group() {
	t.makeGroup()
	r := t.report()
	g, there := r.VG(VG)
	if !there || len(r.VGs) != 1 || g.ExtentSize != 4*mib || g.Free != g.Size || g.UUID == "" || g.MDAFree == 0 || g.MDAFree > g.MDASize {
		t.Errorf("got groups %+v", r.VGs)
	}
	if diff := cmp.Diff([]string{"mos.owner=mos-lvm"}, g.Tags); diff != "" {
		t.Error(diff)
	}
	if len(r.PVs) != 1 || r.PVs[0].VG != VG || r.PVs[0].Device != t.Devices[0] || r.PVs[0].Missing {
		t.Errorf("got devices %+v", r.PVs)
	}
	t.want(errdefs.IsAlreadyExists, "AlreadyExists", t.Client.CreateVG(t.Context(), lvm.Group{Name: VG, Devices: t.Devices[1:2], MetadataSize: mib}))
	t.want(errdefs.IsFailedPrecondition, "FailedPrecondition", t.Client.CreateVG(t.Context(), lvm.Group{Name: "other", Devices: t.Devices[:1], MetadataSize: mib}))
	if diff := cmp.Diff(t.Devices[:1], t.listed()); diff != "" {
		t.Errorf("the devices file after refusals: %s", diff)
	}
	t.ok(t.Client.ExtendVG(t.Context(), VG, t.Devices[1]))
	if after, _ := t.report().VG(VG); after.Size <= g.Size {
		t.Errorf("got size %d after the second device, %d before", after.Size, g.Size)
	}
	t.makeLinear("a")
	t.want(errdefs.IsFailedPrecondition, "FailedPrecondition", t.Client.RemoveVG(t.Context(), VG))
	t.ok(t.Client.Remove(t.Context(), VG, "a"))
	t.ok(t.Client.RemoveVG(t.Context(), VG))
	t.ok(t.Client.RemoveVG(t.Context(), VG))
	if r := t.report(); len(r.VGs)+len(r.PVs) > 0 {
		t.Errorf("got %+v after the removal", r)
	}
}

// listed are the paths in the devices file.
func (t test) listed() (paths []string) {
	t.Helper()
	ds, err := t.Client.ListDevices(t.Context())
	t.ok(err)
	for _, d := range ds {
		if d.IDType == "" || d.IDName == "" {
			t.Errorf("no identity in %+v", d)
		}
		paths = append(paths, d.Path)
	}
	return paths
}

func (t test) devices() {
	if got := t.listed(); len(got) != 0 {
		t.Errorf("got %q at the start", got)
	}
	for range 2 {
		t.ok(t.Client.AddDevices(t.Context(), t.Devices[0]))
	}
	if diff := cmp.Diff(t.Devices[:1], t.listed()); diff != "" {
		t.Error(diff)
	}
	for range 2 {
		t.ok(t.Client.RemoveDevices(t.Context(), t.Devices[0]))
	}
	if got := t.listed(); len(got) != 0 {
		t.Errorf("got %q at the end", got)
	}
	t.want(errdefs.IsNotFound, "NotFound", t.Client.AddDevices(t.Context(), "/dev/mos-no-such-device"))
	// What is not in the file is not seen.
	t.makeGroup()
	t.ok(t.Client.RemoveDevices(t.Context(), t.Devices[0]))
	if r := t.report(); len(r.VGs) != 0 {
		t.Errorf("got %+v without a device in the file", r.VGs)
	}
	r, err := t.Client.HostReport(t.Context())
	if g, there := r.VG(VG); err != nil || !there || g.Size == 0 {
		t.Errorf("got %+v, %v for the host", r.VGs, err)
	}
	err = t.Client.CreateLinear(t.Context(), lvm.Linear{VG: VG, Name: "a", Size: mib})
	t.want(errdefs.IsNotFound, "NotFound", err)
	t.ok(t.Client.AddDevices(t.Context(), t.Devices[0]))
	t.makeLinear("a")
}

func (t test) linear() {
	t.makeGroup()
	tags := []string{"mos.name=a/b", "mos.size=5m", "mos.state=creating"}
	t.ok(t.Client.CreateLinear(t.Context(), lvm.Linear{VG: VG, Name: "v-1", Size: 5*mib + 1, Tags: tags}))
	v := t.lv("v-1")
	if v.Size != 8*mib || v.Type != lvm.LinearVolume || v.State.Active != t.Kernel || v.State.Open || v.State.Suspended || v.State.Health != lvm.Healthy {
		t.Errorf("got %+v", v)
	}
	if t.Kernel != (v.Major > 0) {
		t.Errorf("got device %d:%d", v.Major, v.Minor)
	}
	if diff := cmp.Diff(tags, v.Tags); diff != "" {
		t.Error(diff)
	}
	create := func(vg, name string, size int64, stripes int) error {
		return t.Client.CreateLinear(t.Context(), lvm.Linear{VG: vg, Name: name, Size: size, Stripes: stripes})
	}
	t.want(errdefs.IsAlreadyExists, "AlreadyExists", create(VG, "v-1", mib, 0))
	t.want(errdefs.IsResourceExhausted, "ResourceExhausted", create(VG, "big", 1<<40, 0))
	t.want(errdefs.IsNotFound, "NotFound", create("nogroup", "a", mib, 0))
	t.want(errdefs.IsInvalidArgument, "InvalidArgument", create(VG, "striped", 8*mib, 2))
	t.ok(t.Client.ExtendVG(t.Context(), VG, t.Devices[1]))
	t.ok(create(VG, "striped", 8*mib, 2))
	if v := t.lv("striped"); v.Type != lvm.StripedVolume || v.Size != 8*mib {
		t.Errorf("got %+v", v)
	}
}

func (t test) extend() {
	t.makeGroup()
	t.makeLinear("a")
	for range 2 {
		t.ok(t.Client.Extend(t.Context(), VG, "a", 15*mib))
		if got := t.lv("a").Size; got != 16*mib {
			t.Errorf("got size %d", got)
		}
	}
	t.want(errdefs.IsInvalidArgument, "InvalidArgument", t.Client.Extend(t.Context(), VG, "a", 4*mib))
	t.want(errdefs.IsResourceExhausted, "ResourceExhausted", t.Client.Extend(t.Context(), VG, "a", 1<<40))
	t.want(errdefs.IsNotFound, "NotFound", t.Client.Extend(t.Context(), VG, "nothing", mib))
	if got := t.lv("a").Size; got != 16*mib {
		t.Errorf("got size %d after refusals", got)
	}
}

func (t test) retag() {
	t.makeGroup()
	t.makeLinear("a", "b")
	tags := func() []string { return append(t.lv("a").Tags, t.lv("b").Tags...) }
	for range 2 {
		t.ok(t.Client.Retag(t.Context(), VG, []string{"a", "b"}, []string{"mos.state=ready", "mos.t=1"}, []string{"mos.state=creating"}))
		if diff := cmp.Diff([]string{"mos.state=ready", "mos.t=1", "mos.state=ready", "mos.t=1"}, tags()); diff != "" {
			t.Error(diff)
		}
	}
	err := t.Client.Retag(t.Context(), VG, []string{"nothing", "b"}, nil, []string{"mos.t=1"})
	t.want(errdefs.IsNotFound, "NotFound", err)
	if diff := cmp.Diff([]string{"mos.state=ready", "mos.t=1", "mos.state=ready"}, tags()); diff != "" {
		t.Error(diff)
	}
}

func (t test) rename() {
	t.makeGroup()
	t.makeLinear("a", "b")
	for range 2 {
		t.ok(t.Client.Rename(t.Context(), VG, "a", "c"))
		if diff := cmp.Diff([]string{"b", "c"}, t.names()); diff != "" {
			t.Error(diff)
		}
	}
	t.want(errdefs.IsAlreadyExists, "AlreadyExists", t.Client.Rename(t.Context(), VG, "b", "c"))
	t.want(errdefs.IsNotFound, "NotFound", t.Client.Rename(t.Context(), VG, "nothing", "d"))
}

func (t test) remove() {
	t.makeGroup()
	t.makeLinear("a", "b", "c")
	t.ok(t.Client.Remove(t.Context(), VG, "a", "nothing", "b"))
	if diff := cmp.Diff([]string{"c"}, t.names()); diff != "" {
		t.Error(diff)
	}
	t.ok(t.Client.Remove(t.Context(), VG, "a", "b"))
	t.ok(t.Client.Remove(t.Context(), "nogroup", "a"))
}

func (t test) metadataFull() {
	t.ok(t.Client.CreateVG(t.Context(), lvm.Group{Name: VG, Devices: t.Devices[:1], MetadataSize: 64 << 10}))
	var tags []string
	for i := range 120 {
		tags = append(tags, fmt.Sprintf("mos.filler%03d=%01000d", i, 0))
	}
	for i := range 26 { // 120 kB each
		err := t.Client.CreateLinear(t.Context(), lvm.Linear{VG: VG, Name: "v" + string(rune('A'+i)), Size: 4 * mib, Tags: tags})
		if err != nil {
			t.want(errdefs.IsResourceExhausted, "ResourceExhausted", err)
			if got := len(t.names()); got != i || i == 0 {
				t.Errorf("got %d volumes after %d that were made", got, i)
			}
			return
		}
	}
	t.Error("the metadata area takes 26 volumes of 120 kB")
}

func (t test) missingDevice() {
	t.makeGroup()
	t.makeLinear("a")
	t.ok(t.Client.ExtendVG(t.Context(), VG, t.Devices[1]))
	t.ok(t.Client.Deactivate(t.Context(), VG, "a"))
	t.Lose(t.T, t.Devices[0])
	r := t.report()
	if g, _ := r.VG(VG); g.MissingPVs != 1 {
		t.Errorf("got %+v", g)
	}
	if n := slices.IndexFunc(r.PVs, func(p lvm.PV) bool { return p.Missing }); len(r.PVs) != 2 || n < 0 || r.PVs[n].VG != VG {
		t.Errorf("got devices %+v", r.PVs)
	}
	if v := t.lv("a"); v.State.Health != lvm.Partial {
		t.Errorf("got %+v, want it partial", v)
	}
	err := t.Client.CreateLinear(t.Context(), lvm.Linear{VG: VG, Name: "b", Size: mib})
	t.want(errdefs.IsFailedPrecondition, "FailedPrecondition", err)
	t.want(errdefs.IsFailedPrecondition, "FailedPrecondition", t.Client.Extend(t.Context(), VG, "a", 8*mib))
	t.ok(t.Client.Retag(t.Context(), VG, []string{"a"}, []string{"x"}, nil))
	t.ok(t.Client.Remove(t.Context(), VG, "a"))
}
