package filesystem_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/lvmvolume/filesystem"
	"github.com/mosdocker/mosdocker/lvmvolume/loop/looptest"
)

// TestJournalIsNotThrownAway: what an fsync confirmed is in the journal only, and
// the mark that says so is lost, as an unmount from a full thin pool leaves it. A
// mount would lose it; the check before it does not.
func TestJournalIsNotThrownAway(t *testing.T) {
	testx.Need(t, testx.Root)
	for _, mend := range []bool{true, false} {
		dir := looptest.Dir(t)
		image := looptest.Image(t, dir, "v", 64*mib)
		h := looptest.Attach(t, image)
		makeOn(t, filesystem.Ext4, h.Device)
		if why, err := filesystem.NeedsCheck(h.Device); why != "" || err != nil {
			t.Errorf("a new one: %q, %v", why, err)
		}
		mnt := mount(t, filesystem.Ext4, h.Device, "")
		synced(t, mnt)
		// The blocks as they are at this moment, as a cut leaves them: those of the
		// image, since to read the device would write back what it has in memory.
		cut := filepath.Join(dir, "cut")
		run(t, "cp", image, cut)
		if why, err := filesystem.NeedsCheck(cut); why != "" || err != nil {
			t.Errorf("a cut that mounting mends: %q, %v", why, err)
		}
		run(t, "debugfs", "-w", "-R", "feature -needs_recovery", cut)
		if why, err := filesystem.NeedsCheck(cut); why == "" || err != nil {
			t.Errorf("the lost mark is not seen: %v", err)
		}
		c := looptest.Attach(t, cut)
		if mend {
			if said, err := host.Mend(t.Context(), filesystem.Ext4, c.Device); err != nil || said == "" {
				t.Errorf("%v: %s", err, said)
			}
			if why, err := filesystem.NeedsCheck(c.Device); why != "" || err != nil {
				t.Errorf("after it was mended: %q, %v", why, err)
			}
		}
		again := mount(t, filesystem.Ext4, c.Device, "")
		files, err := filepath.Glob(filepath.Join(again, "f*"))
		if err != nil {
			t.Fatal(err)
		}
		if mend && len(files) != 50 {
			t.Errorf("%d of 50 files are there", len(files))
		}
		if !mend && len(files) == 50 {
			t.Log("this kernel plays the journal back without the mark: the check is for others")
		}
	}
}

// synced makes 50 files that last.
func synced(t *testing.T, dir string) {
	t.Helper()
	for i := range 50 {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint("f", i)))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRecordedErrorsAskForACheck: of the file system, and of its journal.
func TestRecordedErrorsAskForACheck(t *testing.T) {
	testx.Need(t, testx.Root)
	image := looptest.Device(t, 64*mib)
	makeOn(t, filesystem.Ext4, image)
	run(t, "debugfs", "-w", "-R", "ssv state 3", image)
	if why, err := filesystem.NeedsCheck(image); why == "" || err != nil {
		t.Errorf("%q, %v", why, err)
	}
	if _, err := host.Mend(t.Context(), filesystem.Ext4, image); err != nil {
		t.Error(err)
	}
	if why, err := filesystem.NeedsCheck(image); why != "" || err != nil {
		t.Errorf("after it was mended: %q, %v", why, err)
	}
}
