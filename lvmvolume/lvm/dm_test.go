package lvm_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/xexec"
	"github.com/mosdocker/mosdocker/lvmvolume/lvm"
	"github.com/mosdocker/mosdocker/lvmvolume/lvm/lvmtest"
)

// startPool makes a group with a pool of 64 MiB.
func startPool(t *testing.T, vg string) *lvmtest.Real {
	t.Helper()
	r := lvmtest.Start(t, true, 256*mib)
	must(t, r.Client.CreateVG(t.Context(), lvm.Group{Name: vg, Devices: r.Devices, MetadataSize: mib}))
	must(t, r.Client.CreatePool(t.Context(), lvm.Pool{VG: vg, Name: "p", Size: 64 * mib, MetadataSize: 4 * mib, ChunkSize: 64 << 10}))
	return r
}

// killer returns a client whose commands are killed by SIGKILL after a time.
func killer(t *testing.T, r *lvmtest.Real, after *time.Duration) *lvm.Client {
	t.Helper()
	cfg := r.Config
	cfg.Runner = runner(func(ctx context.Context, c xexec.Cmd) ([]byte, error) {
		ctx, cancel := context.WithTimeout(ctx, *after)
		defer cancel()
		return xexec.Host{}.Run(ctx, c)
	})
	return newClient(t, cfg)
}

// creates make a thin volume, and a snapshot of the volume "whole".
func creates(t *testing.T, c *lvm.Client, vg, tag string) []func(string) error {
	t.Helper()
	return []func(string) error{
		func(name string) error {
			return c.CreateThin(t.Context(), lvm.Thin{VG: vg, Pool: "p", Name: name, Size: mib, Tags: []string{tag}})
		},
		func(name string) error {
			return c.CreateSnapshot(t.Context(), lvm.Snapshot{VG: vg, Origin: "whole", Name: name, Tags: []string{tag}, Active: true})
		},
	}
}

// Whenever lvcreate is killed, its volume is absent or carries its tags, and
// what is there can be taken away by the verbs of the package.
func TestDMKilledCreateLeavesATaggedVolumeOrNone(t *testing.T) {
	const vg, tag = "mos-killed", "mos.state=creating"
	r := startPool(t, vg)
	var after time.Duration
	killed := killer(t, r, &after)
	start := time.Now()
	must(t, r.Client.CreateThin(t.Context(), lvm.Thin{VG: vg, Pool: "p", Name: "whole", Size: mib, Tags: []string{tag}}))
	whole := time.Since(start) * 2 / 3
	create := creates(t, killed, vg, tag)
	states := map[string]int{}
	for i := range rounds(t, 10) {
		name := "v" + strconv.Itoa(i)
		after = time.Duration((0.3 + 0.7*rand.Float64()) * float64(whole))
		err := create[i%2](name)
		rep := report(t, r)
		v, there := rep.LV(vg, name)
		if there && !slices.Equal(v.Tags, []string{tag}) || err == nil && !there {
			t.Fatalf("got there %v, %+v, %v", there, v, err)
		}
		states[fmt.Sprintf("killed %v there %v active %v unfinished %v suspended %v", err != nil, there, v.State.Active, v.State.Unfinished, v.State.Suspended)]++
		// Aim at the middle: later when nothing was done, earlier when all was.
		switch {
		case err == nil:
			whole = whole * 3 / 4
		case !there:
			whole = whole * 6 / 5
		}
		if o, _ := rep.LV(vg, "whole"); o.State.Suspended {
			states["origin suspended"]++
			must(t, r.Client.Refresh(t.Context(), vg, "whole"))
		}
		must(t, r.Client.Remove(t.Context(), vg, name))
	}
	t.Log(states)
	if v, _ := report(t, r).LV(vg, "p"); v.State.Suspended || v.State.Health != lvm.Healthy {
		t.Errorf("got %+v", v)
	}
	must(t, r.Client.CreateThin(t.Context(), lvm.Thin{VG: vg, Pool: "p", Name: "last", Size: mib}))
}

func report(t *testing.T, r *lvmtest.Real) lvm.Report {
	t.Helper()
	rep, err := r.Client.Report(t.Context())
	must(t, err)
	return rep
}

// rounds is MOS_ROUNDS, else few.
func rounds(t *testing.T, few int) int {
	t.Helper()
	if n, err := strconv.Atoi(os.Getenv("MOS_ROUNDS")); err == nil {
		return n
	}
	return few
}

