package lvmtest

import (
	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/mosdocker/mosdocker/lvmvolume/lvm"
)

func (t test) activate() {
	t.makeGroup()
	t.makeLinear("a", "b")
	for _, active := range []bool{false, true} {
		change := t.Client.Deactivate
		if active {
			change = t.Client.Activate
		}
		for range 2 {
			t.ok(change(t.Context(), VG, "a", "b"))
			for _, n := range []string{"a", "b"} {
				if v := t.lv(n); v.State.Active != active || (v.Major > 0) != active {
					t.Errorf("got %+v, want active %v", v, active)
				}
			}
		}
	}
	t.ok(t.Client.Refresh(t.Context(), VG, "a"))
	t.want(errdefs.IsNotFound, "NotFound", t.Client.Activate(t.Context(), VG, "nothing"))
	t.want(errdefs.IsNotFound, "NotFound", t.Client.Deactivate(t.Context(), VG, "nothing"))
}

func (t test) inUse() {
	t.makeGroup()
	t.makeLinear("a", "b")
	release := t.Hold(t.T, VG, "a")
	if v := t.lv("a"); !v.State.Open {
		t.Errorf("got %+v, want it open", v)
	}
	t.want(errdefs.IsFailedPrecondition, "FailedPrecondition", t.Client.Deactivate(t.Context(), VG, "a", "b"))
	if t.lv("b").State.Active {
		t.Error("b stays active beside a, which is in use")
	}
	t.want(errdefs.IsFailedPrecondition, "FailedPrecondition", t.Client.Remove(t.Context(), VG, "a", "b"))
	if diff := cmp.Diff([]string{"a"}, t.names()); diff != "" {
		t.Error(diff)
	}
	t.ok(t.Client.Rename(t.Context(), VG, "a", "c"))
	t.ok(t.Client.Retag(t.Context(), VG, []string{"c"}, []string{"x"}, nil))
	t.ok(t.Client.Extend(t.Context(), VG, "c", 8*mib))
	release()
	t.ok(t.Client.Remove(t.Context(), VG, "c"))
}

// makePool makes the group with a pool in it.
func (t test) makePool(size int64) {
	t.Helper()
	t.makeGroup()
	t.ok(t.Client.CreatePool(t.Context(), lvm.Pool{VG: VG, Name: "p-0", Size: size, MetadataSize: 4 * mib, ChunkSize: 64 << 10, Tags: []string{"mos.pool"}}))
}

func (t test) makeThin(names ...string) {
	t.Helper()
	for _, n := range names {
		t.ok(t.Client.CreateThin(t.Context(), lvm.Thin{VG: VG, Pool: "p-0", Name: n, Size: 1 << 30, Tags: []string{"mos.state=creating"}}))
	}
}

func (t test) status() lvm.PoolStatus {
	t.Helper()
	p, err := t.Client.PoolStatus(t.Context(), VG, "p-0")
	t.ok(err)
	return p
}

