package lvm_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/internal/xexec"
	"github.com/mosdocker/mosdocker/lvmvolume/lvm"
)

func newClient(tb testing.TB, cfg lvm.Config) *lvm.Client {
	tb.Helper()
	if cfg.SystemDir == "" {
		cfg.SystemDir = tb.TempDir()
	}
	if cfg.DevicesFile == "" {
		cfg.DevicesFile = lvm.DevicesFile
	}
	c, err := lvm.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func TestCommandsAreAsTheyWere(t *testing.T) {
	ctx := t.Context()
	var b strings.Builder
	for _, cfg := range []lvm.Config{{}, {NoKernel: true, NoUdev: true}} {
		f := &xexec.Fake{Answer: func(c xexec.Cmd) ([]byte, error) {
			if c.Argv[1] == "fullreport" {
				return []byte(`{"report":[{"lv":[{"vg_name":"vg0","lv_name":"p","lv_attr":"twi-aotz--","lv_metadata_size":"4194304"}]}]}`), nil
			}
			return nil, nil
		}}
		cfg.Runner = f
		c := newClient(t, cfg)
		tags := []string{"mos.state=creating", "mos.name=a/b"}
		err := errors.Join(
			c.CreateVG(ctx, lvm.Group{Name: "vg0", Devices: []string{"/dev/vdb", "/dev/disk/by-id/x"}, Tags: tags}),
			c.CreateVG(ctx, lvm.Group{Name: "vg0", Devices: []string{"/dev/vdb"}, MetadataSize: 1 << 20, Wipe: true}),
			c.ExtendVG(ctx, "vg0", "/dev/vdd"),
			c.CreatePool(ctx, lvm.Pool{VG: "vg0", Name: "p", Size: 1 << 30, MetadataSize: 1 << 20, ChunkSize: 64 << 10, Tags: tags}),
			c.CreatePool(ctx, lvm.Pool{VG: "vg0", Name: "p", Size: 1 << 30}),
			c.CreateLinear(ctx, lvm.Linear{VG: "vg0", Name: "v", Size: 1001, Tags: tags}),
			c.CreateLinear(ctx, lvm.Linear{VG: "vg0", Name: "v", Size: 1 << 20, Stripes: 2}),
			c.CreateThin(ctx, lvm.Thin{VG: "vg0", Pool: "p", Name: "v", Size: 1 << 20, Tags: tags}),
			c.CreateSnapshot(ctx, lvm.Snapshot{VG: "vg0", Origin: "v", Name: "s", Tags: tags}),
			c.CreateSnapshot(ctx, lvm.Snapshot{VG: "vg0", Origin: "v", Name: "s", Active: true}),
			c.Extend(ctx, "vg0", "v", 1<<21), c.ExtendPool(ctx, "vg0", "p", 1<<31), c.ExtendPoolMetadata(ctx, "vg0", "p", 1<<23),
			c.Retag(ctx, "vg0", []string{"v", "w"}, []string{"mos.state=ready"}, []string{"mos.state=creating"}),
			c.Rename(ctx, "vg0", "v", "w"), c.Activate(ctx, "vg0", "v", "w"), c.Deactivate(ctx, "vg0", "v", "w"), c.Refresh(ctx, "vg0", "v"),
			c.Remove(ctx, "vg0", "v", "w"), c.RemovePool(ctx, "vg0", "q"), c.RemoveVG(ctx, "vg0"),
			c.RemoveDevices(ctx, "/dev/vdd"),
		)
		_, err2 := c.ListDevices(ctx)
		_, err3 := c.Pools(ctx)
		_, err4 := c.ThinUses(ctx)
		_, err5 := c.HostReport(ctx)
		if err := errors.Join(err, err2, err3, err4, err5); err != nil {
			t.Fatal(err)
		}
		b.WriteString(strings.Join(f.Lines(), "\n") + "\n\n")
	}
	testx.Golden(t, "commands.golden", b.String())
}

func TestNothingUncheckedBecomesAnArgument(t *testing.T) {
	f := &xexec.Fake{}
	c := newClient(t, lvm.Config{Runner: f})
	ctx := t.Context()
	for _, bad := range []string{"", "-n", "--yes", "a b", "a/b", "a;b", "a\nb", "..", "ä"} {
		for i, err := range []error{
			c.CreateLinear(ctx, lvm.Linear{VG: bad, Name: "v", Size: 1}),
			c.CreateLinear(ctx, lvm.Linear{VG: "vg", Name: bad, Size: 1}),
			c.CreateThin(ctx, lvm.Thin{VG: "vg", Pool: bad, Name: "v", Size: 1}),
			c.CreateSnapshot(ctx, lvm.Snapshot{VG: "vg", Origin: bad, Name: "v"}),
			c.CreatePool(ctx, lvm.Pool{VG: "vg", Name: bad, Size: 1}),
			c.CreateVG(ctx, lvm.Group{Name: bad, Devices: []string{"/dev/sda"}}),
			c.CreateVG(ctx, lvm.Group{Name: "vg", Devices: []string{bad}}),
			c.Extend(ctx, "vg", bad, 1), c.ExtendPoolMetadata(ctx, "vg", bad, 1), c.ExtendVG(ctx, "vg", bad), c.ExtendVG(ctx, bad, "/dev/sda"),
			c.Retag(ctx, "vg", []string{bad}, []string{"x"}, nil), c.Rename(ctx, "vg", "v", bad), c.Rename(ctx, "vg", bad, "v"),
			c.Activate(ctx, "vg", bad), c.Deactivate(ctx, bad, "v"), c.Refresh(ctx, "vg", bad),
			c.Remove(ctx, "vg", "v", bad), c.RemovePool(ctx, "vg", bad), c.RemoveVG(ctx, bad),
			c.AddDevices(ctx, bad), c.RemoveDevices(ctx, bad),
		} {
			if !errdefs.IsInvalidArgument(err) {
				t.Errorf("%q, call %d: got %v", bad, i, err)
			}
		}
	}
	if got := f.Lines(); len(got) > 0 {
		t.Errorf("ran %q", got)
	}
}

func TestTagsAndSizesAreChecked(t *testing.T) {
	f := &xexec.Fake{}
	c := newClient(t, lvm.Config{Runner: f})
	ctx := t.Context()
	for _, bad := range []string{"", "-x", "a b", "a,b", "a@b", "a\"b", "ä"} {
		err := c.CreateLinear(ctx, lvm.Linear{VG: "vg", Name: "v", Size: 1, Tags: []string{bad}})
		if !errdefs.IsInvalidArgument(err) || !errdefs.IsInvalidArgument(c.Retag(ctx, "vg", []string{"v"}, nil, []string{bad})) {
			t.Errorf("tag %q passes: %v", bad, err)
		}
	}
	for _, err := range []error{
		c.CreateLinear(ctx, lvm.Linear{VG: "vg", Name: "v"}), c.Extend(ctx, "vg", "v", -1), c.Extend(ctx, "vg", "v_tdata", 1),
		c.Retag(ctx, "vg", []string{"v"}, []string{"x"}, []string{"x"}), c.CreatePool(ctx, lvm.Pool{VG: "vg", Name: "p", Size: 1, ChunkSize: -1}),
		c.CreateVG(ctx, lvm.Group{Name: "vg"}), c.Activate(ctx, strings.Repeat("-v", 40)[1:], strings.Repeat("v-", 20)+"v"),
	} {
		if !errdefs.IsInvalidArgument(err) {
			t.Errorf("got %v", err)
		}
	}
	if got := f.Lines(); len(got) > 0 {
		t.Errorf("ran %q", got)
	}
}

func TestClientRefusesAConfigWithoutWhatItNeeds(t *testing.T) {
	for _, cfg := range []lvm.Config{
		{DevicesFile: "x"},
		{Runner: &xexec.Fake{}},
		{Runner: &xexec.Fake{}, DevicesFile: "../x"},
		{Runner: &xexec.Fake{}, DevicesFile: ".."},
	} {
		if _, err := lvm.New(cfg); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%+v: got %v", cfg, err)
		}
	}
}

