package lvmvolume

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/mosdocker/mosdocker/internal/pluginsrv"
	"github.com/mosdocker/mosdocker/internal/testx"
	"github.com/mosdocker/mosdocker/lvmvolume/api"
	"github.com/mosdocker/mosdocker/lvmvolume/loop"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// image is a volume in the folder of images, of one mebibyte a letter.
func image(r *rig, id, name string, s spec.State) spec.Volume {
	v := ready(id, name, 1).In(s, ready(id, name, 1).Since)
	v.Type, v.Place, v.Size = spec.Loop, r.cfg.loopDir(), mib
	return v
}

func (r *rig) images() string {
	r.t.Helper()
	entries, err := os.ReadDir(r.cfg.loopDir())
	if err != nil {
		r.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestImagesComeAndGo(t *testing.T) {
	r := bareRig(t)
	r.mustLook()
	l, ctx := r.loops, t.Context()
	v := image(r, "a", "data", spec.Creating)
	if err := l.make(ctx, v, nil); err != nil {
		t.Fatal(err)
	}
	if err := l.record(ctx, []spec.Volume{v}, []spec.Volume{v.In(spec.Ready, v.Since)}); err != nil {
		t.Fatal(err)
	}
	if err := l.grow(ctx, v, 2*mib); err != nil {
		t.Fatal(err)
	}
	got := l.list()
	if got.err != nil || len(got.volumes) != 1 {
		t.Fatalf("listed %+v", got)
	}
	f := got.volumes[0]
	if f.v.State != spec.Ready || f.v.Size != 2*mib || f.v.Name != "data" || f.active || f.allocated < 2*mib || f.fault != nil {
		t.Errorf("listed %+v", f)
	}
	for range 2 { // what is gone is no error
		if err := l.remove(ctx, []spec.Volume{v}); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.images(); got != "" {
		t.Errorf("there are %s", got)
	}
	if s := l.space(spec.Loop, 0); s.Free == 0 || s.Refuse != "" || l.round(spec.Loop, 1) != mib {
		t.Errorf("the space is %+v", s)
	}
}

// An image has no name before it is whole: a cut, or mkfs that fails, leaves a
// record at most, which is taken back.
func TestImageGetsItsNameLast(t *testing.T) {
	r := bareRig(t)
	r.mustLook()
	v := image(r, "a", "data", spec.Creating)
	format := func(file string) error {
		st, err := os.Stat(file)
		if err != nil || st.Size() != mib || !st.Mode().IsRegular() {
			t.Errorf("the file to format is %+v, %v", st, err)
		}
		if got := r.images(); strings.Contains(got, imageExt) {
			t.Errorf("there are %s before the image is whole", got)
		}
		if f, err := os.OpenFile(file, os.O_RDWR, 0); err != nil {
			t.Error(err)
		} else { // as mkfs does
			_, err = f.WriteString("whole")
			err = errors.Join(err, unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, mib/2, mib/4), f.Close())
			if err != nil {
				t.Error(err)
			}
		}
		return nil
	}
	bad := errors.New("mkfs was killed")
	if err := r.loops.make(t.Context(), v, func(string) error { return bad }); !errors.Is(err, bad) {
		t.Errorf("make says %v", err)
	}
	if got := r.images(); got != "" {
		t.Errorf("what failed left %s", got)
	}
	if err := r.loops.make(t.Context(), v, format); err != nil {
		t.Fatal(err)
	}
	got := r.loops.list()
	if len(got.volumes) != 1 || got.volumes[0].v.State != spec.Creating || got.volumes[0].allocated < mib {
		t.Errorf("listed %+v", got)
	}
	if data, err := os.ReadFile(r.loops.image(v)); err != nil || string(data[:5]) != "whole" {
		t.Errorf("the image does not hold what was formatted: %v", err)
	}
}

// TestFullFileSystemOfImagesIsNoPoolThatIsWell: it refuses all that is new, and says so
// before.
func TestFullFileSystemOfImagesIsNoPoolThatIsWell(t *testing.T) {
	r := bareRig(t, func(c *Config) { c.LoopSpare = 1 << 60 })
	r.mustLook()
	p := r.pools()[0]
	if p.State != api.PoolRefuse || !strings.HasSuffix(p.Error, "of which 1EiB stay so") {
		t.Errorf("the pool is %s: %s", p.State, p.Error)
	}
	for _, c := range r.doctor(t.Context()).Checks {
		if c.Name == "pool "+p.Name && c.OK {
			t.Errorf("the doctor says %+v", c)
		}
	}
	r = bareRig(t)
	r.mustLook()
	if p := r.pools()[0]; p.State != api.PoolOK || p.Error != "" {
		t.Errorf("with room it is %s: %s", p.State, p.Error)
	}
}

func TestImageThatDoesNotFit(t *testing.T) {
	r := bareRig(t)
	r.mustLook()
	v := image(r, "a", "data", spec.Creating)
	v.Size = 1 << 50
	if err := r.loops.make(t.Context(), v, nil); !errdefs.IsResourceExhausted(err) {
		t.Errorf("got %v", err)
	}
	if got := r.images(); got != "" {
		t.Errorf("there are %s", got)
	}
	if _, err := r.create(t.Context(), request("v", "size", "1p"), false); !errdefs.IsResourceExhausted(err) {
		t.Errorf("got %v", err)
	}
}

// TestCutsInTheFolder: what a cut leaves there is finished, taken back, or told.
func TestCutsInTheFolder(t *testing.T) {
	r := bareRig(t)
	r.mustLook()
	dir := r.cfg.loopDir()
	write := func(v spec.Volume, img bool) {
		if err := r.loops.write(v); err != nil {
			t.Fatal(err)
		}
		if img {
			if err := os.WriteFile(r.loops.image(v), make([]byte, mib), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(image(r, "1", "made-half", spec.Creating), false) // cut before the image
	write(image(r, "2", "filled-half", spec.Filling), true)
	write(image(r, "3", "gone-half", spec.Trashed), false) // cut in the purge
	write(image(r, "4", "lost", spec.Ready), false)        // somebody took its image
	write(image(r, "5", "well", spec.Ready), true)
	for name, text := range map[string]string{
		"mos-6666666666666666.img": "x", "mos-7777777777777777.json": "{", "readme.txt": "x", ".new-123": "x", "mos-pool.img": "x",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.restart()
	if err := r.reconcile(t.Context()); err != nil {
		t.Error(err)
	}
	if got := r.titles(anything); got != "lost well" {
		t.Errorf("there are %s", got)
	}
	e, _ := r.idx.named("lost")
	if e.fault == nil || e.v.State != spec.Ready {
		t.Errorf("a volume without its image is %+v", e)
	}
	if _, err := r.usable("lost"); err == nil {
		t.Error("it can be used")
	}
	for _, name := range []string{"mos-1111111111111111.json", "mos-2222222222222222.json", "mos-2222222222222222.img", "mos-3333333333333333.json"} {
		if strings.Contains(r.images(), name) {
			t.Errorf("%s stays", name)
		}
	}
	var strays []string
	for _, f := range r.audit(t.Context()).Findings {
		if f.Kind == "stray" {
			strays = append(strays, filepath.Base(f.Object))
		}
	}
	slices.Sort(strays)
	if got := strings.Join(strays, " "); got != "mos-6666666666666666.img mos-7777777777777777.json" {
		t.Errorf("strays are %s", got)
	}
	if !strings.Contains(r.images(), "readme.txt") {
		t.Error("what is not ours was removed")
	}
}

// TestRemovalsOfImagesAreWholeOrAbsent: a cut between image and record leaves no
// volume without its image, neither of volumes nor of snapshots.
func TestRemovalsOfImagesAreWholeOrAbsent(t *testing.T) {
	r := bareRig(t)
	r.mustLook()
	v := image(r, "1", "data", spec.Ready)
	snap := image(r, "2", "data", spec.Ready)
	snap.Of, snap.Snapshot = v.ID, "s"
	for _, v := range []spec.Volume{v, snap} {
		if err := r.loops.write(v); err != nil {
			t.Fatal(err)
		}
		stuck := filepath.Join(r.loops.image(v), "stuck") // as if the cut came at the image
		if err := os.MkdirAll(stuck, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.loops.remove(t.Context(), []spec.Volume{snap, v}); err == nil {
		t.Error("folders are removed as images")
	}
	for _, v := range []spec.Volume{v, snap} {
		if err := os.RemoveAll(r.loops.image(v)); err != nil {
			t.Fatal(err)
		}
	}
	r.restart()
	if err := r.reconcile(t.Context()); err != nil {
		t.Error(err)
	}
	if a := r.audit(t.Context()); r.titles(anything) != "" || r.images() != "" || len(a.Findings) != 0 {
		t.Errorf("there are %q, files %q, findings %+v", r.titles(anything), r.images(), a.Findings)
	}
}

// TestAbsentIsSaidWhereItIsSure: a record that cannot be read may be of any volume,
// and a folder in the place of that with the volumes tells nothing.
func TestAbsentIsSaidWhereItIsSure(t *testing.T) {
	r := bareRig(t)
	r.mustLook()
	v := image(r, "1", "precious", spec.Ready)
	if err := errors.Join(r.loops.write(v), os.WriteFile(r.loops.image(v), make([]byte, mib), 0o600)); err != nil {
		t.Fatal(err)
	}
	unsure := func(what, want string) {
		t.Helper()
		_, err := r.certain(t.Context(), "other")
		if !errors.Is(err, pluginsrv.ErrHangUp) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: asked for a volume that is not known it says %v", what, err)
		}
		if _, err := r.create(t.Context(), request("other", "size", "16m"), false); !errdefs.IsUnavailable(err) {
			t.Errorf("%s: create says %v", what, err)
		}
	}
	r.restart()
	r.mustLook()
	if _, err := r.certain(t.Context(), "other"); !errdefs.IsNotFound(err) {
		t.Errorf("where all is known it says %v", err)
	}
	away := r.cfg.loopDir() + ".away"
	if err := errors.Join(os.Rename(r.cfg.loopDir(), away), os.Mkdir(r.cfg.loopDir(), 0o700)); err != nil {
		t.Fatal(err)
	}
	if r.look(t.Context()) == nil || r.volume("precious").ID != v.ID {
		t.Error("what is in another folder is taken for gone")
	}
	unsure("another folder", "another folder")
	if err := errors.Join(os.Remove(r.cfg.loopDir()), os.Rename(away, r.cfg.loopDir())); err != nil {
		t.Fatal(err)
	}
	r.mustLook()

	data, err := os.ReadFile(r.loops.file(v))
	if err == nil {
		err = os.WriteFile(r.loops.file(v), data[:60], 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	r.restart()
	r.mustLook()
	unsure("a damaged record", r.loops.file(v))
	if _, err := r.certain(t.Context(), "precious"); !errors.Is(err, pluginsrv.ErrHangUp) {
		t.Errorf("the volume itself is called %v", err)
	}
	if fs := r.audit(t.Context()).Findings; len(fs) != 1 || !strings.Contains(fs[0].Hint, "backup") {
		t.Errorf("findings are %+v", fs)
	}
}

// TestMountWithoutARecord: what is mounted as a volume of ours and recorded nowhere
// says that records are missing.
func TestMountWithoutARecord(t *testing.T) {
	testx.Need(t, testx.Root)
	r := bareRig(t)
	dir := filepath.Join(r.cfg.mountDir(), "0123456789abcdef")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", dir, "tmpfs", 0, ""); err != nil {
		t.Skip("nothing can be mounted here:", err)
	}
	defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }()
	r.mustLook()
	if _, err := r.certain(t.Context(), "v"); !errors.Is(err, pluginsrv.ErrHangUp) || !strings.Contains(err.Error(), dir) {
		t.Errorf("it says %v", err)
	}
	if _, err := r.adminGC(t.Context(), nil, api.GCRequest{}); err != nil {
		t.Error(err)
	}
	if _, err := r.certain(t.Context(), "v"); !errdefs.IsNotFound(err) {
		t.Errorf("with the mount gone it says %v", err)
	}
}

// attachedDisk is a disk on which each image is attached as one device.
type attachedDisk struct {
	*fakeDisk
	device string
}

func (d attachedDisk) image(string) (loop.Info, error) { return loop.Info{Device: d.device}, nil }

// TestMountWithoutItsDirectory: a cut between the mount of a volume and its directory
// does not keep containers from it for as long as the mount stays.
func TestMountWithoutItsDirectory(t *testing.T) {
	testx.Need(t, testx.Root)
	r := bareRig(t)
	v := image(r, "a", "copy", spec.Ready)
	v.UID, v.GID, v.Mode, v.Chown = 5, 6, 0o750, "ugm"
	if err := errors.Join(r.loops.make(t.Context(), v, nil), os.MkdirAll(r.dirOf(v), 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", r.dirOf(v), "tmpfs", 0, ""); err != nil {
		t.Skip("nothing can be mounted here:", err)
	}
	defer func() { _ = unix.Unmount(r.dirOf(v), unix.MNT_DETACH) }()
	var st unix.Stat_t
	device := filepath.Join(t.TempDir(), "device")
	if err := unix.Stat(r.dirOf(v), &st); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mknod(device, unix.S_IFBLK, int(st.Dev)); err != nil {
		t.Skip("no device can be made here:", err)
	}
	r.loops.disk = attachedDisk{r.disk, device}
	r.mustLook()
	dir, err := r.mount(t.Context(), "copy", "id")
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Stat(dir, &st); err != nil || st.Uid != 5 || st.Gid != 6 || st.Mode&0o777 != 0o750 {
		t.Errorf("%s is %d:%d %o, %v", dir, st.Uid, st.Gid, st.Mode&0o777, err)
	}
	if got := r.volume("copy"); got.Chown != "" {
		t.Errorf("its owner is to be set again at the next mount: %q", got.Chown)
	}
}

func TestAFaultyVolumeIsNotMadeAgain(t *testing.T) {
	r := newRig(t)
	v := r.make("v", "size", "1g")
	r.make("v", "size", "1g")
	r.idx.change(v.ID, func(e *entry) { e.fault = errors.New("its image is gone") })
	if _, err := r.create(t.Context(), request("v", "size", "1g"), false); !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), "its image is gone") {
		t.Errorf("it says %v", err)
	}
}

// TestCollectionTellsWhatIsGone, and what stays.
func TestCollectionTellsWhatIsGone(t *testing.T) {
	r := bareRig(t)
	r.mustLook()
	gone, stays := filepath.Join(r.cfg.mountDir(), "gone"), filepath.Join(r.cfg.mountDir(), "stays")
	if err := errors.Join(os.MkdirAll(gone, 0o700), os.MkdirAll(filepath.Join(stays, "full"), 0o700)); err != nil {
		t.Fatal(err)
	}
	out, err := r.adminGC(t.Context(), nil, api.GCRequest{})
	if len(out.Objects) != 1 || out.Objects[0].Object != gone {
		t.Errorf("cleared away is %+v", out.Objects)
	}
	if err == nil || !strings.Contains(err.Error(), stays+" stay") {
		t.Errorf("it says %v", err)
	}
}

func TestFolderThatCannotBeRead(t *testing.T) {
	r := bareRig(t)
	if err := os.WriteFile(r.cfg.loopDir(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.look(t.Context()); err == nil {
		t.Error("a file is read as a folder")
	}
	if _, err := r.create(t.Context(), request("v", "size", "64m"), false); !errdefs.IsUnavailable(err) {
		t.Errorf("got %v", err)
	}
}