func (t test) pool() {
	t.makePool(64 * mib)
	v := t.lv("p-0")
	if v.Type != lvm.ThinPool || v.Size != 64*mib || v.MetadataSize != 4*mib || v.DataPercent < 0 || v.MetadataPercent <= 0 {
		t.Errorf("got %+v", v)
	}
	// Only with a volume in it does lvm load the pool under its own name.
	t.makeThin("a")
	s := t.status()
	if s.DataTotal != 64*mib || s.MetadataTotal != 4*mib || s.MetadataUsed == 0 || s.ReadOnly || s.OutOfData || s.NeedsCheck || s.Failed || s.Queues {
		t.Errorf("got %+v", s)
	}
	for range 2 {
		t.ok(t.Client.ExtendPool(t.Context(), VG, "p-0", 80*mib))
		t.ok(t.Client.ExtendPoolMetadata(t.Context(), VG, "p-0", 8*mib))
	}
	if s := t.status(); s.DataTotal != 80*mib || s.MetadataTotal != 8*mib {
		t.Errorf("got %+v after growth", s)
	}
	t.want(errdefs.IsInvalidArgument, "InvalidArgument", t.Client.ExtendPool(t.Context(), VG, "p-0", 8*mib))
	t.want(errdefs.IsInvalidArgument, "InvalidArgument", t.Client.ExtendPoolMetadata(t.Context(), VG, "p-0", 4*mib))
	t.want(errdefs.IsInvalidArgument, "InvalidArgument", t.Client.ExtendPoolMetadata(t.Context(), VG, "a", 4*mib))
	t.want(errdefs.IsNotFound, "NotFound", t.Client.ExtendPoolMetadata(t.Context(), VG, "nothing", 4*mib))
	t.want(errdefs.IsFailedPrecondition, "FailedPrecondition", t.Client.Remove(t.Context(), VG, "p-0"))
	t.want(errdefs.IsFailedPrecondition, "FailedPrecondition", t.Client.RemovePool(t.Context(), VG, "p-0"))
	t.ok(t.Client.Remove(t.Context(), VG, "a"))
	for range 2 {
		t.ok(t.Client.RemovePool(t.Context(), VG, "p-0"))
	}
	if got := t.names(); len(got) != 0 {
		t.Errorf("got %q after the removal", got)
	}
	_, err := t.Client.PoolStatus(t.Context(), VG, "p-0")
	t.want(errdefs.IsNotFound, "NotFound", err)
}

func (t test) thin() {
	t.makePool(64 * mib)
	t.makeThin("a")
	v := t.lv("a")
	if v.Type != lvm.ThinVolume || v.Pool != "p-0" || v.Size != 1<<30 || !v.State.Active || v.DataPercent != 0 || v.Major <= 0 {
		t.Errorf("got %+v", v)
	}
	if diff := cmp.Diff([]string{"mos.state=creating"}, v.Tags); diff != "" {
		t.Error(diff)
	}
	uses, err := t.Client.ThinUses(t.Context())
	t.ok(err)
	if diff := cmp.Diff([]lvm.ThinUse{{VG: VG, LV: "a"}}, uses); diff != "" {
		t.Error(diff)
	}
	create := func(pool, name string) error {
		return t.Client.CreateThin(t.Context(), lvm.Thin{VG: VG, Pool: pool, Name: name, Size: mib})
	}
	t.want(errdefs.IsAlreadyExists, "AlreadyExists", create("p-0", "a"))
	t.want(errdefs.IsNotFound, "NotFound", create("nothing", "b"))
	t.ok(t.Client.Extend(t.Context(), VG, "a", 2<<30))
	if got := t.lv("a").Size; got != 2<<30 {
		t.Errorf("got size %d", got)
	}
}

func (t test) snapshot() {
	t.makePool(64 * mib)
	t.makeThin("a")
	t.makeLinear("thick")
	snap := func(origin, name string, active bool) error {
		return t.Client.CreateSnapshot(t.Context(), lvm.Snapshot{VG: VG, Origin: origin, Name: name, Active: active, Tags: []string{"mos.of=a"}})
	}
	t.ok(snap("a", "live", true))
	t.ok(snap("a", "cold", false))
	for name, active := range map[string]bool{"live": true, "cold": false} {
		v := t.lv(name)
		if v.Type != lvm.ThinVolume || v.Origin != "a" || v.Pool != "p-0" || v.Size != 1<<30 || v.State.Active != active || v.State.ReadOnly {
			t.Errorf("got %+v, want active %v", v, active)
		}
	}
	if v := t.lv("a"); v.State.Suspended || !v.State.Active {
		t.Errorf("got origin %+v", v)
	}
	t.ok(t.Client.Activate(t.Context(), VG, "cold"))
	if v := t.lv("cold"); !v.State.Active {
		t.Errorf("got %+v, want it active", v)
	}
	t.want(errdefs.IsInvalidArgument, "InvalidArgument", snap("thick", "x", false))
	t.want(errdefs.IsNotFound, "NotFound", snap("nothing", "x", false))
	t.want(errdefs.IsAlreadyExists, "AlreadyExists", snap("a", "cold", false))
	t.ok(t.Client.Remove(t.Context(), VG, "a"))
	if v := t.lv("cold"); v.Origin != "" {
		t.Errorf("got origin %q after its removal", v.Origin)
	}
}
