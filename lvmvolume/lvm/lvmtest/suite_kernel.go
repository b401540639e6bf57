package lvmtest

import (
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/mosdocker/mosdocker/lvmvolume/lvm"
)

func testActivate(t *testing.T, m Machine) {
	m.group(t)
	m.linear(t, "a", "b")
	for _, active := range []bool{false, true} {
		change := m.Client.Deactivate
		if active {
			change = m.Client.Activate
		}
		for range 2 {
			ok(t, change(t.Context(), VG, "a", "b"))
			for _, n := range []string{"a", "b"} {
				if v := m.lv(t, n); v.State.Active != active || (v.Major > 0) != active {
					t.Errorf("got %+v, want active %v", v, active)
				}
			}
		}
	}
	ok(t, m.Client.Refresh(t.Context(), VG, "a"))
	want(t, errdefs.IsNotFound, "NotFound", m.Client.Activate(t.Context(), VG, "nothing"))
	want(t, errdefs.IsNotFound, "NotFound", m.Client.Deactivate(t.Context(), VG, "nothing"))
}

func testInUse(t *testing.T, m Machine) {
	m.group(t)
	m.linear(t, "a", "b")
	release := m.Hold(t, VG, "a")
	if v := m.lv(t, "a"); !v.State.Open {
		t.Errorf("got %+v, want it open", v)
	}
	want(t, errdefs.IsFailedPrecondition, "FailedPrecondition", m.Client.Deactivate(t.Context(), VG, "a"))
	want(t, errdefs.IsFailedPrecondition, "FailedPrecondition", m.Client.Remove(t.Context(), VG, "a", "b"))
	if diff := cmp.Diff([]string{"a"}, m.names(t)); diff != "" {
		t.Error(diff)
	}
	ok(t, m.Client.Rename(t.Context(), VG, "a", "c"))
	ok(t, m.Client.Retag(t.Context(), VG, []string{"c"}, []string{"x"}, nil))
	ok(t, m.Client.Extend(t.Context(), VG, "c", 8*mib))
	release()
	ok(t, m.Client.Remove(t.Context(), VG, "c"))
}

// pool makes the group with a pool in it.
func (m Machine) pool(t *testing.T, size int64) {
	t.Helper()
	m.group(t)
	ok(t, m.Client.CreatePool(t.Context(), lvm.Pool{VG: VG, Name: "p-0", Size: size, MetadataSize: 4 * mib, ChunkSize: 64 << 10, Tags: []string{"mos.pool"}}))
}

func (m Machine) thin(t *testing.T, names ...string) {
	t.Helper()
	for _, n := range names {
		ok(t, m.Client.CreateThin(t.Context(), lvm.Thin{VG: VG, Pool: "p-0", Name: n, Size: 1 << 30, Tags: []string{"mos.state=creating"}}))
	}
}

func (m Machine) status(t *testing.T) lvm.PoolStatus {
	t.Helper()
	p, err := m.Client.PoolStatus(t.Context(), VG, "p-0")
	ok(t, err)
	return p
}

