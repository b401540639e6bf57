package lvmvolume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mosdocker/mosdocker/internal/adminapi"
	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/internal/logx"
	"github.com/mosdocker/mosdocker/lvmvolume/loop"
	"github.com/mosdocker/mosdocker/lvmvolume/lvm"
	"github.com/mosdocker/mosdocker/lvmvolume/mounts"
	"github.com/mosdocker/mosdocker/lvmvolume/plan"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// InitRequest says which volume group becomes ours.
type InitRequest struct {
	VG string
	// Devices are the disks of a new group. Without any, Size is that of a file
	// which serves as a disk, for trials.
	Devices []string
	Size    uint64
	// Adopt takes a group that exists as it is.
	Adopt bool
	// PoolShare is the part of the group that becomes a thin pool; 0 is none.
	PoolShare float64
	// ForceWipe overwrites what is on the devices.
	ForceWipe bool
}

// tagOurs marks the groups that Init made, tagBegun those that it has not
// finished.
const (
	tagOurs  = "mos:owner=mos-lvm"
	tagBegun = "mos:init=begun"
)

// Init makes a volume group ours, and lets a running daemon know. What it did is
// told line by line to out. It may be repeated after it was cut off.
func Init(ctx context.Context, cfg Config, log *logx.Logger, r InitRequest, out io.Writer) error {
	d, err := Open(cfg, log)
	if err != nil {
		return err
	}
	defer d.closeTrials()
	i := initializer{d: d, r: r, out: out}
	if err := i.check(); err != nil {
		return err
	}
	if err := i.run(ctx); err != nil {
		return err
	}
	if err := d.groups.expected.set(r.VG, true); err != nil {
		return err
	}
	i.say("volume group %s is ours: new volumes go there", r.VG)
	return tellDaemon(ctx, cfg)
}

// tellDaemon lets a daemon that runs look anew; one that does not will.
func tellDaemon(ctx context.Context, cfg Config) error {
	_, err := adminapi.Send[struct{}](ctx, adminapi.New("mos-lvm", cfg.Admin), "POST", "/v1/look", nil)
	if _, answered := errors.AsType[*adminapi.Error](err); answered {
		return err
	}
	return nil
}

type initializer struct {
	d   *Driver
	r   InitRequest
	out io.Writer
}

func (i *initializer) say(format string, args ...any) {
	_, _ = fmt.Fprintf(i.out, format+"\n", args...) // the work counts, not the words
}

// check refuses before anything is changed.
func (i *initializer) check() error {
	r := i.r
	if err := lvm.ValidVGName(r.VG); err != nil {
		return err
	}
	if err := lvm.DeviceMapper(); err != nil {
		return fault.Conflict("%w: it can have no volume groups here; volumes of type loop work without it, and need no init", err)
	}
	switch {
	case r.Adopt && (len(r.Devices) > 0 || r.Size > 0):
		return fault.Invalid("a group that is adopted has its disks already: give neither devices nor a size")
	case !r.Adopt && (len(r.Devices) > 0) == (r.Size > 0):
		return fault.Invalid("give either the devices of the group, or -size for a trial group in a file")
	case r.Size > 0 && r.Size < 256<<20:
		return fault.Invalid("size %s is too small for a volume group: give 256m at least", spec.Bytes(r.Size))
	}
	known, err := i.d.groups.expected.names()
	if err != nil {
		return err
	}
	if slices.Contains(known, r.VG) && !r.Adopt {
		return fault.Exists("volume group %s is ours already", r.VG)
	}
	return nil
}

// checkDevice refuses a device that holds somebody's data.
func (i *initializer) checkDevice(ctx context.Context, dev string) error {
	found, err := i.d.fs.Signatures(ctx, dev)
	if err != nil {
		return err
	}
	if len(found) == 0 || i.r.ForceWipe {
		return nil
	}
	var what []string
	for _, s := range found {
		what = append(what, s.String())
	}
	return fault.Conflict("%s holds %s: choose another device, or overwrite it with -force-wipe", dev, strings.Join(what, ", "))
}

func (i *initializer) run(ctx context.Context) error {
	if i.r.Adopt {
		return i.adopt(ctx)
	}
	if whole, err := i.former(ctx); err != nil || whole {
		return err
	}
	for _, dev := range i.r.Devices {
		if err := i.checkDevice(ctx, dev); err != nil {
			return err
		}
	}
	devices := i.r.Devices
	if len(devices) == 0 {
		dev, err := i.trialDisk(ctx)
		if err != nil {
			return err
		}
		devices = []string{dev}
	}
	if err := i.makeGroup(ctx, devices); err != nil {
		return errors.Join(err, i.takeBack(ctx))
	}
	return nil
}

