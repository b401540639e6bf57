package cgroup

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/setmgr/plan"
	"github.com/mosdocker/mosdocker/setmgr/render"
)

// private is a part of this machine's cgroups of version 1, which goes with the test.
func private(t *testing.T) (*folders, string) {
	t.Helper()
	testx.Need(t, testx.Root)
	if _, err := os.Stat(mountPoint + "/cpu/cpu.cfs_quota_us"); err != nil {
		if _, err := os.Stat(mountPoint + "/cpu"); err != nil {
			t.Skip("no cgroups of version 1 here")
		}
	}
	top := "mos-cgroup-test-" + strconv.Itoa(os.Getpid())
	f := &folders{root: mountPoint, version: 1, record: filepath.Join(t.TempDir(), "caps.json")}
	t.Cleanup(func() {
		left, _ := filepath.Glob(mountPoint + "/*/" + top)
		for _, dir := range left {
			if err := os.Remove(dir); err != nil {
				t.Error(err)
			}
		}
	})
	return f, "/" + top + "/mosset-web.slice"
}

// TestCapHolds: a busy loop in a parent gets its quota and no more; the cap can grow
// and shrink while it is in use, and goes without a trace.
func TestCapHolds(t *testing.T) {
	f, parent := private(t)
	ctx := t.Context()
	if l, there, err := f.Read(ctx, parent); l != (plan.Limits{}) || there || err != nil {
		t.Errorf("absent: %v, %v", l, err)
	}
	for _, want := range []plan.Limits{{CPU: 0.4, MEM: 64 << 20}, {CPU: 1.5, MEM: 128 << 20}, {MEM: 32 << 20}, {}, {CPU: 0.25, MEM: 48 << 20}} {
		if err := f.Set(ctx, parent, want); err != nil {
			t.Fatal(err)
		}
		if l, there, err := f.Read(ctx, parent); l != want || !there || err != nil {
			t.Errorf("got %v, %v, want %v", l, err, want)
		}
	}
	loop := exec.Command("sh", "-c", "echo $$ >"+mountPoint+"/cpu"+parent+"/cgroup.procs; while :; do :; done")
	if err := loop.Start(); err != nil {
		t.Fatal(err)
	}
	stop := func() { _ = loop.Process.Kill(); _ = loop.Wait() }
	defer stop()
	testx.Eventually(t, 5*time.Second, func() error {
		b, err := os.ReadFile(mountPoint + "/cpu" + parent + "/cgroup.procs")
		if err == nil && len(b) == 0 {
			err = errors.New("nobody is in it yet")
		}
		return err
	})
	start, used := time.Now(), ticks(t, loop.Process.Pid)
	time.Sleep(2 * time.Second)
	share := (ticks(t, loop.Process.Pid) - used).Seconds() / time.Since(start).Seconds()
	if share > 0.25*1.15 {
		t.Errorf("a busy loop got %.2f of a core, its cap is 0.25", share)
	}
	if err := f.Drop(ctx, parent); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("a parent in use is dropped: %v", err)
	}
	stop()
	// A drop that was cut off after the first folder is seen to be.
	if err := os.Remove(mountPoint + "/cpu" + parent); err != nil {
		t.Error(err)
	}
	if l, there, err := f.Read(ctx, parent); l.MEM != 48<<20 || !there || err != nil {
		t.Errorf("half dropped: %v, %v, %v", l, there, err)
	}
	for range 2 {
		if err := f.Drop(ctx, parent); err != nil {
			t.Error(err)
		}
	}
	if left, _ := filepath.Glob(mountPoint + "/*" + parent); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
}

// TestWhatDeadContainersLeftGoes: a runtime that was killed leaves cgroups without a
// process. One that has a process stays, and keeps the set's.
func TestWhatDeadContainersLeftGoes(t *testing.T) {
	f, parent := private(t)
	if err := f.Set(t.Context(), parent, plan.Limits{CPU: 1, MEM: 64 << 20}); err != nil {
		t.Fatal(err)
	}
	dead, live := mountPoint+"/cpu"+parent+"/dead/below", mountPoint+"/cpu"+parent+"/live/below"
	if err := errors.Join(os.MkdirAll(dead, 0o755), os.MkdirAll(live, 0o755)); err != nil {
		t.Fatal(err)
	}
	process := exec.Command("sh", "-c", "echo $$ >"+live+"/cgroup.procs; read end")
	in, err := process.StdinPipe()
	if err == nil {
		err = process.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	testx.Eventually(t, 5*time.Second, func() error {
		b, err := os.ReadFile(live + "/cgroup.procs")
		if err == nil && len(b) == 0 {
			err = errors.New("nobody is in it yet")
		}
		return err
	})
	if err := f.Drop(t.Context(), parent); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("a parent in use is dropped: %v", err)
	}
	if b, err := os.ReadFile(live + "/cgroup.procs"); err != nil || len(b) == 0 {
		t.Errorf("who was in it is not: %q, %v", b, err)
	}
	if err := errors.Join(in.Close(), process.Wait()); err != nil {
		t.Log(err) // the shell's own code
	}
	if err := f.Drop(t.Context(), parent); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(mountPoint + "/*" + parent); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
}