func testPool(t *testing.T, m Machine) {
	m.pool(t, 64*mib)
	v := m.lv(t, "p-0")
	if v.Type != lvm.ThinPool || v.Size != 64*mib || v.MetadataSize != 4*mib || v.DataPercent < 0 || v.MetadataPercent <= 0 {
		t.Errorf("got %+v", v)
	}
	// Only with a volume in it does lvm load the pool under its own name.
	m.thin(t, "a")
	s := m.status(t)
	if s.DataTotal != 64*mib || s.MetadataTotal != 4*mib || s.MetadataUsed == 0 || s.ReadOnly || s.OutOfData || s.NeedsCheck || s.Failed || s.Queues {
		t.Errorf("got %+v", s)
	}
	for range 2 {
		ok(t, m.Client.ExtendPool(t.Context(), VG, "p-0", 80*mib))
		ok(t, m.Client.ExtendPoolMetadata(t.Context(), VG, "p-0", 8*mib))
	}
	if s := m.status(t); s.DataTotal != 80*mib || s.MetadataTotal != 8*mib {
		t.Errorf("got %+v after growth", s)
	}
	want(t, errdefs.IsInvalidArgument, "InvalidArgument", m.Client.ExtendPool(t.Context(), VG, "p-0", 8*mib))
	want(t, errdefs.IsInvalidArgument, "InvalidArgument", m.Client.ExtendPoolMetadata(t.Context(), VG, "p-0", 4*mib))
	want(t, errdefs.IsInvalidArgument, "InvalidArgument", m.Client.ExtendPoolMetadata(t.Context(), VG, "a", 4*mib))
	want(t, errdefs.IsNotFound, "NotFound", m.Client.ExtendPoolMetadata(t.Context(), VG, "nothing", 4*mib))
	want(t, errdefs.IsFailedPrecondition, "FailedPrecondition", m.Client.Remove(t.Context(), VG, "p-0"))
	want(t, errdefs.IsFailedPrecondition, "FailedPrecondition", m.Client.RemovePool(t.Context(), VG, "p-0"))
	ok(t, m.Client.Remove(t.Context(), VG, "a"))
	for range 2 {
		ok(t, m.Client.RemovePool(t.Context(), VG, "p-0"))
	}
	if got := m.names(t); len(got) != 0 {
		t.Errorf("got %q after the removal", got)
	}
	_, err := m.Client.PoolStatus(t.Context(), VG, "p-0")
	want(t, errdefs.IsNotFound, "NotFound", err)
}

func testThin(t *testing.T, m Machine) {
	m.pool(t, 64*mib)
	m.thin(t, "a")
	v := m.lv(t, "a")
	if v.Type != lvm.ThinVolume || v.Pool != "p-0" || v.Size != 1<<30 || !v.State.Active || v.DataPercent != 0 || v.Major <= 0 {
		t.Errorf("got %+v", v)
	}
	if diff := cmp.Diff([]string{"mos.state=creating"}, v.Tags); diff != "" {
		t.Error(diff)
	}
	uses, err := m.Client.ThinUses(t.Context())
	ok(t, err)
	if diff := cmp.Diff([]lvm.ThinUse{{VG: VG, LV: "a"}}, uses); diff != "" {
		t.Error(diff)
	}
	create := func(pool, name string) error {
		return m.Client.CreateThin(t.Context(), lvm.Thin{VG: VG, Pool: pool, Name: name, Size: mib})
	}
	want(t, errdefs.IsAlreadyExists, "AlreadyExists", create("p-0", "a"))
	want(t, errdefs.IsNotFound, "NotFound", create("nothing", "b"))
	ok(t, m.Client.Extend(t.Context(), VG, "a", 2<<30))
	if got := m.lv(t, "a").Size; got != 2<<30 {
		t.Errorf("got size %d", got)
	}
}

func testSnapshot(t *testing.T, m Machine) {
	m.pool(t, 64*mib)
	m.thin(t, "a")
	m.linear(t, "thick")
	snap := func(origin, name string, active bool) error {
		return m.Client.CreateSnapshot(t.Context(), lvm.Snapshot{VG: VG, Origin: origin, Name: name, Active: active, Tags: []string{"mos.of=a"}})
	}
	ok(t, snap("a", "live", true))
	ok(t, snap("a", "cold", false))
	for name, active := range map[string]bool{"live": true, "cold": false} {
		v := m.lv(t, name)
		if v.Type != lvm.ThinVolume || v.Origin != "a" || v.Pool != "p-0" || v.Size != 1<<30 || v.State.Active != active || v.State.ReadOnly {
			t.Errorf("got %+v, want active %v", v, active)
		}
	}
	if v := m.lv(t, "a"); v.State.Suspended || !v.State.Active {
		t.Errorf("got origin %+v", v)
	}
	ok(t, m.Client.Activate(t.Context(), VG, "cold"))
	if v := m.lv(t, "cold"); !v.State.Active {
		t.Errorf("got %+v, want it active", v)
	}
	want(t, errdefs.IsInvalidArgument, "InvalidArgument", snap("thick", "x", false))
	want(t, errdefs.IsNotFound, "NotFound", snap("nothing", "x", false))
	want(t, errdefs.IsAlreadyExists, "AlreadyExists", snap("a", "cold", false))
	ok(t, m.Client.Remove(t.Context(), VG, "a"))
	if v := m.lv(t, "cold"); v.Origin != "" {
		t.Errorf("got origin %q after its removal", v.Origin)
	}
}