func TestMissingDevicesFileIsMadeBeforeTheFirstCommand(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "devices", lvm.DevicesFile)
	f := &xexec.Fake{Answer: func(xexec.Cmd) ([]byte, error) {
		b, err := os.ReadFile(path)
		if err != nil || string(b) != "VERSION=1.1.1\n" {
			t.Errorf("got %q, %v", b, err)
		}
		return []byte(`{"report":[]}`), nil
	}}
	c := newClient(t, lvm.Config{Runner: f, SystemDir: dir})
	for range 2 {
		if _, err := c.Report(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // no folder can be made
		t.Fatal(err)
	}
	if _, err := c.Report(t.Context()); !errdefs.IsUnavailable(err) || len(f.Lines()) != 2 {
		t.Errorf("got %v after %q", err, f.Lines())
	}
}

type runner func(context.Context, xexec.Cmd) ([]byte, error)

func (r runner) Run(ctx context.Context, c xexec.Cmd) ([]byte, error) { return r(ctx, c) }

func TestChangeIsNotCutByItsCaller(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	runs := 0
	c := newClient(t, lvm.Config{Limit: time.Hour, Runner: runner(func(run context.Context, c xexec.Cmd) ([]byte, error) {
		runs++
		cancel()
		if err := run.Err(); (err != nil) != (c.Argv[1] == "fullreport") {
			t.Errorf("%s: got %v", c.Argv[1], err)
		}
		if _, limited := run.Deadline(); limited != (c.Argv[1] != "fullreport") {
			t.Errorf("%s: got limited %v", c.Argv[1], limited)
		}
		return nil, nil
	})})
	if err := c.Activate(ctx, "vg", "v"); err != nil {
		t.Error(err)
	}
	if err := c.Activate(ctx, "vg", "v"); !errdefs.IsUnavailable(err) || !errors.Is(err, context.Canceled) || runs != 1 {
		t.Errorf("got %v after %d runs: a change begins under an ended context", err, runs)
	}
	_, _ = c.Report(ctx) // looks at its context above
}

func TestStrayDeviceOfAThinPoolIsTakenOut(t *testing.T) {
	for _, healed := range []bool{true, false} {
		f := &xexec.Fake{}
		f.Answer = func(c xexec.Cmd) ([]byte, error) {
			switch {
			case c.Argv[0] == "dmsetup" && !healed:
				return nil, errors.New("Device or resource busy")
			case c.Argv[0] == "lvm" && len(f.Runs()) == 1:
				return nil, &xexec.Error{Code: 5, Stderr: "Thin pool v--g-p-tpool (253:2) already contain thin device with device_id 7."}
			}
			return nil, nil
		}
		c := newClient(t, lvm.Config{Runner: f})
		err := c.CreateSnapshot(t.Context(), lvm.Snapshot{VG: "v-g", Origin: "a", Name: "b"})
		lines := f.Lines()
		if len(lines) < 2 || lines[1] != "dmsetup message v--g-p-tpool 0 delete 7" {
			t.Fatalf("got %q", lines)
		}
		if healed && (err != nil || len(lines) != 3 || lines[2] != lines[0]) || !healed && (!errdefs.IsFailedPrecondition(err) || len(lines) != 2) {
			t.Errorf("healed %v: got %v after %q", healed, err, lines)
		}
	}
}
