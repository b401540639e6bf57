package lvmvolume

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mosdocker/mosdocker/lvmvolume/loop"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// clearParts removes the files in a folder that a daemon before this one was
// writing when it was killed.
func clearParts(dir string, started time.Time) {
	before := started.Add(-10 * time.Millisecond) // the clock of files is coarse
	entries, _ := os.ReadDir(dir)                 // absent is empty
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), loop.PartPrefix) {
			continue
		}
		if info, err := e.Info(); err == nil && info.ModTime().Before(before) {
			_ = os.Remove(filepath.Join(dir, e.Name())) // the next start tries again
		}
	}
}

// clearPoints removes mount points that nothing is mounted at and no volume
// needs: a power cut leaves those of all that was mounted.
func (d *Driver) clearPoints(ctx context.Context) {
	entries, _ := os.ReadDir(d.cfg.mountDir()) // absent is empty
	for _, e := range entries {
		path := filepath.Join(d.cfg.mountDir(), e.Name())
		if d.inService(e.Name()) || isMountPoint(path) {
			continue
		}
		if err := ignoreAbsent(os.Remove(path)); err != nil {
			d.log.WarnContext(ctx, "mount point stays", "path", path, "err", err)
		}
	}
}

// inService says whether blocks of that id are a volume that may be mounted.
func (d *Driver) inService(id string) bool {
	e, ok := d.idx.entry(spec.ID(id))
	return ok && e.v.State != spec.Trashed || d.idx.strayed(spec.ID(id))
}

// ours says whether a loop device's image is one of this host. All who share a
// kernel see all devices, with the path of whoever attached them, which may be
// the same as here. A deleted image is nowhere any more: it is ours where no
// other host shares the kernel.
func (d *Driver) ours(dev loop.Info, alone bool) bool {
	if dev.Deleted {
		return alone
	}
	_, err := os.Lstat(filepath.Join(d.loops.dir, filepath.Base(dev.Backing)))
	return err == nil
}