// former looks for what an init that was cut off left: a group that it had made
// is whole, one that it had begun is taken away, to begin anew.
func (i *initializer) former(ctx context.Context) (whole bool, err error) {
	if i.r.Size > 0 {
		if _, err := os.Stat(i.trialFile()); err == nil {
			if _, err := i.trialDisk(ctx); err != nil {
				return false, err
			}
		}
	}
	report, err := i.d.lvm.Report(ctx)
	if err != nil {
		return false, err
	}
	vg, there := report.VG(i.r.VG)
	switch {
	case there && slices.Contains(vg.Tags, tagBegun):
		i.say("volume group %s was not finished by an earlier init: beginning anew", vg.Name)
		return false, i.d.lvm.DiscardVG(ctx, vg.Name)
	case there && !slices.Contains(vg.Tags, tagOurs):
		return false, fault.Exists("there is a volume group %s already: take it as it is with -adopt, or choose another name with -vg", vg.Name)
	case there:
		if err := i.sameDisks(report); err != nil {
			return false, err
		}
		i.say("volume group %s is there already, with its disks and what is on them", vg.Name)
		return true, nil
	}
	var bare, lost []string
	for _, pv := range report.PVs {
		if !slices.ContainsFunc(i.r.Devices, func(d string) bool { return sameDevice(d, pv.Device) }) {
			continue
		}
		switch pv.VG {
		case "":
			bare = append(bare, pv.Device)
		case lvm.LostVG:
			if !i.r.ForceWipe {
				return false, fault.Conflict("%s is marked as a disk of a volume group of which nothing can be read, as an init that is cut off leaves it: choose another device, or overwrite it with -force-wipe", pv.Device)
			}
			lost = append(lost, pv.Device)
		default:
			return false, fault.Conflict("%s is a disk of volume group %s, which is ours: not even -force-wipe takes it from there", pv.Device, pv.VG)
		}
	}
	// Those that are lost are wiped with what else is on them.
	return false, errors.Join(i.d.lvm.RemovePVs(ctx, bare...), i.d.lvm.RemoveDevices(ctx, lost...))
}

// sameDisks refuses to take a group for the one that is asked for when it has
// other disks.
func (i *initializer) sameDisks(report lvm.Report) error {
	var have []string
	for _, pv := range report.PVs {
		if pv.VG == i.r.VG {
			have = append(have, pv.Device)
		}
	}
	for _, d := range i.r.Devices {
		if !slices.ContainsFunc(have, func(h string) bool { return sameDevice(d, h) }) {
			return fault.Exists("there is a volume group %s already, on %s: take it as it is with -adopt, or choose another name with -vg", i.r.VG, strings.Join(have, ", "))
		}
	}
	return nil
}

// sameDevice says whether two paths lead to one device.
func sameDevice(a, b string) bool {
	x, err := mounts.DevOf(a)
	if err != nil {
		return false
	}
	y, err := mounts.DevOf(b)
	return err == nil && x == y
}

// trialFile is the file that serves as the disk of a trial group.
func (i *initializer) trialFile() string {
	return filepath.Join(i.d.cfg.trialDir(), i.r.VG+imageExt)
}

// trialDisk makes the file that serves as a disk, and attaches it. One that a
// cut left is used.
func (i *initializer) trialDisk(ctx context.Context) (string, error) {
	d := i.d
	path := i.trialFile()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	free, err := loop.Free(filepath.Dir(path))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if uint64(free) < i.r.Size+uint64(d.cfg.LoopSpare) {
			return "", fault.Exhausted("%s has %s free: too little for %s and the %s that stay free", filepath.Dir(path), spec.Bytes(free), spec.Bytes(i.r.Size), spec.Bytes(d.cfg.LoopSpare))
		}
		if err := loop.Create(ctx, path, int64(i.r.Size), nil); err != nil {
			return "", err
		}
		i.say("made %s of %s", path, spec.Bytes(i.r.Size))
	}
	h, err := loop.Attach(ctx, path, false)
	if err != nil {
		return "", err
	}
	d.mu.Lock()
	d.trial[path] = h
	d.mu.Unlock()
	return h.Device, nil
}