func TestDMFullPoolIsSeenAndErrsAtOnce(t *testing.T) {
	const vg = "mos-full"
	r := startPool(t, vg)
	must(t, r.Client.CreateThin(t.Context(), lvm.Thin{VG: vg, Pool: "p", Name: "v", Size: 128 * mib}))
	dev, err := os.OpenFile(lvm.DevicePath(vg, "v"), os.O_WRONLY|syscall.O_DIRECT, 0)
	must(t, err)
	aligned, err := syscall.Mmap(-1, 0, mib, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	must(t, err)
	defer func() { _ = syscall.Munmap(aligned) }()
	copy(aligned, "not zero")
	written := 0
	for err = nil; err == nil && written < 128; written++ {
		_, err = dev.WriteAt(aligned, int64(written)*mib)
	}
	if !errors.Is(err, syscall.EIO) && !errors.Is(err, syscall.ENOSPC) || written > 66 {
		t.Errorf("got %v after %d MiB", err, written)
	}
	must(t, dev.Close())
	p, err := r.Client.PoolStatus(t.Context(), vg, "p")
	must(t, err)
	if !p.OutOfData || p.DataUsed != p.DataTotal || p.DataTotal != 64*mib || p.Queues {
		t.Errorf("got %+v", p)
	}
	uses, err := r.Client.ThinUses(t.Context())
	must(t, err)
	if len(uses) != 1 || uses[0].Mapped != 64*mib {
		t.Errorf("got %+v", uses)
	}
	if v, _ := report(t, r).LV(vg, "p"); v.State.Health != lvm.OutOfData || v.DataPercent != 100 {
		t.Errorf("got %+v", v)
	}
	must(t, r.Client.ExtendPool(t.Context(), vg, "p", 96*mib))
	if p, err = r.Client.PoolStatus(t.Context(), vg, "p"); err != nil || p.OutOfData || p.DataTotal != 96*mib {
		t.Errorf("got %+v, %v after growth", p, err)
	}
}

// The host's own activation, as at boot, leaves our volumes alone, in a group
// of somebody else's making too.
func TestDMHostDoesNotActivateVolumes(t *testing.T) {
	const vg = "mos-boot"
	r := startPool(t, vg)
	must(t, r.Client.CreateThin(t.Context(), lvm.Thin{VG: vg, Pool: "p", Name: "t", Size: mib}))
	must(t, r.Client.CreateSnapshot(t.Context(), lvm.Snapshot{VG: vg, Origin: "t", Name: "s", Active: true}))
	must(t, r.Client.CreateLinear(t.Context(), lvm.Linear{VG: vg, Name: "l", Size: mib}))
	host := func(args ...string) {
		t.Helper()
		cmd := exec.Command("lvm", append(args, "--devicesfile="+r.Config.DevicesFile)...)
		cmd.Env = append(os.Environ(), "LVM_SYSTEM_DIR="+r.Config.SystemDir)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	host("vgchange", "--setautoactivation=y", vg)
	must(t, r.Client.Deactivate(t.Context(), vg, "t", "s", "l"))
	host("vgchange", "--activate=ay")
	for _, v := range report(t, r).LVs {
		if v.State.Active && v.Type != lvm.ThinPool {
			t.Errorf("the host activated %s", v.Name)
		}
	}
	must(t, r.Client.Activate(t.Context(), vg, "t", "s", "l"))
	if out, err := exec.Command("dmsetup", "ls").CombinedOutput(); err != nil || !strings.Contains(string(out), lvm.DMName(vg, "s")) {
		t.Errorf("got %s, %v", out, err)
	}
}

// The state that a snapshot's killed lvcreate leaves when the kernel has made the
// device already.
func TestDMPoolWithAStrayDeviceWorksOn(t *testing.T) {
	const vg = "mos-stray"
	r := startPool(t, vg)
	must(t, r.Client.CreateThin(t.Context(), lvm.Thin{VG: vg, Pool: "p", Name: "a", Size: mib}))
	for _, argv := range [][]string{
		{"suspend", lvm.DMName(vg, "a")},
		{"message", lvm.DMName(vg, "p") + "-tpool", "0", "create_snap 2 1"},
		{"resume", lvm.DMName(vg, "a")},
	} {
		if out, err := exec.Command("dmsetup", argv...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v: %s", argv, err, out)
		}
	}
	must(t, r.Client.CreateSnapshot(t.Context(), lvm.Snapshot{VG: vg, Origin: "a", Name: "s", Active: true}))
	must(t, r.Client.CreateThin(t.Context(), lvm.Thin{VG: vg, Pool: "p", Name: "b", Size: mib}))
	must(t, r.Client.Remove(t.Context(), vg, "a", "b", "s"))
}

// The state that a loss of power leaves when LVM had written a new volume down, and
// the pool had no device for it yet.
func TestDMVolumeWithoutItsDeviceCanBeRemoved(t *testing.T) {
	const vg = "mos-promised"
	r := startPool(t, vg)
	must(t, r.Client.CreateThin(t.Context(), lvm.Thin{VG: vg, Pool: "p", Name: "a", Size: mib})) // keeps the pool active
	must(t, r.Client.CreateThin(t.Context(), lvm.Thin{VG: vg, Pool: "p", Name: "b", Size: mib}))
	must(t, r.Client.Deactivate(t.Context(), vg, "b"))
	if out, err := exec.Command("dmsetup", "message", lvm.DMName(vg, "p")+"-tpool", "0", "delete 2").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := r.Client.Activate(t.Context(), vg, "b"); !errdefs.IsDataLoss(err) {
		t.Errorf("got %v", err)
	}
	must(t, r.Client.Remove(t.Context(), vg, "b"))
	must(t, r.Client.CreateThin(t.Context(), lvm.Thin{VG: vg, Pool: "p", Name: "b", Size: mib}))
	must(t, r.Client.Remove(t.Context(), vg, "a", "b"))
}