// TestWhatDoesNotFitIsRefused: less than a container in it is allowed, or uses.
func TestWhatDoesNotFitIsRefused(t *testing.T) {
	f, parent := private(t)
	ctx, had := t.Context(), plan.Limits{CPU: 1, MEM: 128 << 20}
	if err := f.Set(ctx, parent, had); err != nil {
		t.Fatal(err)
	}
	inside := parent + "/inside"
	t.Cleanup(func() {
		for _, controller := range []string{"cpu", "memory"} {
			for _, dir := range []string{inside, parent} {
				if err := os.Remove(filepath.Join(mountPoint, controller, dir)); err != nil {
					t.Error(err)
				}
			}
		}
	})
	if err := f.write(inside, plan.Limits{CPU: 0.8}); err != nil {
		t.Fatal(err)
	}
	if err := f.write(inside, plan.Limits{CPU: 2}); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("more than the parent is allowed: %v", err)
	}
	if err := f.Set(ctx, parent, plan.Limits{CPU: 0.5, MEM: had.MEM}); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), parent) {
		t.Errorf("less than what is in it is allowed: %v", err)
	}
	const script = `echo $$ >$1/cgroup.procs; x=$(head -c 40000000 /dev/zero | tr '\0' x); echo full; read _`
	eater := exec.Command("sh", "-c", script, "sh", filepath.Join(mountPoint, "memory", inside))
	out, err := eater.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := eater.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := eater.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close(); _ = eater.Wait() }()
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	if err := f.Set(ctx, parent, plan.Limits{CPU: 1, MEM: 16 << 20}); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), parent) {
		t.Errorf("less than is used: %v", err)
	}
	if l, _, err := f.Read(ctx, parent); l != had || err != nil {
		t.Errorf("it is %v after what was refused, %v", l, err)
	}
}

// ticks is the processor time that a process had, by its statistics in hundredths.
func ticks(t *testing.T, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	var sum int
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	return time.Duration(sum) * 10 * time.Millisecond
}