func (i *initializer) makeGroup(ctx context.Context, devices []string) error {
	c := i.d.lvm
	for _, dev := range devices {
		if i.r.ForceWipe {
			if err := i.d.fs.Wipe(ctx, dev); err != nil {
				return err
			}
			i.say("wiped %s", dev)
		}
	}
	meta := int64(0) // the default
	if i.r.Size > 0 && i.r.Size < 4<<30 {
		meta = 16 << 20
	}
	if err := c.CreateVG(ctx, lvm.Group{Name: i.r.VG, Devices: devices, MetadataSize: meta, Tags: []string{tagOurs, tagBegun}}); err != nil {
		return err
	}
	i.say("made volume group %s on %s", i.r.VG, strings.Join(devices, ", "))
	if err := i.makePool(ctx); err != nil {
		return err
	}
	return c.RetagVG(ctx, i.r.VG, nil, []string{tagBegun})
}

func (i *initializer) makePool(ctx context.Context) error {
	if i.r.PoolShare == 0 {
		return nil
	}
	c, pool := i.d.lvm, i.d.cfg.Pool
	report, err := c.Report(ctx)
	if err != nil {
		return err
	}
	vg, _ := report.VG(i.r.VG)
	extents, whole := i.shares(report, vg)
	g := plan.PoolGeometry(whole, 1)
	if g.Data == 0 {
		return fault.Exhausted("volume group %s has %s free: too little for a thin pool; give -pool 0 for none", i.r.VG, spec.Bytes(vg.Free))
	}
	err = c.CreatePool(ctx, lvm.Pool{VG: i.r.VG, Name: pool, Size: int64(g.Data), MetadataSize: int64(g.Meta), ChunkSize: int64(g.Chunk), Extents: extents})
	if err == nil {
		i.say("made thin pool %s/%s of %s with %s for metadata", i.r.VG, pool, spec.Bytes(g.Data), spec.Bytes(g.Meta))
	}
	return err
}

// shares is the pool's part of each disk, and their sum. LVM would fill one disk
// after the other, and striped volumes need space on several.
func (i *initializer) shares(report lvm.Report, vg lvm.VG) (extents []string, sum uint64) {
	for _, pv := range report.PVs {
		n := int64(i.r.PoolShare * float64(pv.Free/max(vg.ExtentSize, 1)))
		if pv.VG == vg.Name && n > 0 {
			extents = append(extents, fmt.Sprintf("%s:0-%d", pv.Device, n-1))
			sum += uint64(n * vg.ExtentSize)
		}
	}
	return extents, sum
}

// takeBack removes what a failed init made.
func (i *initializer) takeBack(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
	defer cancel()
	c := i.d.lvm
	report, err := c.Report(ctx)
	if err != nil {
		return err
	}
	var errs []error
	if vg, there := report.VG(i.r.VG); there && slices.Contains(vg.Tags, tagBegun) {
		errs = append(errs, c.DiscardVG(ctx, i.r.VG))
	}
	if i.r.Size > 0 {
		i.d.closeTrials()
		errs = append(errs, ignoreAbsent(os.Remove(i.trialFile())))
	}
	return errors.Join(errs...)
}

// adopt lists the disks of a group that exists in our devices file. Nothing in
// the group is changed.
func (i *initializer) adopt(ctx context.Context) error {
	report, err := i.d.lvm.HostReport(ctx)
	if err != nil {
		return err
	}
	if _, ok := report.VG(i.r.VG); !ok {
		return fault.NotFound("there is no volume group %s on this host", i.r.VG)
	}
	var devices []string
	for _, pv := range report.PVs {
		if pv.VG == i.r.VG {
			devices = append(devices, pv.Device)
		}
	}
	if err := i.d.lvm.AddDevices(ctx, devices...); err != nil {
		return err
	}
	i.say("volume group %s has its disks in %s", i.r.VG, strings.Join(devices, ", "))
	return nil
}

// Forget ends that a volume group is ours. Its volumes stay on its disks; one
// that is there and has volumes of ours is refused.
func Forget(ctx context.Context, cfg Config, log *logx.Logger, vg string, out io.Writer) error {
	d, err := Open(cfg, log)
	if err != nil {
		return err
	}
	known, err := d.groups.expected.names()
	if err != nil {
		return err
	}
	if !slices.Contains(known, vg) {
		return fault.NotFound("volume group %s is not ours", vg)
	}
	report, err := d.lvm.Report(ctx)
	if err != nil {
		return err
	}
	n := 0
	for _, lv := range report.LVs {
		if _, ours := spec.ParseLabel(lv.Name); ours && lv.VG == vg {
			n++
		}
	}
	if n > 0 {
		return fault.Conflict("volume group %s has %d volumes: remove and purge them first, Docker would take them for gone", vg, n)
	}
	if err := d.groups.expected.set(vg, false); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "volume group %s is no longer ours; its disks are as they were\n", vg)
	return tellDaemon(ctx, cfg)
}
