package lvmvolume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mosdocker/mosdocker/internal/fault"
	"github.com/mosdocker/mosdocker/lvmvolume/lvm"
	"github.com/mosdocker/mosdocker/lvmvolume/plan"
	"github.com/mosdocker/mosdocker/lvmvolume/spec"
)

// group is a volume group as a place. LVM lets one command at a time change a
// group, so changes wait here, where that costs no process.
type group struct {
	lvm  *lvm.Client
	disk disk
	cfg  *Config
	vg   string
	busy sync.Mutex // held over each command that changes the group

	mu    sync.RWMutex // guards all below
	state groupState
}

// groupState is what the last report said, with what was done since.
type groupState struct {
	vg     lvm.VG
	pool   lvm.LV // zero without a thin pool
	beside uint64 // bytes that the pool is to hold for others, in an adopted group
	disks  int
	status lvm.PoolStatus // by the watchdog
	level  plan.Level
	before []sample // of the last seconds
}

func (g *group) name() string { return g.vg }

func (g *group) read() groupState {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.state
}

func (g *group) change(f func(*groupState)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f(&g.state)
}

func (g *group) types() []spec.Type {
	s := g.read()
	ts := []spec.Type{spec.Linear}
	if s.pool.Name != "" {
		ts = append([]spec.Type{spec.Thin}, ts...)
	}
	if s.disks > 1 {
		ts = append(ts, spec.Striped)
	}
	return ts
}

func (g *group) round(_ spec.Type, size uint64) uint64 {
	extent := uint64(max(g.read().vg.ExtentSize, 1))
	return (size + extent - 1) / extent * extent
}

func (g *group) space(t spec.Type, promised uint64) plan.Space {
	s := g.read()
	out := plan.Space{Name: "volume group " + g.vg, Promised: promised, Free: uint64(s.vg.Free)}
	if s.vg.MDASize > 0 && s.vg.MDAFree < s.vg.MDASize/16 {
		out.Refuse = fmt.Sprintf("its metadata area is nearly full (%s of %s free): remove volumes, or add a disk with a larger one", spec.Bytes(s.vg.MDAFree), spec.Bytes(s.vg.MDASize))
	}
	if s.vg.MissingPVs > 0 {
		out.Refuse = fmt.Sprintf("%d of its disks are missing", s.vg.MissingPVs)
	}
	if t != spec.Thin {
		return out
	}
	out.Name = "thin pool " + g.vg + "/" + s.pool.Name
	out.Size, out.Ratio, out.Spare = uint64(s.pool.Size), g.cfg.Thin.Overcommit, uint64(g.cfg.Thin.Spare)
	out.Promised += s.beside
	if s.pool.Name != "" && !s.pool.Zeroes {
		out.Refuse = fmt.Sprintf("it does not zero its chunks, so a volume could show what another had written: lvchange --zero y %s/%s makes it", g.vg, s.pool.Name)
	}
	if g.cfg.Thin.Extend > 0 {
		out.Growth = uint64(s.vg.Free)
	}
	if s.level == plan.Refuse || s.level == plan.Pause {
		out.Refuse = fmt.Sprintf("it is %.0f%% full: remove volumes or add a disk", 100*max(s.fill().Data, s.fill().Meta))
	}
	return out
}

// poolLacks is what the pool must still grow by to hold what is promised of it.
func (g *group) poolLacks(promised uint64) uint64 {
	s := g.read()
	if s.pool.Name == "" {
		return 0
	}
	need := uint64(float64(promised+s.beside+uint64(g.cfg.Thin.Spare)) / g.cfg.Thin.Overcommit)
	return need - min(need, uint64(s.pool.Size))
}

// fill is how full the pool is.
func (s groupState) fill() plan.Fullness {
	if s.status.DataTotal == 0 {
		return plan.Fullness{}
	}
	return plan.Fullness{
		Data: float64(s.status.DataUsed) / float64(s.status.DataTotal),
		Meta: float64(s.status.MetadataUsed) / float64(max(s.status.MetadataTotal, 1)),
	}
}

func (g *group) snapshots(t spec.Type) error {
	if t != spec.Thin {
		return fault.Later("volumes of type %s have no snapshots and no copies, since each would slow the volume down", t)
	}
	return nil
}