// TestCapsAreThereAgain after a start of the host, which leaves no cgroup.
func TestCapsAreThereAgain(t *testing.T) {
	f, parent := private(t)
	want := plan.Limits{CPU: 0.5, MEM: 64 << 20}
	if err := f.Set(t.Context(), parent, want); err != nil {
		t.Fatal(err)
	}
	record, err := os.ReadFile(f.record)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Drop(t.Context(), parent); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.record, record, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l, there, err := f.Read(t.Context(), parent); l != want || !there || err != nil {
		t.Errorf("got %v, %v", l, err)
	}
	if err := f.Drop(t.Context(), parent); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{"{": "caps.json", `{"version": 2}`: "version 2"} {
		if err := os.WriteFile(f.record, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := f.apply(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestVersion2 is tried on plain files: what is written is what that kernel reads.
func TestVersion2(t *testing.T) {
	dir := t.TempDir()
	f := &folders{root: dir, version: 2, record: filepath.Join(dir, "record")}
	const parent = "/mosset.slice/mosset-web.slice"
	for want, text := range map[plan.Limits]string{
		{CPU: 1.5, MEM: 1 << 30}: "150000 100000 1073741824", {}: "max 100000 max", {MEM: 4096}: "max 100000 4096",
	} {
		if err := f.Set(t.Context(), parent, want); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, file := range []string{"cpu.max", "memory.max"} {
			b, err := os.ReadFile(filepath.Join(dir, parent, file))
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(b))
		}
		if strings.Join(got, " ") != text {
			t.Errorf("%v is written as %v", want, got)
		}
		if l, there, err := f.Read(t.Context(), parent); l != want || !there || err != nil {
			t.Errorf("read back: %v, %v, want %v", l, err, want)
		}
	}
	for _, up := range []string{"", "mosset.slice"} {
		if b, err := os.ReadFile(filepath.Join(dir, up, "cgroup.subtree_control")); err != nil || string(b) != "+cpu +memory" {
			t.Errorf("controllers below %q: %q, %v", up, b, err)
		}
	}
	for file, text := range map[string]string{"memory.current": "83886080", "memory.stat": "anon 52428800\nactive_file 10485760\ninactive_file 20971520\n"} {
		if err := os.WriteFile(filepath.Join(dir, parent, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Set(t.Context(), parent, plan.Limits{MEM: 49 << 20}); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "use 50m") {
		t.Errorf("less memory than is used: %v", err)
	}
	if err := f.Set(t.Context(), parent, plan.Limits{MEM: 51 << 20}); err != nil {
		t.Errorf("less memory than is used with what is cached: %v", err)
	}
	if l, there, err := f.Read(t.Context(), "/mosset.slice/mosset-no.slice"); l != (plan.Limits{}) || there || err != nil {
		t.Errorf("absent: %v, %v", l, err)
	}
}

// fakeBus remembers properties as systemd does.
type fakeBus struct {
	props  map[string]any
	stored map[string]bool // not only until the next start
	calls  []string
	fail   error
}

func (b *fakeBus) SetUnitPropertiesContext(_ context.Context, name string, runtime bool, ps ...systemd.Property) error {
	for _, p := range ps {
		b.props[name+" "+p.Name], b.stored[name+" "+p.Name] = p.Value.Value(), !runtime
	}
	return b.fail
}

func (b *fakeBus) GetUnitTypePropertyContext(_ context.Context, unit, _, name string) (*systemd.Property, error) {
	v, ok := b.props[unit+" "+name]
	switch {
	case !ok && name == "ControlGroup":
		v = ""
	case !ok:
		v = ^uint64(0)
	}
	return &systemd.Property{Name: name, Value: dbus.MakeVariant(v)}, b.fail
}

func (b *fakeBus) StopUnitContext(_ context.Context, name, _ string, ch chan<- string) (int, error) {
	b.calls = append(b.calls, "stop "+name)
	ch <- "done"
	return 1, nil
}

func (b *fakeBus) ReloadContext(context.Context) error {
	b.calls = append(b.calls, "reload")
	return nil
}

func (*fakeBus) Close() {}

func TestSlices(t *testing.T) {
	b := &fakeBus{props: map[string]any{}, stored: map[string]bool{}}
	s := &slices{connect: func(context.Context) (bus, error) { return b, nil }, dir: t.TempDir(), root: t.TempDir()}
	const parent = "mosset-web.slice"
	for _, want := range []plan.Limits{{}, {CPU: 1.5, MEM: 1 << 30}, {CPU: 0.25}} {
		if err := s.Set(t.Context(), parent, want); err != nil {
			t.Fatal(err)
		}
		if l, there, err := s.Read(t.Context(), parent); l != want || there != (want != plan.Limits{}) || err != nil {
			t.Errorf("got %v, %v, want %v", l, err, want)
		}
	}
	if b.props[parent+" CPUQuotaPerSecUSec"] != uint64(250000) || !b.stored[parent+" CPUQuotaPerSecUSec"] {
		t.Errorf("the properties are %v, lasting %v", b.props, b.stored)
	}
	dropIn := filepath.Join(s.dir, parent+".d")
	if err := os.MkdirAll(dropIn, 0o750); err != nil {
		t.Fatal(err)
	}
	// Stopped, a slice takes its containers with it.
	b.props[parent+" ControlGroup"] = "/mosset.slice/" + parent
	for _, tree := range []string{"", "systemd"} {
		scope := filepath.Join(s.root, tree, "mosset.slice", parent, "docker-1.scope")
		if err := os.MkdirAll(scope, 0o750); err != nil {
			t.Fatal(err)
		}
		procs := filepath.Join(scope, "cgroup.procs")
		if err := os.WriteFile(procs, []byte("7\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := s.Drop(t.Context(), parent); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "docker-1.scope") || len(b.calls) > 0 {
			t.Errorf("a slice in use is dropped: %v, %v", err, b.calls)
		}
		if err := os.WriteFile(procs, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Drop(t.Context(), parent); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dropIn); err == nil || strings.Join(b.calls, ", ") != "stop mosset-web.slice, reload" {
		t.Errorf("the drop-ins stay, or %v", b.calls)
	}
	b.fail = errors.New("no such unit")
	if err := s.Set(t.Context(), parent, plan.Limits{}); err == nil || !strings.Contains(err.Error(), parent) {
		t.Error(err)
	}
	if err := s.Drop(t.Context(), "../x"); !errdefs.IsInvalidArgument(err) {
		t.Error(err)
	}
}

func TestWhoCanCap(t *testing.T) {
	if why := CanCap(render.Facts{CgroupDriver: "none"}); why == "" {
		t.Error("an Engine without cgroups is capped")
	}
	if _, ok := Open(render.Facts{CgroupDriver: "systemd"}).(*slices); !ok {
		t.Error("systemd drives the cgroups, and is passed by")
	}
	if f, ok := Open(render.Facts{CgroupDriver: "cgroupfs", CgroupVersion: 2}).(*folders); !ok || f.version != 2 {
		t.Error("cgroupfs")
	}
}

// TestVMSystemdSlice is of a real systemd: it keeps what a slice is to hold, and a
// slice with a process in it is not dropped with that.
func TestVMSystemdSlice(t *testing.T) {
	testx.Need(t, testx.Root)
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		t.Skip("systemd does not run here: go test -exec $PWD/test/vm/run -run TestVM ./setmgr/cgroup")
	}
	const parent, unit = "mosset-vmtest.slice", "mos-vmtest.service"
	s := &slices{connect: connectSystemd, dir: "/etc/systemd/system.control", root: mountPoint}
	run := func(argv ...string) string {
		out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
		if err != nil {
			t.Errorf("%v: %v: %s", argv, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	ctx, want := t.Context(), plan.Limits{CPU: 0.5, MEM: 64 << 20}
	if err := s.Drop(ctx, parent); err != nil {
		t.Errorf("one that never was: %v", err)
	}
	if err := s.Set(ctx, parent, want); err != nil {
		t.Fatal(err)
	}
	run("systemd-run", "--quiet", "--unit", unit, "--slice", parent, "sleep", "1000")
	defer func() { _ = exec.Command("systemctl", "stop", unit).Run() }()
	if l, there, err := s.Read(ctx, parent); l != want || !there || err != nil {
		t.Errorf("it is %v, %v, %v", l, there, err)
	}
	if err := s.Drop(ctx, parent); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("dropped in use: %v", err)
	}
	if state := run("systemctl", "is-active", unit); state != "active" {
		t.Errorf("what is in it is %s", state)
	}
	run("systemctl", "stop", unit)
	for range 2 {
		if err := s.Drop(ctx, parent); err != nil {
			t.Error(err)
		}
	}
	if l, there, err := s.Read(ctx, parent); l != (plan.Limits{}) || there || err != nil {
		t.Errorf("dropped it is %v, %v, %v", l, there, err)
	}
	if left, _ := filepath.Glob(mountPoint + "/mosset.slice/" + parent); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
}

// TestVMVersion2 is of a kernel with cgroups of version 2: it holds a busy loop, and
// is given no limit that it would kill processes for.
func TestVMVersion2(t *testing.T) {
	testx.Need(t, testx.Root)
	if _, err := os.Stat(mountPoint + "/cgroup.controllers"); err != nil {
		t.Skip("no cgroups of version 2 here: go test -exec $PWD/test/vm/run -run TestVM ./setmgr/cgroup")
	}
	ctx, parent := t.Context(), "/mos-cgroup-test-"+strconv.Itoa(os.Getpid())+"/mosset-web.slice"
	f := &folders{root: mountPoint, version: 2, record: filepath.Join(t.TempDir(), "caps.json")}
	want := plan.Limits{CPU: 0.25, MEM: 100 << 20}
	if err := f.Set(ctx, parent, want); err != nil {
		t.Fatal(err)
	}
	if l, there, err := f.Read(ctx, parent); l != want || !there || err != nil {
		t.Errorf("it is %v, %v, %v", l, there, err)
	}
	const script = `echo $$ >$1/cgroup.procs; x=$(head -c 40000000 /dev/zero | tr '\0' x); echo full; while :; do :; done`
	loop := exec.Command("sh", "-c", script, "sh", filepath.Join(mountPoint, parent))
	out, err := loop.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := loop.Start(); err != nil {
		t.Fatal(err)
	}
	stop := func() { _ = loop.Process.Kill(); _ = loop.Wait() }
	defer stop()
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	start, used := time.Now(), ticks(t, loop.Process.Pid)
	time.Sleep(2 * time.Second)
	if share := (ticks(t, loop.Process.Pid) - used).Seconds() / time.Since(start).Seconds(); share > 0.25*1.15 {
		t.Errorf("a busy loop got %.2f of a core, its cap is 0.25", share)
	}
	if err := f.Set(ctx, parent, plan.Limits{CPU: 0.25, MEM: 16 << 20}); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("less than is used: %v", err)
	}
	if procs, err := os.ReadFile(filepath.Join(mountPoint, parent, "cgroup.procs")); len(procs) == 0 {
		t.Errorf("it was killed, %v", err)
	}
	if l, _, err := f.Read(ctx, parent); l != want || err != nil {
		t.Errorf("it is %v after what was refused, %v", l, err)
	}
	if err := f.Drop(ctx, parent); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("dropped in use: %v", err)
	}
	stop()
	for range 2 {
		if err := f.Drop(ctx, parent); err != nil {
			t.Error(err)
		}
	}
	if left, _ := filepath.Glob(mountPoint + "/mos-cgroup-test*"); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
}
