package lvmvolume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/lvmvolume/filesystem"
	"github.com/mosdocker/mosdocker/lvmvolume/mounts"
	"github.com/mosdocker/mosdocker/lvmvolume/plan"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// run takes the steps of a plan in their order, up to the first that fails. The
// devices that it attaches stay until the volume is mounted, or run ends.
func (d *Driver) run(ctx context.Context, p plan.Plan) error {
	r := newRunner(d)
	defer r.close()
	return r.run(ctx, p)
}

func newRunner(d *Driver) *runner { return &runner{d: d, holds: map[spec.ID]io.Closer{}} }

// runner is one run of a plan.
type runner struct {
	d     *Driver
	holds map[spec.ID]io.Closer // of attached devices
	// fill gives the contents of a volume that is imported.
	fill func(ctx context.Context, device string) error
	// said is told how far a long step is; nil is nobody.
	said func(object string, done, total uint64)
}

func (r *runner) close() {
	for _, h := range r.holds {
		_ = h.Close() // it was only held
	}
	clear(r.holds)
}

func (r *runner) run(ctx context.Context, p plan.Plan) error {
	for i := 0; i < len(p); i++ {
		n := batch(p[i:])
		s := p[i]
		r.d.log.DebugContext(ctx, "step", "op", string(s.Op), "volume", s.Object(), "cause", s.Cause)
		if err := r.step(ctx, p[i:i+n]); err != nil {
			return fmt.Errorf("%s volume %s: %w", s.Op, s.Object(), err)
		}
		i += n - 1
	}
	return nil
}

// batch is how many steps at the beginning of p go into one act: removals of one
// place, or the making of an image with its file system, which needs no device.
func batch(p plan.Plan) int {
	n := 1
	if len(p) > 1 && p[0].Op == plan.Make && p[1].Op == plan.Format && p[0].Volume.Type == spec.Loop {
		return 2
	}
	for p[0].Op == plan.Remove && n < len(p) && p[n].Op == plan.Remove && p[n].Volume.Place == p[0].Volume.Place && n < 64 {
		n++
	}
	return n
}

func (r *runner) step(ctx context.Context, steps []plan.Step) error {
	s := steps[0]
	d, v := r.d, s.Volume
	if s.Later {
		if s.Op == plan.Record {
			d.ripe.add(v.ID)
		}
		return nil
	}
	at, err := d.idx.placeOf(v)
	if err != nil {
		return err
	}
	switch s.Op {
	case plan.Make:
		var format func(string) error
		if len(steps) > 1 {
			format = func(file string) error {
				return d.disk.format(ctx, filesystem.Type(v.FS), file, steps[1].Fresh)
			}
		}
		err = at.make(ctx, v, format)
	case plan.Snapshot:
		err = at.snapshot(ctx, v, s.Was)
	case plan.Record:
		return d.record(ctx, at, []spec.Volume{s.Was}, []spec.Volume{v})
	case plan.Grow:
		return at.grow(ctx, s.Was, v.Size)
	case plan.Detach:
		return at.detach(ctx, []spec.Volume{v})
	case plan.Remove:
		return r.remove(ctx, at, steps)
	case plan.Unmount:
		return d.unmountIt(v)
	case plan.Attach, plan.Format, plan.Fill, plan.Zero, plan.Check, plan.GrowFS, plan.Mount:
		return r.onDevice(ctx, at, s)
	}
	if err == nil {
		d.idx.change(v.ID, func(e *entry) {
			e.made = true
			if g, ok := at.(*group); ok {
				g.took(v, int64(v.Size)) // in the same moment: else it would count twice, or not at all
			}
		})
	}
	return err
}

func (r *runner) remove(ctx context.Context, at place, steps []plan.Step) error {
	var vs []spec.Volume
	for _, s := range steps {
		vs = append(vs, s.Volume)
	}
	if err := at.remove(ctx, vs); err != nil {
		return err
	}
	for _, v := range vs {
		r.d.idx.drop(v.ID)
	}
	return nil
}

// onDevice takes the steps that need the block device.
func (r *runner) onDevice(ctx context.Context, at place, s plan.Step) error {
	v, t := s.Volume, filesystem.Type(s.Volume.FS)
	dev, err := r.hold(ctx, at, v)
	if err != nil {
		return err
	}
	dir := r.d.dirOf(v)
	switch s.Op {
	case plan.Format:
		return r.d.disk.format(ctx, t, dev, s.Fresh)
	case plan.Fill:
		return r.fill(ctx, dev)
	case plan.Zero:
		return r.zero(ctx, v, dev)
	case plan.Check:
		return r.d.mendFS(ctx, v, dev, s.Cause)
	case plan.GrowFS:
		mounted, err := mountedFrom(dir, dev)
		if err != nil {
			return err
		}
		if mounted {
			return filesystem.GrowOnline(ctx, t, dev, dir)
		}
		return r.d.growFS(ctx, v, dev)
	case plan.Mount:
		return r.d.mountIt(v, dev)
	case plan.Attach, plan.Make, plan.Snapshot, plan.Record, plan.Grow, plan.Unmount, plan.Detach, plan.Remove:
	}
	return nil
}