func (g *group) make(ctx context.Context, v spec.Volume, _ func(string) error) error {
	defer g.lock()()
	pool := g.read().pool.Name
	if v.Type == spec.Thin {
		if pool == "" {
			return fault.Conflict("volume group %s has no thin pool: make one with mos-lvm init, or use type=linear", g.vg)
		}
		return g.lvm.CreateThin(ctx, lvm.Thin{VG: g.vg, Pool: pool, Name: v.ID.Label(), Size: int64(v.Size), Tags: v.Tags()})
	}
	return g.lvm.CreateLinear(ctx, lvm.Linear{VG: g.vg, Name: v.ID.Label(), Size: int64(v.Size), Tags: v.Tags(), Stripes: max(1, v.Stripes)})
}

// lock waits for the group's turn.
func (g *group) lock() (unlock func()) {
	g.busy.Lock()
	return g.busy.Unlock
}

// took notes that n bytes more of the group are in use for v, until the next report.
func (g *group) took(v spec.Volume, n int64) {
	if v.Type != spec.Thin {
		g.change(func(s *groupState) { s.vg.Free = max(0, s.vg.Free-n) })
	}
}

func (g *group) snapshot(ctx context.Context, v, src spec.Volume) error {
	defer g.lock()()
	return g.lvm.CreateSnapshot(ctx, lvm.Snapshot{VG: g.vg, Origin: src.ID.Label(), Name: v.ID.Label(), Tags: v.Tags()})
}

// record changes the tags.
func (g *group) record(ctx context.Context, was, now []spec.Volume) error {
	defer g.lock()()
	for _, c := range retags(was, now) {
		if err := g.lvm.Retag(ctx, g.vg, c.lvs, c.add, c.del); err != nil {
			return err
		}
	}
	return nil
}

func (g *group) grow(ctx context.Context, v spec.Volume, size uint64) error {
	defer g.lock()()
	err := g.lvm.Extend(ctx, g.vg, v.ID.Label(), int64(size))
	if err == nil {
		g.took(v, int64(size)-int64(v.Size))
	}
	return err
}

func (g *group) remove(ctx context.Context, vs []spec.Volume) error {
	defer g.lock()()
	return g.lvm.Remove(ctx, g.vg, labels(vs)...)
}

func labels(vs []spec.Volume) []string {
	var out []string
	for _, v := range vs {
		out = append(out, v.ID.Label())
	}
	return out
}

// nothing holds nothing: a logical volume stays active until it is told.
type nothing struct{}

func (nothing) Close() error { return nil }

func (g *group) attach(ctx context.Context, v spec.Volume) (string, io.Closer, error) {
	if dev, err := g.attached(v); dev != "" || err != nil {
		return dev, nothing{}, err
	}
	defer g.lock()()
	if err := g.lvm.Activate(ctx, g.vg, v.ID.Label()); err != nil {
		return "", nil, err
	}
	dev, err := g.attached(v)
	if dev == "" && err == nil {
		err = fault.Unavailable("logical volume %s/%s is active, but has no device: run vgmknodes %s", g.vg, v.ID.Label(), g.vg)
	}
	return dev, nothing{}, err
}

func (g *group) attached(v spec.Volume) (string, error) {
	dev := lvm.DevicePath(g.vg, v.ID.Label())
	if there, err := g.disk.there(dev); !there {
		return "", err
	}
	return dev, nil
}

func (g *group) attachedAll(vs []spec.Volume) (map[spec.ID]string, error) {
	out := map[spec.ID]string{}
	for _, v := range vs {
		dev, err := g.attached(v)
		if err != nil {
			return nil, err
		}
		if dev != "" {
			out[v.ID] = dev
		}
	}
	return out, nil
}

func (g *group) detach(ctx context.Context, vs []spec.Volume) error {
	defer g.lock()()
	var idle []spec.Volume
	var held []string
	for _, v := range vs {
		dev, err := g.attached(v)
		if err != nil {
			return err
		}
		if dev != "" && busy(dev) {
			held = append(held, v.Title())
			continue
		}
		idle = append(idle, v)
	}
	err := g.lvm.Deactivate(ctx, g.vg, labels(idle)...)
	if len(held) > 0 {
		err = errors.Join(err, fault.Conflict("volumes %s are in use: a copy of a mount in another mount namespace, or a program that has the device open", strings.Join(held, ", ")))
	}
	return err
}

// groups is all volume groups that are ours.
type groups struct {
	lvm      *lvm.Client
	disk     disk
	cfg      *Config
	expected expected

	mu   sync.Mutex // guards all below
	byVG map[string]*group
}

