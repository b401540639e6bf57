package lvmtest_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"github.com/mosdocker/mosdocker/lvmvolume/lvm"
	"github.com/mosdocker/mosdocker/lvmvolume/lvm/lvmtest"
)

const mib = 1 << 20

func start(t *testing.T) (*lvmtest.Fake, *lvm.Client) {
	t.Helper()
	f := lvmtest.NewFake(1024 * mib)
	c := f.Client(t)
	err := errors.Join(
		c.CreateVG(t.Context(), lvm.Group{Name: "g", Devices: []string{"/dev/sda"}}),
		c.CreatePool(t.Context(), lvm.Pool{VG: "g", Name: "p", Size: 64 * mib, MetadataSize: 4 * mib}),
		c.CreateThin(t.Context(), lvm.Thin{VG: "g", Pool: "p", Name: "a", Size: 32 * mib, Tags: []string{"x", "a"}}),
	)
	if err != nil {
		t.Fatal(err)
	}
	return f, c
}

func TestFakePrintsItself(t *testing.T) {
	f, c := start(t)
	f.SetOpen("g", "a", true)
	if err := c.CreateSnapshot(t.Context(), lvm.Snapshot{VG: "g", Origin: "a", Name: "s"}); err != nil {
		t.Fatal(err)
	}
	want := `vg g size 1006632960 free 931135488 tags 
  pv /dev/sda size 1006632960
  thin a size 33554432 pool p tags a,x active open
  thin-pool p size 67108864 tags  active
  thin s size 33554432 pool p origin a tags 
`
	if diff := cmp.Diff(want, f.String()); diff != "" {
		t.Error(diff)
	}
	f.Reboot()
	if strings.Contains(f.String(), "active") {
		t.Errorf("got %s after a reboot", f)
	}
}

func TestFakeFailsAsItIsTold(t *testing.T) {
	for how, want := range map[lvmtest.Failure]struct {
		class                     func(error) bool
		there, active, unfinished bool
	}{
		lvmtest.Refuse:          {errdefs.IsInternal, false, false, false},
		lvmtest.LockUnavailable: {errdefs.IsUnavailable, false, false, false},
		lvmtest.KillBefore:      {errdefs.IsUnavailable, false, false, false},
		lvmtest.KillCommitted:   {errdefs.IsUnavailable, true, false, false},
		lvmtest.KillUnfinished:  {errdefs.IsUnavailable, true, false, true},
		lvmtest.KillAfter:       {errdefs.IsUnavailable, true, true, false},
	} {
		f, c := start(t)
		f.FailNext(2, how)
		if _, err := c.Report(t.Context()); err != nil {
			t.Fatal(err)
		}
		err := c.CreateThin(t.Context(), lvm.Thin{VG: "g", Pool: "p", Name: "b", Size: mib, Tags: []string{"creating"}})
		r, rerr := c.Report(t.Context())
		if rerr != nil {
			t.Fatal(rerr)
		}
		v, there := r.LV("g", "b")
		if !want.class(err) || there != want.there || v.State.Active != want.active || v.State.Unfinished != want.unfinished {
			t.Errorf("%d: got %v, there %v, %+v", how, err, there, v)
		}
		if there && len(v.Tags) != 1 {
			t.Errorf("%d: got tags %q", how, v.Tags)
		}
		if err := c.Remove(t.Context(), "g", "b"); err != nil {
			t.Error(err)
		}
	}
}

func TestFakeShowsFillAndDamage(t *testing.T) {
	f, c := start(t)
	f.SetUsed("g", "a", 16*mib)
	f.SetMetadataUsed("g", "p", mib)
	status := func() lvm.PoolStatus {
		p, err := c.PoolStatus(t.Context(), "g", "p")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if p := status(); p.DataUsed != 16*mib || p.MetadataUsed != mib || p.OutOfData {
		t.Errorf("got %+v", p)
	}
	f.SetUsed("g", "p", 48*mib)
	if p := status(); !p.OutOfData || p.DataUsed != p.DataTotal {
		t.Errorf("got %+v", p)
	}
	f.SetBroken("g", "p", true)
	if p := status(); !p.ReadOnly || !p.NeedsCheck {
		t.Errorf("got %+v", p)
	}
	err := c.CreateThin(t.Context(), lvm.Thin{VG: "g", Pool: "p", Name: "b", Size: mib})
	if !errdefs.IsFailedPrecondition(err) {
		t.Errorf("got %v", err)
	}
	f.SetBroken("g", "p", false)
	f.SetSuspended("g", "a", true)
	if r, err := c.Report(t.Context()); err != nil || !r.LVs[0].State.Suspended {
		t.Errorf("got %+v, %v", r.LVs, err)
	}
	if err := c.Refresh(t.Context(), "g", "a"); err != nil {
		t.Error(err)
	}
	if r, err := c.Report(t.Context()); err != nil || r.LVs[0].State.Suspended {
		t.Errorf("got %+v, %v", r.LVs, err)
	}
}
