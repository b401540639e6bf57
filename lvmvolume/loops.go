package lvmvolume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/lvmvolume/filesystem"
	"github.com/mosdocker/mosdocker/lvmvolume/loop"
	"github.com/mosdocker/mosdocker/lvmvolume/plan"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// loops is a folder of images as a place. Each volume is two files:
//
//	mos-0123456789abcdef.img    the blocks, fully allocated
//	mos-0123456789abcdef.json   the record, replaced in one act
//
// The record has its name before the image and loses it after it, so that an image
// without a record was never ours; and an image with a name is whole, with its
// file system.
type loops struct {
	dir  string
	disk disk
	cfg  *Config
	busy sync.Mutex // held over what takes or gives back space

	mu   sync.Mutex // guards all below
	home [2]uint64  // device and inode of the folder that had volumes, 0 before
}

const (
	imageExt  = ".img"
	recordExt = ".json"
)

func (l *loops) name() string               { return l.dir }
func (l *loops) types() []spec.Type         { return []spec.Type{spec.Loop} }
func (l *loops) image(v spec.Volume) string { return filepath.Join(l.dir, v.ID.Label()+imageExt) }
func (l *loops) file(v spec.Volume) string  { return filepath.Join(l.dir, v.ID.Label()+recordExt) }

func (l *loops) round(_ spec.Type, size uint64) uint64 {
	const unit = 1 << 20
	return (size + unit - 1) / unit * unit
}

func (l *loops) space(_ spec.Type, promised uint64) plan.Space {
	s := plan.Space{Name: "the file system of " + l.dir, Promised: promised, Spare: uint64(l.cfg.LoopSpare)}
	free, err := loop.Free(l.dir)
	if err != nil {
		s.Refuse = err.Error()
	}
	s.Free = uint64(free)
	return s
}

func (l *loops) snapshots(spec.Type) error {
	return loop.CanClone(l.dir)
}

// make makes record and image at the same time, and syncs what was written thrice:
// the contents of both, each before it gets its name, and the folder with the two
// names. A power cut leaves
//
//   - before the record has its name: nothing, but perhaps a part, which the next
//     start removes;
//   - before the image has its name, which it gets after the record: a record
//     without an image, which is taken back;
//   - before the folder is synced: one of these two, or all. The file systems that
//     can reserve keep the order of names in a folder; would one not, the image
//     without a record would be nobody's and a finding of the audit;
//   - after that, when make returns: all.
func (l *loops) make(ctx context.Context, v spec.Volume, format func(file string) error) error {
	data, err := v.Marshal()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return err
	}
	l.busy.Lock()
	reserved := sync.OnceFunc(l.busy.Unlock)
	defer reserved()
	var recording sync.WaitGroup
	var unrecorded error
	recording.Go(func() { unrecorded = swap(l.file(v), data) })
	err = loop.Create(ctx, l.image(v), int64(v.Size), func(file string) error {
		reserved() // others need not wait for the file system
		var err error
		if format != nil {
			err = format(file)
		}
		recording.Wait()
		return errors.Join(err, unrecorded)
	})
	recording.Wait()
	if err != nil {
		return errors.Join(err, ignoreAbsent(os.Remove(l.file(v))))
	}
	return nil
}

func (l *loops) write(v spec.Volume) error {
	data, err := v.Marshal()
	if err != nil {
		return err
	}
	return replace(l.file(v), data)
}

func (l *loops) snapshot(ctx context.Context, v, src spec.Volume) error {
	l.busy.Lock()
	defer l.busy.Unlock()
	// Until the copy is whole, a restart would have to take it back.
	if err := l.write(v.In(spec.Filling, v.Since)); err != nil {
		return err
	}
	err := l.still(src, func() error { return loop.Clone(ctx, l.image(src), l.image(v)) })
	if err != nil {
		return errors.Join(err, l.removeOne(v))
	}
	return l.write(v)
}

// still runs f while the file system of a mounted volume is held still and all
// of it is in the image.
func (l *loops) still(v spec.Volume, f func() error) error {
	dir := filepath.Join(l.cfg.mountDir(), string(v.ID))
	dev, err := l.attached(v)
	if err != nil {
		return err
	}
	if mounted, err := mountedFrom(dir, dev); err != nil {
		return err
	} else if !mounted {
		return f()
	}
	if err := filesystem.Freeze(dir); err != nil {
		return err
	}
	return errors.Join(f(), filesystem.Thaw(dir))
}

func (l *loops) record(_ context.Context, _, now []spec.Volume) error {
	for _, v := range now {
		if err := l.write(v); err != nil {
			return err
		}
	}
	return nil
}

func (l *loops) grow(ctx context.Context, v spec.Volume, size uint64) error {
	l.busy.Lock()
	defer l.busy.Unlock()
	if err := loop.Grow(ctx, l.image(v), int64(size)); err != nil {
		return err
	}
	dev, err := l.attached(v)
	if dev == "" {
		return err
	}
	return loop.SetCapacity(dev)
}

func (l *loops) remove(_ context.Context, vs []spec.Volume) error {
	l.busy.Lock()
	defer l.busy.Unlock()
	var errs []error
	for _, v := range vs {
		errs = append(errs, l.removeOne(v))
	}
	return errors.Join(errs...)
}