func newGroups(c *lvm.Client, disk disk, cfg *Config) *groups {
	return &groups{lvm: c, disk: disk, cfg: cfg, expected: expected{dir: cfg.StateDir}, byVG: map[string]*group{}}
}

// list makes one report and a listing of each group in it or expected. A host
// without a volume group of ours runs no command.
func (gs *groups) list(ctx context.Context) []listing {
	want, err := gs.expected.names()
	if err == nil && len(want) == 0 {
		return nil
	}
	began := time.Now()
	var r lvm.Report
	if err == nil {
		r, err = gs.lvm.Report(ctx)
	}
	if want == nil { // which groups are ours is not known, and what is in ours is
		want = append(gs.names(), "volume groups")
	}
	var out []listing
	for _, vg := range want {
		l := listing{place: gs.group(vg), began: began, err: err}
		if l.err == nil {
			gs.listOne(r, &l)
		}
		out = append(out, l)
	}
	return out
}

// group returns the one object of a volume group.
func (gs *groups) group(vg string) *group {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	g := gs.byVG[vg]
	if g == nil {
		g = &group{lvm: gs.lvm, disk: gs.disk, cfg: gs.cfg, vg: vg}
		gs.byVG[vg] = g
	}
	return g
}

// only forgets groups that are no longer ours.
func (gs *groups) only(listed map[string]bool) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	maps.DeleteFunc(gs.byVG, func(vg string, _ *group) bool { return !listed[vg] })
}

func (gs *groups) names() []string {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	return slices.DeleteFunc(slices.Sorted(maps.Keys(gs.byVG)), func(vg string) bool { return vg == "volume groups" })
}

func (gs *groups) all() []*group {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	return slices.Collect(maps.Values(gs.byVG))
}

func (gs *groups) listOne(r lvm.Report, l *listing) {
	g, _ := l.place.(*group)
	vg, ok := r.VG(g.vg)
	if !ok {
		l.err = fault.Unavailable("volume group %s is not there: are its disks attached? mos-lvm init -forget %s ends the waiting", g.vg, g.vg)
		return
	}
	disks := 0
	for _, pv := range r.PVs {
		if pv.VG == g.vg && !pv.Missing {
			disks++
		}
	}
	pool, beside := gs.poolOf(r, g.vg), uint64(0)
	for _, lv := range r.LVs {
		id, ours := spec.ParseLabel(lv.Name)
		switch {
		case lv.VG != g.vg:
		case ours:
			l.add(id, lv)
		case lv.Pool != "" && lv.Pool == pool.Name:
			beside += uint64(lv.Size)
		}
	}
	g.change(func(s *groupState) { s.vg, s.pool, s.disks, s.beside = vg, pool, disks, beside })
}

// poolOf finds the thin pool of a group: the one with the configured name, or the only one.
func (gs *groups) poolOf(r lvm.Report, vg string) lvm.LV {
	var pools []lvm.LV
	for _, lv := range r.LVs {
		if lv.VG == vg && lv.Type == lvm.ThinPool {
			if lv.Name == gs.cfg.Pool {
				return lv
			}
			pools = append(pools, lv)
		}
	}
	if len(pools) != 1 {
		return lvm.LV{}
	}
	return pools[0]
}

// add puts a logical volume of ours into the listing.
func (l *listing) add(id spec.ID, lv lvm.LV) {
	v, err := spec.FromTags(id, lv.Tags)
	if err != nil {
		l.strays = append(l.strays, stray{place: lv.VG, object: lv.VG + "/" + lv.Name, detail: err.Error(), id: id})
		return
	}
	v.Place, v.Size = lv.VG, uint64(lv.Size)
	f := found{active: lv.State.Active, allocated: uint64(lv.Size)}
	switch lv.Type {
	case lvm.ThinVolume:
		v.Type = spec.Thin
		f.allocated = uint64(max(0, lv.DataPercent) / 100 * float64(lv.Size))
	case lvm.StripedVolume:
		v.Type = spec.Striped
	case lvm.LinearVolume:
		v.Type = spec.Linear
	case lvm.ThinPool, lvm.ThickSnapshot, lvm.OtherVolume:
		f.fault = fmt.Errorf("logical volume %s/%s has become one of kind %s: undo that", lv.VG, lv.Name, lv.Type)
	}
	if lv.State.Health != lvm.Healthy && f.fault == nil {
		f.fault = fmt.Errorf("logical volume %s/%s is not sound: %s", lv.VG, lv.Name, lv.State.Health)
	}
	f.v = v
	l.volumes = append(l.volumes, f)
}