// zero overwrites a volume, from where an earlier run had to stop.
func (r *runner) zero(ctx context.Context, v spec.Volume, dev string) error {
	e, _ := r.d.idx.entry(v.ID)
	at := e.wiped
	err := r.d.disk.zero(ctx, dev, at, func(done, total int64) {
		at = done
		r.d.idx.change(v.ID, func(e *entry) { e.wiped = done })
		if r.said != nil {
			r.said(v.Title(), uint64(done), uint64(total))
		}
	})
	if err != nil && ctx.Err() != nil {
		return fault.Unavailable("%s of %s are overwritten, and it goes on by itself: try again then", spec.Bytes(at), spec.Bytes(v.Size))
	}
	return err
}

// hold attaches a volume for the time of the run.
func (r *runner) hold(ctx context.Context, at place, v spec.Volume) (string, error) {
	if _, held := r.holds[v.ID]; held {
		dev, err := at.attached(v)
		if dev == "" && err == nil {
			err = fault.Unavailable("its device went away: is somebody else changing it?")
		}
		return dev, err
	}
	r.d.idx.change(v.ID, func(e *entry) { e.touched = time.Now() }) // the sweep leaves it alone for a while
	dev, hold, err := at.attach(ctx, v)
	if err != nil {
		r.d.Nudge() // it may be mended
		return "", err
	}
	r.holds[v.ID] = hold
	r.d.idx.change(v.ID, func(e *entry) { e.active = true })
	return dev, nil
}

// dirOf is where a volume's file system is mounted.
func (d *Driver) dirOf(v spec.Volume) string { return filepath.Join(d.cfg.mountDir(), string(v.ID)) }

// dataOf is the directory in it that containers get: lost+found beside it would
// keep Docker from copying an image's files there, and databases from starting.
func (d *Driver) dataOf(v spec.Volume) string { return filepath.Join(d.dirOf(v), "_data") }

// mountedFrom says whether dir is the root of the file system on dev; without a
// device it is not.
func mountedFrom(dir, dev string) (bool, error) {
	if dev == "" {
		return false, nil
	}
	want, err := mounts.DevOf(dev)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	m, ok, err := mounts.At(dir)
	return ok && m.Dev == want && m.Root == "/", err
}

// mountIt mounts a volume and looks whether it is what is there.
func (d *Driver) mountIt(v spec.Volume, dev string) error {
	dir := d.dirOf(v)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	m, taken, err := mounts.At(dir)
	if err != nil {
		return err
	}
	mounted, err := mountedFrom(dir, dev)
	if err != nil {
		return err
	}
	if taken && !mounted {
		return fault.Conflict("%s, where it is to be mounted, has another file system (%s): unmount that", dir, m.Dev)
	}
	opts, err := filesystem.ParseOptions(filesystem.Type(v.FS), v.MountOpts)
	if err != nil {
		return err
	}
	if !mounted {
		if err := filesystem.Mount(dev, dir, filesystem.Type(v.FS), opts, false); err != nil {
			return err
		}
		if mounted, err = mountedFrom(dir, dev); err != nil {
			return err
		}
	}
	if !mounted {
		return fault.Unavailable("it is not at %s after it was mounted there", dir)
	}
	return d.makeData(v)
}

// makeData makes the directory that containers get, at the first mount. It
// appears with its owner and mode in one act.
func (d *Driver) makeData(v spec.Volume) error {
	data := d.dataOf(v)
	st, err := os.Lstat(data)
	if err == nil && !st.IsDir() {
		// An imported file system is a stranger's: a link here would lead Docker,
		// and with it the container, to a place of the host.
		return fault.Conflict("its _data is no directory: the file system was not made by mos-lvm")
	}
	if err == nil {
		return chown(data, v)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	part := data + ".new"
	if err := ignoreAbsent(os.Remove(part)); err != nil { // of a cut, or a stranger's
		return err
	}
	if err := os.Mkdir(part, 0o700); err != nil {
		return err
	}
	if err := os.Chown(part, v.UID, v.GID); err != nil {
		return err
	}
	if err := os.Chmod(part, fileMode(v.Mode)); err != nil {
		return err
	}
	if err := os.Rename(part, data); err != nil {
		return err
	}
	return syncDir(d.dirOf(v))
}

// chown gives the directory that came with a copy or an import what was asked for
// beside it, and leaves the rest as it is.
func chown(data string, v spec.Volume) error {
	uid, gid := -1, -1
	if strings.Contains(v.Chown, "u") {
		uid = v.UID
	}
	if strings.Contains(v.Chown, "g") {
		gid = v.GID
	}
	if uid >= 0 || gid >= 0 {
		if err := os.Lchown(data, uid, gid); err != nil {
			return err
		}
	}
	if strings.Contains(v.Chown, "m") {
		return os.Chmod(data, fileMode(v.Mode))
	}
	return nil
}

// fileMode turns the mode of an option into Go's.
func fileMode(m uint32) os.FileMode {
	out := os.FileMode(m & 0o777)
	for bit, mode := range map[uint32]os.FileMode{0o4000: os.ModeSetuid, 0o2000: os.ModeSetgid, 0o1000: os.ModeSticky} {
		if m&bit != 0 {
			out |= mode
		}
	}
	return out
}

// unmountIt unmounts a volume and removes the mount point. What is in the file
// system is read a last time, for `docker mos volume ls`.
func (d *Driver) unmountIt(v spec.Volume) error {
	d.readUsage(v)
	dir := d.dirOf(v)
	if err := filesystem.Unmount(dir); err != nil {
		return err
	}
	return ignoreAbsent(os.Remove(dir))
}