func (l *loops) removeOne(v spec.Volume) error {
	dev, err := l.attached(v)
	if err != nil {
		return err
	}
	if dev != "" {
		return fault.Conflict("image of volume %s is in use as %s", v.Title(), dev)
	}
	if err = l.condemn(v); err == nil {
		err = ignoreAbsent(os.Remove(l.image(v)))
	}
	if err == nil {
		err = ignoreAbsent(os.Remove(l.file(v)))
	}
	return errors.Join(err, syncDir(l.dir))
}

// condemn writes down that a volume is being removed: a cut between its image and its
// record leaves neither then. Records that say so already, or that the image never
// became whole, need no writing. On a disk that is full it is left, since nothing
// could be removed there otherwise.
func (l *loops) condemn(v spec.Volume) error {
	if v.State != spec.Ready {
		return nil
	}
	if _, err := os.Lstat(l.file(v)); err != nil {
		return ignoreAbsent(err)
	}
	err := l.write(v.In(spec.Filling, time.Now()))
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return nil
	}
	return err
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (l *loops) attach(ctx context.Context, v spec.Volume) (string, io.Closer, error) {
	d, err := loop.Attach(ctx, l.image(v), false)
	if err != nil {
		return "", nil, err
	}
	return d.Device, d, nil
}

func (l *loops) attached(v spec.Volume) (string, error) {
	info, err := l.disk.image(l.image(v))
	if errdefs.IsNotFound(err) || errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fault.Unavailable("whether the image of volume %s is in use cannot be seen: %w", v.Title(), err)
	}
	return info.Device, nil
}

func (l *loops) attachedAll([]spec.Volume) (map[spec.ID]string, error) {
	devices, err := l.disk.images(l.dir)
	out := map[spec.ID]string{}
	for _, d := range devices {
		if id, ok := idOf(filepath.Base(d.Backing), imageExt); ok && !d.Deleted {
			out[id] = d.Device
		}
	}
	return out, err
}

// detach has nothing to do: the kernel detaches a loop device at its last close.
func (l *loops) detach(context.Context, []spec.Volume) error { return nil }

// list looks at the folder.
func (l *loops) list() listing {
	out := listing{place: l, began: time.Now()}
	err := os.MkdirAll(l.dir, 0o700)
	var entries []os.DirEntry
	if err == nil {
		entries, err = os.ReadDir(l.dir)
	}
	if err != nil {
		out.err = fmt.Errorf("folder of loop images: %w", err)
		return out
	}
	active, err := l.attachedAll(nil)
	if err == nil {
		err = l.sameFolder()
	}
	if err != nil {
		out.err = err
		return out
	}
	records := map[spec.ID]bool{}
	for _, e := range entries {
		if id, ok := idOf(e.Name(), recordExt); ok {
			records[id] = true
			l.listOne(id, active[id] != "", &out)
		}
	}
	if len(out.volumes) > 0 {
		l.stayHere()
	}
	for _, e := range entries {
		if id, ok := idOf(e.Name(), imageExt); ok && !records[id] {
			out.strays = append(out.strays, stray{place: l.dir, object: filepath.Join(l.dir, e.Name()), detail: "an image without a record"})
		}
	}
	return out
}

// sameFolder says that the folder is the one that had volumes: with another in its
// place, such as when its disk went, what was in it is not gone.
func (l *loops) sameFolder() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.home == [2]uint64{} || folder(l.dir) == l.home {
		return nil
	}
	return fault.Unavailable("%s is another folder than it was when it had volumes: is its disk mounted? If it is to be so, restart mos-lvm", l.dir)
}

func (l *loops) stayHere() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.home = folder(l.dir)
}

// folder is what tells a folder from another of its name, 0 where there is none.
func folder(path string) [2]uint64 {
	var st syscall.Stat_t
	if syscall.Stat(path, &st) != nil {
		return [2]uint64{}
	}
	return [2]uint64{st.Dev, st.Ino}
}

func idOf(name, ext string) (spec.ID, bool) {
	label, ok := strings.CutSuffix(name, ext)
	if !ok {
		return "", false
	}
	return spec.ParseLabel(label)
}

// listOne adds the volume of a record. One that was cut off before it had an
// image comes with size 0, for the repair to remove.
func (l *loops) listOne(id spec.ID, active bool, out *listing) {
	path := filepath.Join(l.dir, id.Label()+recordExt)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return // removed meanwhile
	}
	if err != nil {
		out.err = fmt.Errorf("record of an image: %w", err)
		return
	}
	v, err := spec.Unmarshal(id, data)
	if err != nil {
		out.strays = append(out.strays, stray{place: l.dir, object: path, detail: err.Error(), id: id})
		return
	}
	v.Type, v.Place = spec.Loop, l.dir
	f := found{v: v, active: active}
	info, err := os.Stat(l.image(v))
	switch {
	case err == nil:
		f.v.Size = uint64(info.Size())
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			f.allocated = uint64(st.Blocks) * 512
		}
	case errors.Is(err, fs.ErrNotExist) && (v.State == spec.Creating || v.State == spec.Filling || v.State == spec.Trashed):
		f.v.State = spec.Filling // nothing to finish
	default:
		f.fault = fmt.Errorf("image of the volume: %w", err)
	}
	out.volumes = append(out.volumes, f)
}
