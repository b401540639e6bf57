package filesystem_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mosdocker/mosdocker/lvmvolume/filesystem"
	"github.com/mosdocker/mosdocker/lvmvolume/loop"
	"github.com/mosdocker/mosdocker/lvmvolume/loop/looptest"
)

var errStop = errors.New("stop")

func cancelable(tb testing.TB) (context.Context, context.CancelCauseFunc) {
	tb.Helper()
	ctx, stop := context.WithCancelCause(tb.Context())
	tb.Cleanup(func() { stop(nil) })
	return ctx, stop
}

func TestProbeReadsWhatBlkidReads(t *testing.T) {
	each(t, func(t *testing.T, typ filesystem.Type) {
		t.Helper()
		device := looptest.Device(t, size(typ))
		if _, err := filesystem.Probe(device); !errdefs.IsNotFound(err) {
			t.Errorf("got %v for an empty device", err)
		}
		o := filesystem.MakeOptions{Zeroed: true, Label: "web-1", UUID: "6c4bd9d0-0ff5-4e25-a5b3-55b1f1b5b0aa"}
		if err := host.Make(t.Context(), typ, device, o); err != nil {
			t.Fatal(err)
		}
		i, err := filesystem.Probe(device)
		if err != nil || i.Type != typ || i.UUID != o.UUID || i.Label != o.Label || i.Size != size(typ) || i.BlockSize != 4096 || i.Errors {
			t.Errorf("got %+v, %v", i, err)
		}
		if got := strings.TrimSpace(run(t, "blkid", "-p", "-o", "value", "-s", "UUID", device)); got != i.UUID {
			t.Errorf("blkid has %s, we %s", got, i.UUID)
		}
		if needs, err := filesystem.NeedsGrow(device); needs || err != nil {
			t.Errorf("a new one needs growth: %v", err)
		}
	})
}

func TestProbeTellsWhetherTheJournalIsClean(t *testing.T) {
	dir := looptest.Dir(t)
	h := looptest.Attach(t, looptest.Image(t, dir, "v", 32*mib))
	makeOn(t, filesystem.Ext4, h.Device)
	journal := func(path string) filesystem.Journal {
		i, err := filesystem.Probe(path)
		if err != nil {
			t.Fatal(err)
		}
		return i.Journal
	}
	if got := journal(h.Device); got != filesystem.Clean {
		t.Errorf("got %s for a new one", got)
	}
	mnt := mount(t, filesystem.Ext4, h.Device, "")
	if err := os.WriteFile(filepath.Join(mnt, "f"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := journal(h.Device); got != filesystem.Replay {
		t.Errorf("got %s while it is mounted", got)
	}
	// What a power cut would leave.
	run(t, "sync", "-f", mnt)
	cut := filepath.Join(dir, "cut")
	run(t, "cp", h.Device, cut)
	if got := journal(cut); got != filesystem.Replay {
		t.Errorf("got %s after a power cut", got)
	}
	if err := filesystem.Unmount(mnt); err != nil {
		t.Fatal(err)
	}
	if got := journal(h.Device); got != filesystem.Clean {
		t.Errorf("got %s after it was unmounted", got)
	}
}

func TestProbeReadsKeptSuperBlocks(t *testing.T) {
	for name, want := range map[string]filesystem.Info{
		"ext4": {Type: filesystem.Ext4, Size: 64 * mib, Journal: filesystem.Clean},
		"xfs":  {Type: filesystem.XFS, Size: 320 * mib, Journal: filesystem.Unknown},
	} {
		want.UUID, want.Label, want.BlockSize = "6c4bd9d0-0ff5-4e25-a5b3-55b1f1b5b0aa", "web", 4096
		got, err := filesystem.Probe(filepath.Join("testdata", name+".super"))
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(want)); err != nil || diff != "" {
			t.Error(name, err, diff)
		}
	}
}

func TestProbeIsNoJudgeOfOthers(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"empty": "", "short": "XFSB", "zeros": strings.Repeat("\x00", 8192), "text": strings.Repeat("x", 8192)} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if i, err := filesystem.Probe(path); !errdefs.IsNotFound(err) {
			t.Errorf("%s: got %+v, %v", name, i, err)
		}
	}
	if _, err := filesystem.Probe(filepath.Join(dir, "no")); !errdefs.IsNotFound(err) {
		t.Errorf("got %v", err)
	}
}

func TestGrowOfflineUsesTheWholeDevice(t *testing.T) {
	// Sizes whose last group of blocks is long, short, and too short to be used.
	for _, to := range []int64{96, 129, 257, 384} {
		dir := looptest.Dir(t)
		image := looptest.Image(t, dir, "v", 64*mib)
		h := looptest.Attach(t, image)
		makeOn(t, filesystem.Ext4, h.Device)
		if err := host.GrowOffline(t.Context(), filesystem.Ext4, h.Device); err != nil {
			t.Errorf("to the size that it has: %v", err)
		}
		if err := loop.Grow(t.Context(), image, to*mib+4096*9); err != nil {
			t.Fatal(err)
		}
		if err := loop.SetCapacity(h.Device); err != nil {
			t.Fatal(err)
		}
		if needs, err := filesystem.NeedsGrow(h.Device); !needs || err != nil {
			t.Errorf("%d MiB: needs no growth: %v", to, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // it is not cut off
		if err := host.GrowOffline(ctx, filesystem.Ext4, h.Device); err != nil {
			t.Fatal(err)
		}
		i, err := filesystem.Probe(h.Device)
		if err != nil || i.Size < to*mib-8*mib || i.Journal != filesystem.Clean {
			t.Errorf("%d MiB: got %+v, %v", to, i, err)
		}
		if needs, err := filesystem.NeedsGrow(h.Device); needs || err != nil {
			t.Errorf("%d MiB: still needs growth, has %d bytes: %v", to, i.Size, err)
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestGrowOfflineRefusesDamageAndUse(t *testing.T) {
	dir := looptest.Dir(t)
	image := looptest.Image(t, dir, "v", 64*mib)
	h := looptest.Attach(t, image)
	makeOn(t, filesystem.Ext4, h.Device)
	if err := loop.Grow(t.Context(), image, 128*mib); err != nil {
		t.Fatal(err)
	}
	if err := loop.SetCapacity(h.Device); err != nil {
		t.Fatal(err)
	}
	mnt := mount(t, filesystem.Ext4, h.Device, "")
	if err := host.GrowOffline(t.Context(), filesystem.Ext4, h.Device); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("got %v for a mounted one", err)
	}
	if err := os.WriteFile(filepath.Join(mnt, "f"), make([]byte, mib), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := filesystem.Unmount(mnt); err != nil {
		t.Fatal(err)
	}
	// Two files with the same blocks: nothing to mend without a question.
	run(t, "debugfs", "-w", "-R", "sif f links_count 9000", h.Device)
	run(t, "debugfs", "-w", "-R", "sif <2> mode 0100644", h.Device)
	if err := host.GrowOffline(t.Context(), filesystem.Ext4, h.Device); !errdefs.IsDataLoss(err) || !strings.Contains(err.Error(), "e2fsck") {
		t.Errorf("got %v for a damaged one", err)
	}
}
